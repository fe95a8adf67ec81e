"""Chooses the engines of the vLLM production stack's router.

Its routing logic cannot be extended by configuration. Replace it in the application:

.. code-block:: python

    from vllm_router.app import app, initialize_all

    initialize_all(app, parse_args())
    install(app, slotwise.Scheduler())
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._core import Rejected, Scheduler
from .booking import Bookings, endpoint_id

if TYPE_CHECKING:
    RoutingInterface = object
else:
    from vllm_router.routers.routing_logic import RoutingInterface


class SlotwiseRouter(RoutingInterface):
    """Routing logic that books each attempt. :func:`install` adds what ends the bookings."""

    max_instance_failover_reroute_attempts: int = 0

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        session_key: str | None = None,
        idle_limit: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bookings: Bookings = Bookings(scheduler, idle_limit=idle_limit, clock=clock)
        self.session_key: str | None = session_key
        self._loads: dict[str, Any] = {}

    def route_request(
        self, endpoints: list[Any], engine_stats: Any, request_stats: Any, request: Any
    ) -> str:
        """Returns the URL of the chosen engine."""
        scheduler = self.bookings.scheduler
        urls = {endpoint_id(scheduler, endpoint.url): str(endpoint.url) for endpoint in endpoints}
        for key, url in urls.items():
            stats = engine_stats.get(url)
            if stats is not None and self._loads.get(url) is not stats:
                self._loads[url] = stats
                # The counts are floats there.
                running, waiting = int(stats.num_running_requests), int(stats.num_queuing_requests)
                scheduler.handle_load(key, running=running, waiting=waiting)
        # The router has read the body before it routes.
        lease = self.bookings.choose(
            body=getattr(request, "_body", None) or None,
            path=request.url.path,
            session=request.headers.get(self.session_key) if self.session_key else None,
            subset=list(urls),
        )
        # Without an endpoint that accepts requests, any is as good.
        return next(iter(urls.values())) if isinstance(lease, Rejected) else urls[lease.endpoint_id]


def install(app: Any, scheduler: Scheduler, **options: Any) -> SlotwiseRouter:
    """Replaces the routing logic of an initialized application, and returns it.

    A reload of the dynamic configuration creates the configured logic again: call this again.
    """
    router = SlotwiseRouter(scheduler, **options)
    attempts = getattr(app.state.router, "max_instance_failover_reroute_attempts", 0)
    router.max_instance_failover_reroute_attempts = attempts
    app.state.router = router
    monitor = app.state.request_stats_monitor
    if not isinstance(monitor, _Monitor):
        app.state.request_stats_monitor = _Monitor(monitor, router.bookings)
    return router


class _Monitor:
    """The monitor of requests, whose events have the request's id. Routing logic has none."""

    def __init__(self, monitor: Any, bookings: Bookings) -> None:
        self._monitor, self._bookings = monitor, bookings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._monitor, name)

    def on_new_request(self, engine_url: str, request_id: str, timestamp: float) -> None:
        # The router sends again only if the engine could not be reached.
        if (failed := self._bookings.take(request_id)) is not None:
            failed.fail("unreachable")
        self._bookings.bind(request_id)
        self._monitor.on_new_request(engine_url, request_id, timestamp)

    def on_request_response(self, engine_url: str, request_id: str, timestamp: float) -> None:
        if (lease := self._bookings.find(request_id)) is not None:
            lease.first_token()
        self._monitor.on_request_response(engine_url, request_id, timestamp)

    def on_request_complete(self, engine_url: str, request_id: str, timestamp: float) -> None:
        if (lease := self._bookings.take(request_id)) is not None:
            lease.complete()
        self._monitor.on_request_complete(engine_url, request_id, timestamp)
