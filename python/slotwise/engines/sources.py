"""Where engines are listed: a file, or DNS. For :func:`slotwise.engines.discover`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Protocol

Source = Callable[[], Awaitable[Collection[str]]]
"""Returns the URLs of all engines, or raises while they are unknown."""


class SrvResolver(Protocol):
    """Resolves records of DNS: ``dns.asyncresolver.Resolver`` of ``dnspython``."""

    async def resolve(self, qname: str, rdtype: str, /) -> Any: ...


def of_file(path: str | Path) -> Source:
    """The URLs in a file, one a line. Empty lines and ``#`` comments are skipped."""

    async def read() -> Collection[str]:
        text = await asyncio.to_thread(Path(path).read_text, encoding="utf-8")
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return [line for line in lines if line]

    return read


def of_dns(host: str, port: int, *, scheme: str = "http") -> Source:
    """One engine on each address of a host, by the event loop's resolver.

    The name of a headless Kubernetes service has the addresses of its ready pods.
    """

    async def resolve() -> Collection[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [_url(scheme, str(address[0]), port) for *_, address in found]

    return resolve


def of_srv(name: str, resolver: SrvResolver, *, scheme: str = "http") -> Source:
    """One engine for each SRV record, such as ``_http._tcp.vllm.default.svc.cluster.local``.

    The event loop resolves no SRV records; ``dns.asyncresolver.Resolver()`` of ``dnspython`` does.
    """

    async def resolve() -> Collection[str]:
        records = await resolver.resolve(name, "SRV")
        return [_url(scheme, str(one.target).rstrip("."), one.port) for one in records]

    return resolve


def of_list(urls: Collection[str]) -> Source:
    """Always these URLs."""

    async def listed() -> Collection[str]:
        return urls

    return listed


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
