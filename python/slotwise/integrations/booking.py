"""Leases by the id that a host gives to a request, for hosts that report events by id.

A host may report an event twice, late or never. So a lease leaves the table with its first end, and
a lease without any event for a time is cancelled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import Any

from .._core import Rejected, Scheduler
from ..errors import EndpointError, WireError
from ..lease import Lease


class Bookings:
    """The requests of one host that are in flight. Methods may be called from any thread.

    A lease without an event for ``idle_limit`` seconds is cancelled, and so is the one that has
    been idle longest when there are more than ``most``. The limit covers a whole request if the
    host reports no event before its end.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        idle_limit: float = 600.0,
        most: int = 65_536,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not idle_limit > 0 or most < 1:
            raise ValueError(f"idle_limit {idle_limit} and most {most} must be above 0")
        self.scheduler = scheduler
        self._idle_limit, self._most, self._clock = idle_limit, most, clock
        self._lock = threading.Lock()
        # The lease that has been idle longest comes first.
        self._leases: dict[Hashable, tuple[Lease, float]] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._leases

    def book(self, key: Hashable, prompt: Any = None, **options: Any) -> Lease | Rejected:
        """Picks an endpoint under this key. An earlier lease of the key is cancelled. See ``pick``.

        Without a prompt or a body, or with a body that cannot be read, the prompt counts as empty.
        """
        self.expire()
        earlier = self.take(key)
        if earlier is not None:
            earlier.cancel()
        body, path = options.pop("body", None), options.pop("path", None)
        try:
            if body is None:
                decision = self.scheduler.pick("" if prompt is None else prompt, **options)
            else:
                decision = self.scheduler.pick(body=body, path=path, **options)
        except WireError:
            decision = self.scheduler.pick("", **options)
        if isinstance(decision, Rejected):
            return decision
        lease = Lease(self.scheduler, decision)
        self._put(key, lease)
        return lease

    def choose(self, prompt: Any = None, **options: Any) -> Lease | Rejected:
        """Picks an endpoint before the request has an id. :meth:`bind` follows in the same task.

        A choice that was not bound is cancelled by the next one of the task.
        """
        bookings, key = _choice.get()
        if bookings is self and (unbound := self.take(key)) is not None:
            unbound.cancel()
        key = object()
        _choice.set((self, key))
        return self.book(key, prompt, **options)

    def bind(self, key: Hashable) -> Lease | None:
        """Moves the task's last choice to this key, and returns it unless it has ended."""
        bookings, choice = _choice.get()
        return self.move(choice, key) if bookings is self else None

    def find(self, key: Hashable) -> Lease | None:
        """The lease of this key. Counts as an event."""
        return self.move(key, key)

    def move(self, key: Hashable, to: Hashable) -> Lease | None:
        """Moves a lease to another key, and returns it. Counts as an event."""
        lease = self.take(key)
        if lease is not None:
            self._put(to, lease)
        return lease

    def take(self, key: Hashable) -> Lease | None:
        """Removes the lease of this key, and returns it: its caller ends it."""
        with self._lock:
            lease, _ = self._leases.pop(key, (None, 0.0))
        return lease

    def expire(self) -> int:
        """Cancels the leases whose idle limit has passed, and returns their number."""
        idle: list[Lease] = []
        with self._lock:
            since = self._clock() - self._idle_limit
            while self._leases:
                key, (lease, last) = next(iter(self._leases.items()))
                if last > since and len(self._leases) <= self._most:
                    break
                del self._leases[key]
                idle.append(lease)
        for lease in idle:
            lease.cancel()
        return len(idle)

    def _put(self, key: Hashable, lease: Lease) -> None:
        with self._lock:
            earlier = self._leases.pop(key, None)
            self._leases[key] = lease, self._clock()
        if earlier is not None:
            earlier[0].cancel()


def endpoint_id(scheduler: Scheduler, name: str) -> int:
    """The id of the endpoint with this name, which is added if it is new.

    Raises :class:`slotwise.EndpointError` if the pool is full.
    """
    known = scheduler.endpoint_named(name)
    if known is not None:
        return known
    try:
        return scheduler.add_endpoint(name)
    except EndpointError:
        # Another thread may have added it.
        known = scheduler.endpoint_named(name)
        if known is None:
            raise
        return known


_choice: ContextVar[tuple[Bookings | None, Hashable]] = ContextVar(
    "slotwise_choice", default=(None, None)
)
