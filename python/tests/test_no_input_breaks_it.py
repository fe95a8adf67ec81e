"""Every input returns a result or raises an exception, and the scheduler still works after it."""

from typing import Any

import slotwise
from hypothesis import given, settings
from hypothesis import strategies as st
from slotwise import _core, wire

TIERS: Any = st.sampled_from(["gpu", "cpu", "disk", "tape", None, 1])
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
    st.binary(max_size=40),
    st.lists(st.integers(-10, 2**70), max_size=5),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.builds(bytearray, st.binary(max_size=9)),
    st.builds(object),
    st.builds(
        slotwise.BlockStored,
        st.lists(st.integers(-1, 9)),
        st.integers(-1, 20),
        tokens=st.none() | st.binary(),
        tier=TIERS,
    ),
    st.builds(slotwise.BlockRemoved, st.lists(st.integers(-1, 9)), tier=TIERS),
    st.just(slotwise.AllBlocksCleared()),
)
FUNCTIONS: list[Any] = [
    getattr(wire, name)
    for name in wire.__all__
    if callable(getattr(wire, name)) and name[0].islower()
]
CALLS = [
    "add_endpoint",
    "update_endpoint",
    "remove_endpoint",
    "drain_endpoint",
    "handle_load",
    "handle_loads",
    "handle_adapters",
    "describe_adapter",
    "handle_kv_event",
    "handle_metrics_page",
    "handle_orca",
    "handle_kv_frames",
    "handle_trtllm_events",
    "abandon_replay",
    "poll_replay",
    "replay_from",
    "metrics_text",
    "pick",
    "pick_many",
    "submit",
    "poll_decision",
    "explain",
    "handle_first_token",
    "handle_tokens",
    "complete",
    "fail",
    "cancel",
    "redirect",
    "snapshot",
    "restore",
    "endpoint",
    "endpoint_named",
    "endpoint_names",
    "endpoint_of",
]
KEYWORDS = [
    "now", "model", "adapter", "priority", "deadline", "labels", "role", "expected_output_tokens", "waiting",
    "kv_usage", "body", "path", "headers", "priority_order", "engine", "replay", "rank", "names", "pool", "tokens", "block_size", "parent", "cached_tokens", "completion_tokens", "slots", "ttl", "weight",
    "nonsense",
]  # fmt: skip


@settings(max_examples=600)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CALLS),
            st.lists(st.one_of(st.integers(0, 3), JUNK), max_size=3),
            st.dictionaries(st.sampled_from(KEYWORDS), JUNK, max_size=3),
        ),
        max_size=12,
    )
)
def test_junk_is_answered_or_refused(calls: list[tuple[str, list[Any], dict[str, Any]]]) -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint("a")
    for name, arguments, keywords in calls:
        try:
            getattr(scheduler, name)(*arguments, **keywords)
        except (
            TypeError,
            ValueError,
            OverflowError,
            LookupError,
            BufferError,
            slotwise.SlotwiseError,
        ):
            pass
    scheduler.add_endpoint("still here")
    assert isinstance(scheduler.pick("x"), slotwise.Dispatch)


@settings(max_examples=600)
@given(
    st.sampled_from([*FUNCTIONS, wire.ResponseReader, wire.ModelFilter]),
    st.lists(JUNK, max_size=2),
    st.dictionaries(
        st.sampled_from(
            ["api", "path", "engine", "fields", "block_size", "shape", "model", "adapter"]
        ),
        JUNK,
        max_size=2,
    ),
)
def test_junk_is_read_or_refused(
    function: Any, arguments: list[Any], keywords: dict[str, Any]
) -> None:
    try:
        function(*arguments, **keywords)
    except (TypeError, ValueError, OverflowError):
        pass


@settings(max_examples=300)
@given(
    st.sampled_from(["text/event-stream", "application/json", ""]),
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([b"data: {", b'"choices":[{', b"}]}", b"\n\n", b"[" * 200]),
        max_size=12,
    ),
    st.sampled_from(["clean", "broken", "timed_out", "client_disconnected"]),
)
def test_any_answer_has_one_end(content_type: str, chunks: list[bytes], close: Any) -> None:
    scheduler = slotwise.Scheduler()
    scheduler.add_endpoint("a")
    dispatch = scheduler.pick("x")
    assert isinstance(dispatch, slotwise.Dispatch)
    lease, passing = _core.Lease(scheduler, dispatch), wire.ModelFilter(content_type, "m")
    lease.begin(200, content_type)
    for chunk in chunks:
        lease.feed(chunk)
        passing.feed(chunk)
    lease.finish(close)
    stats = scheduler.stats()
    assert (stats.completed + stats.failed + stats.cancelled, stats.in_flight) == (1, 0)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from(list(slotwise.Config.__dataclass_fields__)), JUNK, max_size=3)
)
def test_a_junk_configuration_is_accepted_or_refused(config: dict[str, Any]) -> None:
    try:
        slotwise.Scheduler(config)
    except (TypeError, ValueError, OverflowError):
        pass
