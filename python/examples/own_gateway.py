"""A gateway: python own_gateway.py 8080 http://10.0.0.1:8000 http://10.0.0.2:8000"""

import socket
import sys
from contextlib import asynccontextmanager

import httpx
import uvicorn
from slotwise import aio, engines, wire
from slotwise.error_responses import error_response, failure_response
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

TENANTS = {"key-chat": "chat", "key-batch": "batch"}  # API keys, and who owns them
port, *urls = sys.argv[1:]
scheduler = aio.Scheduler()
# Reads have no time-out: a stream is silent during a long prefill, and slotwise limits silence.
client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5), limits=httpx.Limits())


@asynccontextmanager
async def background(_: Starlette):
    async with (
        client,
        httpx.AsyncClient() as scrapes,
        engines.discover(scheduler, urls),
        engines.scrape(scheduler, engines.httpx_get(scrapes)),
    ):
        yield


async def serve(request: Request) -> Response:
    body, path = await request.body(), request.url.path
    key = request.headers.get("authorization", "").removeprefix("Bearer ")
    if (tenant := TENANTS.get(key)) is None:
        return refused(failure_response(401, "invalid_api_key", "unknown API key", path=path))
    headers = wire.forwarded_headers(request.headers.raw)

    async def send(url: str) -> httpx.Response:
        upstream = client.build_request("POST", url + path, content=body, headers=headers)
        return await client.send(upstream, stream=True)

    try:
        async with aio.watch_disconnect(request):
            reply = await scheduler.forward(send, body=body, path=path, flow=tenant)
    except Exception as error:
        return refused(error_response(error, path=path))
    close = BackgroundTask(reply.aclose)  # cancels if the client disconnects before the end
    return StreamingResponse(reply, reply.status, dict(reply.headers), background=close)


def refused(response: wire.Refusal) -> Response:
    return Response(response.body, response.status, dict(response.headers))


app = Starlette(lifespan=background)
app.add_route("/v1/{api:path}", serve, ["POST"])
app.add_route("/metrics", lambda _: Response(scheduler.metrics_text()))
listener = socket.create_server(("127.0.0.1", int(port)))
print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
