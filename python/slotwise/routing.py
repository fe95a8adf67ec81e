"""Which pool serves a request, and under which model name.

>>> from slotwise.routing import Routing
>>> routing = Routing({
...     "pools": [{"name": "llama", "models": ["llama-3"]}],
...     "objectives": [{"name": "chat", "priority": 5}],
... })
>>> route = routing.route("llama-3", objective="chat")
>>> route.target.pool, route.priority
('llama', 5)
>>> routing.route("gpt")
Traceback (most recent call last):
    ...
slotwise.routing.NoRouteError: the model must be 'llama-3', got "gpt"

Routing is pure: a gateway has one scheduler for each pool, and a new configuration is a new
``Routing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SlotwiseError
from .machine import Machine

__all__ = ["NoRouteError", "Route", "Routing", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A pool and a model."""

    pool: str
    """The name of the pool."""
    model: str
    """The model to write into the forwarded body."""
    base: str
    """The base model; it differs from ``model`` if that names an adapter."""
    adapter: str | None
    """The LoRA adapter."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes."""

    rule: str | None
    """The name of the rule that applied, if there are rules."""
    target: Target
    """The pool and the model."""
    fallbacks: tuple[Target, ...]
    """Where to ask next, in this order, when the target's pool has no room."""
    mirrors: tuple[Target, ...]
    """Copies of the request, whose answers are dropped."""
    priority: int | None
    """The priority of the objective, if it is known to the pool."""
    timeout: float | None
    """Seconds that the whole request may take."""


class NoRouteError(SlotwiseError, LookupError):
    """A request has no route."""

    http_status: int
    """The status of the client's answer."""

    def __init__(self, message: str, code: str, http_status: int) -> None:
        super().__init__(message, code)
        self.http_status = http_status


class Routing:
    """The rules by which requests find their pool.

    ``config`` has pools, rules, rewrites and objectives. An invalid field raises ``ValueError``
    with its path. ``seed`` seeds the splits that nothing pins.
    """

    def __init__(self, config: Mapping[str, Any], *, seed: int = 0) -> None:
        self._machine = Machine("routing", config=config, seed=seed)

    def route(
        self,
        model: str,
        *,
        method: str = "POST",
        path: str = "",
        headers: Mapping[str, str] | None = None,
        session: str | None = None,
        objective: str | None = None,
    ) -> Route:
        """The route of a request. Raises ``NoRouteError`` if there is none.

        Pass ``session`` and ``objective`` only if the client may name them.
        """
        route = self._machine.call(
            "route",
            model=model,
            method=method,
            path=path,
            headers=headers,
            session=session,
            objective=objective,
        )
        if refused := route.get("refused"):
            raise NoRouteError(refused["message"], refused["code"], refused["http_status"])
        return Route(
            rule=route["rule"],
            target=Target(**route["target"]),
            fallbacks=tuple(Target(**target) for target in route["fallbacks"]),
            mirrors=tuple(Target(**target) for target in route["mirrors"]),
            priority=route["priority"],
            timeout=route["timeout_s"],
        )

    def models(self) -> list[str]:
        """All models that clients may name."""
        models: list[str] = self._machine.call("models")
        return models
