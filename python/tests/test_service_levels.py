"""Service levels bind requests that may be shed."""

from __future__ import annotations

import slotwise


def test_a_sheddable_request_needs_its_service_level() -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint("a", now=0.0)
    dispatch = scheduler.pick([1] * 20_000, model="m", slo_ttft=0.001, now=0.0)
    assert isinstance(dispatch, slotwise.Dispatch)
    assert 0.1 < dispatch.predicted_ttft < 5.0
    assert 0.001 < dispatch.predicted_tpot < 0.1
    late = scheduler.pick([2] * 20_000, model="m", priority=-1, slo_ttft=0.001, now=0.0)
    assert isinstance(late, slotwise.Rejected)
    assert late.reason == "deadline_unreachable"
    slow = scheduler.pick([2] * 20, model="m", priority=-1, slo_tpot=0.0001, now=0.0)
    assert isinstance(slow, slotwise.Rejected)
    assert slow.reason == "shed"
    explanation = scheduler.explain([2] * 20, model="m", slo_ttft=30.0, slo_tpot=0.0001, now=0.0)
    candidate = explanation.candidates[0]
    assert candidate.ttft_headroom is not None and candidate.ttft_headroom > 20.0
    assert candidate.tpot_headroom is not None and candidate.tpot_headroom < 0.0
