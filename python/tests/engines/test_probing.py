"""Active health checks of all endpoints."""

from __future__ import annotations

import asyncio
import logging

import pytest
import slotwise
from fake_time import Time
from slotwise import aio
from slotwise.engines import probe


def backoff(scheduler: aio.Scheduler, name: str) -> str | None:
    (one,) = [one for one in scheduler.stats().endpoints if one.name == name]
    return one.backoff


def test_thresholds_decide_and_requests_come_back_after_passes(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "slotwise.engines")
    statuses: dict[str, int] = {}
    asked: list[tuple[float, str]] = []

    async def get(url: str) -> tuple[int, bytes]:
        asked.append((time.now, url))
        if (status := statuses.get(url, 200)) == 0:
            raise ConnectionRefusedError
        if status == 1:
            await asyncio.sleep(1e6)
        return status, b""

    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint("http://a:8000")
        checks = {"interval": 4.0, "timeout": 2.0, "unhealthy_threshold": 3}
        async with probe(scheduler, get, checks) as prober:
            await asyncio.sleep(12)
            late = scheduler.add_endpoint("http://b:8000")
            await asyncio.sleep(12)
            for status in (500, 0, 1):
                statuses["http://a:8000/health"] = status
                await asyncio.sleep(7)
                assert not prober.unhealthy
                await asyncio.sleep(9)
                assert prober.unhealthy == {"http://a:8000"}
                assert backoff(scheduler, "http://a:8000") == "probe"
                statuses.clear()
                await asyncio.sleep(16)
                assert not prober.unhealthy
            scheduler.remove_endpoint(late)
            await asyncio.sleep(2)
            removed = time.now
            await asyncio.sleep(20)
        assert max(at for at, url in asked if "//b" in url) <= removed
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 3

    time.run(main())


def test_a_failed_request_makes_earlier_passes_void(time: Time) -> None:
    async def get(_: str) -> tuple[int, bytes]:
        return 200, b""

    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        endpoint = scheduler.add_endpoint("http://a:8000")
        async with probe(scheduler, get, {"interval": 2.0, "timeout": 1.0}) as prober:
            await asyncio.sleep(10)
            prober.handle_failure(endpoint)
            await asyncio.sleep(10)

    time.run(main())


@pytest.mark.parametrize(
    ("name", "checks", "url"),
    [
        ("http://a:8000/", {}, "http://a:8000/health"),
        ("http://a:8000", {"path": "/ready", "port": 9}, "http://a:9/ready"),
        ("https://[::1]:8000", {"port": 9}, "https://[::1]:9/health"),
    ],
)
def test_path_and_port_are_those_of_the_checks(
    time: Time, name: str, checks: dict[str, object], url: str
) -> None:
    asked = set()

    async def get(url: str) -> tuple[int, bytes]:
        asked.add(url)
        return 200, b""

    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint(name)
        async with probe(scheduler, get, checks):
            await asyncio.sleep(10)
        assert asked == {url}

    time.run(main())


def test_invalid_checks_are_errors(time: Time) -> None:
    async def get(_: str) -> tuple[int, bytes]:
        return 200, b""

    with pytest.raises(ValueError, match="interval"):
        probe(slotwise.aio.Scheduler(), get, {"interval": 0})
    with pytest.raises(ValueError, match="pth"):
        probe(slotwise.aio.Scheduler(), get, {"pth": "/"})
