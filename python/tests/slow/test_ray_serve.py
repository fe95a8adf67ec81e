"""The request router in a real Ray Serve, with two replicas on two cores.

Each replica answers with its id, so the test counts what it served. The router's scheduler is in
this process, since the handle is.
"""

from __future__ import annotations

import os

os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
# A busy machine starts a node slowly.
os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
# Replicas import this module.
_here = os.path.dirname(os.path.abspath(__file__))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_here, os.environ.get("PYTHONPATH"))))

import asyncio
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
import slotwise
from ray import serve
from ray.serve.config import RequestRouterConfig
from slotwise.integrations.ray_serve import SlotwiseRouter, _prompt

ROUTER = "slotwise.integrations.ray_serve:SlotwiseRouter"


@serve.deployment
class Model:
    """Answers with the replica's id. A prompt of one word is a command."""

    def __init__(self) -> None:
        self.id = serve.get_replica_context().replica_id.unique_id

    async def __call__(self, prompt: str) -> str:
        match prompt:
            case "wait":
                await asyncio.Event().wait()
            case "fail":
                raise ValueError("a failure of the application")
            case "die":
                os._exit(1)
        return self.id

    def record_routing_stats(self) -> dict[str, float]:
        return {"waiting": 3, "running": 1, "kv_usage": 0.5}


def _router(handle: Any) -> SlotwiseRouter:
    """The router of a handle in this process."""
    router = handle._router
    router = getattr(router, "_asyncio_router", router)
    found = router._request_router
    assert isinstance(found, SlotwiseRouter)
    return found


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    yield
    serve.shutdown()
    ray.shutdown()


def deploy(name: str, **options: Any) -> Any:
    config = RequestRouterConfig(
        request_router_class=ROUTER,
        request_router_kwargs={"config": {"max_endpoints": 64}},
        request_routing_stats_period_s=1,
    )
    options = {"num_replicas": 2, "ray_actor_options": {"num_cpus": 0}, **options}
    return Model.options(name=name, request_router_config=config, **options).bind()


def until(condition: Any) -> Any:
    """Waits for another process, or fails when it hangs."""
    end = time.monotonic() + 100
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)
    return value


def settled(handle: Any) -> slotwise.Stats:
    """Waits until nothing is in flight: a result may come before the router's hooks."""
    router = _router(handle)
    until(lambda: router.scheduler.stats().in_flight == len(router.bookings) == 0)
    until(lambda: not any(router._unrouted.values()))
    return router.scheduler.stats()


def test_the_configuration_is_pickled() -> None:
    config = RequestRouterConfig(
        request_router_class=ROUTER,
        request_router_kwargs={"config": {"max_endpoints": 64}},
    )
    copy = pickle.loads(pickle.dumps(config))
    assert copy.request_router_kwargs == {"config": {"max_endpoints": 64}}
    assert copy.get_request_router_class() is SlotwiseRouter


def test_prompts_are_found_in_arguments() -> None:
    class Request:
        def __init__(self) -> None:
            self.messages = [{"role": "user", "content": "Hello"}]

    assert _prompt([1, "text"]) == {"prompt": "text"}
    assert _prompt([{"prompt": "text"}]) == {"prompt": "text"}
    assert b'"Hello"' in _prompt([Request()])["body"]
    assert _prompt([None, 3]) == {}


def test_prompts_with_one_prefix_are_expected_in_a_cache() -> None:
    handle = serve.run(deploy("prefix"), name="prefix", route_prefix=None)
    for number in range(4):
        for _ in range(4):
            assert handle.remote(f"You are assistant number {number}. " * 100).result()
            settled(handle)
    stats = settled(handle)
    assert (stats.completed, stats.failed, len(stats.endpoints)) == (16, 0, 2)
    # Of three requests, two have the same one of two replicas at least.
    assert stats.predicted_cached_tokens > 0
    # The replicas report their load.
    until(lambda: all(one.report_age is not None for one in _stats_after(handle).endpoints))
    assert all(one.external_waiting > 0 for one in _stats_after(handle).endpoints)
    assert handle.options(session_id="s").remote("a short prompt").result()
    with pytest.raises(ValueError, match="a failure of the application"):
        handle.remote("fail").result()
    assert settled(handle).in_flight == 0
    serve.delete("prefix")


def _stats_after(handle: Any) -> slotwise.Stats:
    handle.remote("a short prompt").result()
    return _router(handle).scheduler.stats()


def test_full_replicas_turn_requests_down_and_bookings_follow() -> None:
    handle = serve.run(deploy("full", max_ongoing_requests=1), name="full", route_prefix=None)
    handle.remote("warm up").result()
    settled(handle)
    waiting = [handle.remote("wait") for _ in range(6)]
    router = _router(handle)
    until(lambda: router.scheduler.stats().in_flight >= 2)
    assert router.scheduler.stats().in_flight <= 6
    for one in waiting:
        one.cancel()
    settled(handle)
    serve.delete("full")


def test_a_replica_that_dies_is_removed() -> None:
    handle = serve.run(deploy("dying"), name="dying", route_prefix=None)
    first = handle.remote("a prompt of several words").result()
    with pytest.raises(Exception):
        handle.remote("die").result()
    served = {handle.remote(f"{i} and more words").result() for i in range(8)}
    assert served and settled(handle).in_flight == 0
    names = {one.name for one in _router(handle).scheduler.stats().endpoints}
    assert served <= names | {first}
    # The controller starts another replica.
    until(lambda: len(_router(handle).scheduler.stats().endpoints) == 2)
    serve.delete("dying")
