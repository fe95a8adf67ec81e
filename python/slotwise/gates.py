"""Gates before the scheduler: API keys, quotas and rate limits, checks of prompts and answers.

>>> import hashlib
>>> from slotwise.gates import Gates
>>> digest = hashlib.sha256(b"sk-1").hexdigest()
>>> limits = {"tokens_per_minute": 1_000}
>>> gates = Gates({"keys": [{"name": "alice", "sha256": digest, "limits": limits}]})
>>> headers = {"authorization": "Bearer sk-1"}
>>> grant = gates.admit(headers, model="llama", prompt_tokens=600, output_tokens=300, now=0.0)
>>> grant.caller.name
'alice'
>>> gates.admit(headers, model="llama", prompt_tokens=200, output_tokens=100, now=1.0)
Traceback (most recent call last):
    ...
slotwise.gates.RefusedError: the key's limit of 1000 tokens per minute is reached: 900 used, \
300 requested
>>> grant.settle(prompt_tokens=600, completion_tokens=20, now=2.0)
True

A :class:`SafetyCheck` asks the host about the texts of one prompt or answer:

>>> from slotwise.gates import SafetyCheck
>>> check = SafetyCheck("prompt")
>>> check.feed(b'{"model": "m", "prompt": "my number is 555"}', now=0.0)
>>> check.finish(now=0.0)
>>> question = check.poll_question()
>>> question.texts
('my number is 555',)
>>> check.replace(question.id, ["my number is *"], now=0.1)
True
>>> check.poll_output()
b'{"model": "m", "prompt": "my number is *"}'

Times are seconds of ``time.monotonic``, unless ``now`` is given.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .errors import SlotwiseError
from .machine import Machine
from .reports import RefusalShape

__all__ = [
    "Caller",
    "Gates",
    "Grant",
    "Headers",
    "Measure",
    "Question",
    "RefusedError",
    "SafetyCheck",
    "SafetyStage",
    "Scope",
    "Standing",
]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""The headers of a request."""

Measure: TypeAlias = Literal[
    "requests", "tokens", "input_tokens", "output_tokens", "concurrent_requests"
]
"""What a limit counts."""

Scope: TypeAlias = Literal["key", "tenant", "client"]
"""Whose limit it is."""

SafetyStage: TypeAlias = Literal["prompt", "answer", "stream"]
"""What is checked: the body of a request, the body of an answer, or its stream."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The client behind a request."""

    name: str
    """The name of the key, or of the anonymous client."""
    anonymous: bool
    """Whether the request has no key."""
    tenant: str | None
    """The tenant: the flow of the request."""
    priority: int | None
    """The priority that the key gives."""
    weight: float | None
    """The share of the tenant relative to others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit, and what is used of it."""

    scope: Scope
    """Whose limit it is."""
    measure: Measure
    """What is counted."""
    window: float | None
    """The length of the window in seconds; ``None`` for requests in flight."""
    limit: int
    """The limit."""
    used: int
    """What is used. Debt makes it exceed the limit."""
    remaining: int
    """What may still be used."""
    reset: float | None
    """Seconds until nothing is used; ``None`` for requests in flight."""


class RefusedError(SlotwiseError):
    """A gate refuses a request, or a check has blocked a prompt or an answer.

    ``code`` is the reason: a :data:`slotwise.GatewayReason`.
    """

    http_status: int
    """The status of the client's answer."""
    retry_after: float | None
    """Seconds after which the same request passes; ``None`` if no time alone makes it pass."""
    exceeded: Standing | None
    """The exceeded limit."""
    headers: list[tuple[str, str]]
    """The headers of the client's answer."""

    def __init__(self, refused: Mapping[str, Any]) -> None:
        super().__init__(refused["message"], refused["code"])
        self.http_status = refused["http_status"]
        self.retry_after = _seconds(refused["retry_after_us"])
        exceeded = refused["exceeded"]
        self.exceeded = exceeded and _standing(exceeded)
        self.headers = [(name, value) for name, value in refused["headers"]]
        self._body: dict[str, str] = refused["body"]

    def body(self, shape: RefusalShape = "openai") -> bytes:
        """The body of the client's answer."""
        return self._body[shape].encode()


