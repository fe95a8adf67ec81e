"""Detects that a client disconnected before its answer began. See :func:`watch_disconnect`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from .errors import SlotwiseError


class ClientDisconnectedError(SlotwiseError):
    """The client disconnected before it received a response."""

    def __init__(
        self, message: str = "the client went away", code: str = "client_disconnected"
    ) -> None:
        super().__init__(message, code)


@asynccontextmanager
async def watch_disconnect(
    client: Callable[[], Awaitable[Any]] | Awaitable[Any] | Any,
) -> AsyncIterator[None]:
    """Cancels the block when the client disconnects, and raises :class:`ClientDisconnectedError`.

    ASGI frameworks such as Starlette and FastAPI do not cancel a handler whose client disconnects
    before the first byte of the answer. The request would wait and compute in vain.

    ``client`` is an ASGI ``receive``, a request that has one (``request.receive``), or an awaitable
    that ends when the client disconnects. Read the request's body first: body messages that arrive
    in the block are dropped.

    .. code-block:: python

        body = await request.body()
        async with aio.watch_disconnect(request):
            lease = await scheduler.acquire(body=body, path=request.url.path)
            upstream = await client.send(request_to(lease.endpoint_name), stream=True)
            lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
        # From here on, the framework watches for the disconnect.
        return StreamingResponse(lease.stream(upstream.aiter_bytes()))

    A cancelled block must end the lease that it acquired: by an ``async with`` inside, or by
    dropping it.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("watch_disconnect watches for a task: use it in one")
    gone = asyncio.ensure_future(_until_gone(client))
    left = False

    def leave(watcher: asyncio.Future[Any]) -> None:
        nonlocal left
        if not watcher.cancelled() and watcher.exception() is None:
            left = True
            task.cancel()

    gone.add_done_callback(leave)
    try:
        yield
    except asyncio.CancelledError:
        # The task stays cancelled if it was also cancelled for another reason.
        if left and task.uncancel() == 0:
            raise ClientDisconnectedError from None
        raise
    finally:
        gone.remove_done_callback(leave)
        gone.cancel()


async def _until_gone(client: Any) -> None:
    receive = getattr(client, "receive", client)
    if not callable(receive):
        await receive
        return
    while (await receive()).get("type") not in ("http.disconnect", "websocket.disconnect"):
        pass
