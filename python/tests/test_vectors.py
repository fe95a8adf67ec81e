"""The core's JSON vectors: the required decisions of every language, step by step.

``support/vector.rs`` describes the format.
"""

import json
from dataclasses import asdict
from functools import reduce
from itertools import chain
from typing import Any

import pytest
import slotwise
from conftest import CORE_TESTS
from slotwise.policy import pd_decide

VECTORS = sorted(
    path for path in (CORE_TESTS / "vectors").glob("*.json") if path.name != "hashes.json"
)


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 8


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_step_has_the_expected_answer(path: Any) -> None:
    vector = json.loads(path.read_text())
    runner = Runner(vector.get("config"))
    for number, step in enumerate(vector["steps"], 1):
        now = step.pop("at_us") / 1e6
        expected = step.pop("expect")
        ((verb, argument),) = step.items()
        try:
            answer = getattr(runner, verb)(argument, now)
        except slotwise.SlotwiseError as error:
            answer = {"error": str(error)}
        assert answer == expected, f"step {number} of {path.name}: {verb} {argument}"


def ids(ranges: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(range(start, end) for start, end in ranges))


def prompt(asked: dict[str, Any]) -> Any:
    match asked:
        case {"text": parts}:
            return "".join(text * times for text, times in parts)
        case {"tokens": ranges}:
            return ids(ranges)
        case {"blocks": blocks}:
            return slotwise.Blocks(blocks["hashes"], blocks["block_size"], blocks["tokens"])
    return ""