class Grant:
    """A request that was admitted. It counts as in flight until ``settle`` or ``cancel``."""

    caller: Caller
    """The client behind it."""
    headers: list[tuple[str, str]]
    """The headers that report what is left: ``x-ratelimit-remaining-tokens`` and others."""

    def __init__(self, machine: Machine, admitted: Mapping[str, Any]) -> None:
        self._machine = machine
        self._number: int = admitted["grant"]
        self.caller = Caller(**admitted["caller"])
        self.headers = [(name, value) for name, value in admitted["headers"]]

    def settle(
        self,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        now: float | None = None,
    ) -> bool:
        """The request has ended with this usage; an unknown count leaves the estimate.

        Returns whether it had not ended before.
        """
        settled: bool = self._machine.call(
            "settle",
            grant=self._number,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            at_us=micros(now),
        )
        return settled

    def cancel(self, *, now: float | None = None) -> bool:
        """The request was not served: it counts as if it had not come.

        Returns whether it had not ended before.
        """
        cancelled: bool = self._machine.call("cancel", grant=self._number, at_us=micros(now))
        return cancelled


class Gates:
    """Who may send a request, and how much.

    ``config`` has keys, tenants and anonymous access. An invalid field raises ``ValueError`` with
    its path. ``client`` names a client without a key, such as its address; such clients have
    limits of their own.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._machine = Machine("gates", config=config)
        self._native = self._machine._native

    def set_config(self, config: Mapping[str, Any]) -> None:
        """Replaces the configuration. Usage and requests in flight stay counted."""
        self._machine.call("set_config", config=config)

    def identify(self, headers: Headers, *, client: str | None = None) -> Caller:
        """The client behind a request. Raises ``RefusedError`` if its key is unknown."""
        return Caller(**self._checked("identify", headers=header_pairs(headers), client=client))

    def admit(
        self,
        headers: Headers,
        *,
        model: str,
        prompt_tokens: int,
        output_tokens: int,
        client: str | None = None,
        now: float | None = None,
    ) -> Grant:
        """Counts a request in all limits of its client, or in none.

        Raises ``RefusedError`` for an unknown key, a model that the key does not allow, or an
        exceeded limit.
        """
        admitted = self._checked(
            "admit",
            headers=header_pairs(headers),
            client=client,
            model=model,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            at_us=micros(now),
        )
        return Grant(self._machine, admitted)

    def standings(
        self, headers: Headers, *, client: str | None = None, now: float | None = None
    ) -> list[Standing]:
        """What is left of each limit of the client."""
        standings = self._checked(
            "standings", headers=header_pairs(headers), client=client, at_us=micros(now)
        )
        return [_standing(standing) for standing in standings]

    def _checked(self, call: str, **arguments: Any) -> Any:
        return checked(self._machine.call(call, **arguments))


@dataclass(frozen=True, slots=True)
class Question:
    """Texts for the host to judge."""

    id: int
    """Names the question in the verdict."""
    texts: tuple[str, ...]
    """The texts. In a stream, each is one part of the answer, such as a choice."""
    deadline: float
    """When the fallback applies, in seconds."""


class SafetyCheck:
    """The check of one prompt or answer: holds bytes back until the host has judged their texts.

    After each input, poll questions and outputs until they are ``None``, and wait for an input or
    for ``next_timeout``. ``config`` has ``on_failure``, ``timeout``, ``look_back`` and the sizes.
    """

    wants_input: bool
    """Whether more of the body may be fed. While it is false, read no more from the engine."""
    ended: bool
    """Whether no output follows those that can be polled."""
    refused: RefusedError | None
    """Why the prompt or the answer was blocked. For a prompt, it is the client's answer."""
    failures: int
    """Checks that failed."""

    def __init__(
        self,
        stage: SafetyStage,
        config: Mapping[str, Any] | None = None,
        *,
        shape: RefusalShape = "openai",
    ) -> None:
        self._machine = Machine("safety", stage=stage, config=config or {}, shape=shape)
        self._question: Question | None = None
        self._output = bytearray()
        self._next_timeout: float | None = None
        self.wants_input, self.ended, self.refused, self.failures = True, False, None, 0

    def feed(self, chunk: bytes, *, now: float | None = None) -> None:
        """Bytes of the body came."""
        self._input("feed", now, bytes=bytes(chunk).decode("latin-1"))

    def finish(self, *, now: float | None = None) -> None:
        """The body has ended."""
        self._input("finish", now)

    def allow(self, question: int, *, now: float | None = None) -> bool:
        """The texts of a question pass. Returns whether the verdict counts."""
        return self._verdict(question, now, verdict="allow")

    def block(self, question: int, reason: str = "", *, now: float | None = None) -> bool:
        """The prompt or the answer is blocked. Returns whether the verdict counts."""
        return self._verdict(question, now, verdict="block", reason=reason)

    def replace(self, question: int, texts: Sequence[str], *, now: float | None = None) -> bool:
        """The texts pass in this form. Returns whether the verdict counts."""
        return self._verdict(question, now, verdict="replace", texts=texts)

    def fail(self, question: int, *, now: float | None = None) -> bool:
        """The check failed: ``on_failure`` applies. Returns whether the verdict counts."""
        return self._verdict(question, now, verdict="failed")

    def handle_timeout(self, *, now: float | None = None) -> None:
        """The time of ``next_timeout`` has come."""
        self._input("handle_timeout", now)

    def poll_question(self) -> Question | None:
        """The next question. There is at most one without a verdict."""
        question, self._question = self._question, None
        return question

    def poll_output(self) -> bytes | None:
        """The next bytes for the client, or for the engine."""
        output, self._output = bytes(self._output), bytearray()
        return output or None

    def next_timeout(self) -> float | None:
        """When to call ``handle_timeout``, in seconds."""
        return self._next_timeout

    def _verdict(self, question: int, now: float | None, **verdict: Any) -> bool:
        counts: bool = self._input("handle_verdict", now, question=question, **verdict)["counts"]
        return counts

    def _input(self, call: str, now: float | None, **arguments: Any) -> Any:
        outputs = self._machine.call(call, at_us=micros(now), **arguments)
        self._output += outputs["output"].encode("latin-1")
        if question := outputs["question"]:
            deadline = question["deadline_us"] / 1e6
            self._question = Question(question["id"], tuple(question["texts"]), deadline)
        if outputs["ended"]:
            self._question = None
        self._next_timeout = _seconds(outputs["next_timeout_us"])
        self.wants_input, self.ended = outputs["wants_input"], outputs["ended"]
        refused = outputs["refused"]
        self.refused = refused and RefusedError(refused)
        self.failures = outputs["failures"]
        return outputs


def checked(answer: Any) -> Any:
    """The answer of a machine. Raises ``RefusedError`` if it is a refusal."""
    if isinstance(answer, dict) and (refused := answer.get("refused")):
        raise RefusedError(refused)
    return answer


def header_pairs(headers: Headers) -> list[tuple[str, str]]:
    if isinstance(headers, Mapping):
        return list(headers.items())
    return list(headers)


def _standing(standing: dict[str, Any]) -> Standing:
    window, reset = _seconds(standing.pop("window_us")), _seconds(standing.pop("reset_us"))
    return Standing(window=window, reset=reset, **standing)


def micros(now: float | None) -> int:
    return round((time.monotonic() if now is None else now) * 1e6)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / 1e6
