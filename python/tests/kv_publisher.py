"""Publishes the KV events of a real engine over ZeroMQ, and replays them."""

from __future__ import annotations

import struct

import zmq
import zmq.asyncio
from conftest import WIRE_TESTS
from slotwise.engines import Publisher

STORED = WIRE_TESTS / "fixtures/vllm-0.32/default/kv"
REPLAY_END = b"\xff" * 8


def batches() -> list[bytes]:
    """Batches of a real engine, each with one stored block or more."""
    names = ["s01_cold.seq1", "s03_extend.seq2", "s04_exact_multiple.seq3"]
    return [(STORED / f"{name}.bin").read_bytes() for name in names]


class KvPublisher:
    """A publisher as vLLM has it: a PUB socket, and a ROUTER that replays."""

    def __init__(self, context: zmq.asyncio.Context) -> None:
        self.events = context.socket(zmq.XPUB)
        port = self.events.bind_to_random_port("tcp://127.0.0.1")
        self.replays = context.socket(zmq.ROUTER)
        replay_port = self.replays.bind_to_random_port("tcp://127.0.0.1")
        self.address = Publisher(
            f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{replay_port}"
        )
        self.sent: list[bytes] = []
        self.asked: list[int] = []
        self.answers = True

    async def subscribed(self) -> None:
        assert await self.events.recv() == b"\x01"

    async def left(self) -> None:
        assert await self.events.recv() == b"\x00"

    async def publish(self, batch: bytes, *, lost: bool = False) -> None:
        self.sent.append(batch)
        if not lost:
            await self.events.send_multipart([b"", struct.pack(">Q", len(self.sent) - 1), batch])

    async def replay(self) -> None:
        """Answers requests for replays."""
        while True:
            client, _, start = await self.replays.recv_multipart()
            (first,) = struct.unpack(">Q", start)
            self.asked.append(first)
            if not self.answers:
                continue
            for number in range(first, len(self.sent)):
                answer = [client, b"", b"", struct.pack(">Q", number), self.sent[number]]
                await self.replays.send_multipart(answer)
            await self.replays.send_multipart([client, b"", b"", REPLAY_END, b""])
