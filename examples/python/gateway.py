"""A gateway: python gateway.py --engines http://10.0.0.1:8000,http://10.0.0.2:8000 --port 8080"""

import argparse
import asyncio
import socket
from contextlib import asynccontextmanager

import httpx
import kv_events
import uvicorn
from slotwise import Endpoint, WireError, aio, wire
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

# Flow and priority come from the owner of the API key, never from the client. A priority below 0
# may be shed under load. Replace the table with your own.
KEYS = {"key-chat": {"flow": "chat", "priority": 1}, "key-batch": {"flow": "batch", "priority": -1}}
ADMIN_KEY = "key-admin"
# What counts of a client's own body and headers. Priority, flow, TTL and deadline do not.
ALLOW = ["session"]
JSON = {"content-type": "application/json"}  # without it, engines answer 415


class Gateway:
    """The scheduler, the HTTP client, and one task for each engine."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.scheduler = aio.Scheduler()
        # Reads have no time-out: a stream is silent during a long prefill.
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5.0), limits=httpx.Limits())
        self.engines: dict[str, asyncio.Task[None]] = {}

    # ANCHOR: serve
    async def serve(self, request: Request) -> Response:
        caller = KEYS.get(key_of(request))
        if caller is None:
            return error(401, "invalid_api_key")
        body, path = await request.body(), request.url.path
        asked = {"body": body, "path": path, "headers": request.headers.raw, "allow": ALLOW, **caller}

        async def send(url: str) -> httpx.Response:
            # Returns with the headers. They come before prefill, so they are not the first token.
            upstream = self.http.build_request("POST", url + path, content=body, headers=JSON)
            return await self.http.send(upstream, stream=True)  # httpx follows no redirect, which is right

        try:
            # Starlette and FastAPI cancel no handler whose client left before the first byte: this does.
            async with aio.watch_disconnect(request):
                reply = await self.scheduler.forward(send, **asked)
        except (WireError, aio.ClientDisconnectedError) as fault:
            return error(400, fault.code)
        close = BackgroundTask(reply.aclose)  # cancels the request if the client has left before its end
        return StreamingResponse(reply, reply.status, dict(reply.headers), background=close)

    # ANCHOR_END: serve
    # ANCHOR: follow
    async def follow(self, url: str) -> None:
        """Reads the page of an engine while it is in the pool. The first page puts it there."""
        endpoint = events = None
        try:
            while True:
                try:
                    answer = await self.http.get(f"{url}/metrics", timeout=5.0)
                    page = answer.raise_for_status().content
                    if endpoint is None:
                        told = wire.read_metrics(page)
                        described = Endpoint(url, block_size=told.block_size or 16, kv_cache_tokens=told.kv_cache_tokens)
                        endpoint = self.scheduler.add_endpoint(described)
                        events = kv_events.start(self.scheduler, endpoint, self.args.kv_events, url)
                    self.scheduler.handle_metrics_page(endpoint, page)
                except (httpx.HTTPError, WireError):
                    if endpoint is not None:  # out, until a page or a trial says otherwise
                        self.scheduler.handle_probe(endpoint, passed=False)
                await asyncio.sleep(self.args.scrape_every)
        finally:
            if events is not None:
                events.cancel()
                self.scheduler.remove_endpoint(endpoint)

    # ANCHOR_END: follow
    async def admin(self, request: Request) -> Response:
        """POST /admin/VERB?engine=URL. An engine that dies needs none of this: it comes back by itself.

        drain: before work on an engine. What is in flight goes on; stop it when ``in_flight`` is 0.
        resume: afterwards, if the process is the same and so has its cache.
        remove, then add: if it was restarted, with an empty cache. remove alone: it is gone for good.
        """
        verb, url = request.path_params["verb"], request.query_params.get("engine", "")
        endpoint = self.scheduler.endpoint_named(url)
        if key_of(request) != ADMIN_KEY:
            return error(403, "not_an_admin")
        if verb in ("drain", "resume") and endpoint is not None:
            getattr(self.scheduler, f"{verb}_endpoint")(endpoint)
        elif verb == "add" and url not in self.engines:
            self.engines[url] = asyncio.create_task(self.follow(url))
        elif verb == "remove" and url in self.engines:
            self.engines.pop(url).cancel()
        else:
            return error(404, "no_such_verb_or_engine")
        return JSONResponse({"in_flight": 0 if endpoint is None else self.scheduler.in_flight_on(endpoint)})

    async def metrics(self, _: Request) -> Response:
        openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return Response(self.scheduler.metrics_text(), media_type=openmetrics)

    async def health(self, _: Request) -> Response:
        up = any(not one.draining for one in self.scheduler.stats().endpoints)
        return JSONResponse({"status": "ok"}) if up else error(503, "no_endpoints")

    @asynccontextmanager
    async def run(self, _: Starlette):
        self.engines = {url: asyncio.create_task(self.follow(url)) for url in self.args.engines.split(",")}
        yield  # until SIGTERM: uvicorn has stopped accepting then, and finished what was in flight
        for engine in self.engines.values():
            engine.cancel()
        await self.http.aclose()


def key_of(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def error(status: int, code: str) -> Response:
    return JSONResponse({"error": {"message": code.replace("_", " "), "code": code}}, status)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", required=True, help="URLs of model servers, with commas between")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--scrape-every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--kv-events", action="append", default=[], metavar="URL=EVENTS[,REPLAY]")
    args = parser.parse_args()
    gateway, listener = Gateway(args), socket.create_server(("127.0.0.1", args.port))
    routes = [
        Route("/v1/{api:path}", gateway.serve, methods=["POST"]),
        Route("/admin/{verb}", gateway.admin, methods=["POST"]),
        *(Route("/metrics", gateway.metrics), Route("/health", gateway.health)),
    ]
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(Starlette(routes=routes, lifespan=gateway.run), log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
