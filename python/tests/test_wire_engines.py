"""The scheduler takes pages, headers and frames of engines as received.

Malformed input changes nothing.
"""

import copy
import doctest
import json
import pickle
import re
import struct
import threading
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from conftest import HANG, picked
from fake_time import Time
from slotwise import Endpoint, Scheduler, WireError, wire

PAGE = b"""vllm:num_requests_waiting{engine="0"} 3.0
vllm:num_requests_running{engine="0"} 5.0
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:lora_requests_info{max_lora="2",running_lora_adapters="b,a",waiting_lora_adapters="c"} 1.7e9
vllm:cache_config_info{engine="0",block_size="32",num_gpu_blocks="512"} 1.0
"""


@pytest.fixture
def scheduler() -> Scheduler:
    scheduler = Scheduler(clock=Time())
    scheduler.add_endpoint(Endpoint("a", models=["m"], block_size=4))
    return scheduler


def test_the_examples_hold() -> None:
    assert doctest.testmod(wire).attempted > 2
    assert doctest.testmod(wire).failed == 0


@pytest.mark.parametrize(
    "page", [PAGE, bytearray(PAGE), memoryview(PAGE), np.frombuffer(PAGE, np.uint8)]
)
def test_a_page_in_any_buffer_describes_an_endpoint(page: Any) -> None:
    report = wire.read_metrics(page)
    assert (report.engine, report.block_size, report.kv_cache_tokens, report.max_adapters) == (
        "vllm",
        32,
        16_384,
        2,
    )
    assert report.load == wire.Load(waiting=3, running=5, kv_usage=0.5)
    assert report.adapters == wire.Adapters(
        slots=2, running=("a", "b"), waiting=("c",), active=("a", "b", "c")
    )
    assert report.ranks[0].rank == "0"
    assert pickle.loads(pickle.dumps(report)) == copy.deepcopy(report) == report


def test_metrics_have_the_names_that_a_host_gives_them() -> None:
    fields: Any = {"waiting": "depth{queue=held}", "kv_usage": ["none", "share"]}
    page = b'depth{queue="held",shard="1"} 3\ndepth{queue="gone"} 9\nshare{shard="1"} 0.25\n'
    report = wire.read_metrics(page, engine="custom", fields=fields, rank_label="shard")
    assert (report.load.waiting, report.load.kv_usage, report.ranks[0].rank) == (3, 0.25, "1")
    assert wire.read_metrics(PAGE, engine="sglang").ranks == ()
    with pytest.raises(WireError, match="at byte 6"):
        wire.read_metrics(b"", fields={"waiting": "depth{=}"})
    wrongs: list[Any] = [{"fields": {"nonsense": "x"}}, {"engine": "vlllm"}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="waiting|vllm"):
            wire.read_metrics(b"", **wrong)


def test_a_page_is_an_endpoints_load(scheduler: Scheduler) -> None:
    scheduler.handle_metrics_page(0, PAGE)
    told = scheduler.stats().endpoints[0]
    assert (told.external_waiting, told.external_running) == (3.0, 5.0)
    assert told.adapters == ("a", "b", "c")
    scheduler.handle_orca(0, "TEXT named_metrics.num_requests_waiting=7")
    assert scheduler.stats().endpoints[0].external_waiting == 7.0
    scheduler.handle_orca(0, b'JSON {"named_metrics": {"num_requests_waiting": 8}}')
    assert scheduler.stats().endpoints[0].external_waiting == 8.0


def unmoved(scheduler: Scheduler) -> Any:
    """The state that a rejected call must not change: the statistics without report errors."""
    stats = scheduler.stats()
    endpoints = [
        replace(one, report_age=None, report_errors=0, report_error=None) for one in stats.endpoints
    ]
    return str(replace(stats, endpoints=tuple(endpoints)))


