"""Reads the metrics pages of all endpoints. See :func:`scrape`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import _core, wire
from ..errors import WireError
from .background import Followers, Sleep, log
from .http import Get


def scrape(
    scheduler: _core.Scheduler,
    get: Get,
    *,
    interval: float = 1.0,
    timeout: float = 5.0,
    backoff_limit: float = 10.0,
    path: str = "/metrics",
    page: Mapping[str, Any] | None = None,
    seed: int = 0,
    sleep: Sleep = asyncio.sleep,
) -> Scraper:
    """Reads the metrics page of every endpoint about once per ``interval``, in seconds.

    Endpoints that are added later are found. Their names are their URLs. The seed spreads the
    requests over the interval. At most one request of an endpoint is open, and it fails after
    ``timeout``. While an endpoint fails, the time between two requests doubles up to
    ``backoff_limit``.

    A page goes to ``handle_metrics_page``, with the keywords in ``page``. The first one also sets
    the block size and ``kv_cache_tokens`` of an endpoint that was described without the latter.

    A failed request goes to ``handle_probe`` as a failed probe. So does a page that is not a
    metrics page. There are two exceptions: an engine that has not measured anything yet, and one
    that answers 404, 405 or 501 from the start. The latter has no metrics page.

    .. code-block:: python

        async with engines.scrape(scheduler, engines.httpx_get(client)):
            ...
    """
    return Scraper(
        scheduler,
        get,
        interval=interval,
        timeout=timeout,
        backoff_limit=backoff_limit,
        path=path,
        page=page or {},
        seed=seed,
        sleep=sleep,
    )


class Scraper(Followers):
    """The requests for metrics pages, in the background of an ``async with`` block."""

    def __init__(
        self,
        scheduler: _core.Scheduler,
        get: Get,
        *,
        interval: float,
        timeout: float,
        backoff_limit: float,
        path: str,
        page: Mapping[str, Any],
        seed: int,
        sleep: Sleep,
    ) -> None:
        if not interval > 0.0 or not timeout > 0.0:
            raise ValueError("interval and timeout must be above 0")
        super().__init__(scheduler, every=interval, sleep=sleep)
        self._get = get
        self._interval = interval
        self._timeout = timeout
        self._backoff_limit = max(backoff_limit, interval)
        self._path = path
        self._page = page
        self._seed = seed
        self.failing: dict[str, str] = {}
        """The last error of each endpoint whose last request failed, by name."""

    async def _follow(self, endpoint_id: int, name: str) -> None:
        rng = random.Random(f"{self._seed} {name}")
        pages = failures = 0
        try:
            await self._sleep(self._interval * rng.random())
            while True:
                if await self._scrape(endpoint_id, name, first=pages == 0):
                    pages, failures = pages + 1, 0
                else:
                    failures += 1
                wait = min(self._interval * 2.0 ** min(failures, 30), self._backoff_limit)
                # Engines that were in step do not stay so.
                await self._sleep(wait * (0.9 + 0.2 * rng.random()))
        finally:
            self.failing.pop(name, None)

    async def _scrape(self, endpoint_id: int, name: str, *, first: bool) -> bool:
        """Reads one page. Returns whether that succeeded."""
        try:
            async with asyncio.timeout(self._timeout):
                status, body = await self._get(name.rstrip("/") + self._path)
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and not str(error)
            reason = f"no response within {self._timeout:g} s" if timed_out else str(error) or repr(error)
            return self._failed(endpoint_id, name, reason, probe=True)
        if status != 200:
            no_page = first and status in _NO_PAGE
            return self._failed(endpoint_id, name, f"status {status}", probe=not no_page)
        try:
            if first:
                self._describe(endpoint_id, body)
            self._scheduler.handle_metrics_page(endpoint_id, body, **self._page)
        except WireError as error:
            idle = error.code == "nothing_known"
            return self._failed(endpoint_id, name, str(error), probe=not idle)
        if self.failing.pop(name, None) is not None:
            log.info("%s: its metrics page is back", name)
        return True

    def _failed(self, endpoint_id: int, name: str, reason: str, *, probe: bool) -> bool:
        if name not in self.failing:
            log.warning("%s: no metrics page: %s", name, reason)
        self.failing[name] = reason
        if probe:
            self._scheduler.handle_probe(endpoint_id, passed=False)
        return False

    def _describe(self, endpoint_id: int, body: bytes) -> None:
        """Completes the endpoint's description by its page."""
        endpoint = self._scheduler.endpoint(endpoint_id)
        if endpoint is None or endpoint.kv_cache_tokens is not None:
            return
        read = wire.read_metrics(body, **self._page)
        if read.kv_cache_tokens is not None:
            described = replace(
                endpoint,
                block_size=read.block_size or endpoint.block_size,
                kv_cache_tokens=read.kv_cache_tokens,
            )
            self._scheduler.update_endpoint(endpoint_id, described)


_NO_PAGE = (404, 405, 501)
