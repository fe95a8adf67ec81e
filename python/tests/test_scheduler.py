"""The Python interface: forms of prompts, kinds of errors, value semantics, threads."""

import copy
import json
import pickle
import threading
from array import array
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import slotwise
from conftest import picked
from fake_time import Time
from slotwise import (
    Blocks,
    BlockRemoved,
    BlockStored,
    Config,
    CostPrices,
    Endpoint,
    IndexLimits,
    PrefillCost,
    Scheduler,
    TierFactors,
    aio,
)


@pytest.fixture
def scheduler() -> Scheduler:
    scheduler = Scheduler(clock=Time())
    for name in ("a", "b"):
        scheduler.add_endpoint(name)
    return scheduler


TEXT = "You are a helpful assistant. " * 40


@pytest.mark.parametrize(
    "same", [TEXT.encode(), bytearray(TEXT.encode()), memoryview(TEXT.encode())]
)
def test_all_forms_of_text_are_one_prompt(scheduler: Scheduler, same: Any) -> None:
    first = picked(scheduler, TEXT)
    second = picked(scheduler, same)
    assert second.endpoint_id == first.endpoint_id
    assert second.cached_tokens > 250
    assert second.prompt_tokens == len(TEXT) // 4


IDS = list(range(2_000))


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_token_ids_of_any_integer_kind_are_one_prompt(scheduler: Scheduler, kind: Any) -> None:
    first = picked(scheduler, IDS)
    scheduler.complete(first.request_id)
    assert first.prompt_tokens == 2_000
    # The last block is never read from the cache: an engine computes the last token again.
    for same in (np.array(IDS, dtype=kind), np.array(IDS + IDS, dtype=kind)[:2_000], tuple(IDS)):
        again = picked(scheduler, same)
        assert (again.endpoint_id, again.cached_tokens) == (first.endpoint_id, 1_984)
        scheduler.complete(again.request_id)
    strided = np.repeat(np.array(IDS, dtype=kind), 2)[::2]
    assert picked(scheduler, strided).cached_tokens == 1_984


def test_block_hashes_are_compared_as_they_are(scheduler: Scheduler) -> None:
    first = picked(scheduler, Blocks(array("Q", [1, 2**64 - 1]), 16, 40))
    second = picked(scheduler, Blocks([1, 2**64 - 1], 16, 40))
    assert (second.endpoint_id, second.cached_tokens, second.prompt_tokens) == (
        first.endpoint_id,
        32,
        40,
    )


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ([1, -1], (ValueError, OverflowError), "-1 at position 1 is not a token id"),
        (array("q", [5, -7]), ValueError, "-7 at position 1 is not a token id"),
        (array("Q", [2**33]), ValueError, "must lie between 0 and 4294967295"),
        ([1, 2.5], TypeError, "2.5 at position 1 is not a token id"),
        (array("d", [1.0]), TypeError, "expected a buffer of integers"),
        (None, TypeError, "either a prompt or a body"),
        ({"a": 1}, TypeError, "expected a buffer of integers"),
        (Blocks([1], 0, 16), ValueError, "block_size must not be zero"),
        (Blocks(["x"], 16, 16), TypeError, "'x' at position 0 is not a block hash"),
        ("\ud800", UnicodeEncodeError, "surrogates not allowed"),
    ],
)
def test_a_wrong_prompt_says_what_is_wrong_and_changes_nothing(
    scheduler: Scheduler, prompt: Any, error: Any, message: str
) -> None:
    before = scheduler.stats()
    with pytest.raises(error, match=message):
        scheduler.pick(prompt)
    assert scheduler.stats() == before


@pytest.mark.parametrize("now", [-1.0, float("nan"), float("inf"), 1e300])
def test_time_that_is_no_time_is_refused(scheduler: Scheduler, now: float) -> None:
    with pytest.raises(ValueError, match="now must be seconds on a monotonic clock"):
        scheduler.pick("x", now=now)
    with pytest.raises(ValueError, match="deadline must be seconds"):
        scheduler.pick("x", deadline=now)


