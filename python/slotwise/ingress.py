"""The ingress: who may send a request, what may pass, and which pool serves it.

>>> from slotwise.configuration import Configuration
>>> from slotwise.ingress import Ingress
>>> file = '''
... pools:
... - name: llama
...   models: [llama-3]
... rewrites:
... - {name: names, pool: llama, rules: [{models: [chat], targets: [{model: llama-3}]}]}
... '''
>>> ingress = Ingress(Configuration(file))
>>> admitted = ingress.admit(model="chat", path="/v1/completions")
>>> admitted.targets[0].pool, admitted.targets[0].model, admitted.answers_as
('llama', 'llama-3', 'chat')
>>> ingress.settle(admitted, prompt_tokens=10, completion_tokens=20)
True
>>> ingress.admit(model="gpt")
Traceback (most recent call last):
    ...
slotwise.gates.RefusedError: the model must be 'chat' or 'llama-3', got "gpt"

Times are seconds of ``time.monotonic``, unless ``now`` is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .configuration import Configuration
from .gates import Caller, Headers, checked, header_pairs, micros
from .machine import Machine
from .routing import Target
from .values import Allow

__all__ = ["Admitted", "Ingress"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that was admitted. It counts as in flight until ``settle`` or ``cancel``."""

    caller: Caller
    """The client."""
    rule: str | None
    """The name of the rule that applied, if there are rules."""
    targets: list[Target]
    """Where to ask, in this order: the chosen pool, then its fallbacks. Never empty."""
    mirrors: list[Target]
    """Copies of the request, whose answers are dropped."""
    options: dict[str, Any]
    """What the scheduler gets as keywords: of ``flow``, ``priority`` and ``weight``, the known."""
    session: str | None
    """The session, if the host or an accepted header names one."""
    timeout: float | None
    """Seconds that the whole request may take."""
    headers: list[tuple[str, str]]
    """The headers for the client: ``x-ratelimit-remaining-tokens`` and others."""
    answers_as: str | None
    """The client's name of the model, if a target has another one: it goes back into the answer."""
    _number: int = field(repr=False)


class Ingress:
    """Who may send a request, what may pass, and which pool serves it.

    ``configuration`` is that of a file, or a mapping with ``routing`` and ``gates``. An invalid
    field raises ``ValueError`` with its path. ``seed`` seeds the splits that nothing pins.

    ``allow`` names the claims that count from headers: ``session``, ``objective``, and
    ``session_headers``. Others have no effect here.
    """

    def __init__(
        self,
        configuration: Configuration | Mapping[str, Any],
        *,
        seed: int = 0,
        allow: Allow | None = None,
    ) -> None:
        claims: dict[Any, Any] = {}
        claims.update(allow if isinstance(allow, Mapping) else dict.fromkeys(allow or (), True))
        self._machine = Machine(
            "ingress",
            config=_config(configuration),
            seed=seed,
            allow=[name for name, given in claims.items() if given and name != _LISTED],
            session_headers=claims.get(_LISTED) or (),
        )

    def set_config(self, configuration: Configuration | Mapping[str, Any]) -> None:
        """Replaces the configuration. Requests in flight and the usage of quotas stay counted."""
        self._machine.call("set_config", config=_config(configuration))

    def identify(self, headers: Headers, *, client: str | None = None) -> Caller:
        """The client behind a request, before its body is read.

        ``client`` names a client without a key, such as its address. Raises ``RefusedError`` if the
        key is unknown, or missing where one is required.
        """
        caller = self._machine.call("identify", headers=header_pairs(headers), client=client)
        return Caller(**checked(caller))

    def admit(
        self,
        *,
        model: str,
        path: str = "",
        method: str = "POST",
        headers: Headers = (),
        client: str | None = None,
        session: str | None = None,
        objective: str | None = None,
        prompt_tokens: int = 0,
        output_tokens: int = 0,
        now: float | None = None,
    ) -> Admitted:
        """Routes a request, then counts it in all limits of its client, or in none.

        ``session`` and ``objective`` are the host's, and take precedence over headers. Raises
        ``RefusedError``: 401 for an unknown key, 403 for a model that the key does not allow, 404
        for one that no pool serves, 413 and 429 for an exceeded limit.
        """
        answer = self._machine.call(
            "admit",
            model=model,
            path=path,
            method=method,
            headers=header_pairs(headers),
            client=client,
            session=session,
            objective=objective,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            at_us=micros(now),
        )
        admitted = checked(answer)
        return Admitted(
            caller=Caller(**admitted["caller"]),
            rule=admitted["rule"],
            targets=[Target(**target) for target in admitted["targets"]],
            mirrors=[Target(**target) for target in admitted["mirrors"]],
            options=admitted["options"],
            session=admitted["session"],
            timeout=admitted["timeout_s"],
            headers=[(name, value) for name, value in admitted["headers"]],
            answers_as=admitted["answers_as"],
            _number=admitted["grant"],
        )

    def settle(
        self,
        admitted: Admitted,
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
            grant=admitted._number,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            at_us=micros(now),
        )
        return settled

    def cancel(self, admitted: Admitted, *, now: float | None = None) -> bool:
        """No engine has served the request: it counts as if it had not come.

        Returns whether it had not ended before.
        """
        cancelled: bool = self._machine.call("cancel", grant=admitted._number, at_us=micros(now))
        return cancelled

    def models(self, caller: Caller) -> list[str]:
        """The models that the caller may request, for ``/v1/models``."""
        key = None if caller.anonymous else caller.name
        models: list[str] = self._machine.call("models", key=key)
        return models


def _config(configuration: Configuration | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(configuration, Configuration):
        return configuration._ingress()
    return dict(configuration)


_LISTED = "session_headers"
