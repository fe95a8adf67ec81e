"""The wire's JSON vectors: the required results of parsing, in every language.

``crates/wire/tests/vectors.rs`` describes the format.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import slotwise
from conftest import GATEWAY_TESTS, WIRE_TESTS
from slotwise import _core, wire

VECTORS = sorted(
    path for tests in (WIRE_TESTS, GATEWAY_TESTS) for path in (tests / "vectors").glob("*.json")
)


def test_there_are_vectors() -> None:
    assert sum(len(json.loads(path.read_text())["steps"]) for path in VECTORS) > 140


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_call_has_the_expected_answer(path: Any) -> None:
    gateway = Gateway()
    for number, step in enumerate(json.loads(path.read_text())["steps"], 1):
        call, arguments = step["call"], step["args"]
        try:
            answer = getattr(gateway, call)(**arguments)
        except slotwise.WireError as error:
            answer = {"error": {"code": error.code, "message": str(error), "offset": error.offset}}
        assert plain(answer) == step["expect"], f"step {number} of {path.name}: {call}"


def data(value: Any) -> bytes:
    """The bytes that a vector describes."""
    match value:
        case {"file": name}:
            return Path(WIRE_TESTS / "fixtures" / name).read_bytes()
        case {"hex": digits}:
            return bytes.fromhex(digits)
    return str(value).encode()


def texts(value: Any) -> Any:
    """Bytes as text, and any other value as it is."""
    return value.decode() if isinstance(value, bytes) else value


def pieces(body: Any, chunk: int | None) -> list[bytes]:
    whole = data(body)
    size = chunk or len(whole) or 1
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def plain(value: Any) -> Any:
    """The value as in the wire's JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def metrics(report: wire.MetricsReport) -> dict[str, Any]:
    """The report with the fields of the wire's JSON.

    Adds the fields of the core's ``Load`` that no page reports, and removes Python's shorthands.
    """
    said = asdict(report)
    for load in (said["load"], *(rank["load"] for rank in said["ranks"])):
        load["sampled_at"] = None
    if said["adapters"]:
        assert set(said["adapters"].pop("active")) == {
            *said["adapters"]["running"],
            *said["adapters"]["waiting"],
        }
    return said


def event(said: dict[str, Any]) -> dict[str, Any]:
    """The event with the fields of its kind."""
    kinds = {"stored": said.keys(), "removed": ("type", "blocks", "tier"), "cleared": ("type",)}
    assert all(not said[name] for name in said.keys() - kinds[said["type"]])
    return {name: said[name] for name in kinds[said["type"]]}


def outcome(said: wire.Outcome) -> dict[str, Any]:
    fields = ["end", "retry", "finish_reason", "tokens", "exact", "status", "unreadable"]
    problem = said.problem and asdict(said.problem)
    return {name: getattr(said, name) for name in fields} | {
        "usage": asdict(said.usage),
        "problem": problem,
    }


def progress(*said: wire.Progress) -> dict[str, Any]:
    return {
        "first_token": any(one.first_token for one in said),
        "tokens": sum(one.tokens for one in said),
        "ended": any(one.ended for one in said),
    }


def kv_report(said: wire.KvReport) -> dict[str, Any]:
    fields = [
        "ask",
        "cleared",
        "batches",
        "dropped",
        "held",
        "lost",
        "unreadable",
        "stored_blocks",
        "removed_blocks",
    ]
    fields += ["clears", "unknown_parents", "refused", "refusal"]
    error = said.error and asdict(said.error)
    return {name: getattr(said, name) for name in fields} | {
        "error": error,
        "skipped_events": asdict(said.skipped_events),
    }