def test_a_request_lives_and_ends_once(scheduler: Scheduler) -> None:
    request = picked(scheduler, TEXT).request_id
    scheduler.handle_first_token(request)
    scheduler.handle_tokens(request, 10)
    assert scheduler.stats().endpoints[scheduler.endpoint_of(request) or 0].running == 1
    scheduler.complete(request, prompt_tokens=290, cached_tokens=0, completion_tokens=12)
    assert scheduler.stats().in_flight == 0
    for end in (scheduler.complete, scheduler.fail, scheduler.handle_first_token):
        with pytest.raises(slotwise.UnknownRequestError) as caught:
            end(request)
        assert caught.value.code == "unknown_request"
        assert isinstance(caught.value, LookupError)
    assert scheduler.cancel(request) is False


def test_errors_have_their_kind_and_survive_pickling(scheduler: Scheduler) -> None:
    with pytest.raises(slotwise.EndpointError, match="already has that name") as caught:
        scheduler.add_endpoint("a")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (type(error), error.code, str(error)) == (
        slotwise.EndpointError,
        "duplicate_name",
        str(caught.value),
    )
    with pytest.raises(slotwise.UnknownEndpointError):
        scheduler.drain_endpoint(77)
    with pytest.raises(slotwise.KvEventError, match="replay") as lost:
        scheduler.handle_kv_event(0, BlockStored([5], 16, parent=4))
    assert lost.value.code == "unknown_parent"
    request = picked(scheduler, TEXT).request_id
    with pytest.raises(slotwise.RedirectError):
        scheduler.redirect(request, 9)
    with pytest.raises(ValueError, match="failure must be 'unreachable', 'engine' or 'timeout'"):
        scheduler.fail(request, "bored")  # type: ignore[arg-type]


def test_a_refusal_is_a_value() -> None:
    scheduler = Scheduler(clock=Time())
    refused = scheduler.pick("x")
    assert refused == scheduler.pick("y") and hash(refused) == hash(scheduler.pick("y"))
    match refused:
        case slotwise.Rejected(reason, status, after):
            assert (reason, status, after) == ("no_endpoints", 503, 5.0)
    assert repr(refused) == "Rejected(reason='no_endpoints', http_status=503, retry_after=5)"
    scheduler.add_endpoint(Endpoint("a", max_in_flight=1))
    dispatch = picked(scheduler, "x")
    full = scheduler.pick("x")
    assert isinstance(full, slotwise.Rejected) and full.reason == "saturated"
    assert full.retry_after is not None and full.retry_after > 0.0
    assert "retry after" in full.message
    match dispatch:
        case slotwise.Dispatch(request, endpoint, name):
            assert (request, endpoint, name) == (dispatch.request_id, 0, "a")


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"kv_limit": 2.0}, slotwise.ConfigError, r"kv_limit must lie in \(0, 1\]"),
        ({"prices": {"kv": -1.0}}, slotwise.ConfigError, "prices.kv must be finite"),
        ({"tiers": {"cpu": 1.5}}, slotwise.ConfigError, r"tiers.cpu must lie in \[0, 1\]"),
        (
            Config(tiers=TierFactors(disk=-0.1)),
            slotwise.ConfigError,
            r"tiers.disk must lie in \[0, 1\]",
        ),
        ({"tiers": {"cpu": float("nan")}}, ValueError, "not JSON compliant"),
        ({"tiers": {"cpu": "all"}}, TypeError, "tiers.cpu: invalid type: string"),
        ({"tiers": {"gpu": 1.0}}, ValueError, "unknown field `gpu`"),
        (Config(index=IndexLimits(bytes=0)), slotwise.ConfigError, "index.bytes must not be zero"),
        ({"index": {"entries": 99}}, ValueError, "unknown field `entries`"),
        ({"prices": {"kvv": 1.0}}, ValueError, "unknown field `kvv`"),
        ({"seed": "x"}, TypeError, "seed: invalid type: string"),
        (
            {"max_endpoints": -1},
            (TypeError, ValueError),
            "max_endpoints: invalid value: integer `-1`",
        ),
        ({"kv_cache_tokens": 0}, (TypeError, ValueError), "kv_cache_tokens"),
        ({"backoff": float("nan")}, ValueError, "not JSON compliant"),
        ({"backoff": -1.0}, ValueError, "backoff"),
        (7, TypeError, "expected one of slotwise's values or a mapping"),
        (Config(kv_limit=float("inf")), ValueError, "not JSON compliant"),
    ],
)
def test_a_wrong_configuration_names_the_field(config: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Scheduler(config)


def test_configuration_and_endpoints_come_back_as_they_went_in() -> None:
    config = Config(
        seed=7, prices=CostPrices(kv=1.0), index=IndexLimits(bytes=99), tiers=TierFactors(cpu=0.0)
    )
    assert Scheduler(config).config == config
    assert replace(Scheduler().config, seed=None) == Config()
    endpoint = Endpoint(
        "a",
        models=("m",),
        labels={"zone": "x"},
        role="prefill",
        prefill=PrefillCost(chunk=512),
        adapter_load_time=0.5,
    )
    scheduler = Scheduler(clock=Time())
    added = scheduler.add_endpoint(endpoint)
    assert scheduler.endpoint(added) == endpoint
    assert scheduler.endpoint_named("a") == added
    assert scheduler.endpoint_names() == {added: "a"}
    assert scheduler.endpoint(added + 1) is None
    for value in (config, endpoint, scheduler.stats(), scheduler.explain("x")):
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)


