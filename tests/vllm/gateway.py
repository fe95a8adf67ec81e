"""The gateway of ``examples/python`` in front of real servers, with a record of each request."""

import argparse
import asyncio
import importlib.util
import json
import math
import random
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from replicas import Replica
from slotwise import aio
from starlette.applications import Starlette

# Both folders have a module `gateway`: this one is imported under another name.
EXAMPLE = Path(__file__).parents[2] / "examples/python"
sys.path.append(str(EXAMPLE))  # it imports `kv_events` from its folder
spec = importlib.util.spec_from_file_location("example_gateway", EXAMPLE / "gateway.py")
assert spec is not None and spec.loader is not None, "the file is there"
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)

MODEL = "tiny"
PATH = "/v1/completions"
SCRAPE_EVERY = 0.1
MARGIN = 0.1
"""By which cached shares differ at least: a third of the smallest difference seen, on idle cores
and with both of them busy."""


@dataclass
class Answer:
    """The answer to one request."""

    replica: int
    predicted: int
    """Prompt tokens that the scheduler expected in the cache."""
    cached: int
    """Prompt tokens that the engine found in its cache."""
    prompt: int
    ttft: float
    predicted_ttft: float
    """Seconds to the first token, as the scheduler predicted at the last dispatch."""
    retries: int
    end: str
    """How it ended: ``complete``, or why it is not."""


@dataclass
class Record:
    """One request as the gateway forwards it."""

    asked: list[str]
    ttft: float
    lease: aio.Lease | None


class RecordingScheduler(aio.Scheduler):
    """Keeps a record of each request, by the number that its client sends in a header."""

    HEADER = "x-request-number"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.records: dict[int, Record] = {}
        self.exclude: Callable[[], list[int]] = list
        """Endpoints that the next request must not use."""

    async def forward(self, send: aio.Send, **options: Any) -> aio.Reply:
        asked: list[str] = []

        async def recorded(url: str) -> aio.Response:
            asked.append(url)
            return await send(url)

        start = time.perf_counter()
        model = json.loads(options["body"])["model"]
        adapter = None if model == MODEL else model
        # The servers share two cores with what else runs here, so their silence means nothing.
        options |= {"idle_timeout": None, "model": MODEL, "adapter": adapter}
        options |= {"exclude": self.exclude()}
        reply = await super().forward(recorded, **options)
        begun = reply.lease is not None and reply.lease.answer.begun
        ttft = time.perf_counter() - start if begun else math.inf
        number = int(dict(options["headers"])[self.HEADER.encode()])
        self.records[number] = Record(asked, ttft, reply.lease)
        return reply


class Gateway:
    """The example gateway in this process. To compare, ``round_robin`` leaves it no choice."""

    def __init__(self, replicas: list[Replica], round_robin: bool = False) -> None:
        self.replicas = replicas
        self.round_robin = round_robin
        sockets = [f"{replica.url}={replica.events},{replica.replay}" for replica in replicas]
        urls = ",".join(replica.url for replica in replicas)
        options = argparse.Namespace(engines=urls, kv_events=sockets, scrape_every=SCRAPE_EVERY)
        self.example = example.Gateway(options)
        self.scheduler = RecordingScheduler({"flow": {"ttl": 120.0}})
        self.example.scheduler = self.scheduler
        self._turn = 0
        self._requests = 0
        self._answers = 0
        self._answered = asyncio.Condition()
        self._running = AsyncExitStack()

    async def __aenter__(self) -> "Gateway":
        app = Starlette()
        app.add_route("/v1/{api:path}", self.example.serve, ["POST"])
        await self._running.enter_async_context(self.example.run(app))
        while any(self.scheduler.endpoint_named(replica.url) is None for replica in self.replicas):
            await asyncio.sleep(SCRAPE_EVERY)
        if self.round_robin:
            self.scheduler.exclude = self._all_but_the_next
        # A stream that breaks off raises in the application. The record shows it.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=None)
        self._client = await self._running.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    @property
    def stored_tokens(self) -> int:
        """Tokens in the caches of all engines, from their KV events."""
        return sum(endpoint.stored_tokens for endpoint in self.scheduler.stats().endpoints)

    def failed(self, replica: Replica) -> int:
        """Requests that failed on a replica."""
        endpoints = self.scheduler.stats().endpoints
        return sum(endpoint.failed for endpoint in endpoints if endpoint.name == replica.url)

    async def answered(self, requests: int) -> None:
        """Waits until so many requests have been answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self._answers >= requests)

    async def send(self, body: bytes) -> Answer:
        """Sends a request to the gateway as a client does, and returns its record."""
        number, self._requests = self._requests, self._requests + 1
        headers = {"authorization": "Bearer key-chat", RecordingScheduler.HEADER: str(number)}
        response = await self._client.post(PATH, content=body, headers=headers)
        record = self.scheduler.records.pop(number)
        if record.lease is None:
            raise RuntimeError(f"no replica took the request: {response.text}")
        outcome = record.lease.answer.outcome
        assert outcome is not None, "a reply that was read has an outcome"
        async with self._answered:
            self._answers += 1
            self._answered.notify_all()
        return Answer(
            replica=[replica.url for replica in self.replicas].index(record.asked[-1]),
            predicted=record.lease.dispatch.cached_tokens,
            cached=outcome.usage.cached_tokens or 0,
            prompt=outcome.usage.prompt_tokens or 0,
            ttft=record.ttft,
            predicted_ttft=record.lease.dispatch.predicted_ttft,
            retries=len(record.asked) - 1,
            end=outcome.end,
        )

    def _all_but_the_next(self) -> list[int]:
        endpoints = [self.scheduler.endpoint_named(replica.url) for replica in self.replicas]
        self._turn += 1
        chosen = endpoints[self._turn % len(endpoints)]
        return [endpoint for endpoint in endpoints if endpoint not in (None, chosen)]


async def in_turns(
    count: int, at_once: int, job: Callable[[int], "asyncio.Future[Answer]"]
) -> list[Answer]:
    """Runs ``count`` jobs in their order, ``at_once`` at a time."""
    answers: list[Answer | None] = [None] * count
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            answers[number] = await job(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [answer for answer in answers if answer is not None]


def tokens(seed: str, count: int) -> list[int]:
    """Ordinary tokens: ids below 7 are special, and the vocabulary has more than 400."""
    rng = random.Random(seed)
    return [rng.randrange(7, 400) for _ in range(count)]


def completion(model: str, prompt: list[int], tokens: int) -> bytes:
    return json.dumps(
        {
            "model": model,
            "prompt": prompt,
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
