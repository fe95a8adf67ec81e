"""What a strictly typed host writes. Checked by mypy and pyright, not run."""

from array import array
from typing import assert_type

import slotwise
from slotwise import aio


def sync() -> None:
    scheduler = slotwise.Scheduler(slotwise.Config(seed=1), scorer=lambda candidates: candidates.cost)
    endpoint = scheduler.add_endpoint(slotwise.Endpoint("a", role="unified"))
    assert_type(endpoint, int)
    answer = scheduler.pick(array("I", [1, 2]), model="m", labels={"zone": "a"}, role="prefill")
    if isinstance(answer, slotwise.Rejected):
        assert_type(answer.reason, slotwise.RejectReason)
        return
    assert_type(answer, slotwise.Dispatch)
    scheduler.fail(answer.request, "timeout")
    request = scheduler.submit("x", flow="tenant", weight=2.0, ttl=0.5)
    if isinstance(request, slotwise.Rejected):
        return
    assert_type(request, int)
    assert_type(scheduler.next_timeout(), float | None)
    match scheduler.poll_decision(now=0.0):
        case slotwise.Evicted() as evicted:
            assert_type(evicted.reason, slotwise.EvictReason)
            assert_type(evicted.retry_after, float | None)
        case slotwise.Dispatch() as dispatch:
            assert_type(dispatch.queued, float)
    flow = slotwise.FlowConfig(fairness="round_robin", saturation=slotwise.ConcurrencyDetector(max_concurrency=8))
    assert_type(slotwise.Config(flow=flow).flow.guard, slotwise.GuardConfig | None)
    scheduler.handle_kv_event(endpoint, slotwise.BlocksStored([1], 16, tier="cpu"))
    scheduler.handle_kv_event(endpoint, slotwise.BlocksRemoved([1], tier="disk"))
    assert_type(slotwise.BlocksRemoved([1]).tier, slotwise.Tier)
    assert_type(scheduler.config.tiers.cpu, float)
    assert_type(scheduler.stats().endpoints[0].hashes_differ, bool)
    assert_type(scheduler.stats().endpoints[0].booked, float)
    assert_type(scheduler.snapshot(), bytes)
    assert_type(aio.Scheduler().restore(memoryview(scheduler.snapshot()), now=0.0), int)
    assert_type(scheduler.explain(b"x").candidates[0].terms.queue, float)


async def awaited() -> None:
    scheduler = aio.Scheduler()
    async with await scheduler.acquire("x", model="m", priority=1, timeout=0.5) as lease:
        assert_type(lease, aio.Lease)
        async for chunk in lease.stream(bytes_of(lease)):
            assert_type(chunk, bytes)


def bytes_of(lease: aio.Lease) -> aio.Stream[bytes]:
    raise NotImplementedError(lease.name)
