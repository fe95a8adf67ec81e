"""KV events over real ZeroMQ sockets on the loopback, with replays."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
import zmq
import zmq.asyncio
from conftest import HANG, WIRE_TESTS
from slotwise import aio, wire
from slotwise.engines import Publisher, publishers_on, subscribe

STORED = WIRE_TESTS / "fixtures/vllm-0.32/default/kv"
REPLAY_END = b"\xff" * 8


def batches() -> list[bytes]:
    """Batches of a real engine, each with one stored block or more."""
    names = ["s01_cold.seq1", "s03_extend.seq2", "s04_exact_multiple.seq3"]
    return [(STORED / f"{name}.bin").read_bytes() for name in names]


class Engine:
    """A publisher as vLLM has it: a PUB socket, and a ROUTER that replays."""

    def __init__(self, context: zmq.asyncio.Context) -> None:
        self.events = context.socket(zmq.XPUB)
        port = self.events.bind_to_random_port("tcp://127.0.0.1")
        self.replays = context.socket(zmq.ROUTER)
        replay_port = self.replays.bind_to_random_port("tcp://127.0.0.1")
        self.address = Publisher(
            f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{replay_port}"
        )
        self.sent: list[bytes] = []
        self.asked: list[int] = []
        self.answers = True

    async def subscribed(self) -> None:
        assert await self.events.recv() == b"\x01"

    async def left(self) -> None:
        assert await self.events.recv() == b"\x00"

    async def publish(self, batch: bytes, *, lost: bool = False) -> None:
        self.sent.append(batch)
        if not lost:
            await self.events.send_multipart([b"", struct.pack(">Q", len(self.sent) - 1), batch])

    async def replay(self) -> None:
        """Answers requests for replays."""
        while True:
            client, _, start = await self.replays.recv_multipart()
            (first,) = struct.unpack(">Q", start)
            self.asked.append(first)
            if not self.answers:
                continue
            for number in range(first, len(self.sent)):
                answer = [client, b"", b"", struct.pack(">Q", number), self.sent[number]]
                await self.replays.send_multipart(answer)
            await self.replays.send_multipart([client, b"", b"", REPLAY_END, b""])


def run(main: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(HANG):
            with zmq.asyncio.Context() as context:
                engine = Engine(context)
                answering = asyncio.create_task(engine.replay())
                try:
                    await main(context, engine)
                finally:
                    answering.cancel()
                    engine.events.close(linger=0)
                    engine.replays.close(linger=0)

    asyncio.run(limited())


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def stored(scheduler: aio.Scheduler) -> int:
    return sum(one.kv_stored_events for one in scheduler.stats().endpoints)


async def looks(_: float) -> None:
    await asyncio.sleep(0.005)


def test_missed_batches_are_replayed() -> None:
    async def main(context: zmq.asyncio.Context, engine: Engine) -> None:
        scheduler = aio.Scheduler()
        scheduler.add_endpoint("http://a")
        scheduler.add_endpoint("http://without")
        first, second, third = batches()
        await engine.publish(first, lost=True)
        publishers = {"http://a": [engine.address]}
        async with subscribe(scheduler, publishers, context=context):
            await engine.subscribed()
            await engine.publish(second)
            await until(lambda: stored(scheduler) >= 2)
            assert engine.asked == [0], "a late subscriber asks for what it has missed"
            await engine.publish(third, lost=True)
            await engine.publish(b"\x93")  # No batch: it is counted, and the next one follows.
            await until(lambda: len(engine.asked) == 2)
        await engine.left()

    run(main)


def test_an_engine_that_does_not_replay_stops_nothing() -> None:
    async def main(context: zmq.asyncio.Context, engine: Engine) -> None:
        engine.answers = False
        scheduler = aio.Scheduler()
        scheduler.add_endpoint("http://a")
        first, second, _ = batches()
        await engine.publish(second, lost=True)
        publishers = {"http://a": [engine.address]}
        options: dict[str, Any] = {"context": context, "replay_timeout": 0.05}
        async with subscribe(scheduler, publishers, **options):
            await engine.subscribed()
            await engine.publish(first)
            await until(lambda: stored(scheduler) >= 1)
            assert engine.asked == [0]

    run(main)


def test_endpoints_join_and_leave() -> None:
    async def main(context: zmq.asyncio.Context, engine: Engine) -> None:
        scheduler = aio.Scheduler()
        publishers = {"http://a": [Publisher(engine.address.events)]}
        async with subscribe(scheduler, publishers, context=context, sleep=looks):
            endpoint = scheduler.add_endpoint("http://a")
            await engine.subscribed()
            await engine.publish(batches()[0])
            await until(lambda: stored(scheduler) >= 1)
            scheduler.remove_endpoint(endpoint)
            await engine.left()
            scheduler.add_endpoint("http://a")
            await engine.subscribed()
            assert stored(scheduler) == 0

    run(main)


def test_ranks_are_separate_publishers() -> None:
    async def main(context: zmq.asyncio.Context, engine: Engine) -> None:
        other = Engine(context)
        scheduler = aio.Scheduler()
        endpoint = scheduler.add_endpoint("http://a")
        ranks = [engine.address, Publisher(other.address.events, rank=1)]
        async with subscribe(scheduler, {"http://a": ranks}, context=context):
            for one in (engine, other):
                await one.subscribed()
                await one.publish(batches()[0])
            await until(lambda: stored(scheduler) >= 2)
            assert scheduler.replay_from(endpoint, rank=1) is None
        other.events.close(linger=0)
        other.replays.close(linger=0)

    run(main)


def test_a_context_of_its_own_ends_with_the_block() -> None:
    async def main(_: zmq.asyncio.Context, engine: Engine) -> None:
        scheduler = aio.Scheduler()
        scheduler.add_endpoint("http://a")
        async with subscribe(scheduler, lambda _: [engine.address]):
            await engine.subscribed()
        await engine.left()

    run(main)


def test_publishers_are_on_the_hosts_of_endpoints() -> None:
    publishers = publishers_on(5557, 5657, ranks=2)
    assert publishers("http://10.0.0.1:8000") == [
        Publisher("tcp://10.0.0.1:5557", "tcp://10.0.0.1:5657", 0),
        Publisher("tcp://10.0.0.1:5558", "tcp://10.0.0.1:5658", 1),
    ]
    assert publishers_on(1, None)("http://[::1]:8000") == [Publisher("tcp://[::1]:1")]
    assert publishers("a") == ()
