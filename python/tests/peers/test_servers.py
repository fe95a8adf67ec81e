"""Sharing by a Redis and a NATS server, which are killed, started again, frozen and thawed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import picked
from sharing_hosts import KEY, booked, scheduler, server, until
from slotwise.peers import connect, share
from slotwise.peers.nats import NatsTransport, subject_of
from slotwise.peers.redis import RedisTransport


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_gateways_share_whenever_there_is_a_server(kind: str, tmp_path: Path) -> None:
    async def test() -> None:
        with server(kind, tmp_path) as running:
            here, there = scheduler(), scheduler()
            transport = RedisTransport if kind == "redis" else NatsTransport
            ends = [transport(running.url, channel="a b.*", silent=2.0) for _ in range(2)]
            async with (
                share(here, ends[0], key=KEY, name="a") as a,
                share(there, ends[1], key=KEY, name="b") as b,
            ):
                await until(lambda: a.alive == ["b"] and b.alive == ["a"])
                first = picked(here, "Once upon a time", model="m")
                await until(lambda: booked(b) == 1)

                # Killed: each counts its own requests, and dispatches on.
                running.kill()
                await until(lambda: not any(end.connected for end in ends))
                await until(lambda: not a.alive and not b.alive and booked(b) == 0)
                second = picked(there, "In a galaxy far away", model="m")
                running.start()
                await until(lambda: booked(b) == 1 and booked(a) == 1)

                # Split: connections stay open, but nothing passes.
                running.freeze()
                await until(lambda: not any(end.connected for end in ends))
                await until(lambda: not a.alive and not b.alive and booked(a) == 0)
                here.complete(first.request_id)
                running.thaw()
                await until(lambda: a.alive == ["b"] and b.alive == ["a"])
                await until(lambda: booked(a) == 1 and booked(b) == 0)
                there.complete(second.request_id)
                await until(lambda: booked(a) == 0)

    asyncio.run(test())


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "nats://127.0.0.1:1"])
def test_a_gateway_starts_and_stops_without_its_server(url: str) -> None:
    async def test() -> None:
        host = scheduler()
        transport = connect(url)
        async with share(host, transport, key=KEY):
            picked(host, "Once upon a time", model="m")
            await until(lambda: host.stats().in_flight == 1)
            assert not transport.connected

    asyncio.run(test())


def test_names_of_channels_are_valid_in_subjects() -> None:
    assert subject_of("llama-3_1") == "slotwise.peers.llama-3_1"
    assert subject_of("a.b *>ü") == "slotwise.peers.a=2Eb=20=2A=3E=C3=BC"
