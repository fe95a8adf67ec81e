"""The real clients of OpenAI and Anthropic through the gateway, to the demonstration's engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from running import Host, key, run, serving
from slotwise.gateway.demo import DemoEngine
from slotwise.gateway.server import Listener

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")

HELLO: list[Any] = [{"role": "user", "content": "Hello there"}]
ANSWER = "You said: Hello there"
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {}}}


@asynccontextmanager
async def demo(**access: Any) -> AsyncIterator[Host]:
    """A gateway in front of two engines, with the key ``sk-alice``."""
    engines = [Listener(("127.0.0.1", 0), _engine().handle, max_body=2**24) for _ in range(2)]
    urls = [f"http://127.0.0.1:{(await engine.start())[1]}" for engine in engines]
    configuration = {"endpoints": urls, "gates": {"keys": [key("alice", **access)]}}
    async with serving(configuration) as host:
        yield host
    for engine in engines:
        await engine.close()


def _engine() -> DemoEngine:
    return DemoEngine(token_time=0.0, block_time=0.0)


def of_openai(host: Host, key: str = "sk-alice", retries: int = 0) -> Any:
    return openai.AsyncOpenAI(
        base_url=f"{host.gateway.url}/v1", api_key=key, max_retries=retries, timeout=600
    )


def of_anthropic(host: Host, key: str = "sk-alice") -> Any:
    return anthropic.AsyncAnthropic(
        base_url=host.gateway.url, api_key=key, max_retries=0, timeout=600
    )


def test_chat() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client:
            whole = await client.chat.completions.create(model="demo", messages=HELLO)
            assert whole.choices[0].message.content == ANSWER
            stream = await client.chat.completions.create(
                model="demo", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == ANSWER and chunks[-1].usage.completion_tokens == 4
            # The gateway requests the usage for the quotas of the key, and keeps it to itself.
            stream = await client.chat.completions.create(
                model="demo", messages=HELLO, stream=True
            )
            assert all(chunk.usage is None and chunk.choices for chunk in [c async for c in stream])

    run(test)


def test_completions_and_models() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client:
            whole = await client.completions.create(model="demo", prompt="Hello there")
            assert whole.choices[0].text == ANSWER
            stream = await client.completions.create(model="demo", prompt="Hi", stream=True)
            assert "".join([chunk.choices[0].text async for chunk in stream]) == "You said: Hi"
            assert [model.id async for model in client.models.list()] == ["demo"]
            assert (await client.models.retrieve("demo")).id == "demo"

    run(test)


def test_responses() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client:
            whole = await client.responses.create(model="demo", input="Hello there")
            assert whole.output_text == ANSWER and whole.usage.output_tokens == 4
            async with client.responses.stream(model="demo", input="Hello there") as stream:
                final = await stream.get_final_response()
            assert final.output_text == ANSWER

    run(test)


def test_messages() -> None:
    async def test() -> None:
        async with demo() as host, of_anthropic(host) as client:
            asked: dict[str, Any] = {"model": "demo", "max_tokens": 16, "messages": HELLO}
            whole = await client.messages.create(**asked)
            assert whole.content[0].text == ANSWER and whole.usage.output_tokens == 4
            async with client.messages.stream(**asked) as stream:
                assert "".join([text async for text in stream.text_stream]) == ANSWER
            assert [model.id async for model in client.models.list()] == ["demo"]

    run(test)


def test_tools() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client, of_anthropic(host) as other:
            tools: Any = [{"type": "function", "function": TOOL}]
            whole = await client.chat.completions.create(
                model="demo", messages=HELLO, tools=tools, tool_choice="required"
            )
            [call] = whole.choices[0].message.tool_calls
            assert call.function.name == "look_up"
            assert json.loads(call.function.arguments) == {"text": ANSWER}
            async with client.responses.stream(
                model="demo", input="Hello there", tools=[{"type": "function", **TOOL}],
                tool_choice="required",
            ) as stream:
                final = await stream.get_final_response()
            assert final.output[0].name == "look_up"
            tool = {"name": "look_up", "input_schema": TOOL["parameters"]}
            async with other.messages.stream(
                model="demo", max_tokens=16, messages=HELLO, tools=[tool],
                tool_choice={"type": "any"},
            ) as events:
                message = await events.get_final_message()
            assert message.stop_reason == "tool_use"
            assert message.content[0].input == {"text": ANSWER}

    run(test)


def test_images() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client:
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
            content = [{"type": "text", "text": "See"}, image]
            whole = await client.chat.completions.create(
                model="demo", messages=[{"role": "user", "content": content}]
            )
            assert whole.choices[0].message.content == "You said: See an image"

    run(test)


def test_errors_have_the_classes_of_the_clients() -> None:
    async def test() -> None:
        async with demo(models=["demo"]) as host:
            async with of_openai(host, "sk-eve") as client:
                with pytest.raises(openai.AuthenticationError):
                    await client.chat.completions.create(model="demo", messages=HELLO)
            async with of_openai(host) as client:
                with pytest.raises(openai.PermissionDeniedError) as denied:
                    await client.chat.completions.create(model="other", messages=HELLO)
                assert denied.value.code == "model_not_allowed"
                with pytest.raises(openai.NotFoundError):
                    await client.post("/v1/unknown", cast_to=object)
            async with of_anthropic(host, "sk-eve") as other:
                with pytest.raises(anthropic.AuthenticationError):
                    await other.messages.create(model="demo", max_tokens=9, messages=HELLO)

    run(test)


def test_a_client_waits_as_long_as_a_quota_asks() -> None:
    async def test() -> None:
        quota = {"measure": "requests", "limit": 1, "window": 86_400.0}
        async with demo(limits={"quotas": [quota]}) as host:
            waits: list[float] = []
            async with of_openai(host, retries=1) as client:

                async def sleep(*_: Any, **more: Any) -> None:
                    response = more["response"] if "response" in more else None
                    waits.append(client._parse_retry_after_header(response.headers))

                client._sleep_for_retry = sleep
                await client.chat.completions.create(model="demo", messages=HELLO)
                with pytest.raises(openai.RateLimitError) as refused:
                    await client.chat.completions.create(model="demo", messages=HELLO)
            assert waits and 0 < waits[0] <= 60
            assert refused.value.body["retry_after_ms"] > 60_000
            assert host.gateway.statuses[429] == 2

    run(test)


def test_a_client_that_stops_reading_a_stream_ends_it() -> None:
    async def test() -> None:
        async with demo() as host, of_openai(host) as client:
            stream = await client.chat.completions.create(
                model="demo", messages=HELLO, stream=True
            )
            async for _ in stream:
                break
            await stream.close()
        assert host.gateway.open_requests == 0

    run(test)
