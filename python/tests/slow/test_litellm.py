"""The callback in a real ``litellm.Router``, in front of engines on the loopback."""

from __future__ import annotations

import os

# Otherwise, the import fetches a file from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import litellm
import pytest
import slotwise
from engines import Engine
from slotwise.integrations.litellm import SlotwiseCallback, _prompt

MESSAGES = [{"role": "user", "content": "Hello, who are you? " * 40}]
USAGE = {
    "prompt_tokens": 400,
    "completion_tokens": 2,
    "total_tokens": 402,
    "prompt_tokens_details": {"cached_tokens": 320},
}


class OpenAI(Engine):
    """An engine that answers as OpenAI's API does. ``slow`` streams wait for the gate."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        [length] = [
            int(line.partition(":")[2])
            for line in head.split("\r\n")
            if line.startswith("content-length")
        ]
        self.bodies.append(await reader.readexactly(length))
        body = json.loads(self.bodies[-1])
        if isinstance(self.manner, int):
            self._whole(writer, self.manner, {"error": {"message": "an error"}})
        elif not body.get("stream"):
            message = {"role": "assistant", "content": "Hi"}
            choice = {"index": 0, "finish_reason": "stop", "message": message, "text": "Hi"}
            self._whole(writer, 200, self._part("chat.completion", [choice], usage=USAGE))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            for reason in (None, "stop"):
                choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": reason}
                self._event(writer, json.dumps(self._part("chat.completion.chunk", [choice])))
                await writer.drain()
                if self.manner == "slow" and reason is None:
                    await self._wait_at_gate()
            self._event(writer, json.dumps(self._part("chat.completion.chunk", [], usage=USAGE)))
            self._event(writer, "[DONE]")
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    def _part(self, kind: str, choices: list[Any], **fields: Any) -> dict[str, Any]:
        return {"id": "c", "object": kind, "created": 1, "model": "m", "choices": choices, **fields}

    def _whole(self, writer: asyncio.StreamWriter, status: int, fields: Any) -> None:
        body = json.dumps(fields).encode()
        writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n" % status)
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))

    def _event(self, writer: asyncio.StreamWriter, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))


class Host:
    """A router with the callback."""

    def __init__(self, pool: list[OpenAI], clock: Callable[[], float]) -> None:
        self.pool = pool
        self.scheduler = slotwise.Scheduler()
        self.callback = SlotwiseCallback(self.scheduler, idle_limit=60.0, clock=clock)
        # Otherwise, log events go to the callback of an earlier test.
        litellm.logging_callback_manager._reset_all_callbacks()
        litellm.callbacks = [self.callback]
        self.router = litellm.Router(
            model_list=[
                {
                    "model_name": "m",
                    "litellm_params": {
                        "model": "openai/m",
                        "api_base": f"{engine.url}/v1",
                        "api_key": "none",
                    },
                    "model_info": {"id": f"d{number}"},
                }
                for number, engine in enumerate(pool)
            ],
            num_retries=2,
            retry_after=0,
        )

    async def settled(self) -> slotwise.Stats:
        """The statistics once no request is in flight. LiteLLM calls some hooks in the background.

        A hook that never comes fails the test by its time limit.
        """
        while (stats := self.scheduler.stats()).in_flight:
            await asyncio.sleep(0.01)
        return stats


Test = Callable[[Host], Coroutine[Any, Any, None]]
now = [1_000.0]


def run(test: Test, *manners: str | int, servers_twice: bool = False) -> None:
    @asynccontextmanager
    async def engines() -> AsyncIterator[list[OpenAI]]:
        started = [OpenAI(manner) for manner in manners]
        for engine in started:
            await engine.start()
        try:
            yield started
        finally:
            for engine in started:
                await engine.stop()

    async def main() -> None:
        async with engines() as pool:
            pool = pool * 2 if servers_twice else pool
            await asyncio.wait_for(test(Host(pool, lambda: now[0])), 240)

    asyncio.run(main())


def test_a_request_is_booked_once_and_settled_once() -> None:
    async def test(host: Host) -> None:
        for _ in range(3):
            await host.router.acompletion(model="m", messages=MESSAGES)
        stats = await host.settled()
        assert (stats.dispatched, stats.completed) == (3, 3)
        assert stats.reported_cached_tokens > 0
        assert sorted(engine.asked for engine in host.pool) == [0, 3]

    run(test, "good", "good")


def test_concurrent_requests_see_each_other() -> None:
    async def test(host: Host) -> None:
        prompts = [[{"role": "user", "content": f"{i} is a number. " * 40}] for i in range(16)]
        await asyncio.gather(*(host.router.acompletion(model="m", messages=p) for p in prompts))
        stats = await host.settled()
        assert (stats.dispatched, stats.completed) == (16, 16)
        assert all(engine.asked >= 4 for engine in host.pool), [e.asked for e in host.pool]

    run(test, "good", "good")


def test_a_retry_chooses_another_endpoint() -> None:
    async def test(host: Host) -> None:
        # The first choice among equal endpoints is by the seed: both orders are tried.
        for bad in (0, 1):
            host.pool[bad].manner, host.pool[1 - bad].manner = 500, "good"
            reply = await host.router.acompletion(model="m", messages=MESSAGES)
            assert reply.choices[0].message.content == "Hi"
        stats = await host.settled()
        assert stats.completed == 2
        assert stats.failed >= 1
        assert stats.dispatched == stats.completed + stats.failed

    run(test, "good", "good")


def test_an_error_of_the_client_is_no_failure_of_the_endpoint() -> None:
    async def test(host: Host) -> None:
        with pytest.raises(litellm.BadRequestError):
            await host.router.acompletion(model="m", messages=MESSAGES, num_retries=0)
        stats = await host.settled()
        assert (stats.failed, stats.cancelled) == (0, 1)

    run(test, 400)


def test_a_stream_reports_its_first_token_and_its_usage() -> None:
    async def test(host: Host) -> None:
        [engine] = host.pool
        stream = await host.router.acompletion(
            model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        await anext(aiter(stream))
        assert host.scheduler.stats().time_to_first_token.count == 1
        assert host.scheduler.stats().in_flight == 1
        engine.gate.set()
        async for _ in stream:
            pass
        stats = await host.settled()
        assert stats.completed == 1 and stats.reported_cached_tokens > 0

    run(test, "slow")


def test_a_request_keeps_the_form_of_its_answer() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint("a")
    for asked in ({}, {"stream": False}, {"stream": True}):
        decision = scheduler.pick(**_prompt("m", {"messages": MESSAGES, **asked}))
        assert isinstance(decision, slotwise.Dispatch)
        assert decision.streams == asked.get("stream", False)


def test_a_dropped_stream_ends_by_the_limit() -> None:
    async def test(host: Host) -> None:
        stream = await host.router.acompletion(model="m", messages=MESSAGES, stream=True)
        await anext(aiter(stream))
        await stream.aclose()
        assert host.scheduler.stats().in_flight == 1
        now[0] += 61.0
        host.callback.bookings.expire()
        stats = await host.settled()
        assert (stats.cancelled, stats.completed) == (1, 0)

    run(test, "slow")


def test_deployments_of_one_server_share_an_endpoint() -> None:
    async def test(host: Host) -> None:
        for _ in range(4):
            await host.router.acompletion(model="m", messages=MESSAGES)
        stats = await host.settled()
        assert (stats.completed, len(stats.endpoints)) == (4, 1)

    run(test, "good", servers_twice=True)


def test_text_completions_are_booked() -> None:
    async def test(host: Host) -> None:
        await host.router.atext_completion(model="m", prompt="Hello")
        assert (await host.settled()).completed == 1

    run(test, "good")


def test_sessions_are_passed_on() -> None:
    callback = SlotwiseCallback(slotwise.Scheduler())
    assert callback.options({"litellm_session_id": "s"}) == {"session": "s"}
    assert callback.options({"metadata": {"session_id": "t"}}) == {"session": "t"}
    assert callback.options({"metadata": None}) == {}