@pytest.mark.parametrize(
    ("call", "arguments", "offset", "code"),
    [
        (
            "handle_metrics_page",
            (0, PAGE + b"vllm:num_requests_waiting many\n"),
            len(PAGE) + 26,
            "unexpected",
        ),
        ("handle_metrics_page", (0, PAGE[:-1]), len(PAGE) - 1, "truncated"),
        ("handle_orca", (0, "BIN AAAA"), 0, "unsupported"),
        ("handle_kv_frames", (0, [b"", b"1234567", b"x"]), 0, "unexpected"),
        ("handle_kv_frames", (0, []), 0, "unexpected"),
    ],
)
def test_what_cannot_be_read_is_not_taken(
    scheduler: Scheduler, call: str, arguments: Any, offset: int, code: str
) -> None:
    before = unmoved(scheduler)
    with pytest.raises(WireError) as raised:
        getattr(scheduler, call)(*arguments)
    assert (raised.value.offset, raised.value.code) == (offset, code)
    assert unmoved(scheduler) == before
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.code, again.offset) == (str(raised.value), code, offset)
    assert isinstance(again, ValueError) and isinstance(again, slotwise.SlotwiseError)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("handle_metrics_page", ("page",)),
        ("handle_metrics_page", (None,)),
        ("handle_orca", (1,)),
        ("handle_kv_frames", (b"frames",)),
        ("handle_kv_frames", (["", "", ""],)),
        ("handle_trtllm_events", ("[]",)),
    ],
)
def test_bytes_are_bytes(scheduler: Scheduler, call: str, arguments: Any) -> None:
    more = {"block_size": 32} if call == "handle_trtllm_events" else {}
    with pytest.raises(TypeError):
        getattr(scheduler, call)(0, *arguments, **more)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("handle_metrics_page", (PAGE,)),
        ("handle_orca", ("TEXT ",)),
        ("handle_kv_frames", ([b"", bytes(8), b"x"],)),
        ("abandon_replay", ()),
    ],
)
def test_an_endpoint_that_is_not_there_takes_nothing(
    scheduler: Scheduler, call: str, arguments: Any
) -> None:
    with pytest.raises(slotwise.UnknownEndpointError):
        getattr(scheduler, call)(9, *arguments)
    assert scheduler.replay_from(9) is None


# KV events.


def stored(*tokens: int, block: int = 1, sent_at: float = 1.5) -> bytes:
    """``[sent_at, [["BlockStored", [block], nil, tokens, len(tokens), nil, "GPU"]]]`` in
    msgpack."""
    ids = b"".join(struct.pack(">BI", 0xCE, token) for token in tokens)
    head = (
        b"\x92\xcb"
        + struct.pack(">d", sent_at)
        + b"\x91\x97\xabBlockStored\x91\xcf"
        + struct.pack(">Q", block)
    )
    return (
        head
        + b"\xc0\xdc"
        + struct.pack(">H", len(tokens))
        + ids
        + b"\xcd"
        + struct.pack(">H", len(tokens))
        + b"\xc0\xa3GPU"
    )


def frames(seq: int, payload: bytes) -> list[bytes]:
    return [b"", seq.to_bytes(8), payload]


def test_frames_are_what_a_cache_holds(scheduler: Scheduler) -> None:
    report = scheduler.handle_kv_frames(0, frames(0, stored(1, 2, 3, 4)))
    assert (report.batches, report.stored_blocks, report.ask, report.error) == (1, 1, None, None)
    assert picked(scheduler, [1, 2, 3, 4, 5], model="m").cached_tokens == 4
    assert scheduler.stats().endpoints[0].kv_events

    # One batch is lost: later batches are held for a replay.
    report = scheduler.handle_kv_frames(
        0, tuple(memoryview(frame) for frame in frames(2, stored(9, 9, 9, 9, block=2)))
    )
    assert (report.ask, report.held, scheduler.replay_from(0)) == (0, 1, 0)
    assert picked(scheduler, [9, 9, 9, 9, 5], model="m").cached_tokens == 0
    scheduler.handle_kv_frames(0, frames(1, stored(7, 7, 7, 7, block=3)), replay=True)
    end = [b"", (2**64 - 1).to_bytes(8), b""]
    assert wire.read_kv_frames(end) == wire.Message(replay_end=True)
    assert scheduler.handle_kv_frames(0, end, replay=True).batches == 1
    assert scheduler.replay_from(0) is None
    for prompt in ([7, 7, 7, 7, 5], [9, 9, 9, 9, 5]):
        assert picked(scheduler, prompt, model="m").cached_tokens == 4


