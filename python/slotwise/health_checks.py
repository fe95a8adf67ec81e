"""Active health checks: which endpoint the host probes next, and what its results mean.

>>> from slotwise.health_checks import HealthChecks, Probe, Report
>>> checks = HealthChecks({"interval": 5, "timeout": 1, "unhealthy_threshold": 1}, seed=7)
>>> checks.watch(0, now=0.0)
>>> now = checks.next_timeout()
>>> probe = checks.poll(now=now)
>>> isinstance(probe, Probe), probe.endpoint_id
(True, 0)
>>> checks.handle_result(probe, passed=False)
>>> checks.poll(now=now)
Report(endpoint_id=0, passed=False)

Pass each report to ``scheduler.handle_probe``. :func:`slotwise.engines.probe` does all of this over
HTTP. Times are seconds of ``time.monotonic``, unless ``now`` is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .gates import micros
from .machine import Machine

__all__ = ["HealthChecks", "Probe", "Report"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe to send. Report its end by ``handle_result``."""

    endpoint_id: int
    """The endpoint."""
    number: int
    """The number of the probe."""
    deadline: float
    """When it has failed without a result, in seconds."""


@dataclass(frozen=True, slots=True)
class Report:
    """What to pass to ``scheduler.handle_probe``."""

    endpoint_id: int
    """The endpoint."""
    passed: bool
    """Whether it is healthy."""


class HealthChecks:
    """The probes of a pool's endpoints. At most one probe of an endpoint is open.

    ``config`` is the ``health_check`` of a pool's configuration: path, port, interval, timeout and
    thresholds. An invalid field raises ``ValueError``. ``seed`` spreads the first probes.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, *, seed: int = 0) -> None:
        self._machine = Machine("health_checks", config=config or {}, seed=seed)

    def watch(self, endpoint_id: int, *, now: float | None = None) -> None:
        """The endpoint is probed from now on."""
        self._machine.call("watch", endpoint_id=endpoint_id, at_us=micros(now))

    def unwatch(self, endpoint_id: int) -> None:
        """The endpoint is probed no longer."""
        self._machine.call("unwatch", endpoint_id=endpoint_id)

    def poll(self, *, now: float | None = None) -> Probe | Report | None:
        """The next step. Call it until it returns ``None``, then wait for ``next_timeout``."""
        step = self._machine.call("poll", at_us=micros(now))
        if step is None:
            return None
        if "report" in step:
            return Report(step["endpoint_id"], step["report"])
        return Probe(step["endpoint_id"], step["probe"], step["deadline_us"] / 1e6)

    def next_timeout(self) -> float | None:
        """When to call ``poll``, in seconds; ``None`` while no endpoint is watched."""
        at: int | None = self._machine.call("next_timeout")
        return None if at is None else at / 1e6

    def handle_result(self, probe: Probe, *, passed: bool) -> None:
        """A probe has ended. A result after its deadline has no effect."""
        self._machine.call(
            "handle_result", endpoint_id=probe.endpoint_id, probe=probe.number, passed=passed
        )

    def handle_failure(self, endpoint_id: int) -> None:
        """A request to the endpoint failed: the count of passed probes begins again."""
        self._machine.call("handle_failure", endpoint_id=endpoint_id)
