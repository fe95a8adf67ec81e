"""What the command line sets: addresses, limits, and the functions of the host."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from ..configuration import Configuration
from ..engines import Source, of_dns, of_file
from ..values import Connector

if TYPE_CHECKING:
    from .safety import SafetyFunction

__all__ = ["Address", "Claim", "Settings", "configuration_of", "parse", "settings_of"]

Claim: TypeAlias = Literal["priority", "flow", "session", "ttl", "deadline", "objective"]
"""A field of a request that a client may set itself."""

Address: TypeAlias = tuple[str, int]
"""A host and a port; port 0 is a free one."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a gateway needs besides its configuration."""

    address: Address = ("127.0.0.1", 0)
    """Where clients connect."""
    admin: Address | None = None
    """Where the admin page is served; ``None`` serves none. The page has no authentication."""
    allow: tuple[Claim, ...] = ("session",)
    """The claims that a client may make itself: see ``allow`` of ``Scheduler.submit``."""
    attempts: int = 3
    """The largest number of endpoints that one request is sent to."""
    idle_timeout: float | None | EllipsisType = ...
    """The longest time in seconds without a token of an answer; ``None`` is no limit. The default
    is 30 s or ten times the predicted time to the first token, and then 60 s; before a whole
    answer, 600 s."""
    connector: Connector | None = None
    """How disaggregated requests move their KV cache; ``None`` if there are none."""
    safety: SafetyFunction | None = None
    """Judges the texts of prompts and answers."""
    engine_key: str | None = field(default=None, repr=False)
    """The API key that engines require. Keys of clients are never forwarded."""
    max_body: int = 64 * 2**20
    """The largest body of a request in bytes."""
    expected_output: int = 256
    """Tokens that a quota books for an answer if the body has no maximum."""
    mirror_limit: float = 0.8
    """The saturation of a mirror's pool from which on copies are dropped."""
    connect_timeout: float = 5.0
    """Seconds to wait for a connection to an engine."""
    peers: str | None = None
    """Where messages between gateways go: see :func:`slotwise.peers.connect`; ``None`` shares
    nothing."""
    peers_key: bytes | None = field(default=None, repr=False)
    """The key of the gateways. Sockets of one host have one of their own if there is none."""
    name: str | None = None
    """The name of this gateway among its peers."""
    reuse_port: bool = False
    """Whether other processes of this user may listen on the same address."""
    kv_events: tuple[int, int] | None = None
    """The ports on which engines publish KV events, and replay them; ``None`` subscribes to none.
    """
    discover: Mapping[str, Source] = field(default_factory=dict)
    """Where the engines of a pool are listed, by the pool's name, besides its endpoints."""
    discover_every: float = 5.0
    """Seconds between two looks at these lists."""
    scrape_every: float = 1.0
    """Seconds between two metrics pages of an engine."""
    grace: float = 0.0
    """Seconds between a stop signal and the last new connection, for load balancers."""
    drain: float = 300.0
    """The longest time in seconds that requests in flight get after that."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line. Prints the problem and exits if they are invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m slotwise.gateway",
        description="A gateway for model servers, compatible with the OpenAI and Anthropic APIs.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", metavar="FILE", help="the configuration, in YAML or JSON")
    source.add_argument("--engines", metavar="URL[,URL]", help="the engines of a single pool")
    source.add_argument("--demo", action="store_true", help="starts four engines of its own")
    parser.add_argument(
        "--discover", type=_source, action="append", default=[], metavar="[POOL=]SOURCE",
        help="lists engines: dns://HOST:PORT or file:PATH",
    )
    parser.add_argument(
        "--discover-every", type=_seconds, default=Settings.discover_every, metavar="SECONDS"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=_port, default=8080, help="default: %(default)s")
    parser.add_argument("--reload", action="store_true", help="follows changes of the file")
    parser.add_argument(
        "--admin", type=_address, metavar="[HOST:]PORT", help="serves the admin page, unprotected"
    )
    parser.add_argument(
        "--allow", type=_claims, default=("session",), metavar="CLAIM[,CLAIM]",
        help="claims that clients may make; default: session",
    )
    parser.add_argument("--attempts", type=_count, default=3, help="endpoints a request is sent to")
    parser.add_argument(
        "--idle-timeout", type=_limit, default=..., metavar="SECONDS",
        help="the longest time without a token; none: no limit",
    )
    parser.add_argument("--connector", choices=["nixl", "bootstrap", "sidecar"])
    parser.add_argument(
        "--safety", type=_imported, metavar="MODULE:FUNCTION", help="judges prompts and answers"
    )
    parser.add_argument(
        "--engine-key-file", type=_secret, metavar="FILE", help="the key that engines require"
    )
    parser.add_argument("--max-body", type=_count, default=Settings.max_body, metavar="BYTES")
    parser.add_argument(
        "--peers", metavar="URL",
        help="shares loads between gateways: redis://HOST:PORT, nats://HOST:PORT, unix:DIRECTORY",
    )
    parser.add_argument(
        "--peers-key-file", type=_peers_key, metavar="FILE", help="the key that gateways share"
    )
    parser.add_argument("--gateway-name", metavar="NAME", help="default: host, process, random")
    parser.add_argument(
        "--reuse-port", action="store_true", help="lets other processes listen on the same port"
    )
    parser.add_argument(
        "--workers", type=_count, default=1, metavar="COUNT",
        help="processes that serve the port and share their pools; default: %(default)s",
    )
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        "--kv-events", type=_ports, metavar="PORT,PORT",
        help="ports of the engines' KV events and of their replays",
    )
    parser.add_argument(
        "--scrape-every", type=_seconds, default=Settings.scrape_every, metavar="SECONDS"
    )
    parser.add_argument(
        "--grace", type=float, default=Settings.grace, metavar="SECONDS",
        help="time between SIGTERM and the last new connection",
    )
    parser.add_argument(
        "--drain", type=float, default=Settings.drain, metavar="SECONDS",
        help="the longest time that requests in flight get; default: %(default)s",
    )
    parser.add_argument(
        "--log-level", default="warning", type=str.lower, choices=_LEVELS, metavar="LEVEL",
        help=", ".join(_LEVELS),
    )
    options = parser.parse_args(arguments)
    if not (options.config or options.engines or options.demo or options.discover):
        parser.error("one of --config, --engines, --discover and --demo is required")
    if options.reload and options.config is None:
        parser.error("--reload needs --config")
    if options.workers > 1 and options.demo:
        parser.error("--workers needs engines: --demo runs in one process")
    if options.peers and not options.peers_key_file and not options.peers.startswith("unix:"):
        parser.error("--peers by a server needs --peers-key-file")
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of a command line."""
    return Settings(
        address=(options.host, options.port),
        admin=options.admin,
        allow=options.allow,
        attempts=options.attempts,
        idle_timeout=options.idle_timeout,
        connector=options.connector,
        safety=options.safety,
        engine_key=options.engine_key_file,
        max_body=options.max_body,
        peers=options.peers,
        peers_key=options.peers_key_file,
        name=options.gateway_name,
        reuse_port=options.reuse_port,
        kv_events=options.kv_events,
        discover=dict(options.discover),
        discover_every=options.discover_every,
        scrape_every=options.scrape_every,
        grace=options.grace,
        drain=options.drain,
    )