class Runner:
    """A scheduler under test: one method for each verb."""

    def __init__(self, config: dict[str, Any] | None) -> None:
        # Fields that a vector omits, its seed included, have the core's defaults.
        self.config = {"seed": 0, **(config or {})}
        self.scheduler = slotwise.Scheduler(self.config)
        self.ids: dict[str, int] = {}
        self.added: list[int] = []
        self.taken = b""
        self.with_level: set[int] = set()
        """Submitted requests with a service level."""

    def add_endpoint(self, endpoint: dict[str, Any], now: float) -> Any:
        added = self.scheduler.add_endpoint(endpoint, now=now)
        self.ids[endpoint["name"]] = added
        self.added.append(added)
        return {"endpoint": added}

    def update_endpoint(self, endpoint: dict[str, Any], now: float) -> Any:
        self.scheduler.update_endpoint(self.ids[endpoint["name"]], endpoint, now=now)
        return "ok"

    def remove_endpoint(self, name: str, now: float) -> Any:
        return {
            "in_flight": list(self.scheduler.remove_endpoint(self.ids[name], now=now).in_flight)
        }

    def drain_endpoint(self, name: str, now: float) -> Any:
        self.scheduler.drain_endpoint(self.ids[name], now=now)
        return "ok"

    def resume_endpoint(self, name: str, now: float) -> Any:
        self.scheduler.resume_endpoint(self.ids[name], now=now)
        return "ok"

    def reconfigure(self, config: dict[str, Any], now: float) -> Any:
        self.scheduler.reconfigure(config, now=now)
        return "ok"

    def handle_load(self, load: dict[str, Any], now: float) -> Any:
        endpoint = self.ids[load.pop("endpoint")]
        if "sampled_at" in load:
            load["sampled_at"] /= 1e6
        self.scheduler.handle_load(endpoint, **load, now=now)
        return "ok"

    def handle_loads(self, loads: list[dict[str, Any]], now: float) -> Any:
        columns = {
            name: [load.get(name) for load in loads]
            for name in ("waiting", "running", "kv_usage", "sleeping")
        }
        taken = [load.get("sampled_at") for load in loads]
        return self.scheduler.handle_loads(
            [self.ids[load["endpoint"]] for load in loads],
            **columns,
            sampled_at=[None if at is None else at / 1e6 for at in taken],
            now=now,
        )

    def handle_adapters(self, report: dict[str, Any], now: float) -> Any:
        self.scheduler.handle_adapters(
            self.ids[report["endpoint"]], report["active"], slots=report.get("slots", 0), now=now
        )
        return "ok"

    def describe_adapter(self, adapter: dict[str, Any], now: float) -> Any:
        self.scheduler.describe_adapter(**adapter)
        return "ok"

    def handle_kv_event(self, said: dict[str, Any], now: float) -> Any:
        endpoint = self.ids[said["endpoint"]]
        match said["event"]:
            case "cleared":
                event: slotwise.KvEvent = slotwise.AllBlocksCleared()
            case {"removed": removed}:
                event = slotwise.BlockRemoved(**removed)
            case {"stored": stored}:
                if stored.get("tokens") is not None:
                    stored["tokens"] = ids(stored["tokens"])
                stored["lookahead"] = ids(stored.get("lookahead", []))
                event = slotwise.BlockStored(**stored)
        self.scheduler.handle_kv_event(endpoint, event, now=now)
        return "ok"

    def pick(self, asked: dict[str, Any], now: float) -> Any:
        options = self.options(asked)
        match self.scheduler.pick(prompt(options.pop("prompt", {})), **options, now=now):
            case slotwise.Dispatch() as dispatch:
                return self.picked(dispatch, has_level(options))
            case slotwise.Rejected() as rejected:
                return turned_away(rejected)

    def pick_many(self, many: list[dict[str, Any]], now: float) -> Any:
        requests = [self.options(asked) for asked in many]
        for options in requests:
            options["prompt"] = prompt(options.pop("prompt", {}))
        answers = self.scheduler.pick_many(requests, now=now)
        return [
            self.picked(answer, has_level(options))
            if isinstance(answer, slotwise.Dispatch)
            else turned_away(answer)
            for answer, options in zip(answers, requests, strict=True)
        ]

    def submit(self, asked: dict[str, Any], now: float) -> Any:
        options = self.options(asked)
        match self.scheduler.submit(prompt(options.pop("prompt", {})), **options, now=now):
            case int(request):
                if has_level(options):
                    self.with_level.add(request)
                return {"request": request}
            case rejected:
                return turned_away(rejected)

    def poll(self, _: Any, now: float) -> Any:
        return [
            self.decided(decision)
            for decision in iter(lambda: self.scheduler.poll_decision(now=now), None)
        ]

    def next_timeout(self, _: Any, now: float) -> Any:
        due = self.scheduler.next_timeout()
        return due if due is None else round(due * 1e6)

    def picked(self, dispatch: slotwise.Dispatch, with_latency: bool) -> dict[str, Any]:
        legs = {"prefill": dispatch.prefill, "encode": dispatch.encode}
        shown: dict[str, Any] = {
            stage: {
                "endpoint": leg.endpoint_name,
                "cached_tokens": leg.cached_tokens,
                "cost_s": leg.cost,
            }
            for stage, leg in legs.items()
            if leg is not None
        }
        if with_latency:
            shown |= {
                "predicted_ttft_s": dispatch.predicted_ttft,
                "predicted_tpot_s": dispatch.predicted_tpot,
            }
        return shown | {
            "request": dispatch.request_id,
            "endpoint": dispatch.endpoint_name,
            "alternatives": [self.name(endpoint) for endpoint in dispatch.alternatives],
            "prompt_tokens": dispatch.prompt_tokens,
            "cached_tokens": dispatch.cached_tokens,
            "best_cached_tokens": dispatch.best_cached_tokens,
            "cost_s": dispatch.cost,
        }

    def decided(self, decision: slotwise.Dispatch | slotwise.Evicted) -> Any:
        if isinstance(decision, slotwise.Dispatch):
            picked = self.picked(decision, decision.request_id in self.with_level)
            return {"dispatch": {**picked, "queued_s": decision.queue_time}}
        return {
            "evict": {
                "request": decision.request_id,
                "reason": decision.reason,
                "retry_after_s": decision.retry_after,
                "queued_s": decision.queue_time,
            }
        }

    def explain(self, asked: dict[str, Any], now: float) -> Any:
        options = self.options(asked)
        explanation = self.scheduler.explain(prompt(options.pop("prompt", {})), **options, now=now)
        shown: dict[str, Any] = {
            "candidates": [
                {
                    "endpoint": candidate.name,
                    "excluded": candidate.excluded,
                    "cached_tokens": candidate.cached_tokens,
                    "terms": asdict(candidate.terms),
                    "cost_s": candidate.cost,
                }
                for candidate in explanation.candidates
            ]
        }
        if has_level(options):
            for candidate, one in zip(explanation.candidates, shown["candidates"], strict=True):
                one["predicted_ttft_s"] = candidate.predicted_ttft
                one["predicted_tpot_s"] = candidate.predicted_tpot
                one["ttft_headroom_s"] = candidate.ttft_headroom
                one["tpot_headroom_s"] = candidate.tpot_headroom
        if self.config.get("profile"):
            for candidate, one in zip(explanation.candidates, shown["candidates"], strict=True):
                one["scores"] = {score.scorer: score.raw for score in candidate.scores}
                one["score"], one["filtered_by"] = candidate.score, candidate.filtered_by
            if margin := explanation.runner_up:
                shown["runner_up"] = {
                    "endpoint": self.name(margin.endpoint_id),
                    "behind": margin.behind,
                    "lost_most_in": margin.lost_most_in,
                }
        return shown

    def handle_first_token(self, request: int, now: float) -> Any:
        self.scheduler.handle_first_token(request, now=now)
        return "ok"

    def handle_tokens(self, said: list[int], now: float) -> Any:
        self.scheduler.handle_tokens(*said, now=now)
        return "ok"

    def handle_answer(self, said: list[Any], now: float) -> Any:
        self.scheduler.handle_answer(*said, now=now)
        return "ok"

    def complete(self, said: list[Any], now: float) -> Any:
        request, usage = said
        self.scheduler.complete(request, **usage, now=now)
        return "ok"

    def fail(self, said: list[Any], now: float) -> Any:
        self.scheduler.fail(*said, now=now)
        return "ok"

    def complete_leg(self, said: list[Any], now: float) -> Any:
        request, stage, usage = said
        self.scheduler.complete_leg(request, stage, **usage, now=now)
        return "ok"

    def fail_leg(self, said: list[Any], now: float) -> Any:
        self.scheduler.fail_leg(*said, now=now)
        return "ok"

    def redirect_leg(self, said: list[Any], now: float) -> Any:
        to = self.scheduler.redirect_leg(*said, now=now)
        names = {id: name for name, id in self.ids.items()}
        return {"endpoint": None if to is None else names[to]}

    def pd_decide(self, said: list[Any], now: float) -> Any:
        decider, facts = said
        return pd_decide(decider, facts)

    def cancel(self, request: int, now: float) -> Any:
        return self.scheduler.cancel(request, now=now)

    def handle_probe(self, said: list[Any], now: float) -> Any:
        name, passed = said
        self.scheduler.handle_probe(self.ids[name], passed, now=now)
        return "ok"

    def redirect(self, said: list[Any], now: float) -> Any:
        request, name, *failure = said
        self.scheduler.redirect(request, self.ids[name], *failure, now=now)
        return "ok"

    def stats(self, wanted: Any, now: float) -> Any:
        return select(asdict(self.scheduler.stats()), wanted)

    def snapshot(self, _: Any, now: float) -> Any:
        self.taken = self.scheduler.snapshot()
        return {"bytes": len(self.taken), "fnv1a": fnv1a(self.taken)}

    def restart(self, changed: dict[str, Any], now: float) -> Any:
        """Replaces the scheduler by a new one with the same endpoints, in the same order.

        Returns the ids of the endpoints in the new scheduler.
        """
        anew = {endpoint["name"]: endpoint for endpoint in changed.pop("endpoints", [])}
        there = [known for known in map(self.scheduler.endpoint, self.added) if known is not None]
        self.scheduler = slotwise.Scheduler({**self.config, **changed})
        self.added = [
            self.scheduler.add_endpoint(anew.get(known.name, known), now=now) for known in there
        ]
        restarted = dict(zip((known.name for known in there), self.added, strict=True))
        self.ids.update(restarted)
        return {"endpoints": restarted}

    def restore(self, damage: dict[str, int], now: float) -> Any:
        snapshot = bytearray(self.taken)
        if "flip" in damage:
            snapshot[damage["flip"]] ^= 0xFF
        return {"endpoints": self.scheduler.restore(snapshot, now=now)}

    def options(self, asked: dict[str, Any]) -> dict[str, Any]:
        for name in ("deadline", "ttl", "slo_ttft", "slo_tpot"):
            if f"{name}_us" in asked:
                asked[name] = asked.pop(f"{name}_us") / 1e6
        if "exclude" in asked:
            asked["exclude"] = [self.ids[name] for name in asked["exclude"]]
        if isinstance(asked.get("subset"), list):
            asked["subset"] = [self.ids[name] for name in asked["subset"]]
        return asked

    def name(self, endpoint: int) -> str:
        description = self.scheduler.endpoint(endpoint)
        assert description is not None
        return description.name


def has_level(options: dict[str, Any]) -> bool:
    """Whether a request has a service level: the answer then includes the predicted latency."""
    return "slo_ttft" in options or "slo_tpot" in options


def turned_away(rejected: slotwise.Rejected) -> dict[str, Any]:
    return {
        "rejected": rejected.reason,
        "http_status": rejected.http_status,
        "retry_after_s": rejected.retry_after,
    }


def fnv1a(content: bytes) -> str:
    """The FNV-1a hash, which is one line in every language."""
    digest = reduce(
        lambda digest, byte: (digest ^ byte) * 0x0100_0000_01B3 % 2**64,
        content,
        0xCBF2_9CE4_8422_2325,
    )
    return f"{digest:016x}"


def select(value: Any, wanted: Any) -> Any:
    """The fields that ``wanted`` names, at every level."""
    if isinstance(value, (list, tuple)):
        return [select(item, wanted) if isinstance(wanted, dict) else item for item in value]
    if isinstance(value, dict) and isinstance(wanted, dict):
        return {name: select(value[name], inner) for name, inner in wanted.items()}
    return value
