"""Which cluster serves a request to a pool that several clusters export.

>>> from slotwise.clusters import Clusters
>>> balancing = {"max_in_flight_per_endpoint": 1}
>>> clusters = Clusters({"pools": [{"name": "llama", "balancing": balancing, "exports": [
...     {"cluster": "near"},
...     {"cluster": "far", "network_time": 0.04},
... ]}]})
>>> for cluster in ["near", "far"]:
...     clusters.report("llama", cluster, now=0.0)
>>> clusters.choose("llama", now=0.1).cluster
'near'
>>> spilled = clusters.choose("llama", now=0.2)
>>> spilled.cluster, spilled.reason
('far', 'spill')
>>> clusters.complete("llama", "near", now=1.5)

Times are seconds on one clock of the host; ``now`` never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SlotwiseError
from .machine import Machine

__all__ = [
    "Candidate",
    "Choice",
    "Clusters",
    "DryRun",
    "Explanation",
    "NoClusterError",
    "TimeoutHint",
]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a metric in dry run would have decided."""

    metric: str
    """The name of the metric."""
    cluster: str | None
    """The cluster, or ``None`` if it would have found none."""
    reason: str | None
    """Why the cluster would have been chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The cluster that serves a request."""

    cluster: str
    """The name of the cluster."""
    region: str
    """Its region."""
    reason: str
    """``nearest``, ``prefix``, ``spill``, ``fail_over``, ``ramp``, ``score``, ``full`` or
    ``last_resort``."""
    cost: float
    """Seconds for the network round trip, the wait and the prefill of uncached tokens."""
    cached_tokens: int
    """Tokens of the prompt whose KV cache the cluster holds, as far as is known."""
    dry_run: tuple[DryRun, ...]
    """What each metric in dry run would have decided."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cluster that exports the pool, as one request sees it."""

    cluster: str
    """The name of the cluster."""
    region: str
    """Its region."""
    standing: str
    """``room`` or ``full``; otherwise why it gets no request: ``ramping``, ``silent``,
    ``failing``, ``unready``, ``draining`` or ``excluded``."""
    load: float
    """Its load in relation to its target: 1 is at the target."""
    in_flight: int
    """This router's requests in flight."""
    share: float
    """The share of its requests that it gets while it comes back; 1 otherwise."""
    network_time: float
    """Seconds of the network round trip."""
    wait: float
    """Seconds of the reported wait."""
    cached_tokens: int
    """Tokens of the prompt whose KV cache it holds, as far as is known."""
    cost: float
    """Seconds for the network round trip, the wait and the prefill of uncached tokens."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All candidates of a request, and the choice."""

    choice: Choice | None
    """The choice, which has not been made."""
    candidates: tuple[Candidate, ...]
    """The candidates, the nearest first."""


@dataclass(frozen=True, slots=True)
class TimeoutHint:
    """Whether the time-out of a pool leaves room above its durations."""

    timeout: float | None
    """Seconds of the configured time-out."""
    p99: float
    """Seconds of the observed 99th percentile of the durations."""
    least: float
    """The least recommended time-out: twice the 99th percentile."""
    is_too_short: bool
    """Whether the time-out is shorter than recommended."""


class NoClusterError(SlotwiseError, LookupError):
    """No cluster can serve a request."""

    http_status: int
    """The status of the client's answer."""

    def __init__(self, message: str, code: str, http_status: int) -> None:
        super().__init__(message, code)
        self.http_status = http_status


