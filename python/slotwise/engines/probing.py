"""Active health checks of all endpoints. See :func:`probe`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .. import _core
from ..errors import UnknownEndpointError
from ..health_checks import HealthChecks, Probe
from .background import Background, Sleep, log
from .http import Get
from .members import Members


def probe(
    scheduler: _core.Scheduler,
    get: Get,
    checks: Mapping[str, Any] | None = None,
    *,
    every: float = 1.0,
    seed: int = 0,
    clock: Callable[[], float] | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Prober:
    """Probes every endpoint, and reports those that are unhealthy to ``handle_probe``.

    ``checks`` are the fields of a pool's ``health_check``: ``path``, ``port``, ``interval``,
    ``timeout``, ``healthy_threshold`` and ``unhealthy_threshold``. A 200 passes. Endpoints that are
    added or removed are found within ``every`` seconds. ``clock`` returns seconds, by default those
    of the event loop.

    Raises :class:`ValueError` for an invalid field.
    """
    return Prober(scheduler, get, checks or {}, every=every, seed=seed, clock=clock, sleep=sleep)


class Prober(Background):
    """The health checks, in the background of an ``async with`` block."""

    def __init__(
        self,
        scheduler: _core.Scheduler,
        get: Get,
        checks: Mapping[str, Any],
        *,
        every: float,
        seed: int,
        clock: Callable[[], float] | None,
        sleep: Sleep,
    ) -> None:
        super().__init__()
        config = {name: value for name, value in checks.items() if value is not None}
        self._checks = HealthChecks(config, seed=seed)
        self._scheduler = scheduler
        self._members = Members(scheduler)
        self._get = get
        self._path: str = config.get("path", "/health")
        self._port: int | None = config.get("port")
        self._every = every
        self._clock = clock
        self._sleep = sleep
        self._probes: dict[int, asyncio.Task[None]] = {}
        self.unhealthy: set[str] = set()
        """The names of the endpoints that were reported as unhealthy."""

    def handle_failure(self, endpoint_id: int) -> None:
        """Reports a failed request: earlier passed probes of its endpoint no longer count."""
        self._checks.handle_failure(endpoint_id)

    async def _start(self) -> None:
        self._spawn(self._run(), "Prober")

    def _now(self) -> float:
        """The time in seconds."""
        clock = self._clock or asyncio.get_running_loop().time
        return clock()

    async def _run(self) -> None:
        while True:
            try:
                self._look()
                self._act()
            except Exception:
                log.exception("health checks failed, and go on")
            due = self._checks.next_timeout()
            wait = self._every if due is None else min(self._every, due - self._now())
            await self._sleep(max(wait, _SHORTEST))

    def _look(self) -> None:
        """Watches new endpoints, and stops with those that were removed."""
        joined, left = self._members.look()
        for endpoint_id, name in left.items():
            self._checks.unwatch(endpoint_id)
            self.unhealthy.discard(name)
            if (open_probe := self._probes.pop(endpoint_id, None)) is not None:
                open_probe.cancel()
        for endpoint_id in joined:
            self._checks.watch(endpoint_id, now=self._now())

    def _act(self) -> None:
        """Sends the probes that are due, and reports results."""
        while (step := self._checks.poll(now=self._now())) is not None:
            endpoint_id = step.endpoint_id
            if isinstance(step, Probe):
                if (late := self._probes.pop(endpoint_id, None)) is not None:
                    late.cancel()  # Its time is over.
                name = self._members.names[endpoint_id]
                work = self._send(step, name)
                self._probes[endpoint_id] = self._spawn(work, f"probe of {name}")
            else:
                self._report(endpoint_id, step.passed)

    async def _send(self, probe: Probe, name: str) -> None:
        try:
            status, _ = await self._get(self._url(name))
        except Exception as error:
            log.debug("%s: probe failed: %r", name, error)
            status = 0
        self._checks.handle_result(probe, passed=status == 200)
        self._act()

    def _report(self, endpoint_id: int, passed: bool) -> None:
        name = self._members.names[endpoint_id]
        if passed and name in self.unhealthy:
            log.info("%s is healthy", name)
            self.unhealthy.discard(name)
        elif not passed and name not in self.unhealthy:
            log.warning("%s is unhealthy", name)
            self.unhealthy.add(name)
        try:
            self._scheduler.handle_probe(endpoint_id, passed)
        except UnknownEndpointError:
            pass  # It was removed since the last look.

    def _url(self, name: str) -> str:
        if self._port is None:
            return name.rstrip("/") + self._path
        parts = urlsplit(name)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}:{self._port}{self._path}"


_SHORTEST = 0.001
"""Seconds between two rounds at least: an event loop may wake a little early."""
