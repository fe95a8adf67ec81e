"""Work for each endpoint finds those that join and leave, and lists them only after a change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engines import PAGE
from fake_time import Time
from slotwise import aio
from slotwise.engines import probe, publishers_on, scrape, subscribe
from slotwise.engines.members import Members


class CountingScheduler(aio.Scheduler):
    """Counts how often its endpoints are listed. Its statistics, which cost more, are refused."""

    listed = 0

    def endpoint_names(self) -> dict[int, str]:
        self.listed += 1
        return super().endpoint_names()

    def stats(self) -> Any:
        raise AssertionError("statistics of all endpoints to find which there are")


async def page(_: str) -> tuple[int, bytes]:
    return 200, PAGE


def test_a_look_returns_those_that_joined_and_left() -> None:
    scheduler = CountingScheduler()
    members = Members(scheduler)
    a = scheduler.add_endpoint("a")
    assert members.look() == ({a: "a"}, {})
    b = scheduler.add_endpoint("b")
    scheduler.drain_endpoint(a)
    assert members.look() == ({b: "b"}, {}) and members.names == {a: "a", b: "b"}
    scheduler.remove_endpoint(a)
    c = scheduler.add_endpoint("a")
    assert a != c and members.look() == ({c: "a"}, {a: "a"})
    scheduler.update_endpoint(b, "d")
    assert members.look() == ({b: "d"}, {b: "b"})
    assert scheduler.listed == 4
    assert members.look() == ({}, {}) and scheduler.listed == 4


@pytest.mark.parametrize("kind", ["scrape", "probe", "subscribe"])
def test_endpoints_are_listed_only_after_a_change(time: Time, kind: str) -> None:
    async def main() -> None:
        scheduler = CountingScheduler(clock=time)
        scheduler.add_endpoint("http://a")
        works: dict[str, Any] = {
            "scrape": lambda: scrape(scheduler, page),
            "probe": lambda: probe(scheduler, page, clock=time),
            "subscribe": lambda: subscribe(scheduler, lambda _: ()),
        }
        async with works[kind]():
            await asyncio.sleep(100)
            assert scheduler.listed == 1
            scheduler.add_endpoint("http://b")
            await asyncio.sleep(100)
            assert scheduler.listed == 2

    time.run(main())


def test_another_name_is_another_url(time: Time) -> None:
    async def main() -> None:
        asked: list[str] = []

        async def get(url: str) -> tuple[int, bytes]:
            asked.append(url)
            return await page(url)

        scheduler = aio.Scheduler(clock=time)
        endpoint = scheduler.add_endpoint("http://a")
        async with scrape(scheduler, get), probe(scheduler, get, {"interval": 1.0, "timeout": 0.5}):
            await asyncio.sleep(10)
            scheduler.update_endpoint(endpoint, "http://b")
            await asyncio.sleep(2)
            del asked[:]
            await asyncio.sleep(10)
        assert set(asked) == {"http://b/metrics", "http://b/health"}

    time.run(main())


def test_work_that_fails_starts_again(time: Time) -> None:
    async def main() -> None:
        failures = 3

        def publishers(name: str) -> Any:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise RuntimeError("unknown yet")
            return publishers_on(1, None)(name)

        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint("http://127.0.0.1")
        async with subscribe(scheduler, publishers):
            await asyncio.sleep(10)
        assert failures == -1

    time.run(main())
