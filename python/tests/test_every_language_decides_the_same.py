"""A hundred thousand random operations produce the same digest as in the core.

``support/walk.rs`` has the same walk.
"""

import json
import struct
from array import array
from typing import Any

import slotwise
from conftest import CORE_TESTS

ADAPTERS = ["a0", "a1", "a2", "a3", "a4", "a5"]
WORD = 0xFFFF_FFFF


def test_a_long_walk_ends_in_the_fixed_digest() -> None:
    said = json.loads((CORE_TESTS / "walk.json").read_text())
    assert f"{Walk(said['seed']).run(said['operations']):08x}" == said["digest"]


class Walk:
    def __init__(self, seed: int) -> None:
        self.state = seed
        self.digest = 0x811C_9DC5
        self.micros = 0
        self.scheduler = slotwise.Scheduler()
        self.endpoints: list[int] = []
        self.added = 0
        self.requests: list[int] = []

    def run(self, operations: int) -> int:
        for _ in range(operations):
            self.step()
        stats = self.scheduler.stats()
        for counter in (
            stats.dispatched,
            stats.completed,
            stats.failed,
            stats.cancelled,
            stats.corrections,
        ):
            self.note(counter)
        return self.digest

    def step(self) -> None:
        self.micros += self.below(2_000)
        roll = self.below(100)
        if roll < 2 or not self.endpoints:
            self.add_endpoint()
        elif roll == 2:
            self.remove_endpoint()
        elif roll == 3:
            self.drain_or_resume()
        elif roll < 10:
            self.report_load()
        elif roll < 12:
            self.report_adapters()
        elif roll < 16:
            self.publish()
        elif roll < 50:
            self.pick()
        elif roll == 99:
            self.explain()
        elif not self.requests:
            pass
        elif roll < 66:
            self.scheduler.handle_first_token(self.request(), now=self.now)
        elif roll < 69:
            request = self.request()
            self.scheduler.handle_tokens(request, self.below(100), now=self.now)
        elif roll < 96:
            self.complete()
        elif roll == 96:
            request = self.take_request()
            failures: tuple[slotwise.Failure, ...] = ("unreachable", "engine", "timeout")
            failure = failures[self.below(3)]
            self.scheduler.fail(request, failure, now=self.now)
        elif roll == 97:
            assert self.scheduler.cancel(self.take_request(), now=self.now)
        else:
            self.redirect()

    def add_endpoint(self) -> None:
        if len(self.endpoints) == 12:
            return
        capacity = 20_000 + self.below(50_000)
        most = 4 + self.below(60)
        endpoint = slotwise.Endpoint(
            f"e{self.added}",
            models=("m",),
            kv_cache_tokens=capacity,
            max_in_flight=most,
            adapter_slots=3,
        )
        self.added += 1
        added = self.scheduler.add_endpoint(endpoint, now=self.now)
        self.endpoints.append(added)
        self.note_id(added)

    def remove_endpoint(self) -> None:
        if len(self.endpoints) > 4:
            endpoint = self.endpoints.pop(self.below(len(self.endpoints)))
            self.note(len(self.scheduler.remove_endpoint(endpoint, now=self.now).in_flight))

    def drain_or_resume(self) -> None:
        endpoint = self.endpoint()
        if self.below(3) == 0:
            self.scheduler.drain_endpoint(endpoint, now=self.now)
        else:
            self.scheduler.resume_endpoint(endpoint, now=self.now)

    def report_load(self) -> None:
        endpoint = self.endpoint()
        waiting, running, usage = self.below(10), self.below(40), self.below(1_001) / 1_000
        self.scheduler.handle_load(
            endpoint, waiting=waiting, running=running, kv_usage=usage, now=self.now
        )

    def report_adapters(self) -> None:
        endpoint = self.endpoint()
        self.scheduler.handle_adapters(endpoint, [ADAPTERS[self.below(6)]], slots=4, now=self.now)

    def publish(self) -> None:
        endpoint, family, blocks, kind = (
            self.endpoint(),
            self.below(20),
            1 + self.below(8),
            self.below(40),
        )
        names = [family * 1_000 + block for block in range(blocks)]
        event: slotwise.KvEvent
        if kind == 0:
            event = slotwise.AllBlocksCleared()
        elif kind < 10:
            event = slotwise.BlockRemoved(names[-1:])
        else:
            event = slotwise.BlockStored(array("Q", names), 16, tokens=tokens(family, blocks * 16))
        self.scheduler.handle_kv_event(endpoint, event, now=self.now)

    def pick(self) -> None:
        prompt, options = self.ask()
        match self.scheduler.pick(prompt, **options, now=self.now):
            case slotwise.Dispatch() as dispatch:
                self.requests.append(dispatch.request_id)
                self.note_id(dispatch.request_id)
                self.note_id(dispatch.endpoint_id)
                self.note(len(dispatch.alternatives))
                self.note(dispatch.prompt_tokens)
                self.note(dispatch.cached_tokens)
                self.note_float(dispatch.cost)
            case slotwise.Rejected(reason, http_status, retry_after):
                self.note(http_status)
                self.note(len(reason))
                # The core truncates nanoseconds to microseconds.
                self.note(int(round((retry_after or 0.0) * 1e9)) // 1_000)

    def explain(self) -> None:
        prompt, options = self.ask()
        explanation = self.scheduler.explain(prompt, **options, now=self.now)
        self.note(explanation.prompt_tokens)
        for candidate in explanation.candidates:
            self.note_id(candidate.endpoint_id)
            self.note_float(candidate.terms.queue)
            self.note_float(candidate.terms.cache_eviction)
            self.note_float(candidate.cost)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        family, length, adapter = self.below(30), 1 + self.below(2_000), self.below(18)
        options: dict[str, Any] = {"model": "m", "session": "s", "priority": self.below(3) - 1}
        options["expected_output_tokens"] = self.below(500)
        deadline = self.micros + self.below(4_000_000)
        if adapter < 6:
            options["adapter"] = ADAPTERS[adapter]
        if self.below(4) == 0:
            options["deadline"] = deadline / 1e6
        if family % 3 == 0:
            return f"family {family} says so. " * (length // 8), options
        if family % 3 == 1:
            return tokens(family, length), options
        hashes = [family << 40 | block for block in range(length // 16)]
        return slotwise.Blocks(hashes, 16, length), options

    def complete(self) -> None:
        request = self.take_request()
        prompt, cached, answer = self.below(3_000), self.below(2_000), self.below(800)
        self.scheduler.complete(
            request,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=answer,
            now=self.now,
        )

    def redirect(self) -> None:
        request, endpoint = self.request(), self.endpoint()
        try:
            self.scheduler.redirect(request, endpoint, now=self.now)
            self.note(0)
        except slotwise.RedirectError as error:
            self.note(len(error.code))

    @property
    def now(self) -> float:
        return self.micros / 1e6

    def endpoint(self) -> int:
        return self.endpoints[self.below(len(self.endpoints))]

    def request(self) -> int:
        return self.requests[self.below(len(self.requests))]

    def take_request(self) -> int:
        return self.requests.pop(self.below(len(self.requests)))

    def below(self, n: int) -> int:
        self.state = (self.state + 0x6D2B_79F5) & WORD
        t = self.state
        t = (t ^ t >> 15) * (t | 1) & WORD
        t ^= (t + ((t ^ t >> 7) * (t | 61) & WORD)) & WORD
        return (t ^ t >> 14) % n

    def note(self, word: int) -> None:
        digest = self.digest
        for byte in (word & WORD).to_bytes(4, "little"):
            digest = (digest ^ byte) * 0x0100_0193 & WORD
        self.digest = digest

    def note_id(self, number: int) -> None:
        self.note(number)
        self.note(number >> 32)

    def note_float(self, value: float) -> None:
        self.note_id(struct.unpack("<Q", struct.pack("<d", value))[0])


def tokens(family: int, count: int) -> Any:
    return array("I", range(family * 10_000, family * 10_000 + count))
