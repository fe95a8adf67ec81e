#!/usr/bin/env python3
"""Writes pickers.json from the pickers' algorithms, without the crate.

The random numbers are SplitMix64's; the order of draws is part of what the cases fix.
"""

import json
import math
from pathlib import Path

MASK = (1 << 64) - 1


class SplitMix64:
    """The generator of Steele, Lea and Flood (2014)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        """The next 64 bits."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)


def max_score(scores: list[float], rng: SplitMix64) -> list[int]:
    """The highest scores; equal ones in the order of a random number that follows from the place."""
    seed = rng.next()
    ties = [SplitMix64((seed + place) & MASK).next() for place in range(len(scores))]
    return sorted(range(len(scores)), key=lambda place: (-scores[place], ties[place]))


def random(scores: list[float], rng: SplitMix64) -> list[int]:
    """Any order: Fisher and Yates, from the first place on."""
    places = list(range(len(scores)))
    for at in range(len(places)):
        other = at + ((rng.next() * (len(places) - at)) >> 64)
        places[at], places[other] = places[other], places[at]
    return places


def weighted_random(scores: list[float], rng: SplitMix64) -> list[int]:
    """A-Res: the lowest -ln(U) / score first; one draw for each score above zero."""
    if all(score <= 0 for score in scores):
        return random(scores, rng)
    keys = {}
    for place, score in enumerate(scores):
        if score > 0:
            unit = ((rng.next() >> 12) + 0.5) / (1 << 52)
            keys[place] = -math.log(unit) / score
    return sorted(keys, key=keys.__getitem__)


PICKERS = {
    "max-score-picker": max_score,
    "random-picker": random,
    "weighted-random-picker": weighted_random,
}

SCORES = {
    "an empty pool": [],
    "one endpoint": [0.3],
    "distinct scores": [0.1, 2.0, 0.7, 1.5],
    "equal scores": [1.0, 1.0, 1.0, 1.0],
    "two equal highest": [0.5, 2.0, 2.0, 0.1],
    "all zero": [0.0, 0.0, 0.0],
    "some zero": [0.0, 1.0, 0.0, 0.5],
    "negative scores": [-1.0, -2.0, 0.5],
    "all negative": [-1.0, -2.0, -0.5],
    "far apart": [1e-12, 1.0, 1e6],
}


def main() -> None:
    """Writes the file."""
    cases = []
    for plugin, picker in PICKERS.items():
        for name, scores in SCORES.items():
            for seed, number in [(7, None), (8, 2), (2**63 + 1, 9), (9, 0), (10, -3)]:
                most = number if number is not None and number > 0 else 1
                case = {"name": f"{name}, {number or 'default'} of them", "plugin": plugin}
                if number is not None:
                    case["parameters"] = {"maxNumOfEndpoints": number}
                expected = picker(scores, SplitMix64(seed))[:most]
                cases.append(case | {"scores": scores, "seed": seed, "expected": expected})
        for parameters, error in [
            ({"maxNumOfEndpoints": "2"}, "string"),
            ({"maxNumOfEndpoints": 1.5}, "1.5"),
            ({"maxEndpoints": 2}, "maxEndpoints"),
        ]:
            name = f"{json.dumps(parameters)} is rejected"
            cases.append(
                {"name": name, "plugin": plugin, "parameters": parameters, "error": error}
            )
    lines = ",\n".join(f"  {json.dumps(case)}" for case in cases)
    text = f'{{"kind": "picker", "cases": [\n{lines}\n]}}\n'
    Path(__file__).with_suffix(".json").write_text(text)


if __name__ == "__main__":
    main()