@pytest.mark.parametrize(
    "flow",
    [
        slotwise.FlowConfig(
            session_admission=slotwise.SessionAdmissionConfig(share=0.7),
            max_bytes=None,
            fairness="round_robin",
            order="edf",
        ),
        slotwise.FlowConfig(
            saturation=slotwise.UtilizationDetector(), usage_limit=slotwise.SoftReflective()
        ),
        slotwise.FlowConfig(
            saturation=slotwise.ConcurrencyDetector(concurrency_mode="hybrid"),
            usage_limit=slotwise.PriorityHoldback(min_usage_limit=0.6, domain="value"),
            band=slotwise.BandLimits(max_requests=7),
        ),
    ],
)
def test_flow_control_is_configured(flow: slotwise.FlowConfig) -> None:
    config = Config(seed=0, flow=flow)
    assert Scheduler(config).config == config == pickle.loads(pickle.dumps(config))


def test_requests_wait_for_their_turn() -> None:
    scheduler = Scheduler({"flow": {"max_requests": 3}})
    assert (scheduler.next_timeout(), scheduler.poll_decision(now=1.0)) == (None, None)
    only = scheduler.add_endpoint("only", now=1.0)
    first = scheduler.submit(list(range(20_000)), now=1.0)
    match scheduler.poll_decision(now=1.0):
        case slotwise.Dispatch(request, endpoint, name):
            assert (request, endpoint, name) == (first, only, "only")
        case other:
            raise AssertionError(other)
    batch, urgent = (
        scheduler.submit([5] * 90, priority=priority, flow="f", now=1.0) for priority in (0, 1)
    )
    brief = scheduler.submit([5] * 90, ttl=0.25, weight=2.0, now=1.5)
    refused = scheduler.submit([5] * 90, now=1.5)
    assert isinstance(refused, slotwise.Rejected) and refused.reason == "queue_full"
    assert scheduler.poll_decision(now=1.5) is None and scheduler.next_timeout() == 1.75
    evicted = scheduler.poll_decision(now=1.75)
    assert isinstance(evicted, slotwise.Evicted) and hash(evicted) == brief and evicted != refused
    assert (evicted.request_id, evicted.reason, evicted.http_status, evicted.queue_time) == (
        brief,
        "ttl_expired",
        429,
        0.25,
    )
    assert repr(evicted).startswith(
        f"Evicted(request_id={brief}, reason='ttl_expired', http_status=429, retry_after="
    )
    stats = scheduler.stats()
    assert (stats.queued, stats.queued_bytes, stats.evicted) == (2, 720, {"ttl_expired": 1})
    scheduler.handle_first_token(int(str(first)), now=2.0)
    gone = [scheduler.poll_decision(now=2.0) for _ in range(3)]
    assert [decision and decision.request_id for decision in gone] == [urgent, batch, None]
    assert isinstance(gone[0], slotwise.Dispatch) and gone[0].queue_time == 1.0
    for ttl in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="ttl"):
            scheduler.submit("x", ttl=ttl)
    assert scheduler.cancel(batch) and not scheduler.cancel(brief)  # type: ignore[arg-type]


