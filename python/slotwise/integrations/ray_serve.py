"""Chooses the replicas of a Ray Serve deployment.

.. code-block:: python

    @serve.deployment(
        request_router_config=RequestRouterConfig(
            request_router_class="slotwise.integrations.ray_serve:SlotwiseRouter",
            request_router_kwargs={"config": {"max_endpoints": 64}},
        ),
    )
"""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

from .._core import Rejected, Scheduler
from ..lease import Lease
from .booking import Bookings, endpoint_id

if TYPE_CHECKING:
    PendingRequest: TypeAlias = Any
    ReplicaID: TypeAlias = Any
    RunningReplica: TypeAlias = Any
    RayActorError: TypeAlias = Exception

    class RequestRouter:
        """What the adapter uses of Ray's class."""

        _replica_id_set: set[ReplicaID]

        def update_replicas(self, replicas: list[RunningReplica]) -> None: ...
        def on_replica_actor_died(self, replica_id: ReplicaID) -> None: ...

else:
    from ray.exceptions import RayActorError
    from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

_LOAD: dict[str, type] = {"waiting": int, "running": int, "kv_usage": float}


class SlotwiseRouter(RequestRouter):
    """A request router that ranks the replicas by predicted cost. Each handle has its own.

    A request's prompt is its first argument with one: a text, bytes, or a mapping or an object with
    ``messages`` or ``prompt``. Its session is ``metadata.session_id``, its LoRA adapter
    ``metadata.multiplexed_model_id``. A replica's ``record_routing_stats`` may report ``waiting``,
    ``running`` and ``kv_usage``.
    """

    def initialize_state(
        self, *, config: Mapping[str, Any] | None = None, idle_limit: float = 600.0
    ) -> None:
        """Creates the scheduler. Ray Serve passes the arguments, which must be JSON."""
        self.scheduler: Scheduler = Scheduler(config)
        self.bookings: Bookings = Bookings(self.scheduler, idle_limit=idle_limit)
        self._loads: dict[int, Any] = {}
        # The bookings of each id that no replica has accepted yet. The requests keep their entry.
        self._unrouted: WeakValueDictionary[str, _Keys] = WeakValueDictionary()

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Adds and removes endpoints."""
        for gone in self._replica_id_set - {replica.replica_id for replica in replicas}:
            self._remove(gone)
        for replica in replicas:
            endpoint_id(self.scheduler, replica.replica_id.unique_id)
        super().update_replicas(replicas)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Removes the endpoint: the controller starts another replica."""
        super().on_replica_actor_died(replica_id)
        self._remove(replica_id)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Ranks the replicas, and books the first one, once for all tries of a request."""
        if pending_request is None:
            return [candidate_replicas]
        replicas = {}
        for replica in candidate_replicas:
            endpoint = endpoint_id(self.scheduler, replica.replica_id.unique_id)
            replicas[endpoint] = replica
            stats = replica.routing_stats
            if stats and self._loads.get(endpoint) is not stats:
                self._loads[endpoint] = stats
                load: dict[str, Any] = {
                    name: convert(stats[name]) for name, convert in _LOAD.items() if name in stats
                }
                self.scheduler.handle_load(endpoint, **load)
        key = _key(pending_request)
        booked = self.bookings.find(key)
        lease: Lease | Rejected
        if booked is not None and booked.endpoint_id in replicas:
            lease = booked
        else:
            lease = self.bookings.book(key, **_options(pending_request), subset=list(replicas))
        request_id = pending_request.metadata.internal_request_id
        keys = self._unrouted.setdefault(request_id, _Keys())
        keys[key] = None
        pending_request.__dict__["_slotwise_keys"] = keys
        # No hook reports a request that is cancelled, or that fails, before it is sent.
        withdraw = pending_request.__dict__.setdefault(
            "_slotwise_withdraw", functools.partial(self._withdraw, key, request_id)
        )
        pending_request.future.remove_done_callback(withdraw)
        pending_request.future.add_done_callback(withdraw)
        if isinstance(lease, Rejected):
            return [candidate_replicas]
        first = (lease.endpoint_id, *lease.dispatch.alternatives)
        ranks = [[replicas.pop(endpoint)] for endpoint in first if endpoint in replicas]
        return [*ranks, list(replicas.values())] if replicas else ranks

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any
    ) -> None:
        """Keeps the booking for the replica that accepted the request, until its result comes."""
        key = _key(pending_request)
        self._forget(pending_request.metadata.internal_request_id, key)
        endpoint = self.scheduler.endpoint_named(replica_id.unique_id)
        lease = self.bookings.find(key)
        if endpoint is not None and (lease is None or lease.endpoint_id != endpoint):
            self.bookings.book(key, **_options(pending_request), subset=[endpoint])
        result.add_done_callback(functools.partial(self._settle, key))

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Cancels the booking of an attempt that was turned down, or cancelled on its way.

        This hook may come before :meth:`on_request_routed`. A request that lost its booking here is
        booked again. Calls that a replica makes for one request share their id: the one that is
        booked on this replica is meant. A mistake there costs another booking, or lasts for the
        idle limit.
        """
        if not (keys := self._unrouted.get(internal_request_id)):
            return
        endpoint = self.scheduler.endpoint_named(replica_id.unique_id)
        booked = {key: self.bookings.find(key) for key in keys}
        here = (key for key, lease in booked.items() if lease and lease.endpoint_id == endpoint)
        self._cancel(internal_request_id, next(here, next(reversed(keys))))

    def _withdraw(self, key: Hashable, request_id: str, routed: Any) -> None:
        if routed.cancelled() or routed.exception() is not None:
            self._cancel(request_id, key)

    def _cancel(self, request_id: str, key: Hashable) -> None:
        self._forget(request_id, key)
        if (lease := self.bookings.take(key)) is not None:
            lease.cancel()

    def _forget(self, request_id: str, key: Hashable) -> None:
        """The request of this key no longer waits for a replica."""
        if (keys := self._unrouted.get(request_id)) is not None:
            keys.pop(key, None)

    def _settle(self, key: Hashable, result: Any) -> None:
        if (lease := self.bookings.take(key)) is None:
            return
        if isinstance(result, RayActorError):
            lease.fail("unreachable")
        else:
            lease.complete()

    def _remove(self, replica_id: ReplicaID) -> None:
        endpoint = self.scheduler.endpoint_named(replica_id.unique_id)
        if endpoint is not None:
            self._loads.pop(endpoint, None)
            self.scheduler.remove_endpoint(endpoint)


class _Keys(dict[Hashable, None]):
    """Keys of bookings in their order."""


def _key(request: PendingRequest) -> Hashable:
    """A key of this request alone."""
    fields: dict[str, Any] = request.__dict__
    key: Hashable = fields.setdefault("_slotwise_key", object())
    return key


def _options(request: PendingRequest) -> dict[str, Any]:
    metadata = request.metadata
    return {
        **_prompt([*request.args, *request.kwargs.values()]),
        "session": metadata.session_id or None,
        "adapter": metadata.multiplexed_model_id or None,
        # A router sees no first token.
        "streams": False,
    }


def _prompt(arguments: list[Any]) -> dict[str, Any]:
    for argument in arguments:
        if isinstance(argument, (str, bytes)):
            return {"prompt": argument}
        fields = argument if isinstance(argument, Mapping) else getattr(argument, "__dict__", {})
        if isinstance(fields.get("prompt"), str):
            return {"prompt": fields["prompt"]}
        if fields.get("messages"):
            body = {"messages": fields["messages"], "tools": fields.get("tools")}
            return {"body": json.dumps(body, default=_plain).encode()}
    return {}


def _plain(value: Any) -> Any:
    """Values of a Pydantic model as JSON."""
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
