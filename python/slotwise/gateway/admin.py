"""The admin page: one static file, and the data and the actions behind it.

The page has a listener of its own, on the loopback by default, since it has no authentication. It
shows endpoints, queues and the last decisions, and drains endpoints. Its text comes from clients
and configurations, so the page sets text only and its policy allows no script but its own. The
metrics are here as well: of several workers on one port, each has a listener of its own.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..stats import EndpointStats
from .metrics import metrics_page
from .pools import Pool

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["admin_handler_of", "state_of"]


def state_of(gateway: Gateway) -> dict[str, Any]:
    """What the page shows."""
    return {
        "stopping": gateway.stopping,
        "open_requests": gateway.open_requests,
        "reload_error": gateway.reload_error,
        "pools": [_pool(gateway, pool) for pool in gateway.pools],
        "decisions": gateway.history.report(),
    }


def admin_handler_of(gateway: Gateway) -> Any:
    """The handler of the page's listener."""
    page = resources.files(__package__).joinpath("admin.html").read_bytes()
    headers = {"content-security-policy": _policy(page.decode()), **_HEADERS}

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if not _is_trusted(request.host):
            return web.Response(status=421, text="open this page by its address, not by a name")
        method_and_path = (request.method, request.path)
        if method_and_path == ("GET", "/"):
            return web.Response(body=page, content_type="text/html", headers=headers)
        if method_and_path == ("GET", "/state.json"):
            gateway.history.watch()
            return web.json_response(state_of(gateway), headers=_HEADERS)
        if method_and_path == ("GET", "/metrics"):
            return metrics_page(gateway)
        if method_and_path == ("POST", "/endpoint"):
            return await _act(gateway, request)
        return web.Response(status=404, text="not found")

    return handle


async def _act(gateway: Gateway, request: web.BaseRequest) -> web.Response:
    """Drains or resumes an endpoint."""
    # Pages of other origins cannot send this content type without asking first.
    if request.content_type != "application/json":
        return web.Response(status=415, text="the content type must be application/json")
    try:
        asked = await request.json()
        pool_name, name, action = asked["pool"], asked["endpoint"], asked["action"]
    except (ValueError, KeyError, TypeError):
        return web.Response(status=400, text="needed: pool, endpoint and action")
    scheduler = next(
        (pool.scheduler for pool in gateway.pools if pool.name == pool_name), None
    )
    endpoint = None if scheduler is None else scheduler.endpoint_named(str(name))
    if scheduler is None or endpoint is None:
        return web.Response(status=404, text="no such endpoint")
    if action == "drain":
        scheduler.drain_endpoint(endpoint)
    elif action == "resume":
        scheduler.resume_endpoint(endpoint)
    else:
        return web.Response(status=400, text="the action must be drain or resume")
    return web.json_response({"in_flight": scheduler.in_flight_on(endpoint)})


def _pool(gateway: Gateway, pool: Pool) -> dict[str, Any]:
    stats = pool.scheduler.stats()
    return {
        "name": pool.name,
        "peers": None if gateway.peering is None else gateway.peering.state(pool.name),
        "queued": stats.queued,
        "in_flight": stats.in_flight,
        "completed": stats.completed,
        "failed": stats.failed,
        "saturation": round(stats.pool.saturation, 3),
        "bands": [{"priority": band.priority, "queued": band.queued} for band in stats.bands],
        "endpoints": [_endpoint(endpoint) for endpoint in stats.endpoints],
    }


def _endpoint(endpoint: EndpointStats) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "state": "draining" if endpoint.draining else endpoint.health,
        "backoff": endpoint.backoff,
        "draining": endpoint.draining,
        "prefilling": endpoint.prefilling,
        "running": endpoint.running,
        "external": round(endpoint.external_waiting + endpoint.external_running),
        "kv_tokens": endpoint.kv_tokens,
        "kv_cache_tokens": endpoint.kv_cache_tokens,
        "wait": endpoint.wait,
        "completed": endpoint.completed,
        "failed": endpoint.failed,
    }


def _is_trusted(host: str) -> bool:
    """Whether a page of another site cannot have led here by a name that it controls."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True


def _policy(page: str) -> str:
    """The page's content security policy: its own script and style, and no other."""
    script, style = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag in ("script", "style")
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.S)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