class Clusters:
    """The clusters behind one router.

    ``config`` has pools with their exports, and times. An invalid field raises ``ValueError`` with
    its path. Every export is silent until its first report.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._machine = Machine("clusters", config=config)

    def report(
        self,
        pool: str,
        cluster: str,
        *,
        now: float,
        healthy: bool = True,
        ready_endpoints: int | None = None,
        in_flight: int | None = None,
        utilization: Mapping[str, float] | None = None,
        queue: float | None = None,
        wait: float = 0.0,
    ) -> None:
        """Records what a cluster reports.

        Without ``ready_endpoints``, all that the export lists count, or 1 if it lists none.
        ``in_flight`` counts requests from all routers, ``utilization`` has shares by the metric's
        name, ``queue`` is the mean of requests that wait at an endpoint, and ``wait`` is the
        predicted seconds of a new request in its queues.
        """
        report = {
            "healthy": healthy,
            "ready_endpoints": ready_endpoints,
            "in_flight": in_flight,
            "utilization": utilization or {},
            "queue": queue,
            "wait": wait,
        }
        self._machine.call("report", now=now, pool=pool, cluster=cluster, report=report)

    def choose(
        self,
        pool: str,
        *,
        now: float,
        prompt_tokens: int = 0,
        session: str | None = None,
        cached_tokens: Mapping[str, int] | None = None,
        exclude: Iterable[str] = (),
    ) -> Choice:
        """Chooses a cluster and books the request until ``complete``, ``fail`` or ``cancel``.

        ``cached_tokens`` are those of the prompt that clusters hold; they replace what
        ``session`` implies. Raises ``NoClusterError`` if no cluster may get the request.
        """
        answer = self._machine.call(
            "choose",
            now=now,
            pool=pool,
            prompt_tokens=prompt_tokens,
            session=session,
            cached_tokens=cached_tokens,
            exclude=list(exclude),
        )
        return _choice(_accepted(answer))

    def explain(
        self,
        pool: str,
        *,
        now: float,
        prompt_tokens: int = 0,
        session: str | None = None,
        cached_tokens: Mapping[str, int] | None = None,
        exclude: Iterable[str] = (),
    ) -> Explanation:
        """What ``choose`` would return and why, without an effect."""
        answer = self._machine.call(
            "explain",
            now=now,
            pool=pool,
            prompt_tokens=prompt_tokens,
            session=session,
            cached_tokens=cached_tokens,
            exclude=list(exclude),
        )
        answer = _accepted(answer)
        return Explanation(
            choice=_choice(answer["choice"]) if answer["choice"] else None,
            candidates=tuple(
                Candidate(**{**candidate, "load": float(candidate["load"])})
                for candidate in answer["candidates"]
            ),
        )

    def begin(self, pool: str, cluster: str, *, now: float) -> None:
        """Books a request on a cluster that the host selected itself."""
        self._machine.call("begin", now=now, pool=pool, cluster=cluster)

    def complete(
        self, pool: str, cluster: str, *, now: float, duration: float | None = None
    ) -> None:
        """A request ended well. ``duration`` in seconds counts for ``timeout_hint``."""
        self._machine.call("complete", now=now, pool=pool, cluster=cluster, duration=duration)

    def fail(self, pool: str, cluster: str, *, now: float) -> None:
        """A request ended because of the cluster."""
        self._machine.call("fail", now=now, pool=pool, cluster=cluster)

    def cancel(self, pool: str, cluster: str, *, now: float) -> None:
        """A request ended because of its client."""
        self._machine.call("cancel", now=now, pool=pool, cluster=cluster)

    def export(self, pool: str, export: Mapping[str, Any], *, now: float) -> None:
        """Adds an export, changes one, or takes a withdrawal back."""
        self._machine.call("export", now=now, pool=pool, export=export)

    def set_config(self, config: Mapping[str, Any], *, now: float) -> None:
        """Changes the configuration; sessions, requests in flight and health are kept.

        Exports that are missing are withdrawn, and new ones get a growing share.
        """
        self._machine.call("set_config", now=now, config=config)

    def withdraw(self, pool: str, cluster: str, *, now: float) -> None:
        """Withdraws an export: it gets nothing new."""
        self._machine.call("withdraw", now=now, pool=pool, cluster=cluster)

    def drained(self) -> list[tuple[str, str]]:
        """Pool and cluster of each withdrawn export that has drained since the last call."""
        return [(it["pool"], it["cluster"]) for it in self._machine.call("drained")]

    def timeout_hint(self, pool: str) -> TimeoutHint | None:
        """Whether the pool's time-out is at least twice the 99th percentile of its durations.

        ``None`` until 100 durations were observed.
        """
        hint = self._machine.call("timeout_hint", pool=pool)
        return TimeoutHint(**hint) if hint else None

    def next_timeout(self) -> float | None:
        """When an export's health or ramp changes next without an input."""
        at: float | None = self._machine.call("next_timeout")
        return at


def _accepted(answer: dict[str, Any]) -> dict[str, Any]:
    if refused := answer.get("refused"):
        raise NoClusterError(refused["message"], refused["code"], refused["http_status"])
    return answer


def _choice(choice: dict[str, Any]) -> Choice:
    dry_run = tuple(DryRun(**would) for would in choice["dry_run"])
    return Choice(**{**choice, "dry_run": dry_run})
