"""Several processes that serve one port: the command with ``--workers``.

Each worker is a gateway of its own. The kernel spreads connections over them, and they share their
pools by sockets in a directory that only this user can read, or by the given ``--peers``.

====================  ==========================================================================
a worker dies         it is started again with its name, which ends what its last start claimed
SIGTERM, SIGINT       all workers drain, and the command ends with them
SIGHUP                all workers apply the file of the configuration
the command is killed its workers drain: their standard input ends
====================  ==========================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from ..peers.sharing import default_name
from ..peers.transport import Backoff
from .settings import Address, configuration_of

__all__ = ["LISTENS", "stop_with_parent", "supervise"]

LISTENS = "slotwise.gateway listens on"
"""The start of the line by which a gateway reports its URL."""

STEADY = 10.0
"""Seconds of life after which the next restart of a worker is immediate again."""

_log = logging.getLogger("slotwise.gateway")


async def supervise(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Runs the workers of a command line until a signal stops them. Returns the exit code.

    Raises ``OSError`` if the address is in use, and ``ValueError`` for an invalid configuration.
    """
    gates = configuration_of(options).gates
    if gates is not None and not gates.get("shared"):
        _log.warning("each worker grants whole quotas: the gates are not `shared: true`")
    own = tempfile.mkdtemp(prefix="slotwise-") if options.peers is None else None
    try:
        with _reserved((options.host, options.port)) as place:
            workers = _Workers(options, arguments, port=place.getsockname()[1], directory=own)
            return await workers.run()
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


async def stop_with_parent(stopped: asyncio.Event) -> None:
    """In a worker: sets the event once the process that has started it is gone."""

    class End(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            stopped.set()

    await asyncio.get_running_loop().connect_read_pipe(End, sys.stdin)


class _Workers:
    """The processes of a command line."""

    def __init__(
        self, options: argparse.Namespace, arguments: Sequence[str], *,
        port: int, directory: str | None,
    ) -> None:
        self._options = options
        self._command = [sys.executable, *(["-P"] if sys.flags.safe_path else [])]
        self._command += ["-m", "slotwise.gateway", *arguments, "--reuse-port"]
        self._command += ["--port", str(port)]
        self._command += ["--peers", f"unix:{directory}"] if directory is not None else []
        self._name = options.gateway_name or default_name()
        self._running: dict[int, Process] = {}
        self._urls: dict[int, str] = {}
        self._stopped = asyncio.Event()
        self._started = asyncio.Event()
        """All workers have listened, and the command has reported it."""
        self._code = 0

    async def run(self) -> int:
        """Runs until all workers have ended. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        if self._options.config is not None:
            loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
        await asyncio.gather(*(self._keep(number) for number in range(self._options.workers)))
        return self._code

    async def _keep(self, number: int) -> None:
        """Runs a worker, and starts it again when it dies."""
        backoff = Backoff()
        while not self._stopped.is_set():
            begin = asyncio.get_running_loop().time()
            code = await self._live(number)
            if self._stopped.is_set():
                self._code = self._code or int(code != 0)
                return
            if not self._started.is_set():
                # What prevents the first start prevents the next one, too.
                self._code = 1
                self._stop()
                return
            _log.warning("worker %d has ended with %d: it is started again", number, code)
            if asyncio.get_running_loop().time() - begin > STEADY:
                backoff.reset()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()):
                    await self._stopped.wait()

    async def _live(self, number: int) -> int:
        """One life of a worker. Returns its exit code."""
        words = ["--worker", str(number), "--gateway-name", f"{self._name}-{number}"]
        if (admin := self._options.admin) is not None:
            host, port = admin
            # Each process has an admin page of its own.
            words += ["--admin", f"[{host}]:{port + number if port else 0}"]
        process = await asyncio.create_subprocess_exec(
            *self._command, *words, stdin=PIPE, stdout=PIPE
        )
        self._running[number] = process
        if self._stopped.is_set():
            process.terminate()
        try:
            await self._follow(number, process)
            return await process.wait()
        finally:
            del self._running[number]

    async def _follow(self, number: int, process: Process) -> None:
        """Prints what a worker prints, once all workers listen."""
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            if text.startswith(LISTENS):
                _log.info("worker %d listens: process %d", number, process.pid)
                self._listens(number, text.removeprefix(LISTENS).strip())
            else:
                await self._started.wait()
                print(text, flush=True)

    def _listens(self, number: int, url: str) -> None:
        self._urls[number] = url
        if len(self._urls) == self._options.workers and not self._started.is_set():
            print(f"{LISTENS} {url} with {len(self._urls)} workers", flush=True)
            self._started.set()

    def _stop(self) -> None:
        self._stopped.set()
        # Whatever waits for the start prints, and ends with its worker.
        self._started.set()
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _reserved(address: Address) -> socket.socket:
    """A socket that keeps a port for the workers, and does not listen.

    Raises ``OSError`` if the host is unknown, or the port is in use.
    """
    host, port = address
    if not hasattr(socket, "SO_REUSEPORT"):
        raise OSError("--workers needs SO_REUSEPORT, which this system lacks")
    family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    reserved = socket.socket(family, kind)
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(place)
    except OSError as error:
        reserved.close()
        reason = os.strerror(error.errno or 0)
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {reason}") from error
    return reserved
