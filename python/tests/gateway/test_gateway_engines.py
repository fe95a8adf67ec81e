"""What a gateway does with its engines besides requests: KV events, discovery, disaggregation."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq.asyncio
from engines import PREFILLED, Engine, engines
from kv_publisher import STORED, KvPublisher, batches
from running import ASKED, CHAT, Host, one_pool, run, serving
from slotwise.gateway.settings import configuration_of, parse, settings_of

COMPLETIONS = "/v1/completions"


@asynccontextmanager
async def publishing() -> AsyncIterator[KvPublisher]:
    with zmq.asyncio.Context() as context:
        publisher = KvPublisher(context)
        answering = asyncio.create_task(publisher.replay())
        try:
            yield publisher
        finally:
            answering.cancel()
            publisher.events.close(linger=0)
            publisher.replays.close(linger=0)


def ports_of(publisher: KvPublisher) -> str:
    """The option that subscribes to it."""
    sockets = (publisher.address.events, publisher.address.replay)
    return ",".join(str(address).rpartition(":")[2] for address in sockets)


async def waiting(condition: Any) -> None:
    """Waits for other threads as well: those of ZeroMQ and of the resolver."""
    while not condition():
        await asyncio.sleep(0.005)


def test_kv_events_are_applied_and_missed_ones_are_replayed() -> None:
    async def test() -> None:
        first, second, third = batches()
        async with engines("good") as pool, publishing() as publisher:
            await publisher.publish(first, lost=True)
            options = parse(["--engines", pool[0].url, "--kv-events", ports_of(publisher)])
            settings = settings_of(options)
            async with serving(one_pool(pool), kv_events=settings.kv_events) as host:

                def endpoint() -> Any:
                    return host.stats().endpoints[0]

                async def replayed(times: int) -> None:
                    scheduler = host.gateway.pools["default"].scheduler
                    await waiting(lambda: len(publisher.asked) == times)
                    await waiting(lambda: scheduler.replay_from(endpoint().id) is None)

                await publisher.subscribed()
                await publisher.publish(second)
                await replayed(1)
                assert publisher.asked == [0] and endpoint().kv_events
                stored = endpoint().kv_stored_events
                await publisher.publish(third, lost=True)
                await publisher.publish(second)
                await replayed(2)
                # From the batch before the missing one: a restarted engine has another one there.
                assert publisher.asked == [0, 1]
                assert endpoint().kv_stored_events == stored + 2
                # A prompt whose blocks the events have reported is expected in the cache.
                recorded = json.loads((STORED / "s01_cold.json").read_text())["requests"][0]
                prompt = recorded["request_body"]["prompt"]
                asked = {"model": "tiny", "prompt": prompt, "stream": True}
                assert (await host.whole(asked, COMPLETIONS)).status == 200
                assert host.stats().predicted_cached_tokens == 96
            await publisher.left()

    run(test)


def disaggregated(prefill: Engine, decode: Engine) -> dict[str, Any]:
    return {
        "endpoints": [
            {"name": prefill.url, "role": "prefill"},
            {"name": decode.url, "role": "decode"},
        ],
        "scheduler": {
            "seed": 1,
            "disaggregation": {"prefill": {"type": "always-disagg-pd-decider"}},
        },
    }


@pytest.mark.parametrize("connector", ["nixl", "bootstrap", "sidecar"])
def test_a_connector_tells_engines_of_each_other(connector: str) -> None:
    async def test() -> None:
        async with engines("prefill", "good") as (prefill, decode):
            configuration = disaggregated(prefill, decode)
            async with serving(configuration, connector=connector) as host:
                answer = await host.whole({**ASKED, "max_tokens": 64})
                assert answer.status == 200 and answer.body.endswith(b"[DONE]\n\n")
                await host.until(lambda: host.stats().in_flight == 0)
                assert host.stats().stages["prefill-decode"] == 1
        [decoded], prefilled = map(json.loads, decode.bodies), map(json.loads, prefill.bodies)
        assert decoded["max_tokens"] == 64
        host_name, port = prefill.url.removeprefix("http://").split(":")
        if connector == "nixl":
            [first] = prefilled
            assert (first["max_tokens"], first["stream"]) == (1, False)
            assert first["kv_transfer_params"]["do_remote_decode"] is True
            assert decoded["kv_transfer_params"] == PREFILLED["kv_transfer_params"]
        elif connector == "bootstrap":
            assert list(prefilled) == [decoded] and decoded["bootstrap_host"] == host_name
        else:
            assert not list(prefilled)
            assert decode.headers[0]["x-prefiller-host-port"] == f"{host_name}:{port}"
        # No engine gets the key of a client, whichever call it is.
        assert all("authorization" not in headers for headers in prefill.headers + decode.headers)

    run(test)


def pool_of(host: Host, pool: str = "default") -> list[str]:
    return sorted(host.gateway.pools[pool].scheduler.endpoint_names().values())


def discovering(source: str) -> dict[str, Any]:
    settings = settings_of(parse(["--discover", source, "--discover-every", "0.01"]))
    return {"discover": settings.discover, "discover_every": settings.discover_every}


def test_engines_in_a_file_join_and_leave(tmp_path: Path) -> None:
    async def test() -> None:
        listed = tmp_path / "engines"
        async with engines("good", "slow") as (first, second):
            listed.write_text(f"{first.url}  # the first\n")
            configuration = {"endpoints": [], "scheduler": {"seed": 1}}
            async with serving(configuration, **discovering(f"file:{listed}")) as host:
                await waiting(lambda: host.stats().endpoints)
                assert (await host.whole()).status == 200 and first.asked == 1
                listed.write_text(f"{second.url}\n")
                await waiting(lambda: second.url in pool_of(host))
                streaming = asyncio.ensure_future(host.whole())
                await host.until(lambda: second.held == 1)
                assert pool_of(host) == [second.url]
                listed.write_text(f"{first.url}\n")
                await waiting(lambda: len(host.stats().endpoints) == 2)
                second.gate.set()
                assert (await streaming).status == 200
                await waiting(lambda: len(host.stats().endpoints) == 1)
                assert pool_of(host) == [first.url]

    run(test)


def test_engines_of_a_name_join_and_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with engines("good") as pool:
            port = int(pool[0].url.rpartition(":")[2])
            addresses: list[str] | None = ["127.0.0.1", "127.0.0.9"]
            failures = 0
            loop = asyncio.get_running_loop()
            resolve = loop.getaddrinfo

            async def getaddrinfo(host: Any, port: Any, **more: Any) -> Any:
                nonlocal failures
                if host != "vllm.test":
                    return await resolve(host, port, **more)
                if addresses is None:
                    failures += 1
                    raise socket.gaierror("no answer")
                kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                return [(*kind, (address, port)) for address in addresses]

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            pools = {"pools": [{"name": "a"}, {"name": "b", "models": ["m"]}]}
            source = discovering(f"b=dns://vllm.test:{port}")
            async with serving(pools, **source) as host:
                await waiting(lambda: len(host.stats("b").endpoints) == 2)
                addresses = ["127.0.0.1"]
                await waiting(lambda: len(host.stats("b").endpoints) == 1)
                assert pool_of(host, "b") == [pool[0].url] and not pool_of(host, "a")
                assert (await host.whole()).status == 200
                addresses = None
                await waiting(lambda: failures >= 3)
                assert pool_of(host, "b") == [pool[0].url], "it stays while DNS is down"

    run(test)


def test_engines_of_a_name_need_no_configuration() -> None:
    async def test() -> None:
        async with engines("good") as pool:
            port = int(pool[0].url.rpartition(":")[2])
            options = parse(["--discover", f"dns://localhost:{port}"])
            assert configuration_of(options).pools == ["default"]
            async with serving({"pools": [{"name": "default"}]}, discover=settings_of(options).discover) as host:
                await waiting(lambda: pool[0].url in pool_of(host))
                async with host.client.post(CHAT, json=ASKED) as answer:
                    assert answer.status == 200

    run(test)