class Calls:
    """Runs the verbs that are functions."""

    replay_request = staticmethod(lambda start: wire.replay_request(start).hex())
    api_of_path = staticmethod(wire.api_of_path)

    def read_metrics(self, page: Any, **how: Any) -> Any:
        return metrics(wire.read_metrics(data(page), **how))

    def read_orca(self, header: Any) -> Any:
        said = asdict(wire.read_orca(data(header)))
        said["load"]["sampled_at"] = None
        return said

    def read_kv_frames(self, frames: list[Any]) -> Any:
        said = asdict(wire.read_kv_frames([data(frame) for frame in frames]))
        return {
            key: value.hex() if isinstance(value, bytes) else value for key, value in said.items()
        }

    def read_kv_batch(self, payload: Any) -> Any:
        said = asdict(wire.read_kv_batch(data(payload)))
        return said | {"events": [event(one) for one in said["events"]]}

    def block_hashes(self, tokens: list[int], **how: Any) -> Any:
        return [digest.hex() for digest in wire.block_hashes(tokens, **how)]

    def read_request(self, body: Any, **to: Any) -> Any:
        said = asdict(wire.read_request(data(body), **to))
        if isinstance(said["prompt"], bytes):
            said["prompt"] = said["prompt"].hex()
        if said["model_range"]:
            said["model_range"] = dict(zip(("start", "end"), said["model_range"], strict=True))
        return said

    def rewrite_model(self, body: Any, model: str) -> Any:
        return wire.rewrite_model(data(body), model).hex()

    def add_usage(self, body: Any, path: str) -> Any:
        asking, added = wire.add_usage(data(body), path=path)
        return {"added": added, "body": asking.hex()}

    def kv_transfer_body(self, body: Any, transfer: Any, **how: Any) -> str:
        return wire.kv_transfer_body(data(body), transfer, **how).decode()

    def kv_transfer_params(self, answer: Any) -> str | None:
        return wire.kv_transfer_params(data(answer))

    def read_response(
        self,
        status: int,
        content_type: str,
        body: Any,
        chunk: int | None = None,
        close: Any = "clean",
    ) -> Any:
        reader = wire.ResponseReader(status, content_type)
        came = [reader.feed(piece) for piece in pieces(body, chunk)]
        return {"progress": progress(*came), "outcome": outcome(reader.finish(close))}

    def outcome_of_status(self, status: int) -> Any:
        return outcome(wire.outcome_of_status(status))

    def filter_model(
        self, content_type: str, name: str, body: Any, chunk: int | None = None
    ) -> Any:
        passing = wire.ModelFilter(content_type, name)
        return b"".join(passing.feed(piece) for piece in pieces(body, chunk)).hex()

    def filter_answer(
        self, content_type: str, body: Any, chunk: int | None = None, **how: Any
    ) -> Any:
        passing = wire.AnswerFilter(content_type, **how)
        return (
            b"".join(passing.feed(piece) for piece in pieces(body, chunk)) + passing.finish()
        ).hex()

    def read_headers(self, headers: list[Any]) -> Any:
        return asdict(wire.read_headers([(data(name), data(value)) for name, value in headers]))

    def forwarded_headers(self, headers: list[Any], add: Any = (), **how: Any) -> Any:
        return wire.forwarded_headers([tuple(pair) for pair in headers], add=add, **how)

    def response_headers(self, headers: list[Any], add: Any = ()) -> Any:
        return wire.response_headers([tuple(pair) for pair in headers], add=add)

    def refusal(self, reason: Any, **how: Any) -> Any:
        said = wire.refusal(reason, **how)
        return {"status": said.status, "headers": said.headers, "body": said.body.decode()}


BODY = b'{"prompt":"Hi","max_tokens":64}'
"""The body of each client of an exchange."""


def called(output: Any) -> Any:
    """An output. An endpoint that gets the client's body without headers is shown by its name."""
    match output:
        case ("prefill" | "send" as kind, call):
            body = call.body("/v1/completions", BODY).decode()
            shown = (call.url, call.headers, body)
            if kind == "prefill":
                return ("prefill", call.request_id, *shown)
            return ("send", *(shown[:1] if not call.headers and body == BODY.decode() else shown))
        case _:
            return (output[0], *map(texts, output[1:]))


