"""A request fails if its endpoint stops sending without closing the stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import slotwise
from fake_time import Time
from slotwise import aio, wire

TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
PING = b": ping\n\n"
DONE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Upstream:
    """Sends each chunk after its delay in seconds, then hangs."""

    def __init__(self, chunks: Sequence[tuple[float, bytes]]) -> None:
        self.chunks = chunks
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for seconds, chunk in self.chunks:
                await asyncio.sleep(seconds)
                yield chunk
            await asyncio.sleep(1_000_000)
        finally:
            self.closed = True


def followed(
    time: Time, chunks: Sequence[tuple[float, bytes]], *, begin: bool = True, **how: Any
) -> Any:
    """The duration of the stream, the error, and the counts of the scheduler."""

    async def main() -> Any:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint(slotwise.Endpoint("a"))
        lease = await scheduler.acquire("x")
        if begin:
            lease.begin(200, "text/event-stream")
        started, upstream, error = time(), Upstream(chunks), None
        try:
            async for _ in lease.stream(upstream, **how):
                pass
        except slotwise.IdleTimeoutError as caught:
            error = caught
        stats = scheduler.stats()
        assert upstream.closed and lease.ended and stats.in_flight == 0
        return round(time() - started, 3), error, (stats.completed, stats.failed, stats.cancelled)

    return time.run(main())


@pytest.mark.parametrize("begin", [True, False])
def test_no_first_token_fails_after_half_a_minute(time: Time, begin: bool) -> None:
    seconds, error, counts = followed(time, [], begin=begin)
    assert (seconds, error.code, error.begun, counts) == (30.0, "idle_timeout", False, (0, 1, 0))
    assert isinstance(error, TimeoutError) and "no first token within 30.000 s" in str(error)


def test_no_further_token_fails_after_a_minute(time: Time) -> None:
    seconds, error, counts = followed(time, [(29.0, TOKEN), (59.0, TOKEN)])
    assert (seconds, error.begun, counts) == (148.0, True, (0, 1, 0))


def test_comments_are_no_tokens(time: Time) -> None:
    seconds, error, _ = followed(time, [(10.0, PING)] * 100)
    assert (seconds, error.begun) == (30.0, False)


def test_the_limit_is_the_hosts(time: Time) -> None:
    assert followed(time, [(1.0, TOKEN)], idle_timeout=2.5)[0] == 3.5
    assert followed(time, [(5_000.0, TOKEN), (5_000.0, TOKEN)], idle_timeout=6_000)[0] == 16_000.0
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="idle_timeout"):
            followed(time, [], idle_timeout=wrong)


def test_an_answer_that_is_whole_is_complete_though_its_connection_stays_open(time: Time) -> None:
    _, error, counts = followed(time, [(1.0, TOKEN), (1.0, DONE)])
    assert (error, counts) == (None, (1, 0, 0))


def test_only_waiting_for_the_endpoint_counts(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint(slotwise.Endpoint("a"))
        lease = await scheduler.acquire("x")
        lease.begin(200, "text/event-stream")
        stream = lease.stream(Upstream([(20.0, TOKEN), (40.0, DONE)]))
        await anext(stream)
        await asyncio.sleep(3_600)  # the client reads slowly
        assert await anext(stream) == DONE
        await stream.aclose()
        assert scheduler.stats().completed == 1

    time.run(main())


def test_the_limit_follows_the_prediction() -> None:
    scheduler = slotwise.Scheduler(clock=lambda: 9e9)
    scheduler.add_endpoint(slotwise.Endpoint("a", kv_cache_tokens=4_000_000))
    for _ in range(3):
        dispatch = scheduler.pick(list(range(200_000)), model="m")
        assert isinstance(dispatch, slotwise.Dispatch)
    explained = scheduler.explain(list(range(200_000)), model="m").candidates[0]
    last = scheduler.pick(list(range(200_000)), model="m")
    assert isinstance(last, slotwise.Dispatch)
    assert last.first_token_in == explained.first_token_in
    assert last.first_token_in > 3.0
    assert last.idle_limit() == pytest.approx(10 * last.first_token_in, abs=1e-5)
    assert last.idle_limit(started=True) == 60.0


def test_a_model_that_is_not_served_is_named_with_those_that_are() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint(slotwise.Endpoint("a", models=["llama", "qwen"]))
    for rejected in (scheduler.pick("x", model="lama"), scheduler.submit("x", model="lama")):
        assert isinstance(rejected, slotwise.Rejected)
        assert '"lama"' in rejected.message and '"llama", "qwen"' in rejected.message
        assert b'served: \\"llama\\", \\"qwen\\"' in wire.refusal(rejected).body


def test_a_wave_of_refusals_comes_back_one_by_one() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint(slotwise.Endpoint("a", max_in_flight=4), now=0.0)
    for _ in range(4):
        scheduler.pick("x", now=0.0)

    def after(prompt: str, now: float) -> float:
        refused = scheduler.pick(prompt, now=now)
        assert isinstance(refused, slotwise.Rejected) and refused.retry_after is not None
        return refused.retry_after

    afters = [after("x" * 4_000, 0.0) for _ in range(116)]
    assert afters == sorted(set(afters)), "each later than the one before"
    assert after("x", 3_600.0) < afters[-1]