def test_publishers_are_apart_and_go_with_their_endpoint(scheduler: Scheduler) -> None:
    for rank in (0, 1):
        assert scheduler.handle_kv_frames(0, frames(3, stored(1, 2, 3, 4)), rank=rank).ask == 0
    # The requests that the reports contain can be polled as well. One that is out of date is not.
    assert scheduler.abandon_replay(0, rank=1).lost == 3
    request = scheduler.poll_replay()
    assert request is not None
    assert (request.endpoint_id, request.rank, request.start) == (0, 0, 0)
    assert repr(request) == "ReplayRequest(endpoint_id=0, rank=0, start=0)"
    assert scheduler.poll_replay() is None
    assert (scheduler.replay_from(0, rank=0), scheduler.replay_from(0, rank=1)) == (0, None)
    scheduler.remove_endpoint(0)
    assert scheduler.replay_from(0) is None
    fresh = scheduler.add_endpoint("a")
    assert scheduler.handle_kv_frames(fresh, frames(0, stored(1))).batches == 1


def test_a_batch_that_cannot_be_read_is_in_the_report(scheduler: Scheduler) -> None:
    whole = stored(1, 2, 3, 4)
    for length in range(len(whole)):
        report = scheduler.handle_kv_frames(0, frames(length, whole[:length]))
        assert (report.unreadable, report.batches) == (1, 0)
        assert report.error and report.error.offset <= length
    assert scheduler.stats().endpoints[0].stored_tokens == 0
    assert scheduler.handle_kv_frames(0, frames(len(whole), whole)) != scheduler.handle_kv_frames(
        0, frames(len(whole), whole)
    )


def test_a_batch_is_data() -> None:
    batch = wire.read_kv_batch(stored(5, 6, block=2**64 - 5, sent_at=float("inf")))
    assert (batch.sent_at, batch.dp_rank) == (float("inf"), None)
    (one,) = batch.events
    assert (one.type, one.blocks, one.parent, one.tokens) == (
        "stored",
        ("fffffffffffffffb",),
        None,
        (5, 6),
    )
    assert batch.skipped_events.unknown_fields == 0


def test_trtllm_is_asked_for_json(scheduler: Scheduler) -> None:
    body = json.dumps(
        [{"event_id": 0, "data": {"type": "created", "num_blocks_per_cache_level": [9, 9]}}]
    ).encode()
    assert scheduler.handle_trtllm_events(0, body, block_size=4).batches == 1
    with pytest.raises(WireError):
        scheduler.handle_trtllm_events(0, body[:-1], block_size=4)
    with pytest.raises(ValueError, match="block_size"):
        scheduler.handle_trtllm_events(0, body, block_size=0)


