"""One file that describes a gateway: pools, models, priorities, limits.

>>> from slotwise.configuration import Configuration
>>> configuration = Configuration("endpoints: [http://10.0.0.1:8000]")
>>> list(configuration.pools)
['default']
>>> Configuration("endpoint: [a]", name="gateway.yaml")
Traceback (most recent call last):
    ...
ValueError: gateway.yaml:1:1: unknown field "endpoint"; did you mean "endpoints"?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .machine import Machine
from .routing import Routing

__all__ = ["Change", "Configuration", "PoolConfig"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two configurations."""

    path: str
    """The path of the field, such as ``pools[llama].scheduler.seed``."""
    before: str | None
    """The value before, as JSON; ``None`` if it was a default."""
    after: str | None
    """The value after, as JSON; ``None`` if it is a default."""

    def __str__(self) -> str:
        return f"{self.path}: {self.before or 'default'} -> {self.after or 'default'}"


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """A pool: its scheduler, its endpoints, and the clusters that export it."""

    scheduler: dict[str, Any]
    """What ``Scheduler`` takes."""
    endpoints: list[dict[str, Any]]
    """What ``Endpoint`` takes, one for each."""
    balancing: dict[str, Any]
    """What counts as load where clusters export the pool."""
    exports: list[dict[str, Any]]
    """The clusters that export the pool; none if only this gateway serves it."""
    timeout: float | None
    """Seconds of the time-out of its requests; ``None`` leaves it to the host."""
    health_check: dict[str, Any] | None
    """How the host probes the endpoints; ``None`` probes none."""


class Configuration:
    """The configuration of a gateway, from YAML or JSON: an own file, Kubernetes kinds, or both.

    ``name`` appears in messages. Invalid files raise ``ValueError`` with one line for each problem.
    """

    def __init__(self, text: str, *, name: str = "configuration") -> None:
        self._file = {"name": name, "text": text}
        self._machine = Machine("configuration", **self._file)
        self._routing: dict[str, Any] = self._machine.call("routing")

    @property
    def source(self) -> str:
        """The text as it was given."""
        return self._file["text"]

    @property
    def pools(self) -> list[str]:
        """The names of the pools."""
        return [pool["name"] for pool in self._routing["pools"]]

    @property
    def ignored(self) -> list[str]:
        """What the file has and the gateway has no use for."""
        ignored: list[str] = self._machine.call("ignored")
        return ignored

    @property
    def gates(self) -> dict[str, Any] | None:
        """API keys, quotas and rate limits; ``None`` lets all requests pass."""
        gates: dict[str, Any] | None = self._machine.call("gates")
        return gates

    @property
    def signals(self) -> dict[str, list[str]]:
        """The engines' metrics by the name of their signal."""
        signals: dict[str, list[str]] = self._machine.call("signals")
        return signals

    @staticmethod
    def schema() -> str:
        """The JSON Schema of the own file, for editors."""
        schema: str = Machine("configuration", name="", text="{}").call("schema")
        return schema

    def pool(self, name: str) -> PoolConfig:
        """The pool of this name. Raises ``KeyError`` if there is none."""
        pool = self._machine.call("pool", pool=name)
        if pool is None:
            raise KeyError(name)
        return PoolConfig(**pool)

    def routing(self, *, seed: int = 0) -> Routing:
        """The rules by which requests find their pool."""
        return Routing(self._routing, seed=seed)

    def _ingress(self) -> dict[str, Any]:
        """What an ``Ingress`` takes."""
        return {"routing": self._routing, "gates": self.gates}

    def clusters(self, pool: str | None = None) -> dict[str, Any]:
        """What ``Clusters`` takes: the pools that clusters export, or only this one."""
        clusters: dict[str, Any] = self._machine.call("clusters", pool=pool)
        return clusters

    def text(self) -> str:
        """The file without defaults."""
        text: str = self._machine.call("text")
        return text

    def diff(self, newer: Configuration) -> list[Change]:
        """What differs in ``newer``, by path."""
        return [Change(**change) for change in self._machine.call("diff", **newer._file)]
