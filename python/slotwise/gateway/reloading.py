"""Another configuration while requests are in flight: when the file changes, and on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..configuration import Configuration

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["Reloading"]

_log = logging.getLogger("slotwise.gateway")


class Reloading:
    """The file of a gateway's configuration."""

    def __init__(self, gateway: Gateway, path: str) -> None:
        self._gateway = gateway
        self._path = Path(path)
        self._seen = _state(self._path)

    def reload(self) -> bool:
        """Reads the file and applies it. Returns whether it was applied.

        A file that cannot be read, is invalid or cannot be applied changes nothing. The reason is
        logged, and is in ``Gateway.reload_error``.
        """
        self._seen = _state(self._path)
        try:
            text = self._path.read_text(encoding="utf-8")
            configuration = Configuration(text, name=str(self._path))
            changes = self._gateway.configuration.diff(configuration)
            self._gateway.apply(configuration)
        except (OSError, ValueError) as error:
            self._gateway.reload_error = str(error)
            _log.error("%s is not applied: %s", self._path, error)
            return False
        self._gateway.reload_error = None
        _log.info("%s is applied: %s", self._path, "; ".join(map(str, changes)) or "no change")
        return True

    def poll(self) -> bool:
        """Reloads the file if it has changed. Returns whether another file was applied."""
        return _state(self._path) != self._seen and self.reload()

    async def watch(self, every: float = 1.0) -> None:
        """Polls the file until the task is cancelled."""
        while True:
            await asyncio.sleep(every)
            self.poll()


def _state(path: Path) -> tuple[int, int, int] | None:
    """What differs after a change, also if the file is a link that was moved, as in Kubernetes."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
