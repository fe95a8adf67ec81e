"""A publisher of KV events as engines have it: ZMTP 3.0 with the NULL mechanism, on two free ports.

It publishes batches on a PUB socket and replays them on a ROUTER socket, as vLLM does. ZMTP is the
protocol of ZeroMQ (https://rfc.zeromq.org/spec/23/). Gateways connect with the library of their
language.
"""

from __future__ import annotations

import asyncio
import struct
from functools import partial
from typing import Any

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4
REPLAY_END = b"\xff" * 8
BLOCK_SIZE = 16


class Publisher:
    """Publishes batches of KV events, and replays those that a subscriber has missed."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.events = ""
        """The address of the PUB socket."""
        self.replay = ""
        """The address of the ROUTER socket."""
        self.replays = 0
        """Replays that were requested."""
        self._batches: list[bytes] = []
        self._subscribers: list[asyncio.StreamWriter] = []
        self._connected = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self.events = await self._listen(b"PUB", self._subscribed)
        self.replay = await self._listen(b"ROUTER", self._requested)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for writer in self._writers:
            writer.transport.abort()

    def publish(self, *events: list[Any]) -> None:
        """Appends one batch and sends it to all subscribers: with none, the batch is missed."""
        self._batches.append(pack([1.0, list(events), None]))
        for subscriber in self._subscribers:
            subscriber.write(self._message(len(self._batches) - 1))

    async def subscribed(self) -> None:
        """Returns when there is a subscriber."""
        await self._connected.wait()

    def _message(self, sequence: int, *envelope: bytes) -> bytes:
        return message(*envelope, b"", struct.pack(">Q", sequence), self._batches[sequence])

    async def _listen(self, socket_type: bytes, receive: Any) -> str:
        server = await asyncio.start_server(partial(self._serve, socket_type, receive), self._host, 0)
        self._servers.append(server)
        return f"tcp://{self._host}:{server.sockets[0].getsockname()[1]}"

    async def _serve(
        self, socket_type: bytes, receive: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.append(writer)
        try:
            writer.write(GREETING)
            await reader.readexactly(len(GREETING))
            ready = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type
            writer.write(bytes([COMMAND, len(ready)]) + ready)
            await read_frame(reader)  # the peer's READY
            while True:
                receive(writer, await read_message(reader))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if writer in self._subscribers:
                self._subscribers.remove(writer)
            writer.close()

    def _subscribed(self, writer: asyncio.StreamWriter, _: list[bytes]) -> None:
        self._subscribers.append(writer)
        self._connected.set()

    def _requested(self, writer: asyncio.StreamWriter, frames: list[bytes]) -> None:
        self.replays += 1
        (first,) = struct.unpack(">Q", frames[-1])
        for sequence in range(first, len(self._batches)):
            writer.write(self._message(sequence, b""))
        writer.write(message(b"", b"", REPLAY_END, b""))


def stored(first: int, blocks: int) -> list[Any]:
    """The event of ``blocks`` new blocks in a chain, with hashes from ``first`` on."""
    hashes = list(range(first, first + blocks))
    tokens = [100 + hash for hash in hashes for _ in range(BLOCK_SIZE)]
    return ["BlockStored", hashes, None, tokens, BLOCK_SIZE, None]


def removed(*hashes: int) -> list[Any]:
    """The event of blocks that are no longer in the cache."""
    return ["BlockRemoved", list(hashes)]


def message(*frames: bytes) -> bytes:
    """A ZMTP message of these frames."""
    last = len(frames) - 1
    heads = [struct.pack(">BQ", (MORE if at < last else 0) | LONG, len(frame)) for at, frame in enumerate(frames)]
    return b"".join(head + frame for head, frame in zip(heads, frames, strict=True))


async def read_message(reader: asyncio.StreamReader) -> list[bytes]:
    frames = []
    flags = MORE
    while flags & MORE:
        flags, frame = await read_frame(reader)
        frames.append(frame)
    return frames


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (flags,) = await reader.readexactly(1)
    size = await reader.readexactly(8 if flags & LONG else 1)
    return flags, await reader.readexactly(int.from_bytes(size, "big"))


def pack(value: Any) -> bytes:
    """MessagePack of what KV events have: lists, text, whole numbers, floats and None."""
    if value is None:
        return b"\xc0"
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, int):
        return struct.pack(">BQ", 0xCF, value)
    if isinstance(value, str):
        return struct.pack(">BB", 0xD9, len(value)) + value.encode()
    return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