def test_threads_that_tell_and_threads_that_ask_do_not_wait_for_each_other(
    scheduler: Scheduler,
) -> None:
    """Long batches and bodies release the GIL. Locks are taken in one order."""
    endpoints = [0, *(scheduler.add_endpoint(Endpoint(f"e{n}", block_size=4)) for n in range(3))]
    body = json.dumps({"model": "m", "prompt": "x" * 300_000}).encode()
    failed: list[BaseException] = []

    def tell(endpoint: int) -> None:
        for seq in range(20):
            scheduler.handle_kv_frames(endpoint, frames(seq, stored(*range(10_000), block=seq)))

    def ask() -> None:
        for _ in range(20):
            scheduler.cancel(picked(scheduler, body=body, path="/v1/completions").request_id)

    def guarded(job: Any, *arguments: Any) -> None:
        try:
            job(*arguments)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(tell, id), daemon=True) for id in endpoints]
    threads += [threading.Thread(target=guarded, args=(ask,), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert not failed and not any(thread.is_alive() for thread in threads)


def test_no_lock_is_held_while_an_exception_is_made(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finalizers that the garbage collector runs during a call may call the scheduler."""

    class Calling(slotwise.UnknownEndpointError):
        def __init__(self, message: str, code: str) -> None:
            scheduler.stats()
            scheduler.replay_from(0)
            super().__init__(message, code)

    monkeypatch.setattr(slotwise.errors, "UnknownEndpointError", Calling)
    raised: list[type] = []

    def calls() -> None:
        calls: list[Any] = [
            lambda: scheduler.drain_endpoint(9),
            lambda: scheduler.handle_metrics_page(9, PAGE),
        ]
        for call in [
            *calls,
            lambda: scheduler.handle_kv_frames(9, frames(0, stored(1))),
            lambda: scheduler.handle_load(9),
        ]:
            try:
                call()
            except slotwise.UnknownEndpointError as error:
                raised.append(type(error))

    thread = threading.Thread(target=calls, daemon=True)
    thread.start()
    thread.join(HANG)
    assert raised == [Calling] * 4


def test_hashes_are_vllms() -> None:
    short = wire.block_hashes([1, 2, 3, 4, 5], block_size=2)
    assert [len(digest) for digest in short] == [32, 32]
    assert short == wire.block_hashes(array("q", [1, 2, 3, 4]), block_size=2)
    assert short != wire.block_hashes([1, 2, 3, 4], block_size=2, seed="42")
    wrongs: list[Any] = [{"block_size": 0}, {"block_size": 2, "algorithm": "md5"}]
    for wrong in wrongs:
        with pytest.raises(ValueError):
            wire.block_hashes([1], **wrong)
    with pytest.raises(TypeError, match="adapter"):
        wire.block_hashes([1], block_size=1, adapter_path="/a")


def manual() -> Any:
    """The expression by which the section "Bytes in Python" describes an endpoint."""
    book = Path(__file__).parents[2] / "docs/src/languages.md"
    section = book.read_text().split("## Bytes in Python")[1]
    described = re.search(r"add_endpoint\(\s*(Endpoint\(.*?\))\s*\)\n", section, re.DOTALL)
    assert described
    return compile(described[1].strip(), str(book), "eval")


@pytest.mark.parametrize("block_size", [32, 528])
def test_events_count_where_an_endpoint_is_described_as_in_the_manual(block_size: int) -> None:
    # Hybrid models have another length on their page than in their events.
    page = f'vllm:cache_config_info{{block_size="{block_size}",num_gpu_blocks="64"}} 1\nvllm:num_requests_waiting 0\n'.encode()
    told, scheduler = wire.read_metrics(page), Scheduler()
    endpoint = scheduler.add_endpoint(
        eval(manual(), {"Endpoint": Endpoint, "told": told, "url": "http://10.0.0.1:8000"})
    )
    scheduler.handle_metrics_page(endpoint, page)
    ids = list(range(80))
    scheduler.handle_kv_event(endpoint, slotwise.BlockStored([1, 2], 32, tokens=ids[:64]))
    stats = scheduler.stats().endpoints[0]
    assert (stats.kv_events, stats.block_size, stats.kv_refused_events) == (True, 32, 0)
    for model in ("tiny", "whatever/it-is-called"):
        assert picked(scheduler, ids, model=model).cached_tokens == 64


def test_what_is_not_said_may_be_none() -> None:
    nothing: dict[str, None] = dict.fromkeys(
        (
            "models",
            "labels",
            "role",
            "kv_cache_tokens",
            "block_size",
            "max_in_flight",
            "adapter_slots",
            "adapter_load_time",
            "prefill",
            "cache_eviction",
        )
    )
    scheduler = Scheduler()
    endpoint = scheduler.add_endpoint(slotwise.Endpoint("a", **nothing))
    assert scheduler.endpoint(endpoint) == slotwise.Endpoint("a")


def test_a_refused_feed_is_loud(scheduler: Scheduler) -> None:
    with pytest.raises(slotwise.KvEventError):
        scheduler.handle_kv_event(0, slotwise.BlockStored([1], 16, tokens=[1, 2, 3]))
    stats = scheduler.stats().endpoints[0]
    assert (stats.kv_events, stats.kv_refused_events, stats.kv_refusal) == (False, 1, "token_count")
    explanation = scheduler.explain("x", model="m")
    assert explanation.candidates[0].kv_refusal == "token_count"
    assert "KV events refused: token_count" in str(explanation)


def test_ranks_of_an_endpoint_are_few(scheduler: Scheduler) -> None:
    for rank in range(256):
        scheduler.abandon_replay(0, rank=rank)
    with pytest.raises(WireError) as raised:
        scheduler.abandon_replay(0, rank=256)
    assert raised.value.code == "out_of_range"
