"""KV events over real ZeroMQ sockets on the loopback, with replays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import zmq.asyncio
from conftest import HANG
from kv_publisher import KvPublisher, batches
from slotwise import aio
from slotwise.engines import Publisher, publishers_on, subscribe

def run(main: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(HANG):
            with zmq.asyncio.Context() as context:
                engine = KvPublisher(context)
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
    async def main(context: zmq.asyncio.Context, engine: KvPublisher) -> None:
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
    async def main(context: zmq.asyncio.Context, engine: KvPublisher) -> None:
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
    async def main(context: zmq.asyncio.Context, engine: KvPublisher) -> None:
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
    async def main(context: zmq.asyncio.Context, engine: KvPublisher) -> None:
        other = KvPublisher(context)
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
    async def main(_: zmq.asyncio.Context, engine: KvPublisher) -> None:
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
