"""The command ``python -m slotwise.gateway``. See :mod:`slotwise.gateway`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from .demo import demo_engines, first_request
from .gateway import Gateway
from .reloading import Reloading
from .settings import configuration_of, parse, settings_of
from .workers import LISTENS, stop_with_parent, supervise

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a gateway until SIGTERM or SIGINT, and returns its exit code."""
    options = parse(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s %(message)s")
    try:
        if options.workers > 1 and options.worker is None:
            words = sys.argv[1:] if arguments is None else arguments
            return asyncio.run(supervise(options, words))
        asyncio.run(_run(options))
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    except (ImportError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _run(options: argparse.Namespace) -> None:
    async with _engines(options):
        settings = settings_of(options)
        async with Gateway(configuration_of(options), settings) as gateway:
            # A signal may come as soon as the gateway reports that it listens.
            stopped, reloading = _handle_signals(gateway, options)
            if options.worker is not None:
                await stop_with_parent(stopped)
            print(f"{LISTENS} {gateway.url}", flush=True)
            if gateway.admin_url is not None:
                print(f"admin page: {gateway.admin_url}", flush=True)
            if options.demo:
                print(first_request(gateway.url), flush=True)
            # What exists now stays, so no collection need scan it again.
            gc.freeze()
            await _serve(stopped, reloading if options.reload else None)


@asynccontextmanager
async def _engines(options: argparse.Namespace) -> AsyncIterator[None]:
    """The engines of a demonstration, if it is one."""
    if not options.demo:
        yield
        return
    async with demo_engines() as urls:
        options.engines = ",".join(urls)
        yield


def _handle_signals(
    gateway: Gateway, options: argparse.Namespace
) -> tuple[asyncio.Event, Reloading | None]:
    """Handles signals: the event of a signal to stop, and the file that SIGHUP reloads."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopped.set)
    if options.config is None:
        return stopped, None
    reloading = Reloading(gateway, options.config)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reloading.reload)
    return stopped, reloading


async def _serve(stopped: asyncio.Event, reloading: Reloading | None) -> None:
    """Waits for a signal to stop, and polls the file of the configuration meanwhile."""
    watch = asyncio.create_task(reloading.watch()) if reloading is not None else None
    await stopped.wait()
    if watch is not None:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch


if __name__ == "__main__":
    sys.exit(main())
