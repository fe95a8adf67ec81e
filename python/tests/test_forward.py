"""``forward`` serves a request under every behaviour of engines.

A request whose answer has not begun is retried, nothing leaks, and each end is counted once.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from engines import CUT_EVENT, DONE, ERROR_EVENT, EVENT, Engine, engines
from fake_time import Time

import slotwise.aio

PATH = "/v1/chat/completions"
BODY = json.dumps(
    {"model": "m", "messages": [{"role": "user", "content": "Say x."}], "stream": True}
).encode()
WHOLE = EVENT + EVENT + DONE


class Gateway:
    """A scheduler in front of engines, with the HTTP client of a host."""

    def __init__(self, client: httpx.AsyncClient, pool: list[Engine]) -> None:
        self.scheduler = slotwise.aio.Scheduler({"seed": 1})
        self.pool = pool
        self.ids = [self.scheduler.add_endpoint(engine.url) for engine in pool]
        self._client = client

    async def send(self, url: str) -> httpx.Response:
        headers = {"content-type": "application/json"}
        request = self._client.build_request("POST", url + PATH, content=BODY, headers=headers)
        return await self._client.send(request, stream=True)

    async def ask(self, **options: Any) -> slotwise.aio.Reply:
        return await self.scheduler.forward(self.send, body=BODY, path=PATH, **options)

    def only(self, engine: Engine) -> None:
        """Removes all engines but this one."""
        for number, other in enumerate(self.pool):
            if other is not engine:
                self.scheduler.drain_endpoint(self.ids[number])

    def counts(self) -> tuple[int, int, int, int]:
        stats = self.scheduler.stats()
        return stats.completed, stats.failed, stats.cancelled, stats.in_flight


class OpenResponse:
    """A stream that stays open after a part of an event."""

    status_code = 200
    headers = {"content-type": "text/event-stream"}

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        yield EVENT + b"data: {"
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def gateway(*manners: str | int) -> AsyncIterator[Gateway]:
    async with engines(*manners) as pool, httpx.AsyncClient(timeout=None) as client:
        yield Gateway(client, pool)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_a_good_answer_passes_as_it_comes() -> None:
    async def test() -> None:
        async with gateway("good") as host:
            reply = await host.ask()
            assert reply.status == 200 and ("content-type", "text/event-stream") in reply.headers
            assert host.counts() == (0, 0, 0, 1)
            assert await reply.read() == WHOLE
            assert host.counts() == (1, 0, 0, 0)

    run(test)


def test_the_lease_of_a_reply_outlives_its_body() -> None:
    async def test() -> None:
        async with gateway("good") as host:
            reply = await host.ask()
            lease = reply.lease
            assert lease is not None and not lease.ended
            assert lease.dispatch.request_id == lease.request_id
            await reply.read()
            del reply
            assert lease.ended and lease.answer.complete
            assert lease.outcome is not None and lease.outcome.end == "complete"
            assert (lease.answer.tokens, lease.endpoint_name) == (2, host.pool[0].url)
            assert not lease.cancel() and not lease.complete()
            assert host.counts() == (1, 0, 0, 0)

    run(test)


def test_a_lease_that_is_cancelled_by_hand_ends_the_request_once() -> None:
    async def test() -> None:
        async with gateway("good") as host:
            reply = await host.ask()
            assert reply.lease is not None and reply.lease.cancel()
            assert await reply.read() == WHOLE
            assert host.counts() == (0, 0, 1, 0)

    run(test)


ELSEWHERE = ["dies", "empty", "fails", 401, 403, 404, 429, 500, 503, "dead"]
"""Manners of failing engines, after which a request is retried."""


@pytest.mark.parametrize("bad", ELSEWHERE)
def test_what_has_not_begun_is_asked_elsewhere(bad: str | int) -> None:
    async def test() -> None:
        async with gateway("good" if bad == "dead" else bad, "good") as host:
            if bad == "dead":
                await host.pool[0].stop()
            for _ in range(20):
                reply = await host.ask()
                assert (reply.status, await reply.read()) == (200, WHOLE)
            completed, _, _, in_flight = host.counts()
            assert (completed, in_flight) == (20, 0)
            assert host.pool[1].asked == 20

    run(test)


def test_what_any_endpoint_would_refuse_is_asked_once() -> None:
    async def test() -> None:
        async with gateway(400, 400) as host:
            reply = await host.ask()
            assert reply.status == 400 and b"status 400" in await reply.read()
            assert sum(engine.asked for engine in host.pool) == 1
            assert host.counts() == (0, 0, 1, 0)

    run(test)


def test_a_refusal_as_the_first_event_of_a_stream_is_asked_once() -> None:
    async def test() -> None:
        async with gateway("refuses", "refuses") as host:
            reply = await host.ask()
            assert b"bad request" in await reply.read()
            assert sum(engine.asked for engine in host.pool) == 1
            assert host.counts() == (0, 0, 1, 0)

    run(test)


@pytest.mark.parametrize(
    ("manner", "status"), [(401, 401), (404, 404), (429, 429), (500, 500), ("empty", 503)]
)
def test_if_no_engine_answers_the_client_gets_the_last_refusal(
    manner: str | int, status: int
) -> None:
    async def test() -> None:
        async with gateway(manner, manner) as host:
            reply = await host.ask()
            assert reply.status == status
            assert "error" in json.loads(await reply.read())
            assert [engine.asked for engine in host.pool] == [1, 1]
            assert host.counts()[3] == 0

    run(test)


def test_if_no_engine_can_be_reached_the_client_is_told_when_to_come_back() -> None:
    async def test() -> None:
        async with gateway("good", "good") as host:
            for engine in host.pool:
                await engine.stop()
            reply = await host.ask()
            assert reply.status == 503 and reply.lease is None
            assert "retry-after" in dict(reply.headers)
            assert json.loads(await reply.read())["error"]["code"] == "no_endpoints"
            assert host.counts()[3] == 0

    run(test)


def test_a_stream_that_has_begun_is_never_asked_again() -> None:
    async def test() -> None:
        async with gateway("breaks", "good") as host:
            host.only(host.pool[0])
            reply = await host.ask()
            assert await reply.read() == EVENT + CUT_EVENT
            assert reply.lease is not None and reply.lease.outcome.end == "cut"
            assert (host.pool[0].asked, host.pool[1].asked) == (1, 0)
            assert host.counts() == (0, 1, 0, 0)

    run(test)


def test_a_stream_whose_time_is_over_ends_with_an_error_event() -> None:
    async def test() -> None:
        async with gateway("slow") as host:
            reply = await host.ask()
            reading = asyncio.ensure_future(reply.read())
            while host.pool[0].held == 0:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            reply.expire()
            reply.expire()
            event = (await reading).removeprefix(EVENT).removeprefix(b"data: ")
            assert json.loads(event)["error"]["code"] == "request_timeout"
            assert reply.lease is not None and reply.lease.outcome.end == "expired"
            assert host.counts() == (0, 0, 1, 0)
            # Between two chunks, nothing waits.
            reply = await host.ask()
            assert await anext(reply.__aiter__()) == EVENT
            reply.expire()
            assert await reply.read() == b"data: " + event
            host.pool[0].gate.set()
            reply = await host.ask()
            assert (await reply.read()).endswith(DONE)
            reply.expire()
            assert host.counts() == (1, 0, 2, 0)

    run(test)


def test_a_body_that_no_event_can_follow_raises_when_its_time_is_over() -> None:
    async def test() -> None:
        async with gateway("good") as host:

            async def send(url: str) -> OpenResponse:
                return OpenResponse()

            reply = await host.scheduler.forward(send, body=BODY, path=PATH)
            reading = asyncio.ensure_future(reply.read())
            await asyncio.sleep(0)
            reply.expire()
            with pytest.raises(TimeoutError, match="took too long"):
                await reading
            assert host.counts() == (0, 0, 1, 0)

    run(test)


def test_an_error_within_a_stream_reaches_the_client_and_fails_the_request() -> None:
    async def test() -> None:
        async with gateway("error", "good") as host:
            host.only(host.pool[0])
            reply = await host.ask()
            assert await reply.read() == EVENT + ERROR_EVENT
            assert host.counts() == (0, 1, 0, 0)

    run(test)


def test_a_client_that_leaves_closes_the_engines_stream() -> None:
    async def test() -> None:
        async with gateway("good") as host:
            reply = await host.ask()
            await reply.aclose()
            assert host.counts() == (0, 0, 1, 0)
            assert [chunk async for chunk in reply] == []

    run(test)


def test_a_reply_that_is_dropped_ends_its_request() -> None:
    async def test() -> None:
        async with gateway("good") as host:
            reply = await host.ask()
            del reply
            assert host.counts() == (0, 0, 1, 0)

    run(test)


def test_a_handler_that_is_cancelled_before_the_first_byte_cancels_the_request() -> None:
    async def test() -> None:
        async with gateway("silent") as host:
            task = asyncio.create_task(host.ask())
            while not host.pool[0].bodies:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert host.counts() == (0, 0, 1, 0)

    run(test)


def test_an_empty_pool_is_refused() -> None:
    async def test() -> None:
        scheduler = slotwise.aio.Scheduler()

        async def send(url: str) -> httpx.Response:
            raise AssertionError(url)

        reply = await scheduler.forward(send, body=BODY, path="/v1/messages", timeout=0)
        assert reply.status == 503 and json.loads(await reply.read())["type"] == "error"

    run(test)


class Silent:
    """A response whose body never arrives."""

    status_code = 200
    headers = {"content-type": "text/event-stream"}
    closed = False

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def aclose(self) -> None:
        self.closed = True


def test_a_silent_engine_times_out_and_another_one_is_asked() -> None:
    time = Time()
    answers = [Silent(), Silent()]

    async def test() -> None:
        scheduler = slotwise.aio.Scheduler({"seed": 1}, clock=time)
        for name in ("a", "b"):
            scheduler.add_endpoint(name)
        asked: list[str] = []

        async def send(url: str) -> Silent:
            asked.append(url)
            return answers[len(asked) - 1]

        reply = await scheduler.forward(send, body=BODY, path=PATH)
        assert reply.status == 503 and sorted(asked) == ["a", "b"]
        assert all(answer.closed for answer in answers)
        stats = scheduler.stats()
        assert (stats.failed, stats.in_flight) == (2, 0)
        assert time() >= 1_060.0, "30 s each"

    time.run(test())


@pytest.mark.parametrize(
    ("whole", "idle_timeout", "seconds"),
    [
        (False, ..., 30.0),
        (True, ..., 600.0),
        (False, 7.0, 7.0),
        (True, 7.0, 7.0),
        (False, None, None),
        (True, None, None),
    ],
)
def test_an_endpoint_may_be_silent_up_to_the_idle_limit(
    whole: bool, idle_timeout: Any, seconds: float | None
) -> None:
    time = Time()
    body = json.dumps({**json.loads(BODY), "stream": not whole}).encode()

    class Whole(Silent):
        headers = {"content-type": "application/json"}

        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            yield b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'

    async def test(takes: float) -> int:
        scheduler = slotwise.aio.Scheduler({"seed": 1}, clock=time)
        scheduler.add_endpoint("a")

        async def send(url: str) -> Silent:
            await asyncio.sleep(takes)
            return Whole()

        reply = await scheduler.forward(send, body=body, path=PATH, idle_timeout=idle_timeout)
        await reply.read()
        assert scheduler.stats().in_flight == 0
        return reply.status

    if seconds is None:
        assert time.run(test(1e6)) == 200
    else:
        assert time.run(test(seconds - 0.5)) == 200
        assert time.run(test(seconds + 0.5)) == 503


@pytest.mark.parametrize("wrong", [0, -1.0, math.nan])
def test_an_idle_limit_must_be_above_0(wrong: float) -> None:
    async def test() -> None:
        async def send(url: str) -> Silent:
            raise AssertionError(f"{url} is asked")

        scheduler = slotwise.aio.Scheduler()
        with pytest.raises(ValueError, match="idle_timeout"):
            await scheduler.forward(send, body=BODY, path=PATH, idle_timeout=wrong)

    asyncio.run(test())


def test_the_clients_name_of_the_model_goes_back() -> None:
    event = b'data: {"model":"llama-3-b","choices":[{"text":"a"}]}\n\n'

    class Answer:
        status_code = 200
        headers = {"content-type": "text/event-stream"}

        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            for chunk in (event, event[:20], event[20:], DONE):
                yield chunk

        async def aclose(self) -> None: ...

    async def send(url: str) -> Any:
        return Answer()

    async def test() -> None:
        scheduler = slotwise.aio.Scheduler()
        scheduler.add_endpoint("http://a")
        reply = await scheduler.forward(send, body=BODY, path=PATH, answers_as="chat")
        assert await reply.read() == event.replace(b"llama-3-b", b"chat") * 2 + DONE
        assert scheduler.stats().completed == 1

    run(test)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("size", [1, 50, 1_000])
def test_usage_is_requested_and_given_only_to_clients_that_want_it(asked: bool, size: int) -> None:
    option = b',"stream_options":{"include_usage":true}' if asked else b""
    body = b'{"model": "m", "prompt": "Hi", "stream": true%s}' % option
    event = b'data: {"choices":[{"text":"a"}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}\n\n'
    whole = event.replace(b"]}", b'],"usage":null}') + usage + DONE
    sent: list[slotwise.aio.Call] = []

    class Answer:
        status_code = 200
        headers = {"content-type": "text/event-stream"}

        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            for at in range(0, len(whole), size):
                yield whole[at : at + size]

        async def aclose(self) -> None: ...

    async def send(call: slotwise.aio.Call) -> Any:
        sent.append(call)
        return Answer()

    async def test() -> None:
        scheduler = slotwise.aio.Scheduler()
        scheduler.add_endpoint("http://a")
        reply = await scheduler.forward(send, body=body, path="/v1/completions", add_usage=True)
        assert await reply.read() == (whole if asked else event + DONE)
        assert reply.lease is not None and reply.lease.outcome is not None
        assert reply.lease.outcome.usage.prompt_tokens == 9
        with pytest.raises(TypeError, match="add_usage needs a body"):
            await scheduler.forward(send, prompt="Hi", add_usage=True)

    run(test)
    assert (sent[0].url, sent[0].headers) == ("http://a", [])
    assert b"include_usage" in sent[0].body and (sent[0].body == body) is asked
