"""The scheduler in front of real servers, with the parts of ``examples/python``: what becomes of each request is recorded."""

import asyncio
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from replicas import Replica
from slotwise import Endpoint, aio, wire

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/python"))

import kv_events  # noqa: E402

MODEL = "tiny"
PATH = "/v1/completions"
JSON = {"content-type": "application/json"}
SCRAPE_EVERY = 0.1


@dataclass
class Answer:
    """What became of a request."""

    replica: int
    predicted: int
    """Prompt tokens that the scheduler expected to be cached."""
    cached: int
    """Those that the engine says were."""
    prompt: int
    ttft: float
    retries: int
    complete: bool


class Gateway:
    """Sends requests where the scheduler says; or, to compare, to one replica after the other."""

    def __init__(self, replicas: list[Replica], round_robin: bool = False) -> None:
        self.scheduler = aio.Scheduler({"flow": {"ttl": 120.0}})
        self.replicas = replicas
        self.round_robin = round_robin
        self.endpoints: list[int] = []
        self._turn = 0
        self._answers = 0
        self._answered = asyncio.Condition()
        # A server that dies resets its connections, and one that is slow is waited for.
        self._http = httpx.AsyncClient(timeout=None)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Gateway":
        for replica in self.replicas:
            page = (await self._http.get(f"{replica.url}/metrics")).content
            told = wire.read_metrics(page)
            # What the page says is enough: the length of a block, and how many tokens the cache has room for.
            endpoint = Endpoint(
                replica.url,
                models=[MODEL],
                block_size=told.block_size,
                kv_cache_tokens=told.kv_cache_tokens,
                adapter_slots=told.max_adapters or 2,
            )
            self.endpoints.append(self.scheduler.add_endpoint(endpoint))
        for endpoint, replica in zip(self.endpoints, self.replicas, strict=True):
            follow = kv_events.follow(self.scheduler, endpoint, replica.events, replica.replay)
            self._tasks.append(asyncio.create_task(follow))
            self._tasks.append(asyncio.create_task(self._scrape(endpoint, replica)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    @property
    def stored(self) -> int:
        """Tokens that engines say they hold."""
        return sum(endpoint.stored_tokens for endpoint in self.scheduler.stats().endpoints)

    async def _scrape(self, endpoint: int, replica: Replica) -> None:
        while True:
            await asyncio.sleep(SCRAPE_EVERY)
            try:
                page = (await self._http.get(f"{replica.url}/metrics")).content
            except httpx.HTTPError:
                self.scheduler.handle_probe(endpoint, passed=False)
                continue
            self.scheduler.handle_metrics_page(endpoint, page)

    async def answered(self, requests: int) -> None:
        """Waits until so many requests have been answered."""
        async with self._answered:
            await self._answered.wait_for(lambda: self._answers >= requests)

    async def send(self, body: bytes, adapter: str | None) -> Answer:
        """Sends a request, and again to another replica while nothing of an answer has come."""
        answer = await self._send(body, adapter)
        async with self._answered:
            self._answers += 1
            self._answered.notify_all()
        return answer

    async def _send(self, body: bytes, adapter: str | None) -> Answer:
        start = time.perf_counter()
        asked: list[str] = []

        async def send(url: str) -> httpx.Response:
            asked.append(url)
            request = self._http.build_request("POST", url + PATH, content=body, headers=JSON)
            return await self._http.send(request, stream=True)

        reply = await self.scheduler.forward(
            send, body=body, path=PATH, model=MODEL, adapter=adapter, exclude=self._out_of_turn()
        )
        if reply.lease is None:
            raise RuntimeError(f"no replica took the request: {await reply.read()!r}")
        first = time.perf_counter() - start if reply.lease.answer.begun else math.inf
        try:
            await reply.read()
        except httpx.HTTPError:
            pass  # the stream broke off, which the outcome says, too
        outcome = reply.lease.answer.outcome
        assert outcome is not None, "a reply that was read has an outcome"
        return Answer(
            replica=[replica.url for replica in self.replicas].index(asked[-1]),
            predicted=reply.lease.dispatch.cached_tokens,
            cached=outcome.usage.cached_tokens or 0,
            prompt=outcome.usage.prompt_tokens or 0,
            ttft=first,
            retries=len(asked) - 1,
            complete=outcome.complete,
        )

    def _out_of_turn(self) -> list[int]:
        """Where a request must not go: nowhere, or in turns, to none but one."""
        if not self.round_robin:
            return []
        self._turn += 1
        return [endpoint for endpoint in self.endpoints if endpoint != self.endpoints[self._turn % len(self.endpoints)]]


async def in_turns(count: int, at_once: int, job: Callable[[int], "asyncio.Future[Answer]"]) -> list[Answer]:
    """Does so many jobs, so many at once, in their order."""
    answers: list[Answer | None] = [None] * count
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            answers[number] = await job(number)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return [answer for answer in answers if answer is not None]


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
