"""A scheduler's messages to and from the other gateways of its pool, without I/O.

>>> import slotwise
>>> from slotwise.peers import PeerLink, seed_of
>>> key = b"a secret of 16 bytes or more"
>>> def gateway(name):
...     scheduler = slotwise.Scheduler({"seed": seed_of(key)})
...     for engine in ("http://10.0.0.1:8000", "http://10.0.0.2:8000"):
...         _ = scheduler.add_endpoint(engine)
...     return scheduler, PeerLink(scheduler, name=name, key=key)
>>> (here, sender), (there, receiver) = gateway("a"), gateway("b")
>>> first = here.pick("Once upon a time")
>>> while (message := sender.export_delta()) is not None:
...     applied = receiver.apply_delta(message)
>>> receiver.alive
['a']
>>> there.pick("In a galaxy far away").endpoint_id != first.endpoint_id
True
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from .. import _core
from ..gates import Gates
from ..ingress import Ingress
from ..machine import dumps

__all__ = ["PeerLimits", "PeerLink", "PeerLoad", "PeersStats", "seed_of"]

Applied = Literal["new", "beacon", "repeated", "old", "own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimits:
    """What one peer may claim, and what a message may contain. Claims beyond are cut."""

    message_bytes: int = 2**22
    """Bytes of a message, sent or received."""
    peers: int = 256
    """Peers that are remembered."""
    endpoints: int = 65_536
    """Endpoints of one peer that are remembered."""
    requests: int = 4_096
    """Requests of one peer on one endpoint."""
    kv_tokens: int = 100_000_000
    """Tokens of one peer on one endpoint."""
    booked: float = 120.0
    """Predicted prefill of one peer on one endpoint, in seconds."""
    backoff: float = 30.0
    """The longest backoff that is taken over from a peer, in seconds."""
    blocks_per_second: int = 65_536
    """Prompt blocks of one peer in a second, on average over eight seconds."""
    sent_blocks_per_second: int = 5_120
    """Prompt blocks that are sent in a second, likewise. A block takes 8 bytes."""
    service_per_second: int = 1_024
    """Service of one peer's flows in a second, in seconds, on average over eight seconds."""
    known_blocks: int = 2**20
    """Prompts that are remembered, so that only their new blocks are sent; in blocks."""
    counters: int = 4_096
    """Counters of one peer that are remembered."""
    usage: int = 16_384
    """Limits of API keys, in their steps, whose use is sent, and remembered of one peer."""
    repair_bytes: int = 2**18
    """Sent bytes that are kept for peers that have lost a message."""


@dataclass(frozen=True, slots=True)
class PeerLoad:
    """What all living peers have in flight on an endpoint."""

    prefilling: int
    """Requests before their first token."""
    running: int
    """Requests past their first token."""
    booked: float
    """Predicted prefill of the requests before their first token, in seconds."""
    kv_tokens: int
    """Tokens of prompts and answers in flight."""
    backoff: float
    """How long a peer still backs the endpoint off after failures, in seconds."""
    waiting: int | None
    """The highest priority of the requests that wait at a peer for the endpoint, if any do."""


@dataclass(frozen=True, slots=True)
class PeersStats:
    """Counts of messages."""

    sent: int
    """Messages that were sent."""
    sent_bytes: int
    """Bytes of these."""
    repeated: int
    """Messages that were sent again; also in ``sent``."""
    received: int
    """Messages that were applied, own and repeated ones included."""
    received_bytes: int
    """Bytes of these."""
    rejected: int
    """Messages that were rejected."""
    headless: int
    """Prompts whose first blocks had not arrived."""
    left_out: int
    """Prompts and claims that limits have left out, here and at the receiving end."""
    alive: int
    """Peers whose claims count."""


class PeerLink(_core.PeerLink):
    """A scheduler's messages to and from the other gateways of its pool.

    After each input of the scheduler, and at :meth:`next_timeout`, call :meth:`export_delta` until
    it returns ``None``, and send each message to all peers. A scheduler has at most one link.

    ``name`` is unique among the gateways, with at most 64 bytes. ``key`` has at least 16 bytes and
    is shared by all. ``incarnation`` is larger than at the last start; by default, it is the time
    in microseconds. ``interval`` is the mean time between two messages while loads change; up to
    ``burst`` messages about new dispatches go ahead of it. ``heartbeat`` is the time between two
    messages while nothing changes, and ``silence`` how long the load of a silent peer still counts.
    All are seconds.

    Raises :class:`slotwise.ConfigError` for a value that cannot be used.
    """

    def __new__(
        cls,
        scheduler: _core.Scheduler,
        *,
        name: str,
        key: bytes | str,
        incarnation: int | None = None,
        interval: float = 0.2,
        burst: int = 8,
        heartbeat: float = 1.0,
        silence: float = 3.0,
        limits: PeerLimits | Mapping[str, Any] | None = None,
    ) -> Self:
        config = {
            "name": name,
            "interval": interval,
            "burst": burst,
            "heartbeat": heartbeat,
            "silence": silence,
            "limits": asdict(limits) if isinstance(limits, PeerLimits) else dict(limits or {}),
        }
        if incarnation is None:
            incarnation = time.time_ns() // 1_000
        return super().__new__(cls, scheduler, dumps(config), _bytes(key), incarnation)

    def exchange_usage(self, gates: Ingress | Gates, *, now: float | None = None) -> None:
        """Counts in the gates what peers have used of their limits, and the reverse.

        Call it before :meth:`export_delta` and after :meth:`apply_delta`. It has an effect if the
        configuration of the gates has ``shared: true``. Of several links, one exchanges the usage
        of a gateway's gates. All times are those of one clock.

        >>> import slotwise
        >>> from slotwise.gates import Gates, RefusedError
        >>> access = {"limits": {"requests_per_minute": 1}}
        >>> def gateway(name):
        ...     link = PeerLink(slotwise.Scheduler({"seed": 7}), name=name, key=bytes(16))
        ...     return link, Gates({"anonymous": access, "shared": True})
        >>> (sender, here), (receiver, there) = gateway("a"), gateway("b")
        >>> _ = here.admit({}, model="llama", prompt_tokens=10, output_tokens=10)
        >>> sender.exchange_usage(here)
        >>> receiver.apply_delta(sender.export_delta())
        'new'
        >>> receiver.exchange_usage(there)
        >>> try:
        ...     there.admit({}, model="llama", prompt_tokens=10, output_tokens=10)
        ... except RefusedError as refused:
        ...     print(refused.code)
        rate_limit_exceeded
        """
        self._exchange_usage(gates._native, now=now)

    def load(self, endpoint_id: int, *, now: float | None = None) -> PeerLoad:
        """What all living peers have in flight on an endpoint.

        Raises :class:`slotwise.UnknownEndpointError` if the endpoint is not in the pool.
        """
        return PeerLoad(*self._load(endpoint_id, now=now))

    def stats(self) -> PeersStats:
        """Counts of messages."""
        return PeersStats(**json.loads(self._stats()))


def seed_of(key: bytes | str) -> int:
    """The seed for the schedulers of all gateways with this key.

    Hashes of prompts and endpoints can only be compared between schedulers of one seed.
    """
    return _core.seed_of_peers(_bytes(key))


def _bytes(key: bytes | str) -> bytes:
    return key.encode() if isinstance(key, str) else key