def test_who_could_make_room_is_named() -> None:
    scheduler = Scheduler(clock=Time())
    scheduler.add_endpoint(slotwise.Endpoint("only", max_in_flight=2))
    batch = [scheduler.submit("x", priority=-1), scheduler.submit("y", priority=-2)]
    while scheduler.poll_decision():
        pass
    assert scheduler.preemption_candidates() == []
    scheduler.submit("z")
    assert scheduler.poll_decision() is None
    assert (scheduler.preemption_candidates(), scheduler.preemption_candidates(1)) == (
        batch[::-1],
        batch[1:],
    )


def test_every_field_of_the_core_has_a_field_here() -> None:
    defaults = json.loads(slotwise._core.default_config())
    options = json.loads(slotwise._core.default_options())
    for fields_here, fields_there in [
        (Config, defaults),
        (CostPrices, defaults["prices"]),
        (PrefillCost, defaults["prefill"]),
        (IndexLimits, defaults["index"]),
        (TierFactors, defaults["tiers"]),
        (slotwise.FlowConfig, defaults["flow"]),
        (slotwise.BandLimits, defaults["flow"]["band"]),
        (slotwise.ContinuousSaturation, defaults["flow"]["saturation"]),
        (slotwise.StaticUsageLimit, defaults["flow"]["usage_limit"]),
        (slotwise.SessionAdmissionConfig, options[0]),
        (slotwise.UtilizationDetector, {"type": None, **options[1]}),
        (slotwise.ConcurrencyDetector, {"type": None, **options[2]}),
    ]:
        assert {field.name for field in fields(fields_here)} == set(fields_there)


def test_blocks_live_in_tiers(scheduler: Scheduler) -> None:
    near, host = 0, 1
    scheduler.handle_kv_event(near, BlockStored([1, 2, 3], 16))
    assert scheduler.stats().index_bytes > 0
    scheduler.handle_kv_event(host, BlockStored([1, 2, 3], 16, tier="cpu"))
    scheduler.handle_kv_event(host, BlockRemoved([1, 2, 3]))
    seen = scheduler.explain(Blocks([1, 2, 3], 16, 49)).candidates
    assert [(one.name, one.cached_tokens) for one in seen] == [("a", 48), ("b", 48)]
    # A fifth of 48 tokens at 23 us, for which a second of prefill is two.
    assert seen[1].cost - seen[0].cost == pytest.approx(2 * 48 * (1.0 - TierFactors().cpu) * 23e-6)
    scheduler.handle_kv_event(host, BlockRemoved([1, 2, 3], tier="cpu"))
    assert [one.stored_tokens for one in scheduler.stats().endpoints] == [48, 0]
    scheduler.handle_kv_event(host, BlockStored([7], 16, tier="disk"))
    assert not any(one.hash_mismatch for one in scheduler.stats().endpoints)


