"""Answers are read chunk by chunk and end their leases. Refusals, statistics and attributes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import slotwise
from conftest import CHAT, picked
from fake_time import Time
from slotwise import Endpoint, Scheduler, aio, wire


@pytest.fixture
def scheduler() -> Scheduler:
    scheduler = Scheduler(clock=Time())
    scheduler.add_endpoint(Endpoint("a", models=["m"], block_size=4))
    return scheduler


def sse(*payloads: Any) -> list[bytes]:
    return [
        b"data: " + (one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n\n"
        for one in payloads
    ]


def delta(content: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, **more}]}


USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
ANSWER = sse(
    delta("a"), delta("b", finish_reason="stop"), {"choices": [], "usage": USAGE}, b"[DONE]"
)
ABORTED = sse(delta("a"), delta("", finish_reason="abort"), b"[DONE]")
FAILED = sse({"error": {"message": "no", "code": 500}}, b"[DONE]")


def leased(job: Any, **config: Any) -> slotwise.Stats:
    """The statistics of a scheduler after ``job`` has used one of its leases."""

    time = Time()

    async def main() -> slotwise.Stats:
        scheduler = aio.Scheduler(config or None, clock=time)
        scheduler.add_endpoint(Endpoint("a", max_in_flight=1))
        await job(scheduler, await scheduler.acquire(body=CHAT))
        return scheduler.stats()

    return time.run(main())


@pytest.mark.parametrize(
    ("chunks", "close", "end", "counts"),
    [
        (ANSWER, "clean", "complete", (1, 0, 0)),
        (ANSWER, "client_disconnected", "complete", (1, 0, 0)),
        (ANSWER[:1], "clean", "cut", (0, 1, 0)),
        (ANSWER[:1], "client_disconnected", "client_disconnected", (0, 0, 1)),
        (ANSWER[:1], "timed_out", "timed_out", (0, 1, 0)),
        (ABORTED, "clean", "aborted", (0, 1, 0)),
        (FAILED, "clean", "failed", (0, 1, 0)),
    ],
)
def test_a_lease_ends_as_its_answer_does(
    chunks: list[bytes], close: Any, end: str, counts: Any
) -> None:
    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        assert (
            not lease.answer.begun
            and lease.answer.usage == slotwise.Usage()
            and not lease.answer.complete
        )
        lease.begin(200, "text/event-stream")
        for chunk in chunks:
            lease.feed(chunk)
        assert lease.answer.outcome is None
        outcome = lease.finish(close)
        assert lease.ended and outcome.end == end
        assert lease.answer.outcome == outcome == lease.finish("timed_out"), "the first end counts"
        assert lease.feed(ANSWER[0]) == wire.Progress()
        assert lease.answer.begun == (chunks is not FAILED)
        if chunks is ANSWER:
            assert lease.answer.usage == slotwise.Usage(
                prompt_tokens=9, cached_tokens=8, completion_tokens=2
            )
            assert (lease.answer.finish_reason, lease.answer.tokens, lease.answer.complete) == (
                "stop",
                2,
                True,
            )
        lease.complete()

    stats = leased(job)
    assert (stats.completed, stats.failed, stats.cancelled, stats.in_flight) == (*counts, 0)


def test_a_first_token_is_told_and_lets_the_next_one_go() -> None:
    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        lease.begin(200, "text/event-stream")
        assert lease.feed(ANSWER[0][:20]) == wire.Progress()
        assert scheduler.stats().endpoints[0].prefilling == 1
        assert lease.feed(ANSWER[0][20:]) == wire.Progress(first_token=True, tokens=1)
        assert (
            scheduler.stats().endpoints[0].prefilling,
            scheduler.stats().endpoints[0].running,
        ) == (0, 1)
        next_one = asyncio.create_task(scheduler.acquire(body=CHAT, timeout=5.0))
        await asyncio.sleep(0)
        assert not next_one.done()
        lease.feed(b"".join(ANSWER[1:]))
        assert lease.finish().settlement == "complete"
        (await next_one).cancel()

    assert leased(job).completed == 1


def test_a_lease_that_has_no_answer_says_so() -> None:
    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        for call in (lambda: lease.feed(b""), lease.finish):
            with pytest.raises(RuntimeError, match="begin"):
                call()
        lease.begin(200, "text/event-stream")
        with pytest.raises(TypeError, match="chunk"):
            lease.feed("data: ")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="client_disconnected"):
            wire.ResponseReader(200, "").finish("gone")  # type: ignore[arg-type]
        lease.fail("unreachable")

    assert leased(job).unreachable == 1


@pytest.mark.parametrize(
    ("how", "counts"),
    [("end", (1, 0, 0)), ("aborted", (0, 1, 0)), ("error", (0, 1, 0)), ("abandoned", (0, 0, 1))],
)
def test_a_stream_is_read_on_its_way(how: str, counts: Any) -> None:
    async def upstream() -> AsyncIterator[bytes]:
        for chunk in {"aborted": ABORTED, "end": ANSWER}.get(how, ANSWER[:1]):
            yield chunk
        if how == "error":
            raise OSError

    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        lease.begin(200, "text/event-stream")
        stream = lease.stream(upstream())
        assert await anext(stream) == ANSWER[0]
        assert lease.answer.tokens == 1
        if how == "abandoned":
            await stream.aclose()
        else:
            try:
                async for _ in stream:
                    pass
            except OSError:
                assert how == "error"
        del stream

    stats = leased(job)
    assert (stats.completed, stats.failed, stats.cancelled, stats.in_flight) == (*counts, 0)


def test_a_block_ends_as_its_answer_does() -> None:
    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        async with lease:
            lease.begin(200, "application/json")
            lease.feed(json.dumps({"choices": [{"text": "a", "finish_reason": "abort"}]}).encode())

    assert leased(job).failed == 1


def test_a_request_may_be_asked_again_while_nothing_has_begun() -> None:
    async def job(scheduler: aio.Scheduler, lease: aio.Lease) -> None:
        lease.begin(200, "text/event-stream")
        lease.feed(FAILED[0])
        outcome = lease.finish()
        assert (outcome.retry, outcome.status, outcome.failure) == (
            "if_nothing_sent",
            500,
            "engine",
        )
        assert outcome.may_retry(False) and not outcome.may_retry(True)

    leased(job)
    full = wire.outcome_of_status(503)
    assert (full.end, full.settlement, full.complete) == ("full", "fail", False)
    refused = wire.outcome_of_status(400)
    assert (refused.complete, refused.settlement, refused.failure) == (True, "cancel", None)
    assert wire.outcome_of_status(404).may_retry(sent=False)


def test_a_model_keeps_the_clients_name_in_any_pieces() -> None:
    body = b'data: {"id":"1","model":"meta/llama","choices":[]}\n\n'
    for size in (1, 7, len(body)):
        passing = wire.ModelFilter("text/event-stream", 'gpt "4"')
        passed = b"".join(passing.feed(body[at : at + size]) for at in range(0, len(body), size))
        assert passed == body.replace(b"meta/llama", b'gpt \\"4\\"')


# Refusals for clients, statistics and span attributes.


def test_a_refusal_is_told_in_the_words_of_the_clients_library() -> None:
    empty = Scheduler()
    rejected = empty.pick("x", model="m")
    assert isinstance(rejected, slotwise.Rejected)
    told = wire.refusal(rejected)
    assert (told.status, json.loads(told.body)["error"]["code"]) == (503, "no_endpoints")
    assert told == wire.refusal("no_endpoints", retry_after=5.0)
    assert {("retry-after", "5"), ("retry-after-ms", "5000")} <= set(told.headers)
    told = wire.refusal("queue_full", retry_after=0.2, message='a "b"\n', shape="anthropic")
    assert told.status == 429 and ("retry-after", "1") in told.headers
    assert json.loads(told.body)["error"]["message"] == 'a "b"\n'
    wrongs: list[tuple[Any, Any]] = [("nonsense", ValueError), (1, TypeError), (None, TypeError)]
    for reason, error in wrongs:
        with pytest.raises(error):
            wire.refusal(reason)
    mores: list[Any] = [{"shape": "none"}, {"retry_after": -1.0}, {"retry_after": float("nan")}]
    for more in mores:
        with pytest.raises(ValueError):
            wire.refusal("shed", **more)


def test_a_refusal_that_is_an_exception_is_told_as_well(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        with pytest.raises(slotwise.RejectedError) as rejected:
            await scheduler.acquire("x", timeout=0)
        assert wire.refusal(rejected.value).status == 503
        scheduler.add_endpoint(Endpoint("a", max_in_flight=1))
        async with await scheduler.acquire("x"):
            with pytest.raises(slotwise.EvictedError) as evicted:
                await scheduler.acquire("x", timeout=0.01)
        headers = dict(wire.refusal(evicted.value).headers)
        assert headers["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired"
        told = wire.attributes(evicted.value)
        assert told["error.type"] == "ttl_expired" and told["slotwise.queued_seconds"] == 0.01

    time.run(main())


def test_a_span_has_its_attributes(scheduler: Scheduler) -> None:
    dispatch = picked(scheduler, [1, 2, 3], model="m")
    told = wire.attributes(dispatch, model="m", session="s", priority=-1)
    assert told["gen_ai.request.model"] == "m" and told["gen_ai.conversation.id"] == "s"
    assert (told["slotwise.prompt_tokens"], told["slotwise.priority"]) == (3, -1)
    assert wire.attributes(slotwise.Usage(cached_tokens=4)) == {
        "gen_ai.usage.cache_read.input_tokens": 4
    }


def test_statistics_are_text(scheduler: Scheduler) -> None:
    text = scheduler.metrics_text()
    assert 'slotwise_endpoint_prefilling_requests{endpoint_name="a"} 0\n' in text and text.endswith(
        "# EOF\n"
    )
    scheduler.add_endpoint("b")
    assert 'endpoint_name="b"' not in scheduler.metrics_text(max_endpoints=1)
    assert "llm_d_epp" in scheduler.metrics_text(names="reference", pool="p")
    with pytest.raises(ValueError, match="reference"):
        scheduler.metrics_text(names="none")  # type: ignore[arg-type]


def test_an_end_that_raises_is_none(time: Time) -> None:
    async def main() -> None:
        scheduler = aio.Scheduler(clock=time)
        scheduler.add_endpoint("a")
        lease = await scheduler.acquire([1, 2, 3])
        lease.begin(200, "application/json")
        with pytest.raises(ValueError):
            lease.finish("timeout")  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            lease.fail("oops")  # type: ignore[arg-type]
        assert (lease.ended, scheduler.stats().in_flight) == (False, 1)
        lease.finish("timed_out")
        assert (lease.ended, scheduler.stats().in_flight) == (True, 0)

    time.run(main())
