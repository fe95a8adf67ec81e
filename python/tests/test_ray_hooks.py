"""The request router of Ray Serve leaks no booking, whatever the order of its hooks.

Ray itself is replaced: `make test-hosts` runs the router in the real one.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import math
import random
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROUTER = "slotwise.integrations.ray_serve"


class RequestRouter:
    """What the adapter uses of Ray's class."""

    def __init__(self) -> None:
        self._replica_id_set: set[Any] = set()

    def update_replicas(self, replicas: list[Any]) -> None:
        self._replica_id_set = {replica.replica_id for replica in replicas}

    def on_replica_actor_died(self, replica_id: Any) -> None:
        self._replica_id_set.discard(replica_id)


class RayActorError(Exception):
    pass


@pytest.fixture
def router_class(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    names = ("PendingRequest", "ReplicaID", "RunningReplica")
    exceptions, routing = ModuleType("ray.exceptions"), ModuleType("ray.serve.request_router")
    exceptions.RayActorError = RayActorError  # type: ignore[attr-defined]
    routing.RequestRouter = RequestRouter  # type: ignore[attr-defined]
    for name in names:
        setattr(routing, name, object)
    for module in (exceptions, routing, ModuleType("ray"), ModuleType("ray.serve")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, ROUTER, raising=False)
    yield importlib.import_module(ROUTER).SlotwiseRouter
    sys.modules.pop(ROUTER, None)


@dataclass(frozen=True)
class ReplicaID:
    unique_id: str


class Result:
    """The result of a request at a replica. A callback that comes late is called at once."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []
        self._value: list[Any] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._value:
            callback(self._value[0])
        else:
            self._callbacks.append(callback)

    def end(self, value: Any) -> None:
        self._value.append(value)
        for callback in self._callbacks:
            callback(value)


class Ray:
    """Calls the hooks as Ray Serve does."""

    def __init__(self, router_class: Any, replicas: int = 2) -> None:
        self.router = router_class()
        self.router.initialize_state(config={"seed": 1})
        ids = [ReplicaID(f"replica{number}") for number in range(replicas)]
        self.replicas = [SimpleNamespace(replica_id=one, routing_stats={}) for one in ids]
        self.router.update_replicas(self.replicas)

    def request(self, request_id: str) -> Any:
        metadata = SimpleNamespace(
            internal_request_id=request_id, session_id="", multiplexed_model_id=""
        )
        future = asyncio.get_running_loop().create_future()
        return SimpleNamespace(args=["a prompt"], kwargs={}, metadata=metadata, future=future)

    async def choose(self, request: Any) -> Any:
        """The id of a replica that Ray may send the request to: the first of the ranks."""
        ranks = await self.router.choose_replicas(self.replicas, request)
        return ranks[0][0].replica_id

    def other(self, replica_id: Any) -> Any:
        [other] = [one.replica_id for one in self.replicas if one.replica_id is not replica_id]
        return other

    def completed(self, replica_id: Any, request: Any) -> None:
        self.router.on_request_completed(replica_id, request.metadata.internal_request_id)

    async def check(self) -> Any:
        """Nothing is in flight, and nothing is remembered."""
        await asyncio.sleep(0)  # callbacks of futures
        stats = self.router.scheduler.stats()
        assert stats.in_flight == len(self.router.bookings) == 0
        gc.collect()
        assert len(self.router._unrouted) == 0
        return stats


Life = Callable[[Ray, Any], Coroutine[Any, Any, None]]


async def served(ray: Ray, request: Any) -> None:
    replica, result = await ray.choose(request), Result()
    request.future.set_result(replica)
    await asyncio.sleep(0)
    ray.router.on_request_routed(request, replica, result)
    await asyncio.sleep(0)
    result.end("answer")
    ray.completed(replica, request)


async def completed_before_it_is_routed(ray: Ray, request: Any) -> None:
    replica, result = await ray.choose(request), Result()
    request.future.set_result(replica)
    result.end("answer")
    ray.completed(replica, request)
    await asyncio.sleep(0)
    ray.router.on_request_routed(request, replica, result)


async def turned_down_and_served_elsewhere(ray: Ray, request: Any) -> None:
    replica, result = await ray.choose(request), Result()
    await asyncio.sleep(0)
    ray.completed(replica, request)
    await ray.choose(request)
    await asyncio.sleep(0)
    other = ray.other(replica)
    ray.router.on_request_routed(request, other, result)
    await asyncio.sleep(0)
    ray.completed(other, request)
    result.end("answer")


async def cancelled_in_the_queue(ray: Ray, request: Any) -> None:
    await ray.choose(request)
    await asyncio.sleep(0)
    request.future.cancel()


async def without_a_deployment(ray: Ray, request: Any) -> None:
    await ray.choose(request)
    await asyncio.sleep(0)
    request.future.set_exception(RuntimeError("the deployment is gone"))
    request.future.exception()


async def cancelled_on_its_way(ray: Ray, request: Any) -> None:
    replica = await ray.choose(request)
    request.future.set_result(replica)
    await asyncio.sleep(0)
    ray.completed(replica, request)


async def broken_off(ray: Ray, request: Any) -> None:
    replica, result = await ray.choose(request), Result()
    ray.router.on_request_routed(request, replica, result)
    await asyncio.sleep(0)
    result.end(RayActorError())
    ray.completed(replica, request)


LIVES: list[Life] = [
    served,
    completed_before_it_is_routed,
    turned_down_and_served_elsewhere,
    cancelled_in_the_queue,
    without_a_deployment,
    cancelled_on_its_way,
    broken_off,
]


@pytest.mark.parametrize("life", LIVES)
def test_a_request_is_booked_until_its_end(router_class: Any, life: Life) -> None:
    async def main() -> None:
        ray = Ray(router_class)
        await life(ray, ray.request("r"))
        await asyncio.sleep(0)
        stats = await ray.check()
        answered = life in (
            served, completed_before_it_is_routed, turned_down_and_served_elsewhere
        )
        assert stats.completed == answered and stats.failed == (life is broken_off)

    asyncio.run(main())


@pytest.mark.parametrize("shared", [False, True])
def test_no_order_of_many_requests_leaks(router_class: Any, shared: bool) -> None:
    """Ids that several calls share leave a booking for the idle limit at most."""

    async def main() -> None:
        for seed in range(20):
            rng, ray = random.Random(f"{seed} {shared}"), Ray(router_class)

            async def one(life: Life, ray: Ray, request: Any, delay: int) -> None:
                for _ in range(delay):
                    await asyncio.sleep(0)
                await life(ray, request)

            work = [
                one(
                    rng.choice(LIVES), ray,
                    ray.request(str(number % 3 if shared else number)), rng.randrange(9),
                )
                for number in range(50)
            ]
            await asyncio.gather(*work)
            del work
            await asyncio.sleep(0)
            if shared:
                ray.router.bookings._clock = lambda: math.inf
                ray.router.bookings.expire()
            await ray.check()

    asyncio.run(main())
