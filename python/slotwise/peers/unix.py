"""Messages by sockets in a directory: the processes of one host need no server.

Each process listens on a stream socket in the directory, and connects to those of all others. A
message is its length in 4 bytes, the most significant first, and its bytes. The Node package does
the same, so both share a directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from urllib.parse import quote

from .transport import Receive, log

__all__ = ["UnixTransport", "key_of"]

LOOK_EVERY = 1.0
"""Seconds between two looks for new processes. A new one is also found when it connects."""
LONGEST_PATH = 100
"""Bytes of a socket's path that every system accepts."""
MOST_WAITING = 2**23
"""Bytes that wait for one process. It gets no further message until they are fewer."""


class UnixTransport:
    """A directory with the sockets of a channel. See :class:`slotwise.peers.Transport`."""

    max_message: int = 2**22

    def __init__(
        self, directory: str | os.PathLike[str], *, channel: str = "default",
        look_every: float = LOOK_EVERY,
    ) -> None:
        if not hasattr(asyncio, "start_unix_server"):
            raise ValueError("this system has no Unix sockets for asyncio: use Redis or NATS")
        # The same signs stay as in encodeURIComponent of JavaScript.
        encoded = quote(channel, safe="!~*'()")
        self._folder = Path(directory) / f"channel-{encoded}"
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}.sock"
        self._path = self._folder / self._name
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            raise ValueError(
                f"the path {str(self._path)!r} of a socket must have at most {LONGEST_PATH} bytes: "
                "use a shorter directory"
            )
        self._look_every = look_every
        self._receive: Receive = lambda message: None
        self._server: asyncio.Server | None = None
        self._look: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._others: dict[str, asyncio.StreamWriter] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self.dropped: int = 0
        """Messages that were not sent to one of the processes."""

    @property
    def connected(self) -> bool:
        """Whether this process can be reached by others."""
        return self._server is not None and self._server.is_serving()

    async def start(self, receive: Receive) -> None:
        """Listens, and connects to all processes that listen now.

        Raises ``OSError`` if the directory cannot be used.
        """
        self._receive = receive
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The socket gets its name once it listens: another process would remove it before.
        hidden = self._path.with_suffix(".new")
        self._server = await asyncio.start_unix_server(self._accept, hidden)
        hidden.rename(self._path)
        await self._find()
        self._look = asyncio.create_task(self._watch())

    def broadcast(self, message: bytes) -> None:
        """Sends a message to each process, unless too many bytes wait for it."""
        framed = len(message).to_bytes(4, "big") + message
        for name, writer in list(self._others.items()):
            if writer.is_closing():
                self._forget(name)
            elif writer.transport.get_write_buffer_size() > MOST_WAITING:
                self.dropped += 1
            else:
                writer.write(framed)

    async def close(self) -> None:
        """Closes the connections, after what waits was sent, and removes the socket."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for writer in self._others.values():
            writer.close()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._others.clear()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_every):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._find()
            except OSError as error:
                log.warning("%s cannot be listed: %s", self._folder, error)

    async def _find(self) -> None:
        """Connects to processes that are new, and removes sockets without a listener."""
        for name in os.listdir(self._folder):
            known = self._others.get(name)
            if not name.endswith(".sock") or name == self._name:
                continue
            if known is not None and not known.is_closing():
                continue
            path = self._folder / name
            try:
                reader, writer = await asyncio.open_unix_connection(path)
            except ConnectionRefusedError:
                # Its process was killed. Names are never used twice.
                path.unlink(missing_ok=True)
            except OSError:
                continue
            else:
                self._others[name] = writer
                self._spawn(self._until_closed(name, reader))

    async def _until_closed(self, name: str, reader: asyncio.StreamReader) -> None:
        """Waits for the end of a connection that only this process writes to."""
        with contextlib.suppress(OSError):
            await reader.read(1)
        self._forget(name)

    def _forget(self, name: str) -> None:
        if (writer := self._others.pop(name, None)) is not None:
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A process that connects is new here.
        self._wanted.set()
        self._spawn(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                if length > self.max_message:
                    log.warning("a process sent a message of %d bytes: it is closed", length)
                    return
                self._receive(await reader.readexactly(length))
        except (OSError, asyncio.IncompleteReadError):
            pass  # The other process has ended.
        finally:
            writer.close()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)


def key_of(directory: str | os.PathLike[str]) -> bytes:
    """The key that the processes of a directory share. The first one to ask makes it.

    Only this user can read the file, as only this user can reach the sockets.
    """
    folder = Path(directory)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "key"
    hidden = folder / f"key.{os.getpid()}-{secrets.token_hex(4)}"
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes().strip()
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(secrets.token_hex(32).encode())
    with contextlib.suppress(FileExistsError):
        # A link is made whole or not at all: all processes read one key.
        os.link(hidden, path)
    hidden.unlink()
    return path.read_bytes().strip()
