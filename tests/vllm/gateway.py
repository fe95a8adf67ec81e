"""A small gateway in front of real servers: HTTP, ZMQ, and the scheduler between them."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import zmq
import zmq.asyncio
from replicas import Replica
from slotwise import Endpoint, aio, wire

MODEL = "tiny"
PATH = "/v1/completions"
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
        self.batches = 0
        self._turn = 0
        self._http = httpx.AsyncClient(timeout=300.0)
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
        replay = self._zmq.socket(zmq.DEALER)
        replay.connect(replica.replay)
        poller = zmq.asyncio.Poller()
        poller.register(events, zmq.POLLIN)
        poller.register(replay, zmq.POLLIN)
        await replay.send_multipart([b"", wire.replay_request(0)])
        while True:
            for socket, _ in await poller.poll():
                frames = await socket.recv_multipart()
                applied = self.scheduler.apply_kv_frames(self.endpoints[number], frames)
                self.batches += applied.batches
                if applied.ask_from is not None:
                    await replay.send_multipart([b"", wire.replay_request(applied.ask_from)])

    async def _scrape(self, number: int, replica: Replica) -> None:
        while True:
            await asyncio.sleep(SCRAPE_EVERY)
            try:
                page = (await self._http.get(f"{replica.url}/metrics")).content
            except httpx.HTTPError:
                continue
            self.scheduler.observe_metrics(self.endpoints[number], page)

    async def send(self, body: bytes, adapter: str | None) -> Answer:
        """Sends a request, and again to another replica while nothing of an answer has come."""
        start = time.perf_counter()
        retries = 0
        while True:
            scorer_free = {"adapter": adapter} if adapter else {}
            lease = await self.scheduler.acquire(body=body, path=PATH, model=MODEL, **scorer_free)
            predicted, endpoint = lease.dispatch.cached_tokens, lease.dispatch.endpoint
            if self.round_robin:
                endpoint = self.endpoints[self._turn % len(self.endpoints)]
                self._turn += 1
                if endpoint != lease.dispatch.endpoint:
                    lease.redirect(endpoint)
            number = self.endpoints.index(endpoint)
            first: float | None = None
            try:
                async with self._http.stream(
                    "POST", self.replicas[number].url + PATH, content=body, headers={"content-type": "application/json"}
                ) as upstream:
                    lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
                    async for chunk in upstream.aiter_raw():
                        lease.feed(chunk)
                        if first is None and lease.answer.begun:
                            first = time.perf_counter() - start
                lease.finish()
            except httpx.HTTPError:
                lease.fail("connection")
            if first is None and not lease.answer.complete and retries < 5:
                retries += 1
                await asyncio.sleep(0.05)
                continue
            usage = lease.answer.usage
            return Answer(
                replica=number,
                predicted=predicted,
                cached=usage.cached_tokens or 0,
                prompt=usage.prompt_tokens or 0,
                ttft=first if first is not None else float("inf"),
                retries=retries,
                complete=lease.answer.complete,
            )


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
