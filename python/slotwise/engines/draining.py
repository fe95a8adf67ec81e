"""Takes an endpoint out of the pool without a loss. See :func:`drain`."""

from __future__ import annotations

import asyncio

from .. import aio
from ..errors import UnknownEndpointError
from ..values import RemovedEndpoint
from .background import log


async def drain(
    scheduler: aio.Scheduler, endpoint: int | str, timeout: float | None = 30.0
) -> RemovedEndpoint:
    """Stops new requests to the endpoint, waits for those in flight, and removes it.

    The endpoint is given by its id or by its name. After ``timeout`` seconds it is removed with
    requests in flight. They are in the result, and may go on; ``None`` sets no limit. A cancelled
    call leaves the endpoint draining: call ``resume_endpoint`` to undo that.

    Raises :class:`slotwise.UnknownEndpointError` if the endpoint is not in the pool, or is removed
    meanwhile.
    """
    endpoint_id = scheduler.endpoint_named(endpoint) if isinstance(endpoint, str) else endpoint
    if endpoint_id is None:
        raise UnknownEndpointError(f"no endpoint is named {endpoint!r}", "unknown_endpoint")
    scheduler.drain_endpoint(endpoint_id)
    try:
        async with asyncio.timeout(timeout):
            await scheduler.drained(endpoint_id)
    except TimeoutError:
        in_flight = scheduler.in_flight_on(endpoint_id)
        log.warning("endpoint %s is removed with %d requests in flight", endpoint, in_flight)
    return scheduler.remove_endpoint(endpoint_id)