class Gateway(Calls):
    """Runs the verbs that are methods of a scheduler."""

    def __init__(self) -> None:
        self.now = 0.0
        self.scheduler = slotwise.Scheduler({"seed": 0}, clock=lambda: self.now)
        self.endpoints: list[int] = []
        self.leases: dict[int, _core.Lease] = {}
        self.exchanged = _core.Exchange(self.scheduler)

    def disaggregate(self, at_us: int, config: Any) -> None:
        self.now = at_us / 1e6
        self.scheduler = slotwise.Scheduler({"seed": 0} | config, clock=lambda: self.now)
        self.endpoints = []
        self.exchanged = _core.Exchange(self.scheduler)

    def add_endpoint(
        self, at_us: int, name: str, page: Any = None, model: str | None = None, role: Any = None
    ) -> Any:
        described = slotwise.Endpoint(name, models=[model] if model else [])
        if role is not None:
            described = replace(described, role=role)
        if page is not None:
            told = wire.read_metrics(data(page))
            described = replace(
                described, block_size=told.block_size, kv_cache_tokens=told.kv_cache_tokens
            )
        self.endpoints.append(self.scheduler.add_endpoint(described, now=at_us / 1e6))
        added = self.scheduler.endpoint(self.endpoints[-1])
        assert added
        return {"block_size": added.block_size, "kv_cache_tokens": added.kv_cache_tokens}

    def handle_metrics_page(self, at_us: int, endpoint: int, page: Any, **how: Any) -> Any:
        return self.scheduler.handle_metrics_page(
            self.endpoints[endpoint], data(page), now=at_us / 1e6, **how
        )

    def endpoint_stats(self, at_us: int, endpoint: int, fields: list[str]) -> Any:
        stats = self.scheduler.stats().endpoints[endpoint]
        return {field: getattr(stats, field) for field in fields}

    def handle_orca(self, at_us: int, endpoint: int, header: str) -> Any:
        return self.scheduler.handle_orca(self.endpoints[endpoint], header, now=at_us / 1e6)

    def handle_kv_frames(
        self, at_us: int, endpoint: int, frames: list[Any], replay: bool = False
    ) -> Any:
        parts = [data(frame) for frame in frames]
        id = self.endpoints[endpoint]
        return kv_report(self.scheduler.handle_kv_frames(id, parts, replay=replay, now=at_us / 1e6))

    def abandon_replay(self, at_us: int, endpoint: int) -> Any:
        return kv_report(self.scheduler.abandon_replay(self.endpoints[endpoint], now=at_us / 1e6))

    def pick(self, at_us: int, body: Any, path: str, **asked: Any) -> Any:
        answer = self.scheduler.pick(body=data(body), path=path, now=at_us / 1e6, **asked)
        if isinstance(answer, slotwise.Rejected):
            return {"rejected": answer.reason}
        self.leases[answer.request_id] = _core.Lease(self.scheduler, answer)
        said = {name: getattr(answer, name) for name in ("prompt_tokens", "cached_tokens")}
        return said | {"request": answer.request_id, "endpoint": answer.endpoint_name}

    def begin(self, request: int, status: int, content_type: str) -> None:
        self.leases[request].begin(status, content_type)

    def feed(self, at_us: int, request: int, chunk: Any) -> Any:
        self.now = at_us / 1e6
        return progress(self.leases[request].feed(data(chunk)))

    def finish(self, at_us: int, request: int, close: Any = "clean") -> Any:
        self.now = at_us / 1e6
        return outcome(self.leases.pop(request).finish(close))

    def exchange(self, at_us: int, input: str, **how: Any) -> Any:
        self.now = at_us / 1e6
        passed_on = left = None
        match input:
            case "new":
                self.exchanged = _core.Exchange(self.scheduler, **how)
            case "pick":
                exclude = self.exchanged.excluded
                self.exchanged.handle_decision(
                    self.scheduler.pick("Hi", model="m", exclude=exclude)
                )
            case "refuse":
                self.exchanged.handle_refusal(how["reason"])
            case "prefilled":
                self.exchanged.handle_prefilled(how["request"], how["status"], data(how["body"]))
            case "prefill_failure":
                self.exchanged.handle_prefill_failure(how["request"], how["failure"])
            case "unreachable":
                self.exchanged.handle_unreachable(how["failure"])
            case "head":
                headers = [(name, value) for name, value in how["headers"]]
                self.exchanged.handle_head(how["status"], headers)
            case "chunk":
                passed_on = self.exchanged.handle_chunk(data(how["chunk"]))
            case "close":
                self.exchanged.handle_close(how["close"])
            case "disconnect":
                self.exchanged.handle_client_disconnected()
            case "wait":
                seconds = self.exchanged.wait(self.now)
                left = None if seconds is None else round(seconds * 1e6)
            case "end_wait":
                self.exchanged.end_wait(self.now)
        stats, outcome = self.scheduler.stats(), self.exchanged.outcome
        return {
            "outputs": [
                called(output) for output in iter(self.exchanged.poll, None)
            ],
            "passed_on": passed_on,
            "left_us": left,
            "excluded": self.exchanged.excluded,
            "ended": self.exchanged.ended,
            "outcome": outcome and outcome.end,
            "counts": [stats.in_flight, stats.completed, stats.failed, stats.cancelled],
        }

    def metrics_text(self, **how: Any) -> Any:
        return self.scheduler.metrics_text(**how)
