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

# Flow and priority come from the owner of the API key, never from the client. A priority below 0
# may be shed under load. Replace the table with your own.
KEYS = {"key-chat": {"flow": "chat", "priority": 1}, "key-batch": {"flow": "batch", "priority": -1}}
ADMIN_KEY = "key-admin"
# What a client may set itself. Priority, flow, TTL and deadline are not among them.
ALLOW = ["session"]
JSON = {"content-type": "application/json"}  # without it, engines answer 415


class Gateway:
    """The scheduler, the HTTP client, and one task for each engine."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.scheduler = aio.Scheduler()
        # Reads have no time-out: a stream is silent during a long prefill.
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5), limits=httpx.Limits())
        self.engines: dict[str, asyncio.Task[None]] = {}

    # ANCHOR: serve
    async def serve(self, request: Request) -> Response:
        if (caller := KEYS.get(key_of(request))) is None:
            return error(401, "invalid_api_key")
        body, path = await request.body(), request.url.path
        asked = {"body": body, "path": path, "headers": request.headers.raw, "allow": ALLOW}

        async def send(url: str) -> httpx.Response:
            # Returns with the headers. They come before prefill, so they are not the first token.
            upstream = self.http.build_request("POST", url + path, content=body, headers=JSON)
            return await self.http.send(upstream, stream=True)  # follows no redirect

        try:
            # Cancels if the client disconnects before the first byte, which Starlette does not.
            async with aio.watch_disconnect(request):
                reply = await self.scheduler.forward(send, **asked, **caller)
        except (WireError, aio.ClientDisconnectedError) as fault:
            return error(400, fault.code)
        close = BackgroundTask(reply.aclose)  # cancels if the client disconnects before the end
        return StreamingResponse(reply, reply.status, dict(reply.headers), background=close)

    # ANCHOR_END: serve
    # ANCHOR: follow
    async def follow(self, url: str) -> None:
        """Scrapes an engine while it is in the pool. Its first page adds it."""
        endpoint = events = None
        try:
            while True:
                try:
                    answer = await self.http.get(f"{url}/metrics", timeout=5.0)
                    page = answer.raise_for_status().content
                    if endpoint is None:
                        read = wire.read_metrics(page)
                        size, capacity = read.block_size or 16, read.kv_cache_tokens
                        engine = Endpoint(url, block_size=size, kv_cache_tokens=capacity)
                        endpoint = self.scheduler.add_endpoint(engine)
                        events = kv_events.start(self.scheduler, endpoint, self.args.kv_events, url)
                    self.scheduler.handle_metrics_page(endpoint, page)
                except (httpx.HTTPError, WireError):
                    if endpoint is not None:  # no requests until a page or a trial succeeds
                        self.scheduler.handle_probe(endpoint, passed=False)
                await asyncio.sleep(self.args.scrape_every)
        finally:
            if events is not None:
                events.cancel()
                self.scheduler.remove_endpoint(endpoint)

    # ANCHOR_END: follow
    async def admin(self, request: Request) -> Response:
        """POST /admin/VERB?engine=URL. An engine that dies returns to the pool without it.

        drain: before maintenance. Requests in flight go on; stop it when ``in_flight`` is 0.
        resume: after maintenance, if the process and its cache are the same.
        remove, then add: after a restart with an empty cache. remove alone: for good.
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
        in_flight = 0 if endpoint is None else self.scheduler.in_flight_on(endpoint)
        return JSONResponse({"in_flight": in_flight})

    async def metrics(self, _: Request) -> Response:
        openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return Response(self.scheduler.metrics_text(), media_type=openmetrics)

    async def health(self, _: Request) -> Response:
        up = any(not one.draining for one in self.scheduler.stats().endpoints)
        return JSONResponse({"status": "ok"}) if up else error(503, "no_endpoints")

    @asynccontextmanager
    async def run(self, _: Starlette):
        urls = self.args.engines.split(",")
        self.engines |= {url: asyncio.create_task(self.follow(url)) for url in urls}
        yield  # until SIGTERM, when uvicorn stops accepting and finishes what is in flight
        for engine in self.engines.values():
            engine.cancel()
        await self.http.aclose()


def key_of(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def error(status: int, code: str) -> Response:
    return JSONResponse({"error": {"message": code.replace("_", " "), "code": code}}, status)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engines", required=True, metavar="URL[,URL]")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--scrape-every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--kv-events", action="append", default=[], metavar="URL=EVENTS[,REPLAY]")
    gateway = Gateway(parser.parse_args())
    app = Starlette(lifespan=gateway.run)
    app.add_route("/v1/{api:path}", gateway.serve, ["POST"])
    app.add_route("/admin/{verb}", gateway.admin, ["POST"])
    app.add_route("/metrics", gateway.metrics)
    app.add_route("/health", gateway.health)
    listener = socket.create_server(("127.0.0.1", gateway.args.port))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
