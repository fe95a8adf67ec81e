"""Another configuration while requests are in flight: when the file changes, and on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import Configuration

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Reloading"]

_log = logging.getLogger("slotwise.gateway")


class Reloading:
    """The file of a gateway's configuration.

    A change is another text than the one that was read last, at first by the gateway itself. So a
    change while the gateway starts is one, and so is a link that was moved, as in Kubernetes.
    """

    def __init__(self, gateway: Gateway, path: str) -> None:
        self._gateway = gateway
        self._path = Path(path)
        self._seen: str | None = gateway.configuration.source

    def reload(self) -> bool:
        """Reads the file and applies it. Returns whether it was applied.

        A file that cannot be read, is invalid or cannot be applied changes nothing. The reason is
        logged, and is in ``Gateway.reload_error``.
        """
        return self._apply(self._read())

    def poll(self) -> bool:
        """Reloads the file if it has changed. Returns whether another file was applied."""
        seen, read = self._seen, self._read()
        return self._seen != seen and self._apply(read)

    async def watch(self, every: float = 1.0) -> None:
        """Polls the file until the task is cancelled."""
        while True:
            await asyncio.sleep(every)
            self.poll()

    def _read(self) -> str | Exception:
        """The text of the file, from which further changes count, or why it cannot be read."""
        try:
            self._seen = self._path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            self._seen = None
            return error
        return self._seen

    def _apply(self, read: str | Exception) -> bool:
        try:
            if isinstance(read, Exception):
                raise read
            configuration = Configuration(read, name=str(self._path))
            changes = self._gateway.configuration.diff(configuration)
            self._gateway.apply(configuration)
        except (OSError, ValueError) as error:
            self._gateway.reload_error = str(error)
            _log.error("%s is not applied: %s", self._path, error)
            return False
        self._gateway.reload_error = None
        _log.info("%s is applied: %s", self._path, "; ".join(map(str, changes)) or "no change")
        return True
