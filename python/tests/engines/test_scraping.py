"""Metrics pages of all endpoints, on a clock that no machine slows down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
import slotwise
from engines import PAGE
from fake_time import Time
from slotwise import aio
from slotwise.engines import Scraper, scrape

Answer = tuple[int, bytes] | Exception | None


class Pages:
    """Answers requests for pages, and records when each came. ``None`` never answers."""

    def __init__(self, time: Time, answer: Callable[[str], Answer]) -> None:
        self.time = time
        self.answer = answer
        self.asked: list[tuple[float, str]] = []
        self.open: list[str] = []

    async def get(self, url: str) -> tuple[int, bytes]:
        assert url not in self.open, "one request of an endpoint at a time"
        self.asked.append((self.time.now, url))
        self.open.append(url)
        try:
            answer = self.answer(url)
            if answer is None:
                await asyncio.sleep(1e6)
            if isinstance(answer, Exception):
                raise answer
            assert answer is not None
            return answer
        finally:
            self.open.remove(url)

    def times(self, url: str) -> list[float]:
        return [at for at, asked in self.asked if asked == url]


def good(_: str) -> Answer:
    return 200, PAGE


def health(scheduler: aio.Scheduler, name: str) -> tuple[str | None, int]:
    (one,) = [one for one in scheduler.stats().endpoints if one.name == name]
    return one.backoff, one.backoffs


def test_all_endpoints_are_scraped_also_those_added_later(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint("http://a")
        pages = Pages(time, good)
        async with scrape(scheduler, pages.get, interval=2.0) as scraper:
            await asyncio.sleep(20)
            late = scheduler.add_endpoint("http://b/")
            await asyncio.sleep(20)
            scheduler.remove_endpoint(late)
            await asyncio.sleep(20)
        assert isinstance(scraper, Scraper) and not scraper.failing
        first, second = pages.times("http://a/metrics"), pages.times("http://b/metrics")
        assert 27 <= len(first) <= 33 and 8 <= len(second) <= 11
        assert all(1.8 <= after - before <= 2.2 for before, after in zip(first, first[1:]))
        assert 1_020 <= second[0] <= 1_024 and second[-1] <= 1_042
        before = len(pages.asked)
        await asyncio.sleep(20)
        assert len(pages.asked) == before, "nothing is asked after the end"

    time.run(main())


def test_the_seed_spreads_engines_over_the_interval(time: Time) -> None:
    async def run(seed: int) -> list[tuple[float, str]]:
        scheduler = aio.Scheduler(clock=time)
        for number in range(32):
            scheduler.add_endpoint(f"http://{number}")
        begun, pages = time.now, Pages(time, good)
        async with scrape(scheduler, pages.get, interval=8.0, seed=seed):
            await asyncio.sleep(8)
        return [(round(at - begun, 9), url) for at, url in pages.asked]

    async def main() -> None:
        asked = await run(7)
        assert asked == await run(7) and asked != await run(8)
        # Each quarter of the interval has its share of the first requests.
        first = {url: at for at, url in reversed(asked)}
        assert len(first) == 32
        for quarter in range(4):
            assert any(2 * quarter <= at < 2 * quarter + 2 for at in first.values())

    time.run(main())


def test_the_first_page_completes_a_description(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        unknown = scheduler.add_endpoint(slotwise.Endpoint("http://a", block_size=None))
        known = scheduler.add_endpoint(
            slotwise.Endpoint("http://b", block_size=32, kv_cache_tokens=64_000)
        )
        page = PAGE.replace(b'block_size="16"', b'block_size="64"')
        async with scrape(scheduler, Pages(time, lambda _: (200, page)).get):
            await asyncio.sleep(3)
        first, second = scheduler.endpoint(unknown), scheduler.endpoint(known)
        assert first and (first.block_size, first.kv_cache_tokens) == (64, 64 * 32_768)
        assert second and (second.block_size, second.kv_cache_tokens) == (32, 64_000)

    time.run(main())


@pytest.mark.parametrize(
    "answer",
    [ConnectionRefusedError("refused"), None, (503, b""), (200, b"<html></html>")],
    ids=["refused", "silent", "status", "no page"],
)
def test_a_failing_engine_is_backed_off_and_asked_less_often(
    time: Time, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    caplog.set_level(logging.INFO, "slotwise.engines")

    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint("http://a")
        failing = True
        pages = Pages(time, lambda url: answer if failing else good(url))
        async with scrape(
            scheduler, pages.get, interval=1.0, timeout=2.0, backoff_limit=8.0
        ) as scraper:
            await asyncio.sleep(100)
            assert health(scheduler, "http://a")[0] == "probe"
            assert list(scraper.failing) == ["http://a"]
            asked = pages.times("http://a/metrics")
            waits = [after - before for before, after in zip(asked, asked[1:])]
            assert 1.8 <= waits[0] <= 4.2 and 7.2 <= waits[-1] <= 10.8
            failing = False
            await asyncio.sleep(20)
            assert not scraper.failing
        asked = pages.times("http://a/metrics")
        assert 0.9 <= asked[-1] - asked[-2] <= 1.1
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2 and "back" in messages[1], messages

    time.run(main())


def test_engines_without_a_page_and_idle_ones_are_not_dead(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        for name in ("http://none", "http://idle", "http://lost"):
            scheduler.add_endpoint(name)
        answers: dict[str, Answer] = {
            "http://none/metrics": (404, b""),
            "http://idle/metrics": (200, b"# TYPE other gauge\nother 1\n"),
            "http://lost/metrics": (200, PAGE),
        }
        async with scrape(scheduler, Pages(time, answers.__getitem__).get) as scraper:
            await asyncio.sleep(5)
            answers["http://lost/metrics"] = (404, b"")
            await asyncio.sleep(20)
            assert len(scraper.failing) == 3
        assert health(scheduler, "http://none") == (None, 0)
        assert health(scheduler, "http://idle") == (None, 0)
        assert health(scheduler, "http://lost")[0] == "probe"

    time.run(main())


def test_a_fault_is_logged_and_the_work_goes_on(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(aio.Scheduler):
        faults = 3

        def handle_metrics_page(self, *args: object, **more: object) -> None:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("a fault")
            super().handle_metrics_page(*args, **more)  # type: ignore[arg-type]

    async def main() -> None:
        scheduler = Faulty(clock=time)
        scheduler.add_endpoint("http://a")
        async with scrape(scheduler, Pages(time, good).get):
            await asyncio.sleep(20)
        assert scheduler.faults == 0
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
        assert all(record.exc_info for record in caplog.records)

    time.run(main())


def test_mistakes_are_errors(time: Time) -> None:
    with pytest.raises(ValueError, match="above 0"):
        scrape(aio.Scheduler(), Pages(time, good).get, interval=0.0)