def configuration_of(options: argparse.Namespace) -> Configuration:
    """The configuration of a command line. Raises ``OSError``, or ``ValueError`` if invalid."""
    if options.config is None and options.engines is None:
        return Configuration("pools: [{name: default}]", name="--discover")
    if options.config is None:
        engines = [url.strip().rstrip("/") for url in options.engines.split(",")]
        return Configuration(json.dumps({"endpoints": engines}), name="--engines")
    try:
        text = Path(options.config).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{options.config} cannot be read: {_reason(error)}") from error
    return Configuration(text, name=options.config)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) < 65_536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a port: a number up to 65535")


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above 0")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if 0.0 < seconds < float("inf"):
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} must be seconds above 0")


def _limit(text: str) -> float | None:
    return None if text == "none" else _seconds(text)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", _port(port)


def _source(text: str) -> tuple[str, Source]:
    """A pool's name, and where its engines are listed."""
    pool, equals, source = text.rpartition("=")
    if source.startswith("file:"):
        return pool if equals else "default", of_file(source.removeprefix("file:"))
    url = urlsplit(source)
    if url.scheme != "dns" or url.hostname is None or url.port is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be dns://HOST:PORT or file:PATH")
    return pool if equals else "default", of_dns(url.hostname, url.port)


def _ports(text: str) -> tuple[int, int]:
    events, comma, replays = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"{text!r} must be two ports, such as 5557,5558")
    return _port(events), _port(replays)


def _claims(text: str) -> tuple[str, ...]:
    claims = tuple(filter(None, text.split(",")))
    for claim in claims:
        if claim not in get_args(Claim):
            known = ", ".join(get_args(Claim))
            raise argparse.ArgumentTypeError(f"{claim!r} must be one of {known}")
    return claims


def _secret(name: str) -> str:
    try:
        secret = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{name} cannot be read: {_reason(error)}") from error
    if not secret or not secret.isprintable() or not secret.isascii():
        raise argparse.ArgumentTypeError(f"{name} must hold one line of ASCII text: the key")
    return secret


def _peers_key(name: str) -> bytes:
    try:
        key = Path(name).read_bytes().strip()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{name} cannot be read: {_reason(error)}") from error
    if len(key) < 16:
        raise argparse.ArgumentTypeError(f"{name} must hold a key of at least 16 bytes")
    return key


def _imported(path: str) -> Any:
    """The function at an import path such as ``package.module:function``."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be imported: {error}") from error
    if not callable(found):
        raise argparse.ArgumentTypeError(f"{path!r} must be a function")
    return found


_LEVELS = ("debug", "info", "warning", "error", "critical")
