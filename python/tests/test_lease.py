"""Leases: reports of progress, the first of several ends, and leases that are never ended."""

import asyncio
import copy
import gc
import pickle
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import slotwise
from fake_time import Time
from slotwise import aio, warn_once


async def leased(time: Time, endpoints: int = 2) -> tuple[aio.Scheduler, aio.Lease]:
    scheduler = aio.Scheduler(clock=time)
    for number in range(endpoints):
        scheduler.add_endpoint(f"e{number}")
    return scheduler, await scheduler.acquire("hello", model="m")


def counts(scheduler: aio.Scheduler) -> tuple[int, int, int, int]:
    stats = scheduler.stats()
    return stats.completed, stats.failed, stats.cancelled, stats.in_flight


def test_the_first_end_counts_and_says_so(time: Time) -> None:
    async def main() -> None:
        for end, expected in (
            ("complete", (1, 0, 0, 0)),
            ("fail", (0, 1, 0, 0)),
            ("cancel", (0, 0, 1, 0)),
        ):
            s, lease = await leased(time)
            assert getattr(lease, end)() is True
            assert lease.ended and counts(s) == expected
            assert [lease.complete(), lease.fail(), lease.cancel()] == [False] * 3
            lease.first_token()
            lease.tokens(3)
            with pytest.raises(slotwise.RedirectError, match="not in flight"):
                lease.redirect(lease.endpoint_id)
            assert counts(s) == expected

    time.run(main())


@pytest.mark.parametrize("number", [-1, 2**32, 1.5, float("nan"), True])
def test_impossible_figures_cost_no_request_its_end(
    time: Time, monkeypatch: pytest.MonkeyPatch, number: Any
) -> None:
    async def main() -> None:
        monkeypatch.setattr(warn_once, "_given", set())
        s, lease = await leased(time)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lease.usage = slotwise.Usage(prompt_tokens=number, completion_tokens=4)
            assert lease.complete() and lease.ended
            _, again = await leased(time)
            again.complete(slotwise.Usage(prompt_tokens=number))
        assert counts(s) == (1, 0, 0, 0)
        # Objects of other tests may be collected meanwhile, with their own warnings.
        told = [
            str(warning.message)
            for warning in caught
            if warning.category is slotwise.SlotwiseWarning
        ]
        expected = [
            f"usage.prompt_tokens must be a number of tokens, not {number!r}: it is left out"
        ]
        assert told == ([] if number is True else expected)

    time.run(main())


def test_an_end_of_a_wrong_kind_is_none(time: Time) -> None:
    async def main() -> None:
        s, lease = await leased(time)
        with pytest.raises(TypeError, match="usage must be a slotwise.Usage"):
            lease.complete({"prompt_tokens": 1})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="usage.prompt_tokens must be an int"):
            lease.complete(slotwise.Usage(prompt_tokens="1"))  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            lease.fail("nonsense")  # type: ignore[arg-type]
        assert not lease.ended and lease.cancel()

    time.run(main())


def test_a_request_that_was_ended_elsewhere_ends_its_lease(time: Time) -> None:
    calls: dict[str, Any] = {
        "complete": (lambda lease: lease.complete(), False),
        "fail": (lambda lease: lease.fail(), False),
        "cancel": (lambda lease: lease.cancel(), False),
        "first_token": (lambda lease: lease.first_token(), None),
        "tokens": (lambda lease: lease.tokens(3), None),
        "feed": (lambda lease: lease.feed(b'data: {"choices":[{"text":"a"}]}\n\n').ended, False),
        "finish": (lambda lease: lease.finish("broken").end, "cut"),
    }

    async def main() -> None:
        for name, (call, answer) in calls.items():
            s, lease = await leased(time)
            lease.begin(200, "text/event-stream")
            s.cancel(lease.request_id)
            assert not lease.ended, "it has not noticed yet"
            assert call(lease) == answer, name
            assert lease.ended and not lease.complete(), name
            assert counts(s) == (0, 0, 1, 0)
        s, lease = await leased(time)
        s.complete(lease.request_id)
        with pytest.raises(slotwise.RedirectError):
            lease.redirect(lease.dispatch.alternatives[0])
        assert lease.ended
        s, lease = await leased(time)
        s.complete(lease.request_id)
        assert [chunk async for chunk in lease.stream(chunks(b"a", b"b"))] == [b"a", b"b"]
        async with lease:
            pass

    time.run(main())


async def chunks(*parts: Any) -> AsyncIterator[Any]:
    for part in parts:
        yield part


