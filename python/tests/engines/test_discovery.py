"""Engines that join and leave, and draining that can be awaited."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slotwise
from conftest import picked
from fake_time import Time
from slotwise import aio
from slotwise.engines import discover, drain, of_dns, of_file, of_srv

A, B, C = "http://a:1", "http://b:1", "http://c:1"


def pool(scheduler: aio.Scheduler) -> dict[str, bool]:
    """The endpoints, and which of them are draining."""
    return {one.name: one.draining for one in scheduler.stats().endpoints}


def test_the_pool_follows_the_list(time: Time) -> None:
    listed: Collection[str] | Exception = [A, B]

    async def source() -> Collection[str]:
        if isinstance(listed, Exception):
            raise listed
        return listed

    async def main() -> None:
        nonlocal listed
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint(C)
        async with discover(scheduler, source, interval=5.0, drain_timeout=60.0) as found:
            assert pool(scheduler) == {C: False, A: False, B: False}
            assert found.endpoints.keys() == {A, B}
            held = picked(scheduler, "x", exclude=[scheduler.endpoint_named(C) or 0])
            stays, busy = (B, A) if held.endpoint_name == A else (A, B)
            listed = [stays]
            await asyncio.sleep(6)
            assert pool(scheduler)[busy], "it drains"
            # Listed again before it has left: it resumes, with its cache.
            listed = [A, B]
            await asyncio.sleep(6)
            assert pool(scheduler) == {C: False, A: False, B: False}
            assert scheduler.endpoint_named(busy) == held.endpoint_id
            listed = [stays]
            await asyncio.sleep(6)
            scheduler.complete(held.request_id)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert pool(scheduler) == {C: False, stays: False}
            # A source that fails changes nothing.
            listed = OSError("no answer")
            await asyncio.sleep(20)
            assert found.error == "OSError('no answer')" and stays in pool(scheduler)
            # Endpoints of other code are left alone, also if they are listed.
            listed = [C]
            await asyncio.sleep(6)
            assert pool(scheduler) == {C: False} and found.error is None
            listed = []
            await asyncio.sleep(6)
            assert pool(scheduler) == {C: False}

    time.run(main())


def test_a_drain_is_limited_in_time(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint(A)
        held = picked(scheduler, "x")
        begun = time.now
        removed = await drain(scheduler, A, timeout=7.0)
        assert time.now == begun + 7.0 and removed.in_flight == (held.request_id,)
        assert pool(scheduler) == {}
        scheduler.complete(held.request_id)
        other = scheduler.add_endpoint(B)
        assert (await drain(scheduler, other)).in_flight == ()
        for unknown in (other, B):
            with pytest.raises(slotwise.UnknownEndpointError):
                await drain(scheduler, unknown)

    time.run(main())


def test_a_cancelled_drain_leaves_the_endpoint_draining(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        endpoint = scheduler.add_endpoint(A)
        held = picked(scheduler, "x")
        waits = asyncio.create_task(drain(scheduler, endpoint, None))
        await asyncio.sleep(1)
        waits.cancel()
        await asyncio.wait({waits})
        assert pool(scheduler) == {A: True}
        scheduler.resume_endpoint(endpoint)
        scheduler.complete(held.request_id)
        assert pool(scheduler) == {A: False}

    time.run(main())


def test_files_list_one_url_a_line(tmp_path: Path) -> None:
    file = tmp_path / "engines"
    file.write_text(f"# engines\n{A}\n\n  {B}  # the new one\n")
    assert asyncio.run(_read(of_file(file))) == [A, B]
    with pytest.raises(OSError):
        asyncio.run(_read(of_file(tmp_path / "none")))


def test_names_are_resolved_by_the_loop_or_as_srv_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
            assert (host, port) == ("vllm", 8000)
            kinds = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kinds, ("10.0.0.1", 8000)), (*kinds, ("fd00::1", 8000, 0, 0))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        found = await of_dns("vllm", 8000)()
        assert found == ["http://10.0.0.1:8000", "http://[fd00::1]:8000"]

    asyncio.run(main())

    class Resolver:
        async def resolve(self, name: str, kind: str) -> Any:
            assert (name, kind) == ("_http._tcp.vllm", "SRV")
            return [SimpleNamespace(target="pod-0.vllm.", port=8000)]

    srv = of_srv("_http._tcp.vllm", Resolver(), scheme="https")
    assert asyncio.run(_read(srv)) == ["https://pod-0.vllm:8000"]


async def _read(source: Any) -> list[str]:
    return list(await source())
