"""Two Python and two Node gateways share one pool: processes are killed, and the network splits.

They are in front of fake engines. The Node package has to be built in ``crates/node/npm``.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from processes import AT_ONCE, Load, Process, engines, gateway, limited, metric, running, settled
from sharing_hosts import Server, server

NODE = Path(__file__).parents[3] / "crates" / "node" / "npm"
COMMAND = NODE / "dist" / "gateway" / "command.js"
REQUESTS = 2_000
MARKS = [REQUESTS * tenth // 10 for tenth in range(1, 10)]

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not COMMAND.exists(),
    reason="the Node package is not built: make test-node",
)


@asynccontextmanager
async def four(peers: str, folder: Path) -> AsyncIterator[tuple[list[Process], list[Process]]]:
    """Four gateways that share by this URL, and three engines."""
    key = folder / "key-of-gateways"
    key.write_text("a key of sixteen bytes or more")
    pool = engines(3)
    async with running(*pool):

        def shared(name: str) -> tuple[str, ...]:
            return ("--peers", peers, "--peers-key-file", str(key), "--gateway-name", name)

        def python(name: str) -> Process:
            return gateway(pool, *shared(name))

        def node(name: str) -> Process:
            return gateway(pool, *shared(name), command=["node", str(COMMAND)])

        fronts = [python("python-1"), node("node-1"), python("python-2"), node("node-2")]
        async with running(*fronts):
            yield fronts, pool


async def agreed(client: aiohttp.ClientSession, fronts: list[Process], peers: float) -> None:
    """Waits until each gateway counts so many others, and nothing of theirs in flight."""
    for front in fronts:
        while True:
            alive = await metric(client, front.url, "slotwise_gateway_peers_alive")
            in_flight = await metric(client, front.url, "slotwise_gateway_peers_in_flight")
            if (alive, in_flight) == (peers, 0):
                break
            await asyncio.sleep(0.05)


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
