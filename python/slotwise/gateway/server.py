"""Sockets and paths: what the gateway serves to clients."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .. import wire
from ..gates import RefusedError
from . import metrics
from .failures import failure, of_error, of_reason
from .serving import serve
from .settings import Address

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Listener", "handler_of"]

_log = logging.getLogger("slotwise.gateway")


class Listener:
    """A listening socket and its open connections."""

    def __init__(
        self, address: Address, handler: Any, *, max_body: int, reuse_port: bool = False
    ) -> None:
        self._address = address
        self._reuse_port = reuse_port or None

        def request_of(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> Any:
            loop = task.get_loop()
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=max_body
            )

        # A client that disconnects cancels its handler, before the first byte as well as after it.
        server = web.Server(handler, request_factory=request_of, handler_cancellation=True)
        self._runner = web.ServerRunner(server, access_log=None)
        self._site: web.TCPSite | None = None

    async def start(self) -> Address:
        """Listens. Returns the address, whose port may have been 0 before.

        Raises ``OSError`` if the host is unknown, or the port is in use.
        """
        await self._runner.setup()
        host, port = self._address
        self._site = web.TCPSite(
            self._runner, host, port, backlog=1_024, reuse_port=self._reuse_port
        )
        try:
            await self._site.start()
        except OSError as error:
            # The text of asyncio names the address again; an unknown host has a negative number.
            number = error.errno or 0
            reason = os.strerror(number) if number > 0 else error.strerror
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {reason}") from error
        name = self._runner.addresses[0]
        return str(name[0]), int(name[1])

    async def stop_listening(self) -> None:
        """Refuses new connections. Open ones go on."""
        site, self._site = self._site, None
        if site is not None:
            await site.stop()

    async def close(self) -> None:
        """Closes all connections."""
        await self._runner.cleanup()


def handler_of(gateway: Gateway) -> Any:
    """The handler of all requests of clients."""
    pages = {
        "/metrics": _metrics,
        "/health": _health,
        "/ready": _ready,
        "/v1/models": _models,
        "/models": _models,
    }

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return await _guarded(_page(request), request.path)
        # The metrics count these requests only: a page that shows them is none.
        gateway.opened()
        status = 500
        try:
            response = await _guarded(_answer(request), request.path)
            status = response.status
            return response
        finally:
            gateway.closed(status)

    async def _answer(request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if wire.api_of_path(path) is None:
            return failure(404, "unknown_path", f"no API has the path {path}", path)
        if gateway.stopping:
            return of_reason("shutting_down", path)
        return await serve(gateway, request)

    async def _page(request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method not in ("GET", "HEAD"):
            allow = [("allow", "GET, HEAD, POST")]
            return failure(405, "unknown_method", "the method must be GET or POST", path, allow)
        if (page := pages.get(path)) is not None:
            return await page(gateway, request)
        if path.startswith("/v1/models/"):
            return await _model(gateway, request, path.removeprefix("/v1/models/"))
        if wire.api_of_path(path) is not None:
            allow = [("allow", "POST")]
            return failure(405, "unknown_method", "the method must be POST", path, allow)
        return failure(404, "unknown_path", f"no page has the path {path}", path)

    return handle


async def _guarded(
    answer: Coroutine[Any, Any, web.StreamResponse], path: str
) -> web.StreamResponse:
    """The answer, or that of a gateway that failed."""
    try:
        return await answer
    except Exception:
        _log.exception("a request to %s failed", path)
        return failure(500, "internal_error", "the gateway failed; its log has the reason", path)


async def _metrics(gateway: Gateway, request: web.BaseRequest) -> web.Response:
    return metrics.metrics_page(gateway)


async def _health(gateway: Gateway, request: web.BaseRequest) -> web.Response:
    """The process serves requests: a failed check restarts it."""
    state: dict[str, Any] = {"status": "ok"}
    if (peering := gateway.peering) is not None:
        state["peers"] = {pool.name: len(peering.alive(pool.name)) for pool in gateway.pools}
    return web.json_response(state)


async def _ready(gateway: Gateway, request: web.BaseRequest) -> web.Response:
    """The gateway should get requests: a failed check takes it out of a load balancer."""
    if gateway.stopping:
        return web.json_response({"status": "stopping"}, status=503)
    if not gateway.pools.ready:
        return web.json_response({"status": "no endpoint accepts requests"}, status=503)
    return web.json_response({"status": "ready"})


async def _models(gateway: Gateway, request: web.BaseRequest) -> web.Response:
    try:
        names = await _names(gateway, request)
    except RefusedError as refused:
        return of_error(refused, request.path)
    data = [_described(name) for name in names]
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return web.json_response({"object": "list", "data": data, "has_more": False, **ends})


async def _model(gateway: Gateway, request: web.BaseRequest, name: str) -> web.Response:
    try:
        names = await _names(gateway, request)
    except RefusedError as refused:
        return of_error(refused, request.path)
    if name not in names:
        message = f"the model {name!r} does not exist"
        return failure(404, "model_not_found", message, request.path)
    return web.json_response(_described(name))


async def _names(gateway: Gateway, request: web.BaseRequest) -> list[str]:
    """The models that a client may request, and those of engines whose pool lists none."""
    caller = gateway.ingress.identify(request.headers, client=request.remote)
    names = dict.fromkeys(gateway.ingress.models(caller))
    for pool in gateway.pools.without_models():
        names |= dict.fromkeys(await gateway.served_by(pool))
    return list(names)


def _described(name: str) -> dict[str, Any]:
    """A model with the fields that the clients of OpenAI and of Anthropic read."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "slotwise",
        "type": "model",
        "display_name": name,
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(0)),
    }
