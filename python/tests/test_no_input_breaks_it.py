"""Whatever a host passes: an answer, or an exception of Python's or slotwise's, and a scheduler that still works."""

from typing import Any

import slotwise
from hypothesis import given, settings
from hypothesis import strategies as st

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
        slotwise.BlocksStored,
        st.lists(st.integers(-1, 9)),
        st.integers(-1, 20),
        tokens=st.none() | st.binary(),
        tier=TIERS,
    ),
    st.builds(slotwise.BlocksRemoved, st.lists(st.integers(-1, 9)), tier=TIERS),
    st.just(slotwise.BlocksCleared()),
)
CALLS = [
    "add_endpoint",
    "update_endpoint",
    "remove_endpoint",
    "drain_endpoint",
    "handle_load",
    "handle_adapters",
    "handle_kv_event",
    "pick",
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
    "endpoint_of",
]
KEYWORDS = [
    "now", "model", "adapter", "priority", "deadline", "labels", "role", "expected_output", "waiting",
    "kv_usage", "tokens", "block_size", "parent", "cached_tokens", "completion_tokens", "slots", "ttl", "weight",
    "nonsense",
]  # fmt: skip


@settings(max_examples=600, deadline=None)
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
        except (TypeError, ValueError, OverflowError, LookupError, BufferError, slotwise.SlotwiseError):
            pass
    scheduler.add_endpoint("still here")
    assert isinstance(scheduler.pick("x"), slotwise.Dispatch)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(list(slotwise.Config.__dataclass_fields__)), JUNK, max_size=3))
def test_a_junk_configuration_is_accepted_or_refused(config: dict[str, Any]) -> None:
    try:
        slotwise.Scheduler(config)
    except (TypeError, ValueError, OverflowError):
        pass
