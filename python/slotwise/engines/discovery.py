"""Keeps a pool in step with a list of engines. See :func:`discover`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from .. import aio
from ..config import Endpoint
from ..errors import EndpointError, UnknownEndpointError
from .background import Background, Sleep, log
from .draining import drain
from .sources import Source, of_list


def discover(
    scheduler: aio.Scheduler,
    source: Source | Collection[str],
    *,
    interval: float = 5.0,
    drain_timeout: float | None = 30.0,
    describe: Callable[[str], Endpoint] | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Discovery:
    """Adds the engines that the ``source`` lists, and removes those that it no longer lists.

    The source is a collection of URLs, or :func:`of_file`, :func:`of_dns` or :func:`of_srv`. It is
    read at the start of the block, and again after each ``interval`` in seconds. While it cannot be
    read, the pool stays as it is. An engine that is no longer listed drains for up to
    ``drain_timeout`` seconds; if it is listed again meanwhile, it resumes.

    ``describe`` returns the description of an engine from its URL. Without it, the first metrics
    page provides the block size and the KV cache: see :func:`scrape`.

    Endpoints that other code has added are left alone. They stay in the pool at the end of the
    block, as do all others.
    """
    listed = source if callable(source) else of_list(tuple(source))
    return Discovery(
        scheduler,
        listed,
        interval=interval,
        drain_timeout=drain_timeout,
        describe=describe or _unknown,
        sleep=sleep,
    )


class Discovery(Background):
    """The engines of a source, in the background of an ``async with`` block."""

    def __init__(
        self,
        scheduler: aio.Scheduler,
        source: Source,
        *,
        interval: float,
        drain_timeout: float | None,
        describe: Callable[[str], Endpoint],
        sleep: Sleep,
    ) -> None:
        if not interval > 0.0:
            raise ValueError("interval must be above 0")
        super().__init__()
        self._scheduler = scheduler
        self._source = source
        self._interval = interval
        self._drain_timeout = drain_timeout
        self._describe = describe
        self._sleep = sleep
        self._draining: dict[str, asyncio.Task[None]] = {}
        self.endpoints: dict[str, int] = {}
        """The ids of the listed engines, by URL."""
        self.error: str | None = None
        """Why the source could not be read, if the last attempt failed."""

    async def _start(self) -> None:
        await self.look()
        self._spawn(self._watch(), "Discovery")

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._interval)
            await self.look()

    async def look(self) -> None:
        """Reads the source now. Errors are logged."""
        try:
            listed = dict.fromkeys(await self._source())
        except Exception as error:
            if self.error is None:
                log.warning("the engines cannot be listed, and stay as they are: %r", error)
            self.error = repr(error)
            return
        self.error = None
        for url in self.endpoints.keys() - listed.keys():
            log.info("%s is no longer listed", url)
            endpoint_id = self.endpoints.pop(url)
            self._draining[url] = self._spawn(self._leave(url, endpoint_id), f"drain of {url}")
        for url in listed:
            if url not in self.endpoints:
                self._enter(url)

    def _enter(self, url: str) -> None:
        """Adds an engine, or resumes it if it has not left yet."""
        endpoint_id = self._scheduler.endpoint_named(url)
        draining = self._draining.pop(url, None)
        if draining is not None:
            draining.cancel()
        try:
            if endpoint_id is None:
                self.endpoints[url] = self._scheduler.add_endpoint(self._describe(url))
                log.info("%s is added", url)
            elif draining is not None:
                self._scheduler.resume_endpoint(endpoint_id)
                self.endpoints[url] = endpoint_id
                log.info("%s is listed again", url)
        except EndpointError as error:
            log.error("%s is not added: %s", url, error)

    async def _leave(self, url: str, endpoint_id: int) -> None:
        try:
            await drain(self._scheduler, endpoint_id, self._drain_timeout)
        except UnknownEndpointError:
            pass  # Other code has removed it.
        self._draining.pop(url, None)


def _unknown(url: str) -> Endpoint:
    return Endpoint(url, block_size=None)
