"""Failing endpoints receive few requests, and retries go to other endpoints."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

import pytest

import slotwise
from slotwise import aio


def scheduler(*names: str, **endpoint: Any) -> tuple[slotwise.Scheduler, list[int]]:
    made = slotwise.Scheduler(slotwise.Config(seed=1), clock=lambda: 0.0)
    return made, [made.add_endpoint(slotwise.Endpoint(name, **endpoint), now=0.0) for name in names]


def pick(s: slotwise.Scheduler, prompt: str = "x", **options: Any) -> slotwise.Dispatch:
    dispatch = s.pick(prompt, **options)
    assert isinstance(dispatch, slotwise.Dispatch)
    return dispatch


@pytest.mark.parametrize(("clients", "endpoints"), [(1, 2), (4, 2), (32, 2), (256, 8)])
def test_an_endpoint_that_fails_at_once_gets_few_requests(clients: int, endpoints: int) -> None:
    s, ids = scheduler(*map(str, range(endpoints)))
    events: list[tuple[float, int, str, int]] = [
        (0.0, client, "ask", 0) for client in range(clients)
    ]
    asked = failed = 0
    while events[0][0] <= 10.0 and asked < 10_000:
        now, client, what, request = heapq.heappop(events)
        if what == "first":
            s.handle_first_token(request, now=now)
            heapq.heappush(events, (now + 0.03, client, "done", request))
            continue
        if what == "done":
            s.complete(request, now=now)
        elif what == "failed":
            s.fail(request, now=now)
        asked += 1
        dispatch = pick(s, f"{asked} " * 50, model="m", now=now)
        bad = dispatch.endpoint_id == ids[-1]
        failed += bad
        heapq.heappush(
            events,
            (
                now + (0.002 if bad else 0.03),
                client,
                "failed" if bad else "first",
                dispatch.request_id,
            ),
        )
    assert 100 * failed < asked


@pytest.mark.parametrize("end", ["cancel", "fail"])
@pytest.mark.parametrize("flow", ["", "tenant"])
def test_an_endpoint_that_refuses_everything_gets_few_requests(end: str, flow: str) -> None:
    s, ids = scheduler("a", "b", "c", "d")
    due: list[tuple[float, str, int]] = []
    refused = 0
    for number in range(600):
        now = number / 10
        while due and due[0][0] <= now:
            at, what, request = heapq.heappop(due)
            getattr(s, what)(request, now=at)
        dispatch = pick(s, f"{number} " * 2_000, model="m", flow=flow, now=now)
        if dispatch.endpoint_id == ids[0]:
            refused += 1
            getattr(s, end)(dispatch.request_id, now=now)
        else:
            heapq.heappush(due, (now + 0.3, "handle_first_token", dispatch.request_id))
            heapq.heappush(due, (now + 1.3, "complete", dispatch.request_id))
    assert refused <= 12


def test_a_retry_excludes_what_it_has_tried() -> None:
    s, ids = scheduler("a", "b")
    first = pick(s)
    second = pick(s, exclude=[first.endpoint_id])
    assert {first.endpoint_id, second.endpoint_id} == set(ids)
    none = s.pick("x", exclude=ids)
    assert isinstance(none, slotwise.Rejected)
    assert none.reason == "no_endpoints"
    assert isinstance(s.submit("x", exclude=ids), slotwise.Rejected)
    assert [c.excluded for c in s.explain("x", exclude=ids).candidates] == ["excluded", "excluded"]
    with pytest.raises(TypeError):
        pick(s, exclude=["a"])


def test_acquire_excludes() -> None:
    async def run() -> None:
        s = aio.Scheduler(clock=lambda: 0.0)
        a, b = s.add_endpoint("a"), s.add_endpoint("b")
        for tried, left in ((a, b), (b, a)):
            lease = await s.acquire("x", exclude=[tried])
            assert lease.endpoint_id == left
            lease.cancel()

    asyncio.run(run())


def test_probes_and_redirects_are_told() -> None:
    s, (a, b) = scheduler("a", "b")
    s.handle_probe(a, passed=False)
    stats = {endpoint.name: endpoint for endpoint in s.stats().endpoints}
    assert (stats["a"].health, stats["a"].backoff) == ("backed_off", "probe")
    assert stats["a"].backoff_remaining > 0
    assert {pick(s, str(n)).endpoint_id for n in range(9)} == {b}
    s.handle_probe(a, passed=True, now=1.0)
    moved = pick(s, exclude=[b], now=1.0)
    s.redirect(moved.request_id, b, "engine", now=1.0)
    assert {endpoint.name: endpoint.backoff for endpoint in s.stats().endpoints} == {
        "a": "failed",
        "b": None,
    }
    with pytest.raises(ValueError, match="failure"):
        s.redirect(moved.request_id, a, "tired")  # type: ignore[arg-type]
    with pytest.raises(slotwise.UnknownEndpointError):
        s.handle_probe(99, passed=True)


def test_a_cancelled_request_stays_booked_where_the_engine_does_not_notice() -> None:
    for notices, pending in ((True, 0), (False, 1)):
        s, _ = scheduler("a", notices_disconnect=notices)
        assert s.cancel(pick(s, "x" * 80_000).request_id)
        assert s.stats().endpoints[0].prefilling == pending
