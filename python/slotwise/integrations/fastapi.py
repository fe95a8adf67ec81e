"""A dependency of FastAPI that acquires a lease.

.. code-block:: python

    leases = Leases(app, scheduler)

    @app.post("/v1/chat/completions")
    async def chat(request: Request, lease: Annotated[Lease, Depends(leases)]) -> Response:
        upstream = await client.send(request_to(lease.endpoint_name), stream=True)
        lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
        return StreamingResponse(lease.stream(upstream.aiter_bytes()))
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response

from ..aio import ClientDisconnectedError, Lease, Scheduler, watch_disconnect
from ..errors import RejectedError, WireError
from .asgi import refusal_of


class Leases:
    """The dependency. Its lease ends with the handler, or with the stream that it was given.

    Refusals become responses in the shape of the request's API. ``options`` are keywords of
    :meth:`slotwise.aio.Scheduler.acquire`.
    """

    def __init__(self, app: FastAPI, scheduler: Scheduler, **options: Any) -> None:
        self._scheduler, self._options = scheduler, options
        app.add_exception_handler(RejectedError, _refuse)
        app.add_exception_handler(WireError, _reject)
        app.add_exception_handler(ClientDisconnectedError, _reject)

    async def __call__(self, request: Request) -> AsyncIterator[Lease]:
        body = await request.body()
        async with watch_disconnect(request):
            lease = await self._scheduler.acquire(
                body=body, path=request.url.path, headers=request.headers.raw, **self._options
            )
        async with lease:
            yield lease


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RejectedError)
    refusal = refusal_of(error, request.url.path)
    return Response(refusal.body, refusal.status, dict(refusal.headers))


def _reject(request: Request, error: Exception) -> Response:
    return Response(str(error), 400, media_type="text/plain")
