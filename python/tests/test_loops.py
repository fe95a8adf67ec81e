"""Waiting with an empty pool, on several event loops, and for clients that disconnect."""

import asyncio
import threading
from typing import Any

import pytest
import slotwise
from conftest import HANG
from fake_time import Time
from slotwise import aio


def test_an_empty_pool_refuses_at_once_unless_it_is_told_to_wait(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler(clock=time)
        begun = time.now
        for options in ({}, {"timeout": None}, {"timeout": 5.0, "weight": 2.0}):
            with pytest.raises(slotwise.RejectedError) as caught:
                await s.acquire("x", **options)  # type: ignore[arg-type]
            assert (
                type(caught.value) is slotwise.RejectedError
                and caught.value.reason == "no_endpoints"
            )
        assert time.now == begun
        waits = asyncio.create_task(s.acquire("x", timeout=None, wait_for_endpoints=True))
        await asyncio.sleep(1)
        endpoint = s.add_endpoint("a")
        (await waits).complete()
        s.drain_endpoint(endpoint)
        assert s.accepting_endpoints == 0
        with pytest.raises(slotwise.RejectedError, match="no endpoint"):
            await s.acquire("x")
        s.resume_endpoint(endpoint)
        (await s.acquire("x")).complete()

    time.run(main())


def test_two_loops_are_both_served() -> None:
    """Without a timer: the end of one loop's request dispatches the other loop's."""
    s = aio.Scheduler()
    s.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
    held = s.pick("x")
    assert isinstance(held, slotwise.Dispatch)
    waiting = threading.Barrier(3)
    served: list[str] = []

    async def wait(name: str) -> None:
        task = asyncio.create_task(s.acquire("x", timeout=None))
        await asyncio.sleep(0)
        await asyncio.to_thread(waiting.wait)
        async with await task:
            served.append(name)

    def run(name: str) -> None:
        asyncio.run(wait(name))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    waiting.wait()
    assert s.queued == 2
    s.complete(held.request_id)
    for thread in threads:
        thread.join(HANG)
        assert not thread.is_alive()
    assert sorted(served) == ["a", "b"] and (s.queued, s.stats().in_flight) == (0, 0)


def test_each_loop_has_its_own_timer() -> None:
    """Two loops with test clocks, run in turn in one thread."""
    time = Time()
    s = aio.Scheduler(clock=time)
    s.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
    assert isinstance(s.pick("x"), slotwise.Dispatch)
    first, second = time.loop(), time.loop()
    patient = first.create_task(s.acquire("x", timeout=50))
    first.run_until_complete(asyncio.sleep(0))
    hasty = second.create_task(s.acquire("x", timeout=1))
    with pytest.raises(slotwise.EvictedError) as evicted:
        second.run_until_complete(hasty)
    assert evicted.value.queue_time == 1 and s.queued == 1
    with pytest.raises(slotwise.EvictedError) as evicted:
        first.run_until_complete(patient)
    assert evicted.value.queue_time == 50 and s.queued == 0
    for loop in (first, second):
        loop.close()


def test_what_is_granted_to_a_loop_that_is_closed_is_taken_back() -> None:
    time = Time()
    s = aio.Scheduler(clock=time)
    s.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
    held = s.pick("x")
    assert isinstance(held, slotwise.Dispatch)
    dropped, other = time.loop(), time.loop()
    waiter = dropped.create_task(s.acquire("x", timeout=None))
    dropped.run_until_complete(asyncio.sleep(0))
    s.complete(held.request_id)
    rejected = other.create_task(s.acquire("x", timeout=None))
    other.run_until_complete(asyncio.sleep(0))
    assert s.stats().in_flight == 1, "granted to the first loop, which does not run"
    dropped.close()
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]
    s.add_endpoint("b")
    other.run_until_complete(rejected).complete()
    last = other.run_until_complete(s.acquire("x"))
    assert s.stats().in_flight == 1, "what the first loop never took is withdrawn"
    last.complete()
    other.close()


class Request:
    """A request like Starlette's, reduced to ``receive``."""

    def __init__(self, *messages: str) -> None:
        self.left = asyncio.Event()
        self.messages = list(messages)

    async def receive(self) -> dict[str, Any]:
        if self.messages:
            return {"type": self.messages.pop(0)}
        await self.left.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("of", ["request", "receive", "awaitable"])
def test_a_client_that_leaves_ends_the_block(time: Time, of: str) -> None:
    async def main() -> None:
        s = aio.Scheduler(clock=time)
        s.add_endpoint(slotwise.Endpoint("a", max_in_flight=1))
        held = await s.acquire("x")
        request = Request("http.request")
        client: Any = {"request": request, "receive": request.receive}.get(
            of
        ) or request.left.wait()

        async def handler() -> None:
            async with aio.watch_disconnect(client), await s.acquire("x", timeout=None):
                raise AssertionError("it never goes")

        task = asyncio.create_task(handler())
        await asyncio.sleep(1)
        assert s.queued == 1
        request.left.set()
        with pytest.raises(aio.ClientDisconnectedError) as left:
            await task
        assert (left.value.code, task.cancelling()) == ("client_disconnected", 0)
        held.complete()
        assert (s.queued, s.stats().in_flight, s.stats().cancelled) == (0, 0, 1)

    time.run(main())


def test_a_lease_inside_is_cancelled_and_not_failed(time: Time) -> None:
    async def main() -> None:
        s = aio.Scheduler(clock=time)
        s.add_endpoint("a")
        request = Request()

        async def handler() -> None:
            async with aio.watch_disconnect(request), await s.acquire("x"):
                request.left.set()
                await asyncio.sleep(1_000)

        with pytest.raises(aio.ClientDisconnectedError):
            await handler()
        assert (s.stats().cancelled, s.stats().failed, s.stats().in_flight) == (1, 0, 0)

    time.run(main())


def test_a_client_that_stays_changes_nothing(time: Time) -> None:
    async def main() -> None:
        request = Request()
        async with aio.watch_disconnect(request):
            await asyncio.sleep(1)
        with pytest.raises(KeyError):
            async with aio.watch_disconnect(request):
                raise KeyError
        task = asyncio.create_task(_within(request))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1, "no watcher is left"

        async def broken() -> Any:
            raise OSError("no connection to watch")

        async with aio.watch_disconnect(broken):
            await asyncio.sleep(1)

    async def _within(request: Request) -> None:
        async with aio.watch_disconnect(request):
            await asyncio.sleep(1_000)

    time.run(main())