@pytest.mark.parametrize("tier", ["tape", "GPU", "", 1, None])
def test_a_tier_that_is_none_is_named(scheduler: Scheduler, tier: Any) -> None:
    before = scheduler.stats()
    for event in (BlockStored([1], 16, tier=tier), BlockRemoved([1], tier=tier)):
        with pytest.raises(ValueError, match=f"tier must be 'gpu', 'cpu' or 'disk', got"):
            scheduler.handle_kv_event(0, event)
    assert scheduler.stats() == before


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda taken: np.frombuffer(taken, np.uint8)]
)
@pytest.mark.parametrize("again", [Scheduler, aio.Scheduler])
def test_what_is_known_of_caches_outlives_a_scheduler(kind: Any, again: Any) -> None:
    before = Scheduler({"seed": 7})
    for name in ("a", "b"):
        before.add_endpoint(name)
    first = picked(before, IDS)
    after = again({"seed": 7})
    for name in ("b", "c", "a"):
        after.add_endpoint(name, now=0.0)
    taken = before.snapshot()
    assert type(taken) is bytes
    assert after.restore(kind(taken), now=1.0) == 2
    second = picked(after, IDS)
    assert (second.endpoint_name, second.cached_tokens) == (first.endpoint_name, 1_984)


def test_a_snapshot_that_cannot_be_restored_says_why_and_changes_nothing(
    scheduler: Scheduler,
) -> None:
    def flipped(at: int) -> bytes:
        damaged = bytearray(taken)
        damaged[at] ^= 0xFF
        return bytes(damaged)

    picked(scheduler, TEXT)
    taken = scheduler.snapshot()
    cases: list[tuple[bytes, dict[str, Any], str]] = [
        (b"", {}, "snapshot_foreign"),
        (b'{"not": "a snapshot"}', {}, "snapshot_foreign"),
        (flipped(8), {}, "snapshot_version"),
        (flipped(-1), {}, "snapshot_damaged"),
        (taken[:-1], {}, "snapshot_damaged"),
        (taken, {"seed": 8}, "snapshot_seed"),
        (taken, {"index": {"bytes": 1}}, "snapshot_too_large"),
    ]
    for content, config, code in cases:
        fresh = Scheduler({"seed": scheduler.config.seed, **config})
        for name in ("a", "b"):
            fresh.add_endpoint(name)
        before = fresh.stats()
        with pytest.raises(slotwise.SnapshotError) as caught:
            fresh.restore(content)
        assert caught.value.code == code
        error = pickle.loads(pickle.dumps(caught.value))
        assert (type(error), error.code) == (slotwise.SnapshotError, code)
        assert isinstance(error, ValueError)
        assert fresh.stats() == before
    with pytest.raises(slotwise.SnapshotError, match="restore before the first"):
        scheduler.restore(taken)
    for nothing in (None, 3, "text", [1, 2], np.array([1, 2], dtype=np.uint32)):
        with pytest.raises(
            TypeError, match="snapshot must be bytes or another buffer of bytes, not"
        ):
            scheduler.restore(nothing)  # type: ignore[arg-type]


def test_an_endpoint_that_leaves_says_what_is_on_it(scheduler: Scheduler) -> None:
    dispatch = picked(scheduler, TEXT)
    removed = scheduler.remove_endpoint(dispatch.endpoint_id)
    assert (removed.endpoint.name, removed.in_flight) == (
        dispatch.endpoint_name,
        (dispatch.request_id,),
    )
    scheduler.complete(dispatch.request_id)
    for no_event in (None, 3, TEXT):
        with pytest.raises(
            TypeError, match="event must be BlockStored, BlockRemoved or AllBlocksCleared"
        ):
            scheduler.handle_kv_event(0, no_event)  # type: ignore[arg-type]


def test_a_live_scheduler_says_why_it_is_not_pickled(scheduler: Scheduler) -> None:
    with pytest.raises(TypeError, match="a live scheduler cannot be pickled.*Pickle its `config`"):
        pickle.dumps(scheduler)


