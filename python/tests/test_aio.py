"""Leases: waiting, cancelling and streaming leave no request in flight."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from threading import Thread
from typing import Any

import pytest
import slotwise
from fake_time import Time
from slotwise import aio


def scheduler(time: Time, room: int = 1, endpoints: int = 1) -> aio.Scheduler:
    made = aio.Scheduler(clock=time)
    for number in range(endpoints):
        made.add_endpoint(slotwise.Endpoint(f"e{number}", max_in_flight=room))
    return made


async def chunks(*parts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part
    if error:
        raise error


def test_a_new_configuration_wakes_what_waits(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler({"max_in_flight": 1}, clock=time)
        s.add_endpoint("e0")
        first = await s.acquire("hello", model="m")
        waiting = asyncio.create_task(s.acquire("hello", model="m"))
        await asyncio.sleep(0)
        with pytest.raises(slotwise.ConfigError, match="seed must not change"):
            s.reconfigure({"seed": s.config.seed + 1})
        assert s.stats().queued == 1
        s.reconfigure({"max_in_flight": 2})
        second = await waiting
        assert s.stats().in_flight == 2
        first.complete()
        second.complete()

    time.run(main())


def test_a_lease_ends_with_its_block(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        async with await s.acquire("hello", model="m") as lease:
            assert lease.endpoint_name == "e0" and s.stats().in_flight == 1
            lease.first_token()
            lease.usage = slotwise.Usage(completion_tokens=4)
        assert (s.stats().completed, s.stats().in_flight) == (1, 0)
        with pytest.raises(RuntimeError):
            async with await s.acquire("hello"):
                raise RuntimeError
        assert (s.stats().failed, s.stats().in_flight) == (1, 0)
        lease.complete()
        lease.fail()
        assert s.stats().completed == 1

    time.run(main())


@pytest.mark.parametrize(
    "how", ["end", "error", "abandoned", "never begun", "closed", "task cancelled"]
)
def test_a_lease_ends_with_its_stream(time: Time, how: str) -> None:
    async def main() -> aio.Scheduler:
        s = scheduler(time)
        lease = await s.acquire("hello")
        stream = lease.stream(chunks(b"a", b"b", error=OSError() if how == "error" else None))
        async with lease:
            pass
        assert not lease.ended, "the handler returns before its stream is read"
        if how == "end":
            assert [chunk async for chunk in stream] == [b"a", b"b"]
        elif how == "error":
            with pytest.raises(OSError):
                [chunk async for chunk in stream]
        elif how == "abandoned":
            assert await anext(stream) == b"a"
            del stream
        elif how == "never begun":
            del stream
        elif how == "closed":
            await anext(stream)
            await stream.aclose()
        else:
            del stream
            lease = await s.acquire("another")
            chunk = anext(aio.Stream(lease, forever()))
            task = asyncio.create_task(chunk)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        gc.collect()
        assert lease.ended
        return s

    async def forever() -> AsyncIterator[bytes]:
        await asyncio.sleep(1_000)
        yield b""

    stats = time.run(main()).stats()
    assert stats.in_flight == 0
    assert (stats.completed, stats.failed) == {"end": (1, 0), "error": (0, 1)}.get(how, (0, 0))


def test_a_lease_that_nobody_ends_warns_and_is_cancelled(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        with pytest.warns(ResourceWarning, match="never ended"):
            await s.acquire("x")
            gc.collect()
        assert (s.stats().in_flight, s.stats().cancelled) == (0, 1)

    time.run(main())


def test_the_most_important_goes_first_when_there_is_room(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        first = await s.acquire("x")
        order: list[str] = []

        async def ask(name: str, priority: int) -> None:
            lease = await s.acquire("x", priority=priority)
            order.append(name)
            await asyncio.sleep(0)
            lease.complete()

        tasks = [
            asyncio.create_task(ask(f"{priority}/{n}", priority))
            for n in range(3)
            for priority in (0, 5)
        ]
        await asyncio.sleep(0)
        assert s.queued == 6
        first.complete()
        await asyncio.gather(*tasks)
        assert order == ["5/0", "5/1", "5/2", "0/0", "0/1", "0/2"]
        assert (s.queued, s.stats().in_flight) == (0, 0)

    time.run(main())


def test_a_blocked_kind_blocks_no_other(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler(clock=time)
        for model in ("m", "n"):
            s.add_endpoint(slotwise.Endpoint(model, models=(model,), max_in_flight=1))
        held = [await s.acquire("x", model=model) for model in ("m", "n")]
        blocked = asyncio.create_task(s.acquire("x", model="m", priority=9))
        other = asyncio.create_task(s.acquire("x", model="n"))
        await asyncio.sleep(0)
        held[1].complete()
        granted = await other
        assert granted.endpoint_name == "n"
        assert not blocked.done()
        held[0].complete()
        assert (await blocked).endpoint_name == "m"

    time.run(main())


def test_waiting_has_a_limit_and_a_refusal_is_raised(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        lease = await s.acquire("x")
        with pytest.raises(slotwise.RejectedError, match="limit") as caught:
            await s.acquire("x", timeout=0, weight=2.0)
        assert (caught.value.reason, caught.value.http_status) == ("saturated", 429)
        assert caught.value.retry_after is not None
        with pytest.raises(slotwise.EvictedError, match="ttl_expired") as evicted:
            await s.acquire("x", timeout=0.01, flow="somebody", weight=2.0)
        assert (evicted.value.code, evicted.value.http_status) == ("ttl_expired", 429)
        assert evicted.value.queue_time == 0.01 and evicted.value.retry_after is not None
        assert (s.queued, s.stats().queued) == (0, 0)
        lease.complete()
        with pytest.raises(slotwise.RejectedError) as unserved:
            await s.acquire("x", role="decode", labels={"zone": "none"})
        assert unserved.value.code == "not_served"
        with pytest.raises(TypeError):
            await s.acquire(3.5)
        with pytest.raises(ValueError, match="ttl"):
            await s.acquire("x", timeout=-1)

    time.run(main())


def test_a_timeout_is_the_time_to_live(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler({"flow": {"ttl": 0.02, "no_endpoint_ttl": 0.03}}, clock=time)
        with pytest.raises(slotwise.EvictedError) as evicted:
            await s.acquire("x", timeout=9, wait_for_endpoints=True)
        assert (evicted.value.reason, evicted.value.http_status, evicted.value.retry_after) == (
            "no_endpoints",
            503,
            5.0,
        )
        s.add_endpoint(slotwise.Endpoint("e", max_in_flight=1))
        lease = await s.acquire("x", timeout=None)
        for_ever = asyncio.create_task(s.acquire("x", timeout=None))
        with pytest.raises(slotwise.EvictedError, match="ttl_expired"):
            await s.acquire("x")
        assert s.queued == 1 and not for_ever.done()
        lease.complete()
        (await for_ever).complete()

    time.run(main())


def test_not_more_wait_than_may(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler({"seed": 5}, max_queued=2, clock=time)
        s.add_endpoint(slotwise.Endpoint("e", max_in_flight=1))
        assert s.config.seed == 5
        lease = await s.acquire("x")
        waiters = [asyncio.create_task(s.acquire("x")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(slotwise.RejectedError):
            await s.acquire("x")
        lease.complete()
        async with await waiters[0]:
            assert s.queued == 1
        await (await waiters[1]).__aexit__(None, None, None)
        assert s.queued == 0

    time.run(main())


def test_the_important_displace_others_where_no_more_may_wait(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler({"flow": {"max_requests": 2}}, clock=time)
        s.add_endpoint(slotwise.Endpoint("e", max_in_flight=1))
        lease = await s.acquire("x")
        waiters = [asyncio.create_task(s.acquire("x")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(slotwise.RejectedError) as full:
            await s.acquire("x")
        assert full.value.reason == "queue_full"
        important = asyncio.create_task(s.acquire("x", priority=1))
        with pytest.raises(slotwise.EvictedError, match="displaced"):
            await waiters[1]
        lease.complete()
        async with await important:
            assert s.queued == 1
        await (await waiters[0]).__aexit__(None, None, None)
        assert s.queued == 0

    time.run(main())


def test_five_thousand_wait_with_one_timer(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        lease = await s.acquire("x")
        waiters = [asyncio.create_task(s.acquire("x", timeout=30 + n)) for n in range(4_990)]
        await asyncio.sleep(0)
        assert (s.queued, time.timers) == (4_990, 1)
        hasty = [asyncio.create_task(s.acquire("x", timeout=0.02)) for _ in range(10)]
        await asyncio.sleep(0)
        assert (s.queued, s.stats().queued, time.timers) == (5_000, 5_000, 2)
        evicted = await asyncio.gather(*hasty, return_exceptions=True)
        assert {type(error) for error in evicted} == {slotwise.EvictedError}
        assert (s.queued, time.timers) == (4_990, 3), "one timer more for all that still wait"
        for task in waiters[:4_000]:
            task.cancel()
        lease.complete()
        for task in waiters[4_000:]:
            (await task).complete()
        assert (s.queued, s.stats().queued, s.stats().in_flight) == (0, 0, 0)

    time.run(main())


def test_a_first_token_lets_the_next_one_go(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler(clock=time)
        s.add_endpoint("e")
        first = await s.acquire(range_of(40_000))
        second = asyncio.create_task(s.acquire("x"))
        await asyncio.sleep(0.01)
        assert not second.done(), "seconds of prefill are booked there"
        first.first_token()
        lease = await second
        assert lease.dispatch.queue_time == 0.01
        lease.complete()
        first.complete()

    def range_of(tokens: int) -> list[int]:
        return list(range(tokens))

    time.run(main())


def test_new_room_of_any_kind_wakes_who_waits(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        leases = [await s.acquire("x")]
        for number, make_room in enumerate(
            [
                lambda: s.add_endpoint(slotwise.Endpoint("more", max_in_flight=1)),
                lambda: s.update_endpoint(0, slotwise.Endpoint("e0", max_in_flight=2)),
                leases[0].cancel,
            ]
        ):
            waiter = asyncio.create_task(s.acquire("x"))
            await asyncio.sleep(0)
            assert not waiter.done(), number
            make_room()
            leases.append(await waiter)

    time.run(main())


def test_ten_thousand_tasks_cancelled_at_random_leave_nothing(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time, room=20, endpoints=5)
        rng = random.Random(1)

        async def one() -> None:
            async with await s.acquire("a prompt " * rng.randrange(9), priority=rng.randrange(3)):
                await asyncio.sleep(rng.random() * 0.002)

        tasks = [asyncio.create_task(one()) for _ in range(10_000)]
        preemption_candidates = rng.sample(tasks, 6_000)
        for batch in range(0, len(preemption_candidates), 100):
            await asyncio.sleep(0)
            for task in preemption_candidates[batch : batch + 100]:
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(
            outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes
        )
        stats = s.stats()
        assert (stats.in_flight, s.queued) == (0, 0)
        assert all(endpoint.prefilling + endpoint.running == 0 for endpoint in stats.endpoints)
        assert stats.completed >= 4_000 and stats.cancelled > 0

    time.run(main())


def test_a_second_loop_takes_over(time: Time) -> None:
    s = scheduler(time)

    async def leave_somebody_waiting() -> aio.Lease:
        lease = await s.acquire("x")
        waiter = asyncio.create_task(s.acquire("x"))
        await asyncio.sleep(0)
        assert s.queued == 1 and not waiter.done()
        return lease

    async def wait_again() -> None:
        waiter = asyncio.create_task(s.acquire("x"))
        await asyncio.sleep(0)
        assert not waiter.done()
        second.complete()
        await waiter

    first = time.run(leave_somebody_waiting())
    first.complete()  # no loop runs now
    second = time.run(s.acquire("x"))
    time.run(wait_again())
    assert (s.queued, s.stats().in_flight) == (0, 0)


def test_what_waited_on_a_loop_that_was_dropped_is_withdrawn(time: Time) -> None:
    s = scheduler(time)
    dropped = time.loop()
    lease = dropped.run_until_complete(s.acquire("x"))
    waiter = dropped.create_task(s.acquire("x"))
    dropped.run_until_complete(asyncio.sleep(0))
    assert (s.queued, s.stats().queued) == (1, 1)
    dropped.close()  # without cancelling its tasks
    lease.complete()
    assert (s.queued, s.stats().queued) == (0, 0)
    second = time.run(s.acquire("x"))
    assert (s.queued, s.stats().queued, s.stats().in_flight) == (0, 0, 1)
    second.complete()
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]


def test_threads_may_end_what_the_loop_waits_for(time: Time) -> None:
    async def main() -> None:
        s = scheduler(time)
        lease = await s.acquire("x")
        waiter = asyncio.create_task(s.acquire("x"))
        await asyncio.sleep(0)
        thread = Thread(target=lease.complete)
        thread.start()
        thread.join()
        assert not waiter.done(), "the loop decides"
        await waiter

    time.run(main())
