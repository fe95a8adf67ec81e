"""Request routers of Ray Serve on one app: the cost of a choice, and the prefix cache's hit ratio.

    python python/bench/ray_routers.py [--turns 6] [--conversations 16] [--blocks 2000]

Needs ``ray[serve]``, ``pyarrow`` and slotwise. Two replicas each remember the blocks of prompts
that fit into their cache, and report the hits; the oldest blocks leave first. In each turn, a
conversation repeats its text so far. The times are those of ``choose_replicas`` and
``on_request_routed`` on the router's event loop, in microseconds: while it blocks, nothing else
is routed. The output is one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter, OrderedDict
from pathlib import Path

os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
os.environ["PYTHONPATH"] = os.pathsep.join([HERE, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])

import ray
from ray import serve
from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import (
    PrefixCacheAffinityRouter,
)
from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import RequestRouter
from slotwise.integrations.ray_serve import SlotwiseRouter

BLOCK = 64


class Timed(RequestRouter):
    """Adds up the time of the hooks of each request."""

    def initialize_state(self, **options):
        super().initialize_state(**options)
        self.times = []

    async def choose_replicas(self, candidate_replicas, pending_request=None):
        start = time.perf_counter()
        ranks = await super().choose_replicas(candidate_replicas, pending_request)
        self.times.append(time.perf_counter() - start)
        return ranks

    def on_request_routed(self, pending_request, replica_id, result):
        start = time.perf_counter()
        super().on_request_routed(pending_request, replica_id, result)
        self.times[-1:] = [self.times[-1] + time.perf_counter() - start]


class TimedSlotwise(Timed, SlotwiseRouter):
    pass


class TimedPrefixCacheAffinity(Timed, PrefixCacheAffinityRouter):
    pass


class Prompt:
    """A request as Ray's router expects it: an object with a prompt."""

    def __init__(self, prompt):
        self.prompt = prompt


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0}, max_ongoing_requests=100)
class Model:
    def __init__(self, most):
        self.id = serve.get_replica_context().replica_id.unique_id
        self.most = most
        self.blocks = OrderedDict()

    async def __call__(self, request):
        text, hits, all_hit = request.prompt, 0, True
        for end in range(BLOCK, len(text) + 1, BLOCK):
            key = hash(text[:end])
            all_hit = all_hit and key in self.blocks
            hits += all_hit
            self.blocks[key] = None
            self.blocks.move_to_end(key)
        while len(self.blocks) > self.most:
            self.blocks.popitem(last=False)
        await asyncio.sleep(0.002)
        return self.id, hits, len(text) // BLOCK


def workload(conversations, turns):
    """Prompts in rounds: each conversation adds about 1,000 characters in each."""
    rng = random.Random(1)
    words = [f"word{number}" for number in range(500)]
    system = " ".join(rng.choices(words, k=150))
    texts = [f"{system} conversation {number}: " for number in range(conversations)]
    for _ in range(turns):
        texts = [text + " ".join(rng.choices(words, k=140)) for text in texts]
        yield texts


def run(router, args):
    name = router.__name__
    config = RequestRouterConfig(request_router_class=f"ray_routers:{name}")
    app = Model.options(name=name, request_router_config=config).bind(args.blocks)
    handle = serve.run(app, name=name, route_prefix=None)
    handle.remote(Prompt("warm up")).result()
    found = getattr(handle._router, "_asyncio_router", handle._router)._request_router
    found.times.clear()
    served, hits, blocks = Counter(), 0, 0
    for texts in workload(args.conversations, args.turns):
        # Four at a time, as a small gateway would have them in flight.
        for first in range(0, len(texts), 4):
            waiting = [handle.remote(Prompt(text)) for text in texts[first : first + 4]]
            for replica, hit, all_blocks in (one.result() for one in waiting):
                served[replica] += 1
                hits, blocks = hits + hit, blocks + all_blocks
            # Hooks come later than results. The next requests would see these as in flight.
            while len(getattr(found, "bookings", ())) > 0:
                time.sleep(0.001)
    times = sorted(found.times)
    serve.delete(name)
    return {
        "requests": served.total(),
        "hit_ratio": round(hits / blocks, 4),
        "largest_share": round(max(served.values()) / served.total(), 3),
        "microseconds_p50": round(statistics.median(times) * 1e6, 1),
        "microseconds_p99": round(times[int(len(times) * 0.99)] * 1e6, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--conversations", type=int, default=16)
    parser.add_argument("--blocks", type=int, default=2_000, help="blocks of a cache")
    args = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    serve.start(proxy_location="Disabled")
    rows = {"PrefixCacheAffinityRouter": TimedPrefixCacheAffinity, "slotwise": TimedSlotwise}
    print(json.dumps({name: run(router, args) for name, router in rows.items()}, indent=1))
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
