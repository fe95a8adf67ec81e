"""Two Python and two Node gateways share one pool: processes are killed, and the network splits.

They are in front of fake engines. The Node package has to be built in ``crates/node/npm``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from processes import (
    ASKED, AT_ONCE, GATEWAY, Load, Process, engines, limited, metric, running, settled,
)
from running import CHAT, key
from sharing_hosts import Relay, Server, server

NODE = Path(__file__).parents[3] / "crates" / "node" / "npm"
COMMAND = NODE / "dist" / "gateway" / "command.js"
REQUESTS = 2_000
MARKS = [REQUESTS * tenth // 10 for tenth in range(1, 10)]
QUOTA = 20
# A step of the quota is longer than any test.
LIMITS = {"quotas": [{"measure": "requests", "limit": QUOTA, "window": 30_000_000}]}
GATES = {
    "keys": [key("alice", limits=LIMITS), key("bob", limits=LIMITS)],
    "anonymous": {},
    "shared": True,
}
# Two for each key and peer: what is used of the quota, and what is in flight.
USAGE = "slotwise_gateway_peer_usage_entries"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not COMMAND.exists(),
    reason="the Node package is not built: make test-node",
)


@asynccontextmanager
async def four(
    peers: str, folder: Path, far: str | None = None
) -> AsyncIterator[tuple[list[Process], list[Process]]]:
    """Four gateways, of which the last two share by the URL ``far``, and three engines."""
    secret = folder / "key-of-gateways"
    secret.write_text("a key of sixteen bytes or more")
    pool = engines(3)
    async with running(*pool):
        file = folder / "gateway.json"
        endpoints = [engine.url for engine in pool]
        file.write_text(json.dumps({"endpoints": endpoints, "gates": GATES}))

        def front(name: str, url: str, command: list[str]) -> Process:
            words = [*command, "--config", str(file), "--scrape-every", "0.05", "--peers", url]
            words += ["--peers-key-file", str(secret), "--gateway-name", name]
            return Process(lambda port: [*words, "--port", port])

        node = ["node", str(COMMAND)]
        fronts = [front("python-1", peers, GATEWAY), front("node-1", peers, node)]
        fronts += [front("python-2", far or peers, GATEWAY), front("node-2", far or peers, node)]
        async with running(*fronts):
            yield fronts, pool


async def shows(
    client: aiohttp.ClientSession, front: Process, name: str, value: float, pool: str = "default"
) -> None:
    """Waits until a metric of a gateway's link has this value."""
    while await metric(client, front.url, name, f'pool="{pool}"') != value:
        await asyncio.sleep(0.05)


async def agreed(client: aiohttp.ClientSession, fronts: list[Process], peers: float) -> None:
    """Waits until each gateway counts so many others, and nothing of theirs in flight."""
    for front in fronts:
        await shows(client, front, "slotwise_gateway_peers_alive", peers)
        await shows(client, front, "slotwise_gateway_peers_in_flight", 0)


async def disturbed(
    client: aiohttp.ClientSession, load: Load, fronts: list[Process], broker: Server | None
) -> None:
    """Kills a gateway of each language and the server, and splits the network, under load."""
    await load.after(MARKS[0])
    await fronts[0].kill()
    await load.after(MARKS[1])
    await fronts[0].start()
    await fronts[1].kill()
    await load.after(MARKS[2])
    await fronts[1].start()
    if broker is None:
        return
    broker.kill()
    await load.after(MARKS[4])
    broker.start()
    await load.after(MARKS[5])
    # Connections stay open, and nothing passes.
    broker.freeze()
    await load.after(MARKS[7])
    broker.thaw()


@pytest.mark.parametrize("kind", ["redis", "nats", "unix"])
def test_nothing_is_lost_that_had_not_begun_and_counts_return_to_zero(
    kind: str, tmp_path: Path
) -> None:
    async def main(client: aiohttp.ClientSession) -> None:
        if kind == "unix":
            await serve(client, f"unix:{tmp_path}", None)
        else:
            with server(kind, tmp_path) as broker:
                await serve(client, broker.url, broker)

    async def serve(client: aiohttp.ClientSession, url: str, broker: Server | None) -> None:
        async with four(url, tmp_path) as (fronts, pool):
            await agreed(client, fronts, 3)
            load = Load(client, fronts, REQUESTS, turns=True)
            requests = asyncio.create_task(load.run())
            await disturbed(client, load, fronts, broker)
            await requests
            assert load.counts["whole"] + load.counts["cut"] == REQUESTS, load.counts
            # At most those that streamed from the two gateways that were killed.
            assert load.counts["cut"] <= 2 * AT_ONCE, load.counts
            await settled(client, fronts, pool)
            await agreed(client, fronts, 3)

    limited(main)


async def asked(client: aiohttp.ClientSession, front: Process, name: str) -> int:
    """The status of a request with the key of this name."""
    headers = {"authorization": f"Bearer sk-{name}"}
    async with client.post(front.url + CHAT, json=ASKED, headers=headers) as response:
        await response.read()
        return response.status


async def use_up(client: aiohttp.ClientSession, front: Process) -> None:
    """Uses a quota up at one gateway, which grants it once."""
    assert [await asked(client, front, "alice") for _ in range(QUOTA)] == [200] * QUOTA
    assert await asked(client, front, "alice") == 429


def test_a_network_that_splits_and_heals_loses_nothing(tmp_path: Path) -> None:
    async def main(client: aiohttp.ClientSession) -> None:
        with server("redis", tmp_path) as broker:
            async with Relay(broker.port) as relay:
                far = f"redis://127.0.0.1:{relay.port}"
                async with four(broker.url, tmp_path, far) as (fronts, pool):
                    await split(client, relay, fronts, pool)

    async def split(
        client: aiohttp.ClientSession, relay: Relay, fronts: list[Process], pool: list[Process]
    ) -> None:
        await agreed(client, fronts, 3)
        loads = [Load(client, fronts, REQUESTS // 2, turns=True) for _ in range(2)]
        before = asyncio.create_task(loads[0].run())
        await loads[0].after(MARKS[0])
        relay.hold()
        # Two still have the server. The others are alone, but for the engines.
        for front, peers in zip(fronts, [1, 1, 0, 0], strict=True):
            await shows(client, front, "slotwise_gateway_peers_alive", peers)
        # Each part grants the whole quota, and no more than that.
        for front in (fronts[0], *fronts[2:]):
            await use_up(client, front)
        # The use by bob is sent after that by alice.
        assert await asked(client, fronts[0], "bob") == 200
        await shows(client, fronts[1], USAGE, 4, "/usage")
        assert await asked(client, fronts[1], "alice") == 429
        await before
        after = asyncio.create_task(loads[1].run())
        await loads[1].after(MARKS[0])
        relay.release()
        for front, entries in zip(fronts, [4, 8, 6, 6], strict=True):
            await shows(client, front, "slotwise_gateway_peers_alive", 3)
            # The use in the other parts counts, too.
            await shows(client, front, USAGE, entries, "/usage")
            assert await asked(client, front, "alice") == 429
        await after
        for load in loads:
            assert load.counts == {"whole": REQUESTS // 2}
        await settled(client, fronts, pool)
        await agreed(client, fronts, 3)

    limited(main)
