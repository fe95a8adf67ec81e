"""Schedulers that share, a transport in memory, and servers of the system for tests."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest
import slotwise.aio
from conftest import HANG
from slotwise.peers import Sharing, seed_of
from slotwise.peers.transport import Receive

KEY = b"sixteen bytes or more"
ENGINES = ("http://10.0.0.1:8000", "http://10.0.0.2:8000")


def scheduler() -> slotwise.aio.Scheduler:
    """A scheduler over the same two engines, with the seed of the key."""
    made = slotwise.aio.Scheduler({"seed": seed_of(KEY)})
    for engine in ENGINES:
        made.add_endpoint(engine)
    return made


async def until(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; it never fails because a machine is slow."""
    async with asyncio.timeout(HANG):
        while not condition():
            await asyncio.sleep(0.01)


def booked(sharing: Sharing) -> int:
    """Requests of all peers in flight."""
    loads = [sharing.link.load(endpoint) for endpoint in range(len(ENGINES))]
    return sum(load.prefilling + load.running for load in loads)


class Bus:
    """Carries messages between the transports of one process."""

    def __init__(self) -> None:
        self.members: list[MemoryTransport] = []

    def transport(self) -> MemoryTransport:
        return MemoryTransport(self)


class MemoryTransport:
    """One end of a bus, which may be cut off."""

    max_message = 2**22
    dropped = 0

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._receive: Receive = lambda message: None
        self.connected = False

    async def start(self, receive: Receive) -> None:
        self._receive = receive
        self.connected = True
        self._bus.members.append(self)

    def broadcast(self, message: bytes) -> None:
        for member in self._bus.members:
            if self.connected and member.connected:
                member._receive(message)

    async def close(self) -> None:
        self._bus.members.remove(self)


class Server:
    """A server of the system as a process, on a free port of the loopback."""

    def __init__(self, command: Callable[[int], list[str]], scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._command = command(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(HANG)

    def freeze(self) -> None:
        """Connections stay open, and nothing passes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Relay:
    """A port of the loopback that leads to a server, and a network between them that may split."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._passes = asyncio.Event()
        self._passes.set()
        self.port = 0

    def hold(self) -> None:
        """Connections stay open and can be made, and nothing passes."""
        self._passes.clear()

    def release(self) -> None:
        """What was held passes, and all that follows."""
        self._passes.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        with contextlib.suppress(OSError):
            back, forth = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.gather(self._pass(reader, forth), self._pass(back, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while read := await reader.read(65_536):
                await self._passes.wait()
                writer.write(read)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@contextlib.contextmanager
def server(kind: str, folder: Path) -> Iterator[Server]:
    """Runs a Redis or a NATS server. Skips the test where the system has none."""
    program = f"{kind}-server"
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")

    def command(port: int) -> list[str]:
        if kind == "redis":
            return [path, "--port", str(port), "--save", "", "--dir", str(folder)]
        return [path, "-a", "127.0.0.1", "-p", str(port)]

    made = Server(command, kind)
    made.start()
    try:
        yield made
    finally:
        made.kill()
