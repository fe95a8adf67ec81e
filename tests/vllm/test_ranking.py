"""Two policies rank on two real vLLM servers as they do in the simulator.

``ranking.json`` is the load, with the simulator's figures. A test of ``slotwise-sim`` keeps them.
Only the order is compared: the servers' speed, and so the value of a cached prefix, depends on what
else the machine does. On a fast machine a prefix is worth less than the room that an answer of
ordinary length takes, so the scheduler first has to learn that these answers have four tokens. The
requests from which it learns are not counted.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from gateway import MARGIN, Answer, Gateway, completion, tokens
from replicas import BLOCK_SIZE, BLOCKS, Replica

LOAD: dict[str, Any] = json.loads(Path(__file__).with_name("ranking.json").read_text())


async def run(gateway: Gateway, salt: str) -> list[Answer]:
    """Client ``c`` of ``n`` sends the requests ``c``, ``c + n``, ... one by one. Returns the
    answers that count."""
    groups: list[int] = LOAD["groups"]

    async def client(first: int) -> list[Answer]:
        answers = []
        for number in range(first, len(groups), LOAD["clients"]):
            prefix = tokens(f"{salt} {groups[number]}", LOAD["prefix_tokens"])
            prompt = prefix + tokens(f"{salt} own {number}", LOAD["own_tokens"])
            answer = await gateway.send(completion("tiny", prompt, LOAD["answer_tokens"]))
            if number >= LOAD["learning"]:
                answers.append(answer)
        return answers

    runs = await asyncio.gather(*(client(first) for first in range(LOAD["clients"])))
    return [answer for run in runs for answer in run]


def cached_share(answers: list[Answer]) -> float:
    return sum(answer.cached for answer in answers) / sum(answer.prompt for answer in answers)


def test_policies_rank_as_simulated(
    replicas: list[Replica], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (BLOCK_SIZE, BLOCKS * BLOCK_SIZE) == (LOAD["block_size"], LOAD["kv_cache_tokens"])

    async def both() -> dict[str, float]:
        shares = {}
        for policy in ("round-robin", "slotwise"):
            async with Gateway(replicas, round_robin=policy == "round-robin") as gateway:
                shares[policy] = cached_share(await run(gateway, policy))
        return shares

    shares = asyncio.run(both())
    simulated: dict[str, float] = LOAD["cached_share"]
    with capsys.disabled():
        print(f"\ncached shares: {shares}; simulated: {simulated}")
    for found in (simulated, shares):
        assert found["slotwise"] > found["round-robin"] + MARGIN
