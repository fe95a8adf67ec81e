"""A configuration changes while its pool serves: nothing is lost, nothing is booked twice.

``crates/gateway/tests/a_reload_loses_nothing.rs`` does the same with several pools.
"""

import asyncio
import random

import pytest
import slotwise
import slotwise.aio
from fake_time import Time
from slotwise.configuration import Configuration


def file(endpoints: list[int], limit: int, **scheduler: int) -> Configuration:
    """A pool with these endpoints."""
    listed = [f"{{name: 'http://{at}', max_in_flight: {100 + limit % 3 * 50}}}" for at in endpoints]
    fields = "".join(f", {name}: {value}" for name, value in scheduler.items())
    return Configuration(
        f"pools: [{{name: main, endpoints: [{', '.join(listed)}], scheduler: "
        f"{{max_in_flight: {limit}, flow: {{max_queued_prefill: 5}}{fields}}}}}]"
    )


def test_nothing_is_lost_under_load() -> None:
    rng = random.Random(7)
    scheduler = slotwise.Scheduler({"seed": 3})
    scheduler.apply(file([0, 1, 2, 3], 600), "main", now=0.0)
    queued: set[int] = set()
    running: list[int] = []
    submitted, ended, most, last, removed = 0, 0, 0, -1, 0
    for millisecond in range(2_000):
        now = millisecond / 1e3
        if millisecond % 50 == 0:
            kept = sorted({rng.randrange(4) for _ in range(3)})
            scheduler.apply(file(kept, 300 + rng.randrange(600)), "main", now=now)
            with pytest.raises(slotwise.ConfigError, match="seed"):
                scheduler.apply(file([9], 1, seed=4), "main", now=now)
            assert scheduler.endpoint_named("http://9") is None
        if submitted < 1_500 + ended:
            id = scheduler.submit([millisecond] * 40, model="m", ttl=3_600.0, now=now)
            assert isinstance(id, int)
            queued.add(id)
            submitted += 1
        while (decision := scheduler.poll_decision(now=now)) is not None:
            assert isinstance(decision, slotwise.Dispatch)
            queued.remove(decision.request_id)
            assert decision.request_id > last, "first come, first served"
            last = decision.request_id
            running.append(last)
        most = max(most, len(queued) + len(running))
        if len(running) > 600 or rng.randrange(3) == 0:
            for _ in range(min(2, len(running))):
                scheduler.complete(running.pop(rng.randrange(len(running))), now=now)
                ended += 1
        removed += len(scheduler.remove_idle(now=now))
        if millisecond % 10 == 0:
            stats = scheduler.stats()
            assert (stats.queued, stats.in_flight) == (len(queued), len(running))
            booked = sum(endpoint.prefilling + endpoint.running for endpoint in stats.endpoints)
            assert booked == len(running), "each is booked once"
    assert most > 600 and removed > 0
    now = 3.0
    while queued or running:
        while (decision := scheduler.poll_decision(now=now)) is not None:
            queued.remove(decision.request_id)
            running.append(decision.request_id)
        scheduler.complete(running.pop(), now=now)
        ended += 1
    assert ended == submitted and scheduler.stats().completed == submitted


def test_what_comes_back_stays() -> None:
    scheduler = slotwise.Scheduler()
    seed = scheduler.config.seed
    a, b = scheduler.apply(file([0, 1], 10), "main")
    discovered = scheduler.add_endpoint("http://d")
    dispatch = scheduler.pick("x", exclude=[b, discovered])
    assert isinstance(dispatch, slotwise.Dispatch) and dispatch.endpoint_id == a
    assert scheduler.apply(file([1], 10), "main") == [b]
    assert scheduler.accepting_endpoints == 2 and scheduler.remove_idle() == []
    assert scheduler.apply(file([0, 1], 10), "main") == [a, b]
    assert scheduler.remove_idle() == [] and scheduler.accepting_endpoints == 3
    scheduler.apply(file([1], 20), "main")
    scheduler.complete(dispatch.request_id)
    assert scheduler.remove_idle() == [a]
    assert scheduler.endpoint(discovered) is not None
    assert (scheduler.config.max_in_flight, scheduler.config.seed) == (20, seed)
    with pytest.raises(slotwise.ConfigError, match="must be 'main', got \"other\""):
        scheduler.apply(file([1], 20), "other")


def test_a_new_endpoint_wakes_what_is_queued() -> None:
    time = Time()

    full = "{name: 'http://1', max_in_flight: 1}"

    async def main() -> None:
        scheduler = slotwise.aio.Scheduler(clock=time)
        scheduler.apply(Configuration(f"endpoints: [{full}]"), "default")
        running = await scheduler.acquire("x")
        waiting = asyncio.ensure_future(scheduler.acquire("x"))
        await asyncio.sleep(1)
        assert not waiting.done()
        scheduler.apply(Configuration(f"endpoints: [{full}, 'http://0']"), "default")
        lease = await waiting
        assert (running.endpoint_name, lease.endpoint_name) == ("http://1", "http://0")
        lease.complete()
        running.complete()

    time.run(main())
