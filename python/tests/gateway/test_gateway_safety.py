"""The safety function of a host, on prompts and on answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from engines import engines
from running import ASKED, key, one_pool, run, serving
from slotwise.gateway import Block
from slotwise.gates import SafetyStage

SECRET = {**ASKED, "messages": [{"role": "user", "content": "a secret"}]}


class Judge:
    """A safety function that records what it is asked."""

    def __init__(self, verdict: Any = None, stages: Sequence[str] = ("prompt", "stream")) -> None:
        self.verdict = verdict
        self.stages = stages
        self.asked: list[tuple[str, tuple[str, ...], str]] = []

    async def __call__(self, texts: Sequence[str], *, stage: SafetyStage, caller: str) -> Any:
        self.asked.append((stage, tuple(texts), caller))
        if stage not in self.stages:
            return None
        if isinstance(self.verdict, Exception):
            raise self.verdict
        if self.verdict == "replace":
            return ["*"] * len(texts)
        if self.verdict == "hang":
            await asyncio.Event().wait()
        return self.verdict


def test_prompts_and_streams_pass_and_the_function_sees_their_texts() -> None:
    async def test() -> None:
        judge = Judge()
        gates = {"keys": [key("alice")]}
        async with engines("good") as pool:
            async with serving(one_pool(pool, gates=gates), safety=judge) as host:
                answer = await host.whole(SECRET, key="alice")
                assert answer.status == 200 and b"[DONE]" in answer.body
        assert judge.asked[0] == ("prompt", ("a secret",), "alice")
        assert "".join(text for stage, texts, _ in judge.asked[1:] for text in texts)

    run(test)


def test_a_blocked_prompt_reaches_no_engine_and_costs_no_quota() -> None:
    async def test() -> None:
        judge = Judge(Block("secrets"), stages=["prompt"])
        quota = {"quotas": [{"measure": "requests", "limit": 1, "window": 86_400.0}]}
        gates = {"keys": [key("alice", limits=quota)]}
        async with engines("good") as pool:
            async with serving(one_pool(pool, gates=gates), safety=judge) as host:
                blocked = await host.whole(SECRET, key="alice")
                assert (blocked.status, blocked.json["error"]["code"]) == (400, "content_filter")
                assert pool[0].asked == 0
                judge.verdict = None
                assert (await host.whole(SECRET, key="alice")).status == 200

    run(test)


def test_a_replaced_prompt_is_what_the_engine_gets() -> None:
    async def test() -> None:
        judge = Judge("replace", stages=["prompt"])
        async with engines("good") as pool, serving(one_pool(pool), safety=judge) as host:
            assert (await host.whole(SECRET)).status == 200
            assert b"secret" not in pool[0].bodies[0] and b'"*"' in pool[0].bodies[0]

    run(test)


def test_a_blocked_stream_ends_and_the_engine_is_left() -> None:
    async def test() -> None:
        judge = Judge(Block("secrets"), stages=["stream"])
        async with engines("good") as pool, serving(one_pool(pool), safety=judge) as host:
            answer = await host.whole()
            assert answer.status == 200
            assert b'"content_filter"' in answer.body and b'"content":"x"' not in answer.body
            assert answer.body.endswith(b"data: [DONE]\n\n")
            await host.until(lambda: host.stats().in_flight == 0)

    run(test)


def test_a_replaced_stream_has_the_new_texts() -> None:
    async def test() -> None:
        judge = Judge("replace", stages=["stream"])
        async with engines("good") as pool, serving(one_pool(pool), safety=judge) as host:
            answer = await host.whole()
            assert b'"content":"x"' not in answer.body and b"*" in answer.body

    run(test)


@pytest.mark.parametrize("verdict", [RuntimeError("down"), "hang", "not a verdict", ["a", "b"]])
@pytest.mark.parametrize(("on_failure", "status"), [("block", 503), ("allow", 200)])
def test_a_failing_function_blocks_or_allows_as_configured(
    verdict: Any, on_failure: str, status: int
) -> None:
    async def test() -> None:
        judge = Judge(verdict, stages=["prompt"])
        gates = {"anonymous": {}, "safety": {"on_failure": on_failure, "timeout": 0.01}}
        async with engines("good") as pool:
            async with serving(one_pool(pool, gates=gates), safety=judge) as host:
                assert (await host.whole(SECRET)).status == status

    run(test)


def test_a_function_without_async() -> None:
    async def test() -> None:
        def judge(texts: Sequence[str], *, stage: SafetyStage, caller: str) -> Any:
            return Block("no") if stage == "prompt" else None

        async with engines("good") as pool, serving(one_pool(pool), safety=judge) as host:
            assert (await host.whole(SECRET)).status == 400

    run(test)
