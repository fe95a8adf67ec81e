"""The example gateway in front of two real vLLM servers: predictions equal what they report."""

import asyncio
import random
import statistics

import pytest
from gateway import MARGIN, Answer, Gateway, completion, in_turns, tokens
from replicas import BLOCK_SIZE, Replica

REQUESTS = 60
"""Requests that count."""
LEARNING = 120
"""Requests before these, from which the scheduler learns how short the answers are."""
GROUPS = 16
PREFIX = 48 * BLOCK_SIZE
OWN = 64
AT_ONCE = 4
MODELS = ["tiny", "lora-a", "lora-b", "lora-c"]


async def run(gateway: Gateway, salt: str, requests: int = LEARNING + REQUESTS) -> list[Answer]:
    """Sends requests in groups that share long prefixes, each group with one model or adapter."""
    rng = random.Random(7)
    groups = [rng.randrange(GROUPS) for _ in range(requests)]

    def job(number: int) -> "asyncio.Future[Answer]":
        group = groups[number]
        model = MODELS[group % len(MODELS)]
        prompt = tokens(f"{salt} {group}", PREFIX) + tokens(f"{salt} own {number}", OWN)
        return asyncio.ensure_future(gateway.send(completion(model, prompt, 4)))

    return await in_turns(requests, AT_ONCE, job)


def figures(answers: list[Answer]) -> dict[str, float]:
    return {
        "mean TTFT, s": round(statistics.mean(answer.ttft for answer in answers), 3),
        "cached share": round(sum(a.cached for a in answers) / sum(a.prompt for a in answers), 3),
        "predicted right": round(sum(a.predicted == a.cached for a in answers) / len(answers), 3),
    }


def latency_error(answers: list[Answer]) -> str:
    """Predicted over real time to first token: while the speed is learned, and afterwards."""
    half = len(answers) // 2
    return f"predicted over real TTFT: {ratios(answers[:half])}; later {ratios(answers[half:])}"


def ratios(answers: list[Answer]) -> str:
    """Percentiles over the requests that one endpoint took at once."""
    found = sorted(a.predicted_ttft / a.ttft for a in answers if a.retries == 0 and a.ttft > 0.0)
    at = [round(found[int(share * (len(found) - 1))], 2) for share in (0.05, 0.5, 0.95)]
    return f"p5 {at[0]}, median {at[1]}, p95 {at[2]}"


def test_predictions_equal_reports_and_save_prefill(
    replicas: list[Replica], capsys: pytest.CaptureFixture[str]
) -> None:
    async def both() -> tuple[list[Answer], list[Answer], int]:
        async with Gateway(replicas, round_robin=True) as gateway:
            turns = await run(gateway, "in turns")
        async with Gateway(replicas) as gateway:
            ours = await run(gateway, "ours")
            return turns, ours, gateway.stored_tokens

    turns, ours, stored = asyncio.run(both())
    by_turns, by_cost = figures(turns[LEARNING:]), figures(ours[LEARNING:])
    with capsys.disabled():
        print(f"\nround robin {by_turns}\nslotwise    {by_cost}, {stored} tokens stored")
        print(latency_error(ours))
    assert {answer.end for answer in turns + ours} == {"complete"}
    assert stored > 0, "the engines' KV events report their caches"
    assert by_cost["predicted right"] >= 0.9
    assert by_cost["cached share"] > by_turns["cached share"] + MARGIN


def test_no_request_is_lost_before_its_first_byte(replicas: list[Replica]) -> None:
    async def dying() -> tuple[list[Answer], int]:
        async with Gateway(replicas) as gateway:
            work = asyncio.create_task(run(gateway, "dying", 60))
            await gateway.answered(20)
            replicas[0].kill()
            return await work, gateway.failed(replicas[0])

    answers, failed = asyncio.run(dying())
    assert len(answers) == 60
    # Streams are never sent again: at most those that had begun on the dead server are cut.
    cut = [answer for answer in answers if answer.end != "complete"]
    assert len(cut) <= AT_ONCE
    assert all(answer.replica == 0 and answer.ttft < float("inf") for answer in cut)
    assert failed > 0, "requests were in flight on the server, or were sent before it was held off"
    assert {answer.replica for answer in answers[-20:]} == {1}