def test_a_lease_says_where_its_request_is(time: Time) -> None:
    async def main() -> None:
        s, lease = await leased(time)
        assert (lease.endpoint_id, lease.endpoint_name) == (
            lease.dispatch.endpoint_id,
            lease.dispatch.endpoint_name,
        )
        (other,) = lease.dispatch.alternatives
        lease.redirect(other)
        described = s.endpoint(other)
        assert described is not None
        assert (lease.endpoint_id, lease.endpoint_name) == (other, described.name)
        s.redirect(lease.request_id, lease.dispatch.endpoint_id)
        assert (lease.endpoint_id, lease.endpoint_name) == (
            lease.dispatch.endpoint_id,
            lease.dispatch.endpoint_name,
        )
        lease.complete()
        assert (lease.endpoint_id, lease.endpoint_name) == (
            lease.dispatch.endpoint_id,
            lease.dispatch.endpoint_name,
        )

    time.run(main())


def test_a_lease_is_one_however_often_it_is_copied(time: Time) -> None:
    async def main() -> None:
        s, lease = await leased(time)
        for copied in (copy.copy(lease), copy.deepcopy(lease)):
            assert copied is lease
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(lease)
        stream = lease.stream(chunks(b"a"))
        for refused in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="read once"):
                refused(stream)
        gc.collect()
        assert s.stats().in_flight == 1
        assert [chunk async for chunk in stream] == [b"a"]
        assert counts(s) == (1, 0, 0, 0)

    time.run(main())


def test_a_forgotten_lease_is_cancelled_also_where_warnings_are_errors(
    time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        told: list[str] = []
        monkeypatch.setattr("sys.unraisablehook", lambda report: told.append(str(report.exc_value)))
        s, lease = await leased(time)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del lease
            gc.collect()
        assert counts(s) == (0, 0, 1, 0)
        assert len(told) == 1 and "never ended" in told[0]

    time.run(main())


def test_a_chunk_that_is_not_bytes_ends_the_request_and_closes_the_source(time: Time) -> None:
    async def main() -> None:
        closed = False

        async def source() -> AsyncIterator[Any]:
            nonlocal closed
            try:
                yield 3.5
            finally:
                closed = True

        s, lease = await leased(time)
        lease.begin(200, "text/event-stream")
        with pytest.raises(TypeError, match="chunk"):
            [chunk async for chunk in lease.stream(source())]
        assert lease.ended and closed and counts(s) == (0, 0, 1, 0)

    time.run(main())


@pytest.mark.parametrize(
    ("stream", "hint"),
    [
        (None, "an answer without a body is ended by finish"),
        ([b"a"], "say response.aiter_bytes"),
        (7, "async iterable"),
    ],
)
def test_what_is_no_stream_is_refused_in_words(time: Time, stream: Any, hint: str) -> None:
    async def main() -> None:
        s, lease = await leased(time)
        with pytest.raises(TypeError, match=hint):
            lease.stream(stream)
        async with lease:
            assert not lease.ended
        assert counts(s) == (1, 0, 0, 0), "it ends with its block, as one without a stream"

    time.run(main())


def test_an_answer_that_has_not_begun_has_an_error_of_its_own(time: Time) -> None:
    async def main() -> None:
        _, lease = await leased(time)
        for call in (lambda: lease.feed(b""), lease.finish):
            with pytest.raises(slotwise.NotBegunError) as caught:
                call()
            assert caught.value.code == "not_begun" and isinstance(caught.value, RuntimeError)
        assert lease.outcome is None
        lease.begin(200, "application/json")
        assert lease.finish("broken") == lease.outcome
        lease.begin(500, "")
        assert lease.answer.outcome == lease.outcome, "after the end nothing begins"

    time.run(main())


def test_an_endpoint_is_drained_when_its_last_request_ends(time: Time) -> None:
    async def main() -> None:
        for end in (
            lambda s, lease, other: lease.complete(),
            lambda s, lease, other: lease.fail(),
            lambda s, lease, other: s.cancel(lease.request_id),
            lambda s, lease, other: lease.redirect(other),
            lambda s, lease, other: (lease.begin(200, "application/json"), lease.finish()),
        ):
            s, first = await leased(time, 1)
            (endpoint, second), other = (
                (first.endpoint_id, await s.acquire("x")),
                s.add_endpoint("other"),
            )
            s.drain_endpoint(endpoint)
            waits = [asyncio.create_task(s.drained(endpoint)) for _ in range(2)]
            end(s, first, other)
            await asyncio.sleep(1)
            assert not any(task.done() for task in waits) and s.in_flight_on(endpoint) == 1
            end(s, second, other)
            await asyncio.gather(*waits)
            assert s.in_flight_on(endpoint) == 0 and not s._drains
            await s.drained(endpoint)
            first.cancel()
            second.cancel()
        s, lease = await leased(time, 1)
        gone = asyncio.create_task(s.drained(lease.endpoint_id))
        left = asyncio.create_task(s.drained(lease.endpoint_id))
        await asyncio.sleep(0)
        left.cancel()
        s.remove_endpoint(lease.endpoint_id)
        for task, error in ((gone, slotwise.UnknownEndpointError), (left, asyncio.CancelledError)):
            with pytest.raises(error):
                await task
        with pytest.raises(slotwise.UnknownEndpointError):
            await s.drained(7)
        assert not s._drains
        lease.cancel()

    time.run(main())
