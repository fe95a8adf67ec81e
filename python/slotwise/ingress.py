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

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _core
from .configuration import Configuration
from .gates import Caller, Headers, RefusedError
from .machine import dumps
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
        arguments = {
            "config": _config(configuration),
            "seed": seed,
            "allow": [name for name, given in claims.items() if given and name != _LISTED],
            "session_headers": claims.get(_LISTED) or (),
        }
        self._native = _core.Ingress(dumps(arguments))

    def set_config(self, configuration: Configuration | Mapping[str, Any]) -> None:
        """Replaces the configuration. Requests in flight and the usage of quotas stay counted."""
        self._native.set_config(dumps({"config": _config(configuration)}))

    def identify(self, headers: Headers, *, client: str | None = None) -> Caller:
        """The client behind a request, before its body is read.

        ``client`` names a client without a key, such as its address. Raises ``RefusedError`` if the
        key is unknown, or missing where one is required.
        """
        caller = self._native.identify(headers, client)
        if isinstance(caller, str):
            raise RefusedError(json.loads(caller))
        return Caller(*caller)

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
        admitted = self._native.admit(
            time.monotonic() if now is None else now,
            model,
            path,
            method,
            headers,
            client,
            session,
            objective,
            prompt_tokens,
            output_tokens,
        )
        if isinstance(admitted, str):
            raise RefusedError(json.loads(admitted))
        number, caller, rule, targets, mirrors, options, session, timeout, limits, answers_as = (
            admitted
        )
        return Admitted(
            caller=Caller(*caller),
            rule=rule,
            targets=[Target(*target) for target in targets],
            mirrors=[Target(*mirror) for mirror in mirrors],
            options=options,
            session=session,
            timeout=timeout,
            headers=limits,
            answers_as=answers_as,
            _number=number,
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
        now = time.monotonic() if now is None else now
        return self._native.settle(now, admitted._number, prompt_tokens, completion_tokens)

    def cancel(self, admitted: Admitted, *, now: float | None = None) -> bool:
        """No engine has served the request: it counts as if it had not come.

        Returns whether it had not ended before.
        """
        now = time.monotonic() if now is None else now
        return self._native.cancel(now, admitted._number)

    def models(self, caller: Caller) -> list[str]:
        """The models that the caller may request, for ``/v1/models``."""
        key = None if caller.anonymous else caller.name
        return self._native.models(key)


def _config(configuration: Configuration | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(configuration, Configuration):
        return configuration._ingress()
    return dict(configuration)


_LISTED = "session_headers"
