"""Sharing over transports that need no server: memory, and sockets in a directory."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import stat
from pathlib import Path

import pytest
import slotwise
from conftest import picked
from sharing_hosts import KEY, Bus, booked, scheduler, until
from slotwise.peers import connect, share
from slotwise.peers.transport import Backoff, Outbox
from slotwise.peers.unix import UnixTransport, key_of


def test_each_counts_what_the_other_has_in_flight_and_nothing_at_the_end() -> None:
    async def test() -> None:
        bus, (here, there) = Bus(), (scheduler(), scheduler())
        async with (
            share(here, bus.transport(), key=KEY, name="a") as a,
            share(there, bus.transport(), key=KEY, name="b") as b,
        ):
            await until(lambda: a.alive == ["b"] and b.alive == ["a"])
            request = picked(here, "Once upon a time", model="m")
            await until(lambda: booked(b) == 1)
            other = picked(there, "In a galaxy far away", model="m")
            assert request.endpoint_id != other.endpoint_id
            here.complete(request.request_id)
            there.complete(other.request_id)
            await until(lambda: booked(a) + booked(b) == 0)

    asyncio.run(test())


def test_a_cut_ends_claims_and_its_end_restores_them() -> None:
    async def test() -> None:
        bus, (here, there) = Bus(), (scheduler(), scheduler())
        cut = bus.transport()
        async with (
            share(here, cut, key=KEY, name="a", heartbeat=0.05, silence=0.2) as a,
            share(there, bus.transport(), key=KEY, name="b", heartbeat=0.05, silence=0.2) as b,
        ):
            here.pick("Once upon a time", model="m")
            await until(lambda: booked(b) == 1)
            cut.connected = False
            await until(lambda: not a.alive and not b.alive and booked(b) == 0)
            picked(there, "still dispatched", model="m")
            cut.connected = True
            await until(lambda: booked(b) == 1 and booked(a) == 1)

    asyncio.run(test())


def test_rejected_messages_are_counted_by_their_reason() -> None:
    async def test() -> None:
        bus, other = Bus(), slotwise.aio.Scheduler({"seed": 5})
        async with (
            share(scheduler(), bus.transport(), key=KEY, name="a") as a,
            share(other, bus.transport(), key=KEY, name="b"),
            share(scheduler(), bus.transport(), key=b"another secret key", name="c"),
        ):
            await until(lambda: a.rejections.get("seed") and a.rejections.get("seal"))
            assert a.alive == [] and a.stats().rejected >= 2

    asyncio.run(test())


def test_processes_find_each_other_in_a_directory(tmp_path: Path) -> None:
    async def test() -> None:
        here, there = scheduler(), scheduler()
        url = f"unix:{tmp_path}"
        async with share(here, connect(url, channel="a/b"), key=KEY, name="a") as a:
            async with share(there, connect(url, channel="a/b"), key=KEY, name="b") as b:
                async with share(scheduler(), connect(url), key=KEY, name="c") as other:
                    await until(lambda: a.alive == ["b"] and b.alive == ["a"])
                    assert other.alive == [], "another channel"
                    request = picked(there, "Once upon a time", model="m")
                    await until(lambda: booked(a) == 1)
                    there.cancel(request.request_id)
            # What ended was sent before the connection was closed.
            await until(lambda: booked(a) == 0)
            folder = tmp_path / "channel-a%2Fb"
            assert len(list(folder.glob("*.sock"))) == 1
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []

    asyncio.run(test())


def _share_until_killed(folder: str) -> None:
    async def serve() -> None:
        host = scheduler()
        async with share(host, connect(f"unix:{folder}"), key=KEY, name="child"):
            host.pick("Once upon a time", model="m")
            await asyncio.Event().wait()

    asyncio.run(serve())


def test_a_killed_process_leaves_nothing_behind(tmp_path: Path) -> None:
    async def test() -> None:
        here = scheduler()
        child = multiprocessing.get_context("spawn").Process(
            target=_share_until_killed, args=(str(tmp_path),)
        )
        async with share(here, connect(f"unix:{tmp_path}"), key=KEY, name="parent") as parent:
            child.start()
            await until(lambda: booked(parent) == 1)
            child.kill()
            child.join()
            await until(lambda: parent.alive == [] and booked(parent) == 0)
            folder = tmp_path / "channel-default"
            # A process that starts now removes the socket that has no listener.
            await until(lambda: len(list(folder.iterdir())) == 1)

    asyncio.run(test())


def test_a_process_that_reads_nothing_holds_up_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        folder = tmp_path / "channel-default"
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.bind(str(folder / "1-00000000.sock"))
            stuck.listen()
            transport, received = UnixTransport(tmp_path), []
            other = UnixTransport(tmp_path)
            await other.start(received.append)
            await transport.start(lambda message: None)
            # Until the bytes that wait for the other process are too many.
            while not transport.dropped:
                transport.broadcast(b"x" * 2**20)
                await asyncio.sleep(0)
            # The other process reads, so what waits for it becomes less.
            await until(lambda: transport.broadcast(b"last") or b"last" in received)
            await transport.close()
            await other.close()

    asyncio.run(test())


def test_a_message_that_is_too_large_ends_its_connection(tmp_path: Path) -> None:
    async def test() -> None:
        transport, received = UnixTransport(tmp_path), []
        await transport.start(received.append)
        (path,) = (tmp_path / "channel-default").iterdir()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"\0\0\0\2ok" + b"\xff\xff\xff\xff")
        assert await reader.read() == b""
        assert received == [b"ok"]
        writer.close()
        await transport.close()

    asyncio.run(test())


def test_a_path_that_no_socket_may_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="at most 100 bytes"):
        connect("unix:/tmp/" + "x" * 80)


@pytest.mark.parametrize("url", ["unix:", "http://a", "redis:", "amqp://user:secret@a"])
def test_other_urls_are_errors_without_their_password(url: str) -> None:
    with pytest.raises(ValueError, match="must be redis://HOST:PORT") as error:
        connect(url)
    assert "secret" not in str(error.value)
    with pytest.raises(ValueError, match="channel"):
        connect("unix:/tmp", channel="")


def test_all_processes_of_a_directory_have_one_key(tmp_path: Path) -> None:
    keys = {key_of(tmp_path / "shared") for _ in range(3)}
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["key"]
    assert stat.S_IMODE(os.stat(tmp_path / "shared/key").st_mode) == 0o600


def test_old_messages_make_room_for_new_ones() -> None:
    async def test() -> None:
        outbox = Outbox(limit=2)
        for message in (b"1", b"2", b"3"):
            outbox.add(message)
        assert (outbox.dropped, await outbox.next(), outbox.take(), outbox.take()) == (
            1, b"2", b"3", None,
        )

    asyncio.run(test())


def test_attempts_become_rarer() -> None:
    backoff = Backoff(first=1.0, most=8.0)
    waits = [backoff.next() for _ in range(40)]
    assert 0.5 <= waits[0] <= 1.0 <= waits[1] <= 2.0 <= waits[2] <= 4.0 <= waits[3] <= 8.0
    assert all(4.0 <= wait <= 8.0 for wait in waits[3:])
    backoff.reset()
    assert backoff.next() <= 1.0
