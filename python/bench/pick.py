"""Times a decision and its completion from Python.

Other rows time an empty call and other ways to find a prefix.

    python bench/pick.py [--json FILE]

Install ai-dynamo-runtime for its row. All rows run in one process: each round times every row once,
so noise affects all rows alike. The output is the median over rounds, and the 99th percentile of
single calls. Half of each prompt is one of eight shared prefixes, as in the core's benches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

import slotwise

PROMPTS = 2_000
ROUNDS = 15
CALLS = 300


def texts(rng: random.Random) -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz     "
    shared = ["".join(rng.choices(letters, k=4_096)) for _ in range(8)]
    return [rng.choice(shared) + "".join(rng.choices(letters, k=4_096)) for _ in range(PROMPTS)]


def token_ids(rng: random.Random) -> list[list[int]]:
    shared = [[rng.randrange(128_000) for _ in range(1_000)] for _ in range(8)]
    return [
        rng.choice(shared) + [rng.randrange(128_000) for _ in range(1_000)] for _ in range(PROMPTS)
    ]


class Gateway:
    """slotwise with this many endpoints. A request completes when 64 others have followed it."""

    def __init__(self, endpoints: int) -> None:
        self.scheduler = slotwise.Scheduler()
        for number in range(endpoints):
            self.scheduler.add_endpoint(f"http://10.0.0.{number}:8000")
        self.flying: list[int] = []

    def serve(self, prompt: Any) -> int:
        dispatch = self.scheduler.pick(prompt, model="llama-3.1-8b")
        assert isinstance(dispatch, slotwise.Dispatch)
        self.flying.append(dispatch.request_id)
        if len(self.flying) > 64:
            self.scheduler.complete(self.flying.pop(0))
        return dispatch.endpoint_id


class HashTrie:
    """The method of many Python routers: a dictionary from chained block hashes to endpoints."""

    def __init__(self, endpoints: int) -> None:
        self.holders: dict[int, set[int]] = {}
        self.load = [0] * endpoints

    def serve(self, text: str) -> int:
        chain, parent = [], 0
        for start in range(0, len(text) - 63, 64):
            parent = hash((parent, text[start : start + 64]))
            chain.append(parent)
        best, depth = min(range(len(self.load)), key=self.load.__getitem__), 0
        alive: set[int] | None = None
        for number, key in enumerate(chain, 1):
            holders = self.holders.get(key)
            alive = holders if alive is None else alive & holders if holders else None
            if not alive:
                break
            best, depth = min(alive, key=self.load.__getitem__), number
        for key in chain[depth:] if depth else chain:
            self.holders.setdefault(key, set()).add(best)
        self.load[best] += 1
        return best


class PrefixTree:
    """A radix tree of characters. Each node names the endpoints that received its text."""

    def __init__(self, endpoints: int) -> None:
        self.root: dict[str, Any] = {"edges": {}, "text": "", "tenants": set()}
        self.load = [0] * endpoints

    def serve(self, text: str) -> int:
        node, at, path = self.root, 0, []
        while at < len(text):
            child = node["edges"].get(text[at])
            if child is None:
                child = {"edges": {}, "text": text[at:], "tenants": set()}
                node["edges"][text[at]] = child
            common = 0
            for here, there in zip(child["text"], text[at:]):
                if here != there:
                    break
                common += 1
            if common < len(child["text"]):
                rest = {
                    "edges": child["edges"],
                    "text": child["text"][common:],
                    "tenants": set(child["tenants"]),
                }
                child["text"], child["edges"] = child["text"][:common], {rest["text"][0]: rest}
            path.append(child)
            node, at = child, at + common
        tenants = next(
            (step["tenants"] for step in reversed(path) if step["tenants"]), range(len(self.load))
        )
        best = min(tenants, key=self.load.__getitem__)
        for step in path:
            step["tenants"].add(best)
        self.load[best] += 1
        return best


class Dynamo:
    """``SelectionService`` of ai-dynamo-runtime, if it is installed.

    The benchmark reserves and frees, and feeds no KV events.
    """

    def __init__(self, service: Any, endpoints: int) -> None:
        self.service, self.loop, self.selections = service, asyncio.new_event_loop(), 0
        self.loop.run_until_complete(self.add(endpoints))

    async def add(self, endpoints: int) -> None:
        for worker in range(1, endpoints + 1):
            where = {
                "endpoint": f"http://127.0.0.1:{worker}",
                "kv_events_endpoint": f"tcp://127.0.0.1:{5_557 + worker}",
            }
            await self.service.upsert_worker(
                {"worker_id": worker, "model_name": "m", "block_size": 16, **where}
            )

    async def serve_all(self, prompts: list[Any]) -> None:
        for prompt in prompts:
            self.selections += 1
            name = str(self.selections)
            await self.service.select_and_reserve(
                {"model_name": "m", "token_ids": prompt, "selection_id": name}
            )
            await self.service.free_reservation(name)

    def batch(self, prompts: list[Any]) -> None:
        self.loop.run_until_complete(self.serve_all(prompts))


def each(call: Callable[[Any], Any]) -> Callable[[list[Any]], None]:
    def batch(prompts: list[Any]) -> None:
        for prompt in prompts:
            call(prompt)

    return batch


def rows() -> dict[str, tuple[Callable[[list[Any]], None], list[Any]]]:
    rng = random.Random(1)
    text, ids = texts(rng), token_ids(rng)
    buffers = [array("I", one) for one in ids]
    empty = slotwise.Scheduler()
    made: dict[str, tuple[Callable[[list[Any]], None], list[Any]]] = {
        "floor: an empty call": (each(empty.endpoint_of), [0]),
    }
    for endpoints in (8, 64, 1_024):
        made[f"8 KB of text, {endpoints} endpoints"] = (each(Gateway(endpoints).serve), text)
        made[f"2,000 token ids in a buffer, {endpoints} endpoints"] = (
            each(Gateway(endpoints).serve),
            buffers,
        )
    made["2,000 token ids in a list, 8 endpoints"] = (each(Gateway(8).serve), ids)
    made["rival: hash trie in Python, 8 KB of text, 8 endpoints"] = (each(HashTrie(8).serve), text)
    made["rival: character tree in Python, 8 KB of text, 8 endpoints"] = (
        each(PrefixTree(8).serve),
        text,
    )
    try:
        from dynamo.llm import SelectionService
    except ImportError:
        print("ai-dynamo-runtime is not installed: its row is left out", file=sys.stderr)
    else:
        made["rival: Dynamo SelectionService, 2,000 token ids in a list, 8"] = (
            Dynamo(SelectionService(), 8).batch,
            ids,
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    table = rows()
    clock = time.perf_counter_ns
    batches: dict[str, list[float]] = {name: [] for name in table}
    singles: dict[str, list[float]] = {name: [] for name in table}

    def timed(batch: Callable[[list[Any]], None], prompts: list[Any]) -> float:
        begun = clock()
        batch(prompts)
        return (clock() - begun) / len(prompts) / 1e3

    for batch, prompts in table.values():
        batch(prompts)
    for number in range(ROUNDS):
        print(f"\rround {number + 1} of {ROUNDS}", end="", file=sys.stderr)
        for name, (batch, prompts) in table.items():
            chosen = [prompts[(number * CALLS + n) % len(prompts)] for n in range(CALLS)]
            batches[name].append(timed(batch, chosen))
            singles[name].extend(timed(batch, [prompt]) for prompt in chosen)
    print("\r", end="", file=sys.stderr)
    result = {
        name: {
            "median_us": statistics.median(batches[name]),
            "p99_us": sorted(singles[name])[len(singles[name]) * 99 // 100],
        }
        for name in table
    }
    for name, figures in result.items():
        print(f"{name:<62} {figures['median_us']:9.2f} us   p99 {figures['p99_us']:9.2f} us")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
