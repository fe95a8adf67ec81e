"""The code of a strictly typed host. Checked by mypy and pyright, not run."""

from array import array
from typing import assert_type

import slotwise
from slotwise import aio, wire


def sync() -> None:
    scheduler = slotwise.Scheduler(slotwise.Config(seed=1), cost=lambda candidates: candidates.cost)
    endpoint = scheduler.add_endpoint(slotwise.Endpoint("a", role="unified"))
    assert_type(endpoint, int)
    answer = scheduler.pick(array("I", [1, 2]), model="m", labels={"zone": "a"}, role="prefill")
    if isinstance(answer, slotwise.Rejected):
        assert_type(answer.reason, slotwise.RejectReason)
        return
    assert_type(answer, slotwise.Dispatch)
    scheduler.fail(answer.request_id, "timeout")
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
            assert_type(dispatch.queue_time, float)
    flow = slotwise.FlowConfig(
        fairness="round_robin", saturation=slotwise.ConcurrencyDetector(max_concurrency=8)
    )
    assert_type(
        slotwise.Config(flow=flow).flow.session_admission, slotwise.SessionAdmissionConfig | None
    )
    scheduler.handle_kv_event(endpoint, slotwise.BlockStored([1], 16, tier="cpu"))
    scheduler.handle_kv_event(endpoint, slotwise.BlockRemoved([1], tier="disk"))
    assert_type(slotwise.BlockRemoved([1]).tier, slotwise.Tier)
    assert_type(scheduler.config.tiers.cpu, float)
    assert_type(scheduler.stats().endpoints[0].hash_mismatch, bool)
    assert_type(scheduler.stats().endpoints[0].queued_prefill, float)
    assert_type(scheduler.snapshot(), bytes)
    assert_type(aio.Scheduler().restore(memoryview(scheduler.snapshot()), now=0.0), int)
    assert_type(scheduler.explain(b"x").candidates[0].terms.queue, float)
    assert_type(
        scheduler.explain(body=b"{}", path="/v1/completions", headers=[(b"a", "b")]),
        slotwise.Explanation,
    )


def bytes_in(page: bytes, frames: list[bytes]) -> None:
    report = wire.read_metrics(page, engine="vllm", fields={"waiting": ["a", "b{c=d}"]})
    assert_type(report.ranks[0].load.kv_usage, float | None)
    scheduler = aio.Scheduler()
    endpoint = scheduler.add_endpoint(
        slotwise.Endpoint(
            "a", block_size=report.block_size or 16, kv_cache_tokens=report.kv_cache_tokens
        )
    )
    scheduler.handle_metrics_page(endpoint, page, engine="sglang")
    assert_type(scheduler.handle_kv_frames(endpoint, frames, replay=True).ask, int | None)
    assert_type(scheduler.handle_kv_frames(endpoint, frames).error, wire.ErrorKind | None)
    assert_type(wire.replay_request(0), bytes)
    assert_type(wire.read_request(page, path="/v1/completions").prompt, bytes | list[int])
    assert_type(wire.refusal("queue_full", shape="anthropic").headers, tuple[tuple[str, str], ...])
    assert_type(wire.outcome_of_status(503).end, wire.End)
    try:
        assert_type(wire.rewrite_model(memoryview(page), "m"), bytes)
    except slotwise.WireError as error:
        assert_type(error.offset, int)


async def awaited() -> None:
    scheduler = aio.Scheduler()
    async with await scheduler.acquire("x", model="m", priority=1, timeout=0.5) as lease:
        assert_type(lease, aio.Lease)
        lease.begin(200, "text/event-stream")
        assert_type(lease.feed(b"").first_token, bool)
        assert_type(lease.answer.usage.cached_tokens, int | None)
        assert_type(lease.answer.finish_reason, wire.FinishReason | None)
        assert_type(lease.finish("broken"), wire.Outcome)
        async for chunk in lease.stream(bytes_of(lease)):
            assert_type(chunk, bytes)


def bytes_of(lease: aio.Lease) -> aio.Stream[bytes]:
    raise NotImplementedError(lease.endpoint_name)
