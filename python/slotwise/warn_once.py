"""Warnings about implausible values.

Each kind is issued once, because a mistake in a gateway usually repeats with every request.
"""

from __future__ import annotations

import warnings

from .errors import SlotwiseWarning

_given: set[str] = set()


def warn_once(kind: str, message: str) -> None:
    """Issues a :class:`slotwise.SlotwiseWarning` the first time that it is called for a kind."""
    if kind not in _given:
        _given.add(kind)
        warnings.warn(message, SlotwiseWarning, stacklevel=3)
