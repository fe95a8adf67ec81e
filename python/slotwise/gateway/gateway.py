"""The gateway: its parts, and their life from the start to the last answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from types import TracebackType
from typing import Any, Self

from ..configuration import Configuration
from ..ingress import Ingress
from ..telemetry import Telemetry
from .admin import admin_handler_of
from .following import Following
from .history import History
from .mirrors import Mirrors
from .peering import Peering, peering_of
from .pools import Pool, Pools
from .server import Listener, handler_of
from .settings import Settings
from .upstream import Upstream

__all__ = ["Gateway"]

_log = logging.getLogger("slotwise.gateway")


class Gateway:
    """A gateway for the pools of a configuration. Use it as a context manager.

    It listens while the block runs. At the end, it refuses new requests, waits for those in
    flight, and closes its connections.
    """

    def __init__(self, configuration: Configuration, settings: Settings | None = None) -> None:
        self.settings: Settings = settings or Settings()
        self.ingress: Ingress = Ingress(configuration, allow=self.settings.allow)
        self.peering: Peering | None = peering_of(self.settings)
        """How its pools are shared with other gateways."""
        # Clients that know the seed could look for prompts whose blocks are taken for another's.
        seed = self.peering.seed if self.peering else secrets.randbits(63)
        self.pools: Pools = Pools(configuration, seed=seed)
        if unknown := self.settings.discover.keys() - set(configuration.pools):
            raise ValueError(
                f"no pool is named {min(unknown)!r}, whose engines are to be discovered: the "
                f"pools are {', '.join(configuration.pools)}"
            )
        self.upstream: Upstream = Upstream(connect_timeout=self.settings.connect_timeout)
        self.history: History = History(enabled=self.settings.admin is not None)
        self.mirrors: Mirrors = Mirrors(self)
        self.following: Following = Following(self)
        self.telemetry: Telemetry = Telemetry()
        self.statuses: Counter[int] = Counter()
        """Answers to requests by their status; pages are not among them."""
        self.open_requests: int = 0
        """Requests whose answer has not ended."""
        self.stopping: bool = False
        """Whether new requests are refused."""
        self.reload_error: str | None = None
        """Why the last configuration was not applied."""
        self.url: str = ""
        """Where clients connect, once the gateway listens."""
        self.admin_url: str | None = None
        """The address of the admin page, if it is served."""
        self._adopt(configuration)
        self._idle = asyncio.Event()
        self._idle.set()
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Self:
        await self.upstream.__aenter__()
        try:
            self.following.sync()
            self.url = await self._listen(self.settings.address, handler_of(self))
            if self.settings.admin is not None:
                page = await self._listen(self.settings.admin, admin_handler_of(self))
                self.admin_url = f"{page}/"
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def configuration(self) -> Configuration:
        """The configuration that is applied."""
        return self._configuration

    @property
    def has_gates(self) -> bool:
        """Whether clients need keys or have limits."""
        return self._has_gates

    @property
    def safety_config(self) -> dict[str, Any] | None:
        """The limits of checks: ``gates.safety`` of the configuration."""
        return self._safety_config

    def apply(self, configuration: Configuration) -> None:
        """Changes to another configuration. Requests in flight and in the queue stay.

        Raises ``ValueError`` for a field that cannot change. Nothing is changed then.
        """
        Ingress(configuration, allow=self.settings.allow)
        self.pools.apply(configuration)
        self.ingress.set_config(configuration)
        self._adopt(configuration)
        self.following.sync()

    def opened(self) -> None:
        """A request has come."""
        self.open_requests += 1
        self._idle.clear()

    def closed(self, status: int) -> None:
        """An answer with this status has ended."""
        self.statuses[status] += 1
        self.open_requests -= 1
        if self.open_requests == 0:
            self._idle.set()

    async def stop(self) -> None:
        """Refuses new requests, waits for those in flight, and closes all connections.

        After ``Settings.drain`` seconds, the requests that are left are broken off.
        """
        if not self.stopping:
            self.stopping = True
            await asyncio.sleep(self.settings.grace)
        for listener in self._listeners:
            await listener.stop_listening()
        try:
            async with asyncio.timeout(self.settings.drain):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%d requests are broken off at the stop", self.open_requests)
        await self._close()

    async def served_by(self, pool: Pool) -> list[str]:
        """The models that the first reachable engine of a pool lists."""
        for engine in pool.scheduler.endpoint_names().values():
            try:
                page = await self.upstream.get_json(engine, "/v1/models", timeout=5.0)
                return [str(model["id"]) for model in page["data"]]
            except Exception as error:
                _log.info("%s lists no models: %r", engine, error)
        return []

    def _adopt(self, configuration: Configuration) -> None:
        self._configuration = configuration
        gates = configuration.gates
        self._has_gates = gates is not None
        self._safety_config: dict[str, Any] | None = (gates or {}).get("safety")

    async def _listen(self, address: tuple[str, int], handler: Any) -> str:
        # Each process has an admin page of its own.
        reuse_port = self.settings.reuse_port and address == self.settings.address
        max_body = self.settings.max_body
        listener = Listener(address, handler, max_body=max_body, reuse_port=reuse_port)
        self._listeners.append(listener)
        host, port = await listener.start()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _close(self) -> None:
        for listener in self._listeners:
            await listener.close()
        await self.mirrors.close()
        await self.following.close()
        await self.upstream.__aexit__()
