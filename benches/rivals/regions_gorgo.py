"""`gorgo-lb` as a router of `slotwise-sim regions --external`: network-aware, tuned online.

    python -m venv venv && venv/bin/pip install gorgo-lb==0.2.0
    slotwise-sim regions --external 'venv/bin/python benches/rivals/regions_gorgo.py'

Policy and tuner are the library's, with their defaults. The prompts of the simulator have no
tokens, so the last region of a session stands in for the library's trie.
"""

import json
import random
import sys
from collections import deque
from typing import Any

from gorgo.policy.base import ReplicaSnapshot, RouteContext, get_policy
from gorgo.policy.gorgo import make_default_store
from gorgo.tuner import OnlineTuner

POLICY = "gorgo"
SILENT_AFTER = 10.0
"""Seconds without a report after which a region is not chosen, as for the simulator's routers."""


class Sessions:
    """The last region and prompt of each session, in place of a trie of tokens."""

    def __init__(self) -> None:
        self.places: dict[str, tuple[str, int]] = {}

    def cached_prefix_lengths(self, session: list[str], regions: list[str]) -> dict[str, int]:
        place = self.places.get(session[0])
        return {region: place[1] if place and place[0] == region else 0 for region in regions}


class Router:
    def __init__(self, network: list[float], seed: int) -> None:
        # The library falls back to the module's generator.
        random.seed(seed)
        self.network = {str(at): seconds for at, seconds in enumerate(network)}
        self.reports: dict[str, tuple[float, ReplicaSnapshot]] = {}
        self.queued = dict.fromkeys(self.network, 0)
        self.in_flight = dict.fromkeys(self.network, 0)
        self.requests: dict[int, tuple[str, int]] = {}
        self.sessions, self.store = Sessions(), make_default_store()
        self.samples: deque[dict[str, float]] = deque(maxlen=1_000)
        self.tuner = OnlineTuner()
        error = self.tuner.configure({"enabled": True}, active_policy=POLICY)
        assert error is None, error

    def report(self, now: float, region: int, queue: float, in_flight: int, kv_usage: float) -> None:
        name = str(region)
        snapshot = ReplicaSnapshot(
            num_running_reqs=int(in_flight - queue),
            num_queue_reqs=int(queue),
            num_used_tokens=0,
            latency=self.network[name],
            # The library takes 0 for a probe that has not answered.
            network_rtt=max(self.network[name], 1e-6),
            utilization=kv_usage,
        )
        self.reports[name] = (now, snapshot)

    def choose(self, now: float, id: int, session: str, tokens: int, failed: int | None) -> str:
        open_ = [name for name in self.network if name != str(failed)]
        recent = {name for name, (at, _) in self.reports.items() if now - at < SILENT_AFTER}
        regions = [name for name in open_ if name in recent] or open_
        context = RouteContext(
            replica_urls=regions,
            metrics={name: self.reports[name][1] for name in regions if name in self.reports},
            endpoints_queued_tokens=self.queued,
            endpoints_queued_uncached_tokens=self.queued,
            endpoints_inflight_requests=self.in_flight,
            radix_trie=self.sessions,  # type: ignore[arg-type]
            token_ids=[session],  # type: ignore[list-item]
            request_tokens=tokens,
            hyperparameters=self.store,
            affinity_key=session,
        )
        region: str = get_policy(POLICY).fn(context).target
        self.sessions.places[session] = (region, tokens)
        self.requests[id] = (region, tokens)
        self.queued[region] += tokens
        self.in_flight[region] += 1
        return region

    def first_token(self, now: float, id: int, ttft: float) -> None:
        self.samples.append({"ttft_seconds": ttft, "total_seconds": ttft})
        self.store = self.tuner.on_sample(self.samples, self.store, policy=POLICY) or self.store

    def ended(self, now: float, id: int, failed: bool) -> None:
        region, tokens = self.requests.pop(id)
        self.queued[region] -= tokens
        self.in_flight[region] -= 1


def main() -> None:
    router: Any = None
    for line in sys.stdin:
        ((call, arguments),) = json.loads(line).items()
        if call == "start":
            router = Router(**arguments)
            continue
        answer = getattr(router, call)(**arguments)
        if call == "choose":
            print(answer, flush=True)


main()
