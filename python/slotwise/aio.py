"""Leases for asyncio.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    ...
    lease = await scheduler.acquire(body=body, path=path, headers=request.headers.raw)
    upstream = await client.send(request_to(lease.endpoint_name), stream=True)
    lease.begin(upstream.status_code, upstream.headers.get("content-type", ""))
    return StreamingResponse(lease.stream(upstream.aiter_bytes()))

A handler ends before its stream does. So a lease that is given to :meth:`Lease.stream` ends with
the stream, also when the client goes away; one that is not ends with its ``async with`` block or by
hand.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import EllipsisType
from typing import Any, Self

from . import _core
from ._core import Answer as Answer
from ._core import Dispatch, Evicted, Rejected
from .config import Config
from .disconnect import ClientDisconnectedError as ClientDisconnectedError
from .disconnect import watch_disconnect as watch_disconnect
from .draining import Drains
from .errors import EvictedError, RejectedError
from .forward import Body as Body
from .forward import Call as Call
from .forward import Reply as Reply
from .forward import Response as Response
from .forward import Send
from .forward import forward as _forward
from .idle_limit import limit_of
from .lease import Lease as Lease
from .stream import Stream as Stream
from .values import Candidates, Connector
from .waiting import Delivery


class Scheduler(_core.Scheduler):
    """A scheduler whose decisions can be awaited. Extends :class:`slotwise.Scheduler`.

    Any number of event loops may await it, each in its own thread. Other threads may call every
    method that is not a coroutine.

    :meth:`acquire` submits requests and polls for their decisions: do not call ``submit`` or
    ``poll_decision`` beside it. :class:`slotwise.FlowConfig` sets the limits and the order of the
    queue.
    """

    def __new__(
        cls,
        config: Config | Mapping[str, Any] | None = None,
        *,
        cost: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_queued: int = 65_536,
    ) -> Self:
        """Creates a scheduler with no endpoints.

        At most ``max_queued`` requests wait in :meth:`acquire`. A request beyond that limit is
        dispatched or rejected at once.

        ``clock`` returns seconds, and defaults to ``time.monotonic``. If its speed differs from
        that of the event loop's clock, :meth:`acquire` polls for decisions too early or too late.

        ``pick`` calls the ``cost`` function, and so does ``acquire`` for a request that cannot
        wait. Requests that may wait are dispatched by the built-in cost.
        """
        return super().__new__(cls, config, cost=cost, clock=clock)

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        cost: Callable[[Candidates], Iterable[float]] | None = None,
        clock: Callable[[], float] | None = None,
        max_queued: int = 65_536,
    ) -> None:
        self._clock = time.monotonic if clock is None else clock
        self._max_queued = max_queued
        self._start()
        self._on_wakeup(_wakeup_of(weakref.ref(self)))
        _schedulers.add(self)

    def _start(self) -> None:
        """Starts with no waiting requests: at creation, and in a child process after a fork."""
        self._delivery = Delivery(self._clock)
        self._drains = Drains()

    @property
    def queued(self) -> int:
        """The number of requests that wait in :meth:`acquire`."""
        return len(self._delivery.futures)

    async def acquire(
        self,
        prompt: Any = None,
        *,
        timeout: float | None | EllipsisType = ...,
        wait_for_endpoints: bool = False,
        **options: Any,
    ) -> Lease:
        """Waits until the request is dispatched, and returns its lease. See ``submit``.

        The request is given by its ``prompt``, or by a ``body``.

        ``timeout`` is in seconds, and defaults to ``FlowConfig.ttl``. ``None`` sets no limit. With
        0, the request does not wait: it is decided by ``pick``. The same holds while no endpoint
        accepts requests, unless ``wait_for_endpoints`` is true. The other keywords are those of
        ``submit``. Cancelling the task withdraws the request.

        Raises :class:`slotwise.RejectedError` if the request is rejected, and
        :class:`slotwise.EvictedError` if it waited and was evicted.
        """
        decision = await self._decide(
            prompt, timeout=timeout, wait_for_endpoints=wait_for_endpoints, **options
        )
        if isinstance(decision, Dispatch):
            return Lease(self, decision)
        raise EvictedError(decision) if isinstance(decision, Evicted) else RejectedError(decision)

    async def _decide(
        self,
        prompt: Any = None,
        *,
        timeout: float | None | EllipsisType = ...,
        wait_for_endpoints: bool = False,
        **options: Any,
    ) -> Dispatch | Evicted | Rejected:
        """The decision that :meth:`acquire` waits for."""
        # An empty pool is usually a mistake, which a silent wait would hide.
        nowhere = not wait_for_endpoints and self.accepting_endpoints == 0
        if timeout == 0 or nowhere or len(self._delivery.futures) >= self._max_queued:
            for of_submit in ("ttl", "weight"):
                options.pop(of_submit, None)
            return self.pick(prompt, **options)
        if timeout is not ...:
            options["ttl"] = math.inf if timeout is None else timeout
        return await self._delivery.submit(self, prompt, options)

    async def forward(
        self,
        send: Send,
        *,
        attempts: int = 3,
        connector: Connector | None = None,
        bootstrap_port: int = 8998,
        primary_port: int = 0,
        answers_as: str | None = None,
        add_usage: bool = False,
        idle_timeout: float | None | EllipsisType = ...,
        **options: Any,
    ) -> Reply:
        """Serves a request: acquires an endpoint, sends the request, and returns the reply.

        If an attempt fails before any byte has reached the client, the next one goes to another
        endpoint. There are at most ``attempts`` attempts.

        ``send`` receives the endpoint's name, which is its URL. It returns the engine's response
        once the headers have arrived, and raises if the endpoint cannot be reached. The other
        keywords are those of :meth:`acquire`: at least a ``body`` with its ``path``, or a
        ``prompt``.

        The reply is a response that has begun, or a refusal; the handler passes on either. The end
        of the reply's body ends the request. If the client disconnects, the request is cancelled.

        With a ``connector``, ``send`` receives a :class:`Call` instead of a URL: the body and the
        headers differ between the endpoints of a disaggregated request. ``"nixl"`` is vLLM's
        connector, ``"bootstrap"`` SGLang's with its ``bootstrap_port``, and ``"sidecar"`` that of
        llm-d, with data-parallel ranks behind the ``primary_port`` of their hosts, if that is set.

        ``answers_as`` is the client's name of the model, which replaces the engine's in the answer;
        every other byte stays.

        With ``add_usage``, streams report their usage, also if the client did not request it: see
        :func:`slotwise.wire.add_usage`. ``send`` then receives a :class:`Call`, whose body requests
        it. The client gets the usage only if it requested it; the lease has it in any case.

        An endpoint that sends no token within :meth:`Dispatch.idle_limit` times out; after the
        first token, the limit is 60 s. ``idle_timeout`` is another limit in seconds, before the
        first token and between later ones; ``None`` is none. A complete answer counts, whether its
        connection then breaks or stays open. A stream that breaks off or times out ends with an
        error event of the client's API. Where none can follow, iterating raises.

        .. code-block:: python

            async def send(url: str) -> httpx.Response:
                request = client.build_request("POST", url + path, content=body, headers=JSON)
                return await client.send(request, stream=True)

            reply = await scheduler.forward(send, body=body, path=path)
            return StreamingResponse(reply, reply.status, dict(reply.headers))
        """
        stages = None
        if connector is not None:
            if options.get("body") is None:
                raise TypeError("forward with a connector needs a body")
            stages = {
                "connector": connector,
                "bootstrap_port": bootstrap_port,
                "primary_port": primary_port,
                # Rooms of other gateways must differ.
                "room_salt": int.from_bytes(os.urandom(8), "big"),
            }
        if add_usage and options.get("body") is None:
            raise TypeError("forward with add_usage needs a body")
        return await _forward(
            self,
            send,
            attempts=attempts,
            stages=stages,
            answers_as=answers_as,
            add_usage=add_usage,
            idle_limit=limit_of(idle_timeout),
            options=options,
        )

    async def drained(self, endpoint_id: int) -> None:
        """Waits until no request is in flight on the endpoint.

        The endpoint receives new requests meanwhile, unless it is draining:

        .. code-block:: python

            scheduler.drain_endpoint(endpoint)
            await scheduler.drained(endpoint)
            scheduler.remove_endpoint(endpoint)

        Raises :class:`slotwise.UnknownEndpointError` if the endpoint is not in the pool, or is
        removed meanwhile.
        """
        await self._drains.wait(self, endpoint_id)


def _wakeup_of(reference: weakref.ref[Scheduler]) -> Callable[[bool], None]:
    """The callback that the native part calls after each input that may lead to a decision."""

    def wakeup(drained: bool) -> None:
        scheduler = reference()
        if scheduler is not None:
            if scheduler._delivery.futures:
                scheduler._delivery.wake(scheduler)
            if drained:
                scheduler._drains.resolve(scheduler)

    return wakeup


_schedulers: weakref.WeakSet[Scheduler] = weakref.WeakSet()


def _forget_parent() -> None:
    """Resets all schedulers in a child process.

    A thread of the parent may have held a lock at the fork, and it is never released here.
    """
    for scheduler in tuple(_schedulers):
        scheduler._start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
