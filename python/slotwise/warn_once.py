"""Warnings about values that cannot be meant. Each kind is given once: a gateway that makes a
mistake makes it at every request."""

from __future__ import annotations

import warnings

from .errors import SlotwiseWarning

_given: set[str] = set()


def warn_once(kind: str, message: str) -> None:
    """A :class:`slotwise.SlotwiseWarning`, the first time that there is one of this kind."""
    if kind not in _given:
        _given.add(kind)
        warnings.warn(message, SlotwiseWarning, stacklevel=3)
