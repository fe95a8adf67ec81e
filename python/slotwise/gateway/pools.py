"""The pools of a configuration: one scheduler each, changed while they serve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ..aio import Scheduler
from ..configuration import Configuration

__all__ = ["Pool", "Pools"]


class Pool:
    """A pool that requests may be routed to."""

    def __init__(self, name: str, configuration: Configuration, seed: int) -> None:
        self.name: str = name
        config = configuration.pool(name).scheduler
        if not config["seed"]:
            # The next configuration without a seed keeps this one.
            config = {**config, "seed": seed}
        self.scheduler: Scheduler = Scheduler(config)
        self.scheduler.apply(configuration, name)
        self.health_check: dict[str, Any] | None = configuration.pool(name).health_check
        """How its endpoints are probed; ``None`` probes none."""

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or is in flight."""
        return self.scheduler.queued == 0 and self.scheduler.stats().in_flight == 0


def _check_urls(configuration: Configuration) -> None:
    """Raises ``ValueError`` for an endpoint whose name is no URL: requests go there."""
    for pool in configuration.pools:
        for endpoint in configuration.pool(pool).endpoints:
            url = urlsplit(endpoint["name"])
            if url.scheme not in ("http", "https") or url.hostname is None:
                raise ValueError(
                    f"the endpoint {endpoint['name']!r} of the pool {pool!r} must be a URL, "
                    "such as http://10.0.0.1:8000"
                )


class Pools:
    """The pools by their names."""

    def __init__(self, configuration: Configuration, *, seed: int) -> None:
        _check_urls(configuration)
        self._configuration = configuration
        self._seed = seed
        self._pools = {name: Pool(name, configuration, seed) for name in configuration.pools}
        self._leaving: list[Pool] = []

    def __getitem__(self, name: str) -> Pool:
        return self._pools[name]

    def __iter__(self) -> Iterator[Pool]:
        """The pools of the configuration, and those that still serve their last requests."""
        yield from self._pools.values()
        yield from self._leaving

    @property
    def ready(self) -> bool:
        """Whether any endpoint accepts requests."""
        return any(pool.scheduler.accepting_endpoints for pool in self._pools.values())

    def without_models(self) -> list[Pool]:
        """The pools that list no models, and so serve any."""
        routing = self._configuration._routing
        listed = {pool["name"] for pool in routing["pools"] if pool.get("models")}
        return [pool for name, pool in self._pools.items() if name not in listed]

    def apply(self, configuration: Configuration) -> None:
        """Changes the pools to those of another configuration.

        Requests keep the pool that they have. Raises ``ValueError`` for a field that cannot
        change. The pools are as before then.
        """
        _check_urls(configuration)
        added = {
            name: Pool(name, configuration, self._seed)
            for name in configuration.pools
            if name not in self._pools
        }
        changed: list[Pool] = []
        try:
            for name in configuration.pools:
                if (pool := self._pools.get(name)) is not None:
                    changed.append(pool)
                    pool.scheduler.apply(configuration, name)
        except Exception:
            for pool in changed:
                pool.scheduler.apply(self._configuration, pool.name)
            raise
        for pool in changed:
            pool.health_check = configuration.pool(pool.name).health_check
        for name in set(self._pools) - set(configuration.pools):
            pool = self._pools.pop(name)
            self._leaving.append(pool)
        self._pools |= added
        self._configuration = configuration

    def remove_idle(self) -> None:
        """Forgets pools and endpoints that have left the configuration and serve no request."""
        self._leaving = [pool for pool in self._leaving if not pool.is_idle]
        for pool in self:
            pool.scheduler.remove_idle()