def test_an_explanation_is_a_table(scheduler: Scheduler) -> None:
    explanation = scheduler.explain(TEXT)
    assert explanation.endpoint_id == explanation.candidates[0].endpoint_id
    assert str(explanation).splitlines()[1].split()[:3] == ["endpoint", "cached", "queue"]
    assert Scheduler().explain("x").reason == "no_endpoints"


def test_a_cost_function_decides() -> None:
    seen: list[slotwise.Candidates] = []

    def dearest_first(candidates: slotwise.Candidates) -> Any:
        seen.append(candidates)
        return -np.frombuffer(candidates.cost) + 10.0

    scheduler = Scheduler(cost=dearest_first, clock=Time())
    for name, capacity in (("small", 20_000), ("large", 400_000)):
        scheduler.add_endpoint(Endpoint(name, kv_cache_tokens=capacity))
    scheduler.drain_endpoint(scheduler.add_endpoint("draining"))
    assert picked(scheduler, TEXT).endpoint_name == "small"
    (columns,) = seen
    assert columns.names == ("large", "small")
    assert list(columns.endpoints) == [1, 0]
    assert columns.prompt_tokens == len(TEXT) // 4
    assert columns.cost[0] == pytest.approx(columns.kv[0] + columns.prefill[0])
    with pytest.raises(TypeError):
        columns.cost[0] = 1.0  # read-only


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _: 1 / 0, "division by zero"),
        (lambda _: [1.0], "1 costs for 2 candidates"),
        (lambda _: [1.0, float("nan")], "is not a number"),
        (lambda _: None, "not iterable"),
        (lambda _: ["a", "b"], "real number"),
    ],
)
def test_a_broken_cost_function_is_reported_and_the_built_in_cost_decides(
    monkeypatch: pytest.MonkeyPatch, answer: Any, message: str
) -> None:
    reported: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reported.append(str(report.exc_value)))
    plain, scored = (
        Scheduler({"seed": 0}, clock=Time()),
        Scheduler({"seed": 0}, cost=answer, clock=Time()),
    )
    for scheduler in (plain, scored):
        for name in ("a", "b"):
            scheduler.add_endpoint(name)
    assert picked(scored, TEXT, now=1.0) == picked(plain, TEXT, now=1.0)
    assert len(reported) == 1 and message in reported[0]


def test_a_cost_function_may_call_the_scheduler() -> None:
    scheduler: Scheduler

    def cost_function(candidates: slotwise.Candidates) -> Any:
        assert scheduler.stats().in_flight == 0
        return candidates.cost

    scheduler = Scheduler(cost=cost_function, clock=Time())
    scheduler.add_endpoint("a")
    picked(scheduler, TEXT)
    with pytest.raises(TypeError, match="cost must be callable"):
        Scheduler(cost=3)  # type: ignore[arg-type]


def test_threads_share_a_scheduler() -> None:
    scheduler = Scheduler(clock=Time())
    endpoints = [scheduler.add_endpoint(f"e{n}") for n in range(4)]
    failures: list[BaseException] = []

    def serve(seed: int) -> None:
        try:
            for turn in range(300):
                dispatch = picked(scheduler, f"{seed} says " * (turn % 50))
                scheduler.handle_first_token(dispatch.request_id)
                scheduler.complete(dispatch.request_id, completion_tokens=5)
        except BaseException as error:
            failures.append(error)

    def publish() -> None:
        try:
            for turn in range(100):
                names = np.arange(turn * 1_000, turn * 1_000 + 1_000, dtype=np.uint64)
                scheduler.handle_kv_event(endpoints[0], BlockStored(names, 16))
                scheduler.handle_kv_event(endpoints[0], BlockRemoved(names))
                scheduler.stats()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(6)] + [
        threading.Thread(target=publish)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not failures
    stats = scheduler.stats()
    assert (stats.in_flight, stats.completed, stats.endpoints[0].stored_tokens) == (0, 1_800, 0)
