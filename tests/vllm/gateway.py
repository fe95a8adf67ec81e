"""A small gateway in front of real servers: HTTP, ZMQ, and the scheduler between them."""

import asyncio
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import zmq
import zmq.asyncio
from replicas import Replica
from slotwise import Endpoint, aio, wire
from slotwise.reports import Close

MODEL = "tiny"
PATH = "/v1/completions"
SCRAPE_EVERY = 0.1
REPLAY_LIMIT_MS = 60_000
"""Only a publisher that is gone takes so long."""


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
        self.batches = 0
        self._turn = 0
        self._answers = 0
        self._answered = asyncio.Condition()
        # A server that dies resets its connections, and one that is slow is waited for.
        self._http = httpx.AsyncClient(timeout=None)
        self._zmq = zmq.asyncio.Context()
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
                kv_capacity=told.kv_capacity,
                adapter_slots=told.max_adapters or 2,
            )
            self.endpoints.append(self.scheduler.add_endpoint(endpoint))
        for number, replica in enumerate(self.replicas):
            self._tasks.append(asyncio.create_task(self._follow(number, replica)))
            self._tasks.append(asyncio.create_task(self._scrape(number, replica)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()
        self._zmq.destroy(linger=0)

    async def _follow(self, number: int, replica: Replica) -> None:
        """What the engine says about its cache. A subscriber that comes late has missed the beginning, and asks for it."""
        events = self._zmq.socket(zmq.SUB)
        events.setsockopt(zmq.RCVHWM, 0)
        events.subscribe(b"")
        events.connect(replica.events)
        replay: asyncio.Task[None] | None = None
        while True:
            frames = await events.recv_multipart()
            report = self.scheduler.apply_kv_frames(self.endpoints[number], frames)
            self.batches += report.batches
            if report.ask is not None:
                if replay is not None:
                    replay.cancel()
                replay = asyncio.create_task(self._replay(number, replica, report.ask))
                self._tasks.append(replay)

    async def _replay(self, number: int, replica: Replica, ask: int | None) -> None:
        endpoint = self.endpoints[number]
        while ask is not None:
            # A socket of its own for each: an answer to an earlier one must not be taken for this one's.
            with self._zmq.socket(zmq.DEALER) as socket:
                socket.connect(replica.replay)
                await socket.send_multipart([b"", wire.replay_request(ask)])
                ask = None
                while ask is None and self.scheduler.kv_asked_from(endpoint) is not None:
                    if await socket.poll(REPLAY_LIMIT_MS):
                        frames = await socket.recv_multipart()
                        report = self.scheduler.apply_kv_frames(endpoint, frames, replay=True)
                    else:
                        report = self.scheduler.give_up_replay(endpoint)
                    self.batches += report.batches
                    ask = report.ask

    async def _scrape(self, number: int, replica: Replica) -> None:
        while True:
            await asyncio.sleep(SCRAPE_EVERY)
            try:
                page = (await self._http.get(f"{replica.url}/metrics")).content
            except httpx.HTTPError:
                continue
            self.scheduler.observe_metrics(self.endpoints[number], page)

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
        tried: set[int] = set()
        while len(tried) < len(self.replicas):
            lease = await self.scheduler.acquire(body=body, path=PATH, model=MODEL, adapter=adapter)
            number = self._replica_of(lease, tried)
            tried.add(number)
            first: float | None = None
            request = self._http.build_request(
                "POST", self.replicas[number].url + PATH, content=body, headers={"content-type": "application/json"}
            )
            try:
                upstream = await self._http.send(request, stream=True)
            except httpx.HTTPError:
                lease.fail("unreachable")
                continue
            lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
            close: Close = "clean"
            try:
                async for chunk in upstream.aiter_bytes():
                    lease.feed(chunk)
                    if first is None and lease.answer.begun:
                        first = time.perf_counter() - start
            except httpx.HTTPError:
                close = "broken"
            finally:
                await upstream.aclose()
            outcome = lease.finish(close)
            if outcome.retry == "if_nothing_sent" and first is None:
                continue
            return Answer(
                replica=number,
                predicted=lease.dispatch.cached_tokens,
                cached=outcome.usage.cached_tokens or 0,
                prompt=outcome.usage.prompt_tokens or 0,
                ttft=math.inf if first is None else first,
                retries=len(tried) - 1,
                complete=outcome.complete,
            )
        raise RuntimeError("no replica took the request")

    def _replica_of(self, lease: aio.Lease, tried: set[int]) -> int:
        """Where the lease goes: never where the request has failed already."""
        number = self.endpoints.index(lease.dispatch.endpoint)
        if self.round_robin:
            number = self._turn % len(self.endpoints)
            self._turn += 1
        if number in tried:
            number = next(other for other in range(len(self.endpoints)) if other not in tried)
        if self.endpoints[number] != lease.dispatch.endpoint:
            lease.redirect(self.endpoints[number])
        return number


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
