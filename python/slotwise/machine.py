"""Machines over JSON: state with named calls, the same in every language.

Modules such as ``slotwise.routing`` give them typed faces.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from . import _core


class Machine:
    """A machine by its kind, with the arguments of its constructor."""

    def __init__(self, kind: str, /, **arguments: Any) -> None:
        self._native = _core.Machine(kind, dumps(arguments))

    def call(self, name: str, /, **arguments: Any) -> Any:
        """The result of a call. Arguments that are ``None`` count as absent."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return json.loads(self._native.call(name, dumps(given)))


def dumps(value: Any) -> str:
    """The value as JSON, with text for floats that JSON has no numbers for."""
    try:
        # Most values are plain already, and copying them costs more than writing them.
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    """The value as JSON has it: floats that JSON has no numbers for become text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
    if value is None or isinstance(value, str | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {name: _plain(field) for name, field in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected text or integers, not {type(value).__name__}")
    try:
        return [_plain(item) for item in value]
    except TypeError:
        raise TypeError(f"{value!r} of {type(value).__name__} cannot be used here") from None


_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}
