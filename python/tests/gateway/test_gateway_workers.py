"""The command with ``--workers``: processes on one port that share their pools."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from engines import engines
from processes import ASKED, limited, metric
from running import CHAT
from slotwise.gateway.settings import parse

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SO_REUSEPORT")

COMMAND = [sys.executable, "-P", "-m", "slotwise.gateway", "--port", "0"]


class Command:
    """The command and what it has printed, on both streams."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._changed = asyncio.Condition()
        self._lines: list[str] = []

    async def read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            async with self._changed:
                self._lines.append(line.decode().strip())
                self._changed.notify_all()

    async def lines(self, pattern: str, count: int = 1) -> list[str]:
        """The first group of each line with a match, once there are so many."""

        def found() -> list[str]:
            matches = (re.search(pattern, line) for line in self._lines)
            return [match[1] for match in matches if match]

        async with self._changed:
            await self._changed.wait_for(lambda: len(found()) >= count)
            return found()


@asynccontextmanager
async def command(*words: str, folder: Path) -> AsyncIterator[Command]:
    """Runs the command. Its own directories are made in the folder."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None and process.stderr is not None
    started = Command(process)
    readers = [
        asyncio.create_task(started.read(it)) for it in (process.stdout, process.stderr)
    ]
    try:
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await asyncio.gather(*readers)


@pytest.fixture
def short() -> object:
    # The path of a socket has few bytes.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


PROCESS = r"worker \d listens: process (\d+)"
URL = r"listens on (http://\S+) with 2 workers"
ADMIN = r"admin page: (http://\S+)/"


async def alive(client: aiohttp.ClientSession, admin: str) -> float:
    try:
        return await metric(client, admin, "slotwise_gateway_peers_alive")
    except aiohttp.ClientError:
        return -1


def test_workers_share_a_port_and_their_pools(short: Path) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        async with engines("slow", "slow") as pool:
            urls = ",".join(engine.url for engine in pool)
            options = ("--engines", urls, "--workers", "2", "--admin", "0", "--log-level", "info")
            async with command(*options, folder=short) as running:
                (url,) = await running.lines(URL)
                admins = await running.lines(ADMIN, 2)
                for admin in admins:
                    while await alive(client, admin) != 1:
                        await asyncio.sleep(0.01)

                # A worker that is killed is started again, and found by the other one.
                first, second = await running.lines(PROCESS, 2)
                os.kill(int(first), signal.SIGKILL)
                *_, third = await running.lines(PROCESS, 3)
                *_, renewed = await running.lines(ADMIN, 3)
                assert third not in (first, second)
                while await alive(client, renewed) != 1:
                    await asyncio.sleep(0.01)

                # A stop drains all workers: each connection may be that of another one.
                async def ask() -> bytes:
                    headers = {"connection": "close"}
                    async with client.post(url + CHAT, json=ASKED, headers=headers) as answer:
                        return await answer.read()

                answers = [asyncio.create_task(ask()) for _ in range(8)]
                while sum(engine.held for engine in pool) < 8:
                    await asyncio.sleep(0.01)
                running.process.send_signal(signal.SIGTERM)
                for engine in pool:
                    engine.gate.set()
                for answer in await asyncio.gather(*answers):
                    assert answer.endswith(b"[DONE]\n\n")
                assert await running.process.wait() == 0
        assert not list(short.iterdir())

    limited(test)


def test_workers_end_with_the_command(short: Path) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        words = ("--engines", "http://127.0.0.1:9", "--workers", "2", "--log-level", "info")
        async with command(*words, folder=short) as running:
            processes = await running.lines(PROCESS, 2)
            running.process.kill()
            for process in processes:
                while is_running(int(process)):
                    await asyncio.sleep(0.01)

    limited(test)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # An orphan that is not waited for stays as a zombie in some containers.
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_worker_that_cannot_start_ends_the_command(short: Path) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        words = ("--engines", "http://127.0.0.1:9", "--workers", "2", "--gateway-name", "n" * 70)
        async with command(*words, folder=short) as running:
            await running.lines("(name)")
            assert await running.process.wait() == 1
        assert not list(short.iterdir())

    limited(test)


def test_unshared_gates_are_reported(short: Path, tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession) -> None:
        file = tmp_path / "gateway.yaml"
        file.write_text("gates: {anonymous: {}}\nendpoints: [http://127.0.0.1:9]\n")
        async with command("--config", str(file), "--workers", "2", folder=short) as running:
            await running.lines("(each worker grants whole quotas)")
            await running.lines(URL)
            running.process.send_signal(signal.SIGINT)
            assert await running.process.wait() == 0

    limited(test)


def test_the_demonstration_runs_in_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--demo", "--workers", "2"])
    assert "--demo runs in one process" in capsys.readouterr().err
