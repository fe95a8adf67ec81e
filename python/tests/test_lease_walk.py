"""Random calls of a lease: the result of each call, and the state of lease and scheduler after it.

``lease_walk.json`` has the calls and the expected results; Node's suite runs the same file.
``BLESS=1`` generates it again.
"""

import json
import os
import random
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import slotwise
from conftest import GATEWAY_TESTS
from fake_time import Time
from slotwise import aio

FILE = GATEWAY_TESTS / "lease_walk.json"
TOKEN = 'data: {"choices":[{"text":"a"}]}\n\n'
LAST = 'data: {"choices":[{"text":"","finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
CHUNKS = [TOKEN, TOKEN + TOKEN, TOKEN[:9], "", LAST, 7]
CLOSES = ["clean", "broken", "timed_out", "client_disconnected", "nonsense"]
FAILURES = ["engine", "unreachable", "timeout", "nonsense"]


def draw(rng: random.Random) -> list[Any]:
    """A call: its name and arguments. Most calls do not end the lease, so that walks are long."""
    number = rng.choice([0, 1, 5, 300, -1, 1.5, 2**32])
    calls: list[list[Any]] = [
        ["first_token"],
        ["tokens", rng.choice([0, 1, 5, -1])],
        [
            "begin",
            rng.choice([200, 200, 200, 400, 503, -1]),
            rng.choice(["text/event-stream", "application/json"]),
        ],
        ["begin", 200, "text/event-stream"],
        ["feed", rng.choice(CHUNKS)],
        ["feed", rng.choice(CHUNKS)],
        ["feed", TOKEN],
        ["redirect", rng.choice([0, 1, 2, 99, "b"])],
        ["redirect", rng.choice([0, 1, 2])],
        ["elsewhere", "redirect", rng.choice([0, 1, 2])],
    ]
    ends: list[list[Any]] = [
        ["finish", rng.choice(CLOSES)],
        ["complete", {"prompt_tokens": number, "completion_tokens": rng.choice([None, 3])}],
        ["complete", None],
        ["fail", rng.choice(FAILURES)],
        ["cancel"],
        ["elsewhere", rng.choice(["complete", "fail", "cancel"])],
        [
            "stream",
            [rng.choice([*CHUNKS, "!"]) for _ in range(rng.randrange(4))],
            rng.choice(["all", "one"]),
        ],
    ]
    return rng.choice(ends if rng.random() < 0.15 else calls)


class Walk:
    """A lease, and the results of its calls."""

    def __init__(self, time: Time, lease: aio.Lease, scheduler: aio.Scheduler) -> None:
        self.time, self.lease, self.scheduler = time, lease, scheduler

    async def call(self, name: str, *arguments: Any) -> Any:
        try:
            return await getattr(self, name)(*arguments)
        except slotwise.SlotwiseError as error:
            return {"error": error.code}
        except (TypeError, ValueError, OverflowError):
            return {"error": "invalid"}
        except OSError:
            return {"error": "source"}

    async def first_token(self) -> Any:
        return self.lease.first_token()

    async def tokens(self, count: int) -> Any:
        return self.lease.tokens(count)

    async def begin(self, status: int, content_type: str) -> Any:
        return self.lease.begin(status, content_type)

    async def feed(self, chunk: Any) -> Any:
        progress = self.lease.feed(encoded(chunk))
        return [progress.first_token, progress.tokens, progress.ended]

    async def finish(self, close: Any) -> Any:
        outcome = self.lease.finish(close)
        return [outcome.end, outcome.settlement]

    async def complete(self, usage: dict[str, Any] | None) -> Any:
        return self.lease.complete(None if usage is None else slotwise.Usage(**usage))

    async def fail(self, failure: Any) -> Any:
        return self.lease.fail(failure)

    async def cancel(self) -> Any:
        return self.lease.cancel()

    async def redirect(self, endpoint: Any) -> Any:
        return self.lease.redirect(endpoint)

    async def elsewhere(self, name: str, *arguments: Any) -> Any:
        return getattr(self.scheduler, name)(self.lease.request_id, *arguments)

    async def stream(self, chunks: list[Any], how: str) -> Any:
        async def source() -> AsyncIterator[Any]:
            for chunk in chunks:
                if chunk == "!":
                    raise OSError("the engine went away")
                yield encoded(chunk)

        stream, got = self.lease.stream(source()), 0
        if how == "one":
            async for _ in stream:
                await stream.aclose()
                return "closed"
        async for _ in stream:
            got += 1
        return got

    def seen(self) -> list[Any]:
        stats, lease = self.scheduler.stats(), self.lease
        counts = [stats.in_flight, stats.completed, stats.failed, stats.cancelled]
        outcome = None if lease.outcome is None else lease.outcome.end
        return [
            lease.ended,
            lease.endpoint_id,
            lease.endpoint_name,
            lease.answer.tokens,
            outcome,
            *counts,
        ]


def encoded(chunk: Any) -> Any:
    return chunk.encode() if isinstance(chunk, str) else chunk


async def walked(time: Time, calls: list[list[Any]]) -> list[Any]:
    scheduler = aio.Scheduler({"seed": 0}, clock=time)
    for name in "abc":
        scheduler.add_endpoint(name)
    walk = Walk(time, await scheduler.acquire("a prompt"), scheduler)
    steps = [[call, await walk.call(*call), walk.seen()] for call in calls]
    walk.lease.cancel()
    assert scheduler.stats().in_flight == 0, "nothing is left in flight, whatever was called"
    return steps


@pytest.mark.filterwarnings("ignore::slotwise.SlotwiseWarning")
def test_random_calls_answer_as_in_every_language(time: Time) -> None:
    if os.environ.get("BLESS"):
        rng = random.Random(1)
        walks = [time.run(walked(time, [draw(rng) for _ in range(20)])) for _ in range(60)]
        FILE.write_text("[\n" + ",\n".join(json.dumps(walk) for walk in walks) + "\n]\n")
    walks = json.loads(FILE.read_text())
    assert len(walks) == 60
    for number, walk in enumerate(walks):
        seen = json.loads(json.dumps(time.run(walked(time, [call for call, *_ in walk]))))
        for at, (step, expected) in enumerate(zip(seen, walk, strict=True)):
            assert step == expected, f"walk {number}, call {at}"


def test_the_walks_come_everywhere() -> None:
    steps = [step for walk in json.loads(FILE.read_text()) for step in walk]
    errors = {answer["error"] for _, answer, _ in steps if isinstance(answer, dict)}
    assert errors >= {
        "invalid",
        "not_begun",
        "unknown_request",
        "request_started",
        "unknown_endpoint",
        "source",
    }, errors
    ends = {
        (call[0], answer)
        for call, answer, _ in steps
        if call[0] in ("complete", "fail", "cancel") and answer in (True, False)
    }
    assert len(ends) == 6
    assert {
        answer for call, answer, _ in steps if call[0] == "stream" and isinstance(answer, str)
    } == {"closed"}
