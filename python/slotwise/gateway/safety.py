"""Checks of prompts and answers by a function of the host.

.. code-block:: python

    async def check(texts: Sequence[str], *, stage: str, caller: str) -> Verdict:
        if any("secret" in text for text in texts):
            return Block("secrets")
        return None  # or as many texts, which replace these

The function judges all texts of a prompt, and pieces of an answer while it streams. How much text
is held back meanwhile, and what applies if the function fails or takes too long, is set by
``gates.safety`` of the configuration.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..gates import Question, SafetyCheck, SafetyStage
from ..reports import RefusalShape

__all__ = ["Block", "Safety", "SafetyFunction", "Verdict"]

_log = logging.getLogger("slotwise.gateway")


@dataclass(frozen=True, slots=True)
class Block:
    """The prompt or the answer is blocked."""

    reason: str = ""
    """The reason, for the client."""


Verdict: TypeAlias = Block | Sequence[str] | None
"""``None`` lets the texts pass; as many texts replace them."""


class SafetyFunction(Protocol):
    """The function of the host, with or without ``async``."""

    def __call__(self, texts: Sequence[str], *, stage: SafetyStage, caller: str) -> Any: ...


class Safety:
    """The checks of one request."""

    def __init__(
        self,
        function: SafetyFunction,
        config: Mapping[str, Any] | None,
        *,
        shape: RefusalShape,
        caller: str,
    ) -> None:
        self._function = function
        self._config = config
        self._shape: RefusalShape = shape
        self._caller = caller

    async def prompt(self, body: bytes) -> bytes:
        """The body for the engine. Raises :class:`slotwise.gates.RefusedError` if it is blocked."""
        check = self._check("prompt")
        checked = bytearray()
        check.feed(body)
        check.finish()
        while question := check.poll_question():
            await self._judge("prompt", check, question)
        while output := check.poll_output():
            checked += output
        if check.refused is not None:
            raise check.refused
        return bytes(checked)

    async def answer(self, stage: SafetyStage, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks for the client. They end early if the answer is blocked."""
        check = self._check(stage)
        reading: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                if question := check.poll_question():
                    await self._judge(stage, check, question)
                if output := check.poll_output():
                    yield output
                if check.ended:
                    return
                if not check.wants_input:
                    continue
                if reading is None:
                    reading = asyncio.ensure_future(_next(chunks))
                await asyncio.wait({reading}, timeout=_remaining(check.next_timeout()))
                if not reading.done():
                    check.handle_timeout()
                    continue
                chunk, reading = reading.result(), None
                if chunk is None:
                    check.finish()
                else:
                    check.feed(chunk)
        finally:
            if reading is not None:
                reading.cancel()

    def _check(self, stage: SafetyStage) -> SafetyCheck:
        return SafetyCheck(stage, self._config, shape=self._shape)

    async def _judge(self, stage: SafetyStage, check: SafetyCheck, question: Question) -> None:
        """Asks the function, and passes its verdict on."""
        try:
            async with asyncio.timeout(_remaining(question.deadline)):
                verdict = self._function(question.texts, stage=stage, caller=self._caller)
                if inspect.isawaitable(verdict):
                    verdict = await verdict
        except TimeoutError:
            _log.warning("the safety function took too long for a %s", stage)
            check.fail(question.id)
        except Exception:
            _log.exception("the safety function failed for a %s", stage)
            check.fail(question.id)
        else:
            self._report(check, question, verdict)

    @staticmethod
    def _report(check: SafetyCheck, question: Question, verdict: Any) -> None:
        if verdict is None:
            check.allow(question.id)
        elif isinstance(verdict, Block):
            check.block(question.id, verdict.reason)
        elif (
            isinstance(verdict, Sequence)
            and not isinstance(verdict, str | bytes)
            and len(verdict) == len(question.texts)
            and all(isinstance(text, str) for text in verdict)
        ):
            check.replace(question.id, verdict)
        else:
            _log.error(
                "the safety function must return None, Block or %d texts, got %r",
                len(question.texts),
                verdict,
            )
            check.fail(question.id)


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The next chunk, or None at the end: a future raises no StopAsyncIteration."""
    try:
        return await anext(chunks)
    except StopAsyncIteration:
        return None
