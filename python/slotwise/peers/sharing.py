"""Sends a scheduler's messages by a transport, and applies those of its peers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from .. import _core
from ..errors import PeerError
from ..gates import Gates
from ..ingress import Ingress
from .link import PeerLimits, PeerLink, PeersStats
from .transport import Transport, log

__all__ = ["Sharing", "share"]

LOOK_EVERY = 0.02
"""Seconds between two looks for new dispatches."""


def share(
    scheduler: _core.Scheduler,
    transport: Transport,
    *,
    key: bytes | str,
    name: str | None = None,
    gates: Ingress | Gates | None = None,
    limits: PeerLimits | Mapping[str, Any] | None = None,
    **options: Any,
) -> Sharing:
    """Shares what a scheduler has in flight with the other gateways of its pool.

    Use it as a context manager, on the event loop that serves requests. ``name`` is by default made
    of the host's name, the process and a random part. Usage of limits is exchanged with
    ``gates``: give them to one of several sharings. The other keywords are those of
    :class:`PeerLink`.
    """
    name = default_name() if name is None else name
    limits = PeerLimits(**dict(limits or {})) if not isinstance(limits, PeerLimits) else limits
    if limits.message_bytes > transport.max_message:
        limits = replace(limits, message_bytes=transport.max_message)
    link = PeerLink(scheduler, name=name, key=key, limits=limits, **options)
    return Sharing(scheduler, link, transport, name, gates)


def default_name() -> str:
    """A name for this process among its peers: a start has another one than the last."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"


class Sharing:
    """A link and its transport, while the ``async with`` block runs.

    The end of the block sends the last changes and closes the transport.
    """

    def __init__(
        self,
        scheduler: _core.Scheduler,
        link: PeerLink,
        transport: Transport,
        name: str,
        gates: Ingress | Gates | None = None,
    ) -> None:
        self.scheduler: _core.Scheduler = scheduler
        self.link: PeerLink = link
        self.transport: Transport = transport
        self.name: str = name
        """This gateway's name among its peers."""
        self.rejections: dict[str, int] = {}
        """Rejected messages by the code of their :class:`slotwise.PeerError`."""
        self._gates = gates
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> list[str]:
        """Names of the peers whose claims count."""
        return self.link.alive

    def stats(self) -> PeersStats:
        """Counts of messages."""
        return self.link.stats()

    async def __aenter__(self) -> Self:
        await self.transport.start(self._receive)
        self._task = asyncio.create_task(self._run(), name="slotwise.peers")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._send()
        await self.transport.close()

    async def _run(self) -> None:
        while True:
            self._send()
            # New dispatches are looked for: a scheduler reports none.
            await asyncio.sleep(LOOK_EVERY)

    def _send(self) -> None:
        try:
            self._exchange_usage()
            while (message := self.link.export_delta()) is not None:
                self.transport.broadcast(message)
        except Exception:
            log.exception("the messages of %s cannot be sent", self.name)

    def _receive(self, message: bytes) -> None:
        try:
            self.link.apply_delta(message)
            self._exchange_usage()
        except PeerError as error:
            count = self.rejections.get(error.code, 0)
            self.rejections[error.code] = count + 1
            if count == 0:
                log.warning("%s rejects a message of a peer: %s", self.name, error)
        except Exception:
            log.exception("%s cannot apply a message", self.name)

    def _exchange_usage(self) -> None:
        if self._gates is not None:
            self.link.exchange_usage(self._gates)
