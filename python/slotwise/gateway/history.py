"""The last decisions, for the admin page."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from ..aio import Scheduler
from ..lease import Lease

__all__ = ["Decision", "History"]

KEPT = 64
"""Decisions that are kept."""
WATCHED = 15.0
"""Seconds after a look at the page during which decisions are explained."""
LONGEST = 200
"""Characters of a client's text that are kept."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One request whose answer has begun, or that was refused."""

    number: int
    """Counts from 1."""
    pool: str
    """The pool that was asked last."""
    model: str
    """The model as the client names it."""
    caller: str
    """The name of the client's key."""
    status: int
    """The status of the reply."""
    endpoint: str | None
    """The endpoint that answers, if any."""
    prompt_tokens: int | None
    """Tokens of the prompt: counted, or estimated from text."""
    cached_tokens: int | None
    """Prompt tokens that were expected in the endpoint's cache."""
    queue_time: float | None
    """Seconds in the queue."""
    predicted_ttft: float | None
    """Seconds to the first token, as predicted."""
    explanation: str | None
    """The cost of every endpoint at the decision, as a table."""


class History:
    """The last decisions. Explains them only while an admin page is open: that costs a decision."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._decisions: deque[Decision] = deque(maxlen=KEPT)
        self._watched_until = 0.0
        self._count = 0

    def watch(self) -> None:
        """A page is open: explains the next decisions."""
        self._watched_until = time.monotonic() + WATCHED

    def explain(self, scheduler: Scheduler, asked: dict[str, Any]) -> str | None:
        """The decision that the scheduler is about to make, if a page is open."""
        if not self._enabled or time.monotonic() > self._watched_until:
            return None
        known = {name: value for name, value in asked.items() if name not in _OF_SUBMIT}
        return str(scheduler.explain(**known))

    def record(
        self,
        *,
        pool: str,
        model: str,
        caller: str,
        status: int,
        lease: Lease | None,
        explanation: str | None,
    ) -> None:
        """Keeps a decision, in the place of the oldest one."""
        if not self._enabled:
            return
        self._count += 1
        dispatch = None if lease is None else lease.dispatch
        self._decisions.appendleft(
            Decision(
                number=self._count,
                pool=pool,
                model=model[:LONGEST],
                caller=caller,
                status=status,
                endpoint=None if lease is None else lease.endpoint_name,
                prompt_tokens=dispatch and dispatch.prompt_tokens,
                cached_tokens=dispatch and dispatch.cached_tokens,
                queue_time=dispatch and dispatch.queue_time,
                predicted_ttft=dispatch and dispatch.predicted_ttft,
                explanation=explanation,
            )
        )

    def report(self) -> list[dict[str, Any]]:
        """The decisions as data, newest first."""
        return [asdict(decision) for decision in self._decisions]


_OF_SUBMIT = frozenset(("ttl", "weight", "timeout"))
