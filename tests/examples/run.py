"""Puts gateways through the same scenario: run.py python node rust slotwise-python slotwise-node

Prints the outcome of each step of ``scenarios.json`` for each gateway. The outcomes must equal
those of the file. Needs only Python; each gateway is a process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "python/tests"))

from engines import CUT_EVENT, DONE, ERROR_EVENT, EVENT, REFUSED_EVENT, Engine  # noqa: E402

import client  # noqa: E402
from gateways import PackageGateway, gateway_of, until  # noqa: E402
from publisher import BLOCK_SIZE, Publisher, removed, stored  # noqa: E402

LIMIT = 300.0
"""Seconds after which a run is taken to hang. No outcome depends on it."""
PUBLISHING_HOST = "127.0.0.2"
"""Gateways of the packages expect KV events on the same ports of every engine's host."""
WHOLE = EVENT + EVENT + DONE
Step = dict[str, Any]


class Run:
    """One gateway in front of its engines."""

    def __init__(self, language: str, pool: list[str]) -> None:
        self.gateway = gateway_of(language)
        self.engines = [Engine(manner) for manner in pool]
        self.publishing = Engine(host=PUBLISHING_HOST)
        """An engine with KV events, in the pool for the step ``events`` alone."""
        self.publisher = Publisher(PUBLISHING_HOST)

    async def start(self) -> None:
        for engine in [*self.engines, self.publishing]:
            await engine.start()
        await self.publisher.start()
        sockets = f"{self.publishing.url}={self.publisher.events},{self.publisher.replay}"
        await self.gateway.start([engine.url for engine in self.engines], sockets)
        await self.until_pool(len(self.engines))

    async def stop(self) -> None:
        await self.gateway.kill()
        await self.publisher.stop()
        for engine in [*self.engines, self.publishing]:
            await engine.stop()

    async def until_pool(self, size: int) -> None:
        async def is_so() -> bool:
            return await self.gateway.pool() == size

        await until(is_so)

    async def until_idle(self) -> str:
        async def is_so() -> bool:
            return await self.gateway.in_flight() == 0

        await until(is_so)
        return "0 in flight"

    async def ask(self, requests: int, at_once: int) -> list[client.Response]:
        """Sends ``requests`` requests, ``at_once`` at a time."""
        left = iter(range(requests))
        answers: list[client.Response] = []

        async def worker() -> None:
            for _ in left:
                answers.append(await self.gateway.chat().task)

        await asyncio.gather(*(worker() for _ in range(at_once)))
        return answers

    # The steps. Each returns its outcome in the same words for every gateway.

    async def load(self, step: Step) -> str:
        answers = await self.ask(step["requests"], step["at_once"])
        return f"{judged(answers, step)}, {await self.until_idle()}"

    async def bad(self, step: Step) -> str:
        """One more engine, which misbehaves."""
        manner = step["manner"]
        engine = Engine(int(manner) if manner.isdigit() else manner)
        await engine.start()
        await self.gateway.admin("add", engine.url)
        await self.until_pool(len(self.engines) + 1)
        answers = await self.ask(step["requests"], step["at_once"])
        # A new engine may get no request while faster engines have room: try again.
        for _ in range(10):
            if engine.asked == 0:
                answers += await self.ask(step["requests"], step["at_once"])
        idle = await self.until_idle()
        await self.gateway.admin("remove", engine.url)
        await self.until_pool(len(self.engines))
        await engine.stop()
        share = "" if engine.asked <= 2 * len(answers) / (len(self.engines) + 1) else ", too many on it"
        return f"{judged(answers, step)}, {idle}{share}"

    async def die(self, step: Step) -> str:
        """An engine dies with streams of which some have begun and some have not."""
        dead = self.engines[step["engine"]]
        before = await self.ask(step["before"], step["at_once"])
        held = [*await self.hold("slow", step["at_once"]), *await self.hold("late", step["at_once"])]
        slow = sum(request.begun.is_set() for request in held)
        assert slow == step["at_once"], "the streams that have begun have not reached their clients"
        for engine in self.engines:
            engine.manner = "good"
        known, at_dead = await self.gateway.dispatched(dead.url), dead.held
        assert at_dead > 0, "nothing was in flight on the engine that dies"
        await dead.stop()
        # Its begun streams end with an error, and others are retried. Then the load continues.
        await until(lambda: sum(request.task.done() for request in held) >= at_dead)
        after = await self.ask(step["after"], step["at_once"])
        for engine in self.engines:
            engine.gate.set()
        answers = [await request.task for request in held]
        cut = [answer for answer in answers if answer.body == EVENT + CUT_EVENT]
        again = await self.gateway.dispatched(dead.url) - known
        idle = await self.until_idle()
        assert all(answer.whole for answer in cut) and len(cut) <= at_dead, (at_dead, cut)
        rest = [answer for answer in before + after + answers if answer not in cut]
        lost = judged(rest, {"statuses": [200]})
        return f"{lost}, cut only on it, {at_most(again, step['dispatches'])} to the dead, {idle}"

    async def hold(self, manner: str, count: int) -> list[client.Request]:
        """Requests that all engines hold: after their first tokens, or before."""
        already = sum(engine.held for engine in self.engines)
        for engine in self.engines:
            engine.gate.clear()
            engine.manner = manner
        requests = [self.gateway.chat() for _ in range(count)]
        await until(lambda: sum(engine.held for engine in self.engines) == already + count)
        if manner == "slow":
            await asyncio.gather(*(request.begun.wait() for request in requests))
        return requests

    async def die_idle(self, step: Step) -> str:
        """An engine dies with nothing in flight: only a request or a scrape detects it."""
        dead = self.engines[step["engine"]]
        known = await self.gateway.dispatched(dead.url)
        await dead.stop()
        answers = await self.ask(step["requests"], step["at_once"])
        again = await self.gateway.dispatched(dead.url) - known
        idle = await self.until_idle()
        return f"{judged(answers, {'statuses': [200]})}, {at_most(again, step['dispatches'])} to the dead, {idle}"

    async def return_(self, step: Step) -> str:
        """The engine returns on its port. From its first page on it gets requests again."""
        engine = self.engines[step["engine"]]
        pages = engine.scrapes
        await engine.start()
        # The second page is requested after the first was read.
        await until(lambda: engine.scrapes >= pages + 2)
        answers = await self.ask(step["requests"], step["at_once"])
        answers += await self.until_asked(engine)
        return f"{judged(answers, {'statuses': [200]})}, traffic on it again, {await self.until_idle()}"

    async def until_asked(self, engine: Engine) -> list[client.Response]:
        """Holds ever more requests before their first tokens, until this engine gets one."""
        asked, held = engine.asked, []
        while engine.asked == asked:
            held += await self.hold("late", len(self.engines))
        for one in self.engines:
            one.manner = "good"
            one.gate.set()
        return [await request.task for request in held]

    async def drain(self, step: Step) -> str:
        """Out of service and back, by the operator."""
        engine = self.engines[step["engine"]]
        held = await self.hold("slow", 2 * len(self.engines))
        for one in self.engines:
            one.manner = "good"
        there = engine.held
        reported = json.loads((await self.gateway.admin("drain", engine.url)).body)["in_flight"]
        asked = engine.asked
        answers = await self.ask(step["requests"], step["at_once"])
        drained = "nothing new" if engine.asked == asked else "still asked"
        for one in self.engines:
            one.gate.set()
        answers += [await request.task for request in held]
        assert json.loads((await self.gateway.admin("drain", engine.url)).body)["in_flight"] == 0
        await self.gateway.admin("resume", engine.url)
        answers += await self.until_asked(engine)
        in_flight = "counted" if reported == there else f"{reported} in flight of {there}"
        return f"{drained}, {in_flight}, traffic again, {judged(answers, {'statuses': [200]})}"

    async def operator(self, _: Step) -> str:
        """Only the operator takes an engine out of service."""
        refused = await self.gateway.admin("drain", self.engines[0].url, {"authorization": "Bearer key-chat"})
        return f"{refused.status} with a key of clients"

    async def reload(self, step: Step) -> str:
        """A wrong configuration changes nothing, and the next one counts. Requests stay."""
        assert isinstance(self.gateway, PackageGateway)
        gateway, held = self.gateway, await self.hold("slow", step["count"])

        async def error(reported: bool) -> None:
            async def is_so() -> bool:
                return ((await gateway.state())["reload_error"] is not None) == reported

            await until(is_so)

        gateway.configure(scheduler={"max_in_flight": -1})
        await error(True)
        wrong = await gateway.chat({"authorization": "Bearer guessed"}).task
        gateway.configure(scheduler={"max_in_flight": 64})
        await error(False)
        for engine in self.engines:
            engine.manner = "good"
            engine.gate.set()
        answers = [await request.task for request in held] + await self.ask(step["requests"], step["count"])
        return f"reported, then applied, {wrong.status} meanwhile, {judged(answers, {'statuses': [200]})}"

    async def leave(self, step: Step) -> str:
        """Clients leave, before and after the first token: the engines' streams are closed."""
        held = [*await self.hold("slow", step["count"]), *await self.hold("late", step["count"])]
        for engine in self.engines:
            engine.manner = "good"
        cancelled = await self.gateway.metric("slotwise_cancelled_requests_total")
        for request in held:
            await request.leave()
        idle = await self.until_idle()
        cancelled = await self.gateway.metric("slotwise_cancelled_requests_total") - cancelled
        for engine in self.engines:
            engine.gate.set()
        return f"{int(cancelled)} cancelled, {idle}"

    async def events(self, _: Step) -> str:
        """KV events: the gateway has missed two batches, requests them, and follows what comes."""
        engine, publisher = self.publishing, self.publisher

        async def until_stored(blocks: int) -> None:
            async def is_so() -> bool:
                return await self.gateway.stored_tokens(engine.url) == blocks * BLOCK_SIZE

            await until(is_so)

        publisher.publish(stored(1, 4))
        publisher.publish(stored(11, 2))
        await self.gateway.admin("add", engine.url)
        await self.until_pool(len(self.engines) + 1)
        await publisher.subscribed()
        publisher.publish(removed(4))
        await until_stored(5)
        publisher.publish(removed(11, 12), stored(21, 1))
        await until_stored(4)
        await self.gateway.admin("remove", engine.url)
        await self.until_pool(len(self.engines))
        return f"blocks followed, {publisher.replays} replay"

    async def keys(self, _: Step) -> str:
        """The key identifies the caller, whatever the headers and the body claim."""
        unknown = await self.gateway.chat({"authorization": "Bearer guessed"}).task
        claims = {"x-llm-d-inference-ttl": "0s", "x-vllm-priority": "-9"}
        claiming = await self.gateway.chat(claims).task
        return f"{unknown.status} without a key, {claiming.status} with claims"

    async def malformed(self, _: Step) -> str:
        asked = sum(engine.asked for engine in self.engines)
        answer = await self.gateway.chat(body=b'{"model": ').task
        untouched = "no engine asked" if sum(engine.asked for engine in self.engines) == asked else "engines asked"
        for engine in self.engines:
            await self.gateway.admin("remove", engine.url)
        await self.until_pool(0)
        health = await client.ask(self.gateway.url + self.gateway.health)
        refused = await self.gateway.chat().task
        code = json.loads(refused.body)["error"]["code"]
        again = "with" if "retry-after" in refused.headers else "without"
        for engine in self.engines:
            await self.gateway.admin("add", engine.url)
        await self.until_pool(len(self.engines))
        return f"{answer.status}, {untouched}; no pool: health {health.status}, {refused.status} {code} {again} retry-after"

    async def terminate(self, step: Step) -> str:
        """SIGTERM: the gateway accepts nothing new and completes what is in flight."""
        held = [*await self.hold("slow", step["count"]), *await self.hold("late", step["count"])]
        self.gateway.terminate()

        async def refuses() -> bool:
            return (await client.ask(f"{self.gateway.url}/health")).status == 0

        await until(refuses)
        for engine in self.engines:
            engine.gate.set()
        answers = [await request.task for request in held]
        status = await self.gateway.ended()
        # Some hosts exit by the signal itself at the end.
        return f"{judged(answers, {'statuses': [200]})}, {'ended well' if status in (0, -15) else status}"


