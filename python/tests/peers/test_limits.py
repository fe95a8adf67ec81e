"""The limits of peers have the same defaults in every language."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from slotwise.peers import PeerLimits

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "crates/gateway/src/peers/config.rs"
LINK = ROOT / "crates/node/npm/lib/peers/link.ts"
UNITS = {"": 1, " KiB": 2**10, " MiB": 2**20}


def of_rust() -> dict[str, float]:
    text = CONFIG.read_text().partition("impl Default for PeerLimits")[2]
    fields = re.findall(r"^ +(\w+): (.+),$", text, flags=re.M)
    return {name: number(value) for name, value in fields}


def of_node() -> dict[str, float]:
    text = LINK.read_text().partition("export interface PeerLimits {")[2].partition("\n}")[0]
    fields = re.findall(r"Default: ([\d,^]+)( [KM]iB)?\. \*/\n  (\w+)\?:", text)
    limits = {}
    for value, unit, name in fields:
        snake = re.sub(r"[A-Z]", lambda sign: f"_{sign[0].lower()}", name)
        # Times are milliseconds there.
        scale = 1e-3 if snake.endswith("_ms") else UNITS[unit]
        limits[snake.removesuffix("_ms")] = number(value) * scale
    return limits


def number(text: str) -> float:
    text = text.removeprefix("Duration::from_secs(").rstrip(")").replace(",", "").replace("_", "")
    base, shift, exponent = text.partition(" << ")
    if shift:
        return float(int(base) << int(exponent))
    base, power, exponent = text.partition("^")
    return float(int(base) ** int(exponent)) if power else float(base)


def test_the_defaults_are_those_of_the_gateway_crate() -> None:
    assert asdict(PeerLimits()) == of_rust()


def test_the_defaults_that_node_documents_are_those_of_the_gateway_crate() -> None:
    assert of_node() == of_rust()
