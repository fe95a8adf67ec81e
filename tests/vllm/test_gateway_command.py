"""`python -m slotwise.gateway` in front of two real vLLM servers, with the clients of OpenAI and
Anthropic."""

import asyncio
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from replicas import BLOCK_SIZE, Replica

HANG = 600.0
"""Seconds after which a condition counts as never met: only a fault takes so long."""
ASK_EVERY = 0.1
QUOTA_WINDOW = 5.0
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
LONG = {"max_tokens": 7_000, "extra_body": {"ignore_eos": True}}
"""An answer that no test waits for."""
FLAG = {
    "type": "object",
    "properties": {"flag": {"enum": [True]}},
    "required": ["flag"],
    "additionalProperties": False,
}


@contextlib.contextmanager
def command(*options: str) -> Iterator[str]:
    """Runs the command. Provides the URL of the gateway."""
    words = [sys.executable, "-P", "-m", "slotwise.gateway", "--port", "0", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            assert found, "the command prints its URL"
            yield found[0]
        finally:
            process.terminate()
        assert process.wait() == 0, "a stop signal ends it"


@pytest.fixture(scope="module")
def gateway(replicas: list[Replica], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    quota = {"measure": "requests", "limit": 1, "window": QUOTA_WINDOW}
    keys = [access("alice"), access("bob", limits={"quotas": [quota]})]
    configuration = {"endpoints": [one.url for one in replicas], "gates": {"keys": keys}}
    path = tmp_path_factory.mktemp("gateway") / "gateway.json"
    path.write_text(json.dumps(configuration))
    with command("--config", str(path), "--scrape-every", "0.2") as url:
        yield url


@pytest.fixture(autouse=True)
def nothing_stays_in_flight(replicas: list[Replica], gateway: str) -> Iterator[None]:
    yield
    asyncio.run(settled(gateway, replicas))


def access(name: str, **more: Any) -> dict[str, Any]:
    """The entry of a key, which is ``sk-NAME``."""
    return {"name": name, "sha256": hashlib.sha256(f"sk-{name}".encode()).hexdigest(), **more}


def metric(url: str, name: str, *labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    with urllib.request.urlopen(f"{url}/metrics") as page:
        lines = page.read().decode().splitlines()
    samples = [line for line in lines if re.match(rf"{re.escape(name)}[ {{]", line)]
    return sum(
        float(sample.rsplit(" ", 1)[1])
        for sample in samples
        if all(label in sample for label in labels)
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG):
        while not condition():
            await asyncio.sleep(ASK_EVERY)


async def settled(gateway: str, replicas: list[Replica]) -> None:
    """Waits until nothing is in flight on either side."""
    await until(lambda: metric(gateway, "slotwise_in_flight_requests") == 0)
    await until(lambda: metric(gateway, "slotwise_gateway_open_requests") == 0)
    for replica in replicas:
        for name in ("vllm:num_requests_waiting", "vllm:num_requests_running"):
            await until(lambda url=replica.url, name=name: metric(url, name) == 0)


def of_openai(url: str, key: str = "sk-alice", retries: int = 0) -> Any:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, timeout=HANG)


def of_anthropic(url: str, key: str = "sk-alice") -> Any:
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=HANG)


def finished(replicas: list[Replica]) -> float:
    """Requests that the engines have answered to their end: those that were left are not."""
    return sum(metric(one.url, "vllm:request_success_total") for one in replicas)


def running(replicas: list[Replica]) -> float:
    return sum(metric(one.url, "vllm:num_requests_running") for one in replicas)


def test_chat_and_completions(gateway: str) -> None:
    async def test() -> None:
        async with of_openai(gateway) as client:
            asked: dict[str, Any] = {"model": "tiny", "max_tokens": 4, "temperature": 0}
            chat = {**asked, "messages": HELLO, "extra_body": {"ignore_eos": True}}
            whole = await client.chat.completions.create(**chat)
            assert whole.usage.completion_tokens == 4
            stream = await client.chat.completions.create(
                **chat, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            assert chunks[-1].usage.completion_tokens == 4
            # The quotas of keys need the usage, which this client does not request.
            chunks = [chunk async for chunk in await client.chat.completions.create(**chat, stream=True)]
            assert all(chunk.usage is None and chunk.choices for chunk in chunks)
            prompt = {**asked, "prompt": [7, 8, 9], "extra_body": {"ignore_eos": True}}
            completion = await client.completions.create(**prompt)
            stream = await client.completions.create(**prompt, stream=True)
            text = "".join([chunk.choices[0].text async for chunk in stream])
            assert text == completion.choices[0].text
            assert "lora-a" in [model.id async for model in client.models.list()]

    asyncio.run(test())


def test_responses_and_messages(gateway: str) -> None:
    async def test() -> None:
        async with of_openai(gateway) as client, of_anthropic(gateway) as other:
            whole = await client.responses.create(model="tiny", input="hello", max_output_tokens=4)
            assert 0 < whole.usage.output_tokens <= 4
            async with client.responses.stream(
                model="tiny", input="hello", max_output_tokens=4
            ) as stream:
                kinds = {event.type async for event in stream}
            assert "response.created" in kinds
            asked: dict[str, Any] = {"model": "tiny", "max_tokens": 4, "messages": HELLO}
            message = await other.messages.create(**asked)
            assert 0 < message.usage.output_tokens <= 4 and message.role == "assistant"
            async with other.messages.stream(**asked) as events:
                final = await events.get_final_message()
            assert 0 < final.usage.output_tokens <= 4

    asyncio.run(test())


def test_tools(gateway: str) -> None:
    async def test() -> None:
        async with of_openai(gateway) as client:
            tool: Any = {"type": "function", "function": {"name": "set_flag", "parameters": FLAG}}
            chosen: Any = {"type": "function", "function": {"name": "set_flag"}}
            asked = {"model": "tiny", "messages": HELLO, "tools": [tool], "tool_choice": chosen}
            whole = await client.chat.completions.create(**asked, max_tokens=200)
            [call] = whole.choices[0].message.tool_calls
            # What a model of random weights passes to the tool is its own affair.
            assert call.function.name == "set_flag" and call.function.arguments
            stream = await client.chat.completions.create(**asked, max_tokens=200, stream=True)
            calls = [
                part.function
                async for chunk in stream
                for choice in chunk.choices
                for part in choice.delta.tool_calls or ()
            ]
            assert [call.name for call in calls if call.name] == ["set_flag"]
            assert "".join(call.arguments or "" for call in calls)

    asyncio.run(test())


def test_refusals_of_the_engine_pass_through(gateway: str) -> None:
    async def test() -> None:
        async with of_openai(gateway) as client, of_anthropic(gateway) as other:
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
            content = [{"type": "text", "text": "See"}, image]
            with pytest.raises(openai.BadRequestError, match="multimodal"):
                await client.chat.completions.create(
                    model="tiny", messages=[{"role": "user", "content": content}]
                )
            with pytest.raises(openai.BadRequestError, match="max_model_len"):
                await client.completions.create(model="tiny", prompt="hello", max_tokens=9_000)
            with pytest.raises(openai.NotFoundError, match="unknown"):
                await client.chat.completions.create(model="unknown", messages=HELLO)
            with pytest.raises(anthropic.NotFoundError):
                await other.messages.create(model="unknown", max_tokens=4, messages=HELLO)
        async with of_openai(gateway, "sk-eve") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="tiny", messages=HELLO)

    asyncio.run(test())


def test_a_client_that_leaves_ends_its_request_at_the_engine(
    gateway: str, replicas: list[Replica]
) -> None:
    async def test() -> None:
        async with of_openai(gateway) as client, of_anthropic(gateway) as other:
            before = finished(replicas)
            stream = await client.chat.completions.create(
                model="tiny", messages=HELLO, stream=True, **LONG
            )
            async for _ in stream:
                break
            await stream.close()
            events = await other.messages.create(
                model="tiny", messages=HELLO, stream=True, max_tokens=7_000,
                extra_body={"ignore_eos": True},
            )
            async for _ in events:
                break
            await events.close()
            await settled(gateway, replicas)
            # This one leaves before the first byte: the answer comes at once or never.
            asked = client.chat.completions.create(model="tiny", messages=HELLO, **LONG)
            whole = asyncio.ensure_future(asked)
            await until(lambda: running(replicas) > 0)
            whole.cancel()
            await asyncio.gather(whole, return_exceptions=True)
            await settled(gateway, replicas)
            assert finished(replicas) == before

    asyncio.run(test())


def test_a_client_waits_as_long_as_a_quota_asks(gateway: str) -> None:
    async def test() -> None:
        async with of_openai(gateway, "sk-bob", retries=3) as client:
            asked = {"model": "tiny", "messages": HELLO, "max_tokens": 1}
            both = [client.chat.completions.create(**asked) for _ in range(2)]
            assert all(answer.choices for answer in await asyncio.gather(*both))

    refused = metric(gateway, "slotwise_gateway_requests_total", 'status="429"')
    asyncio.run(test())
    assert metric(gateway, "slotwise_gateway_requests_total", 'status="429"') == refused + 1


def test_kv_events_from_before_the_start_are_replayed(replicas: list[Replica]) -> None:
    engine = replicas[0]

    async def ask(url: str, number: int) -> None:
        async with of_openai(url) as client:
            prompt = [7 + (number * 31 + at) % 400 for at in range(4 * BLOCK_SIZE)]
            await client.completions.create(model="tiny", prompt=prompt, max_tokens=1)

    for number in range(5):
        asyncio.run(ask(engine.url, number))
    ports = ",".join(address.rsplit(":", 1)[1] for address in (engine.events, engine.replay))
    with command("--engines", engine.url, "--kv-events", ports) as url:

        def stored() -> float:
            return metric(url, "slotwise_endpoint_kv_stored_events_total")

        number = 5
        while stored() == 0:  # The subscription may begin after the request.
            asyncio.run(ask(url, number))
            number += 1
        asyncio.run(until(lambda: stored() >= 6))
        assert metric(url, "slotwise_endpoint_kv_events") == 1