def judged(answers: list[client.Response], step: Step) -> str:
    """Counts lost requests: no complete answer, although no byte had reached the client."""
    lost = [f"{answer.status} {answer.body[:80]!r}" for answer in answers if not _is_good(answer, step)]
    return f"{len(lost)} of {len(answers)} lost: {lost[:3]}" if lost else "none lost"


def _is_good(answer: client.Response, step: Step) -> bool:
    if answer.status not in step["statuses"]:
        return False
    if answer.status != 200:
        return answer.whole
    # A stream that breaks off ends with an error event; one of the engine's is passed on.
    cut = answer.body in (EVENT + CUT_EVENT, EVENT + ERROR_EVENT)
    good = answer.body in (WHOLE, REFUSED_EVENT) or cut and bool(step.get("cut"))
    return answer.whole and good


def at_most(count: int, limit: int) -> str:
    return f"at most {limit}" if count <= limit else f"{count}"


def name_of(step: Step) -> str:
    return " ".join(str(step[key]) for key in ("step", "manner", "engine") if key in step)


def steps_of(scenario: dict[str, Any], kind: str) -> list[Step]:
    """The steps for gateways of this kind. Most are for all."""
    return [step for step in scenario["steps"] if step.get("only", kind) == kind]


async def outcomes(language: str, scenario: dict[str, Any]) -> list[str]:
    """The outcome of each step. A step that raises ends the run."""
    run = Run(language, scenario["pool"])
    found: list[str] = []
    finished = False
    try:
        async with asyncio.timeout(LIMIT):
            await run.start()
            for step in steps_of(scenario, run.gateway.kind):
                do = getattr(run, {"return": "return_"}.get(step["step"], step["step"]))
                found.append(await do(step))
                print(f"{language:7} {name_of(step):14} {found[-1]}", flush=True)
            finished = True
    finally:
        await run.stop()
        if not finished:
            print(run.gateway.last_log(), file=sys.stderr)
    return found


def main(languages: list[str]) -> int:
    scenario = json.loads((HERE / "scenarios.json").read_text())
    tables = {language: asyncio.run(outcomes(language, scenario)) for language in languages}
    wrong = 0
    for language, table in tables.items():
        for step, found in zip(steps_of(scenario, gateway_of(language).kind), table, strict=True):
            if found != step["outcome"]:
                wrong += 1
                print(f"{language}: {name_of(step)}: expected {step['outcome']!r}, got {found!r}")
    print(f"{', '.join(languages)}: {sum(map(len, tables.values()))} steps, {wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["python", "node", "rust", "slotwise-python", "slotwise-node"]))
