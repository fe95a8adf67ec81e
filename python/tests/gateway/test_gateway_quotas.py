"""A quota that two gateways share by sockets in a directory holds for both together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines import engines
from running import Host, key, one_pool, read, run, serving
from slotwise.gates import RefusedError

LIMITS = {
    "concurrent_requests": 1,
    "quotas": [{"measure": "requests", "limit": 3, "window": 3_600}],
}
GATES = {"keys": [key("alice", limits=LIMITS)], "shared": True}


def exceeded(host: Host) -> str | None:
    """What a request of alice would exceed now."""
    ingress = host.gateway.ingress
    try:
        ingress.cancel(ingress.admit(model="m", headers={"authorization": "Bearer sk-alice"}))
    except RefusedError as refused:
        assert refused.exceeded is not None
        return refused.exceeded.measure
    return None


def test_two_gateways_grant_one_quota_together(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"unix:{tmp_path}"
        async with engines("slow") as pool:
            shared = one_pool(pool, gates=GATES)
            async with serving(shared, peers=url) as a, serving(shared, peers=url) as b:
                async with a.post(key="alice") as first:
                    await first.content.readany()
                    await b.until(lambda: exceeded(b) == "concurrent_requests")
                    assert (await b.whole(key="alice")).status == 429
                    pool[0].gate.set()
                    await first.read()
                # Its end is known, and it stays counted.
                await b.until(lambda: exceeded(b) is None)
                assert (await b.whole(key="alice")).status == 200
                await a.until(lambda: exceeded(a) is None)
                assert (await a.whole(key="alice")).status == 200
                await b.until(lambda: exceeded(b) == "requests")
                assert (await b.whole(key="alice")).status == 429
                # A reload that removes the pool loses no usage.
                elsewhere: dict[str, Any] = {"name": "other", "endpoints": [pool[0].url]}
                b.gateway.apply(read({"pools": [elsewhere], "gates": GATES}))
                assert exceeded(b) == "requests"
                assert "the gateway: usage of limits" in b.gateway.following.works()
                async with b.client.get("/metrics") as page:
                    assert 'slotwise_gateway_peers_alive{pool="/usage"} 1\n' in await page.text()
                async with serving(shared, peers=url) as late:
                    await late.until(lambda: exceeded(late) == "requests")
        assert not list(tmp_path.glob("channel-*/*"))

    run(test)


def test_a_reload_begins_to_share_a_quota(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"unix:{tmp_path}"
        async with engines("good") as pool:
            own = one_pool(pool, gates={**GATES, "shared": False})
            shared = one_pool(pool, gates=GATES)
            async with serving(own, peers=url) as a, serving(own, peers=url) as b:
                works = b.gateway.following.works
                assert works() == ["default: metrics pages", "default: peers"]
                for host in (a, b):
                    host.gateway.apply(read(shared))
                for _ in range(3):
                    assert (await a.whole(key="alice")).status == 200
                await b.until(lambda: exceeded(b) == "requests")
                # It goes on, so that its usage does not come back from peers as another's.
                b.gateway.apply(read(own))
                assert "the gateway: usage of limits" in works() and exceeded(b) is None

    run(test)
