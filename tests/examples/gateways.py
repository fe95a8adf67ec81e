"""Gateways as processes, each on a free port that it prints on its first line.

``python``, ``node`` and ``rust`` are examples. ``slotwise-python`` and ``slotwise-node`` are the
gateways of the packages: ``python -m slotwise.gateway`` and ``npx slotwise-gateway``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import client

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CHAT = {"content-type": "application/json", "authorization": "Bearer key-chat"}
ADMIN = {"authorization": "Bearer key-admin"}
PATH = "/v1/chat/completions"
SCRAPE_EVERY = "0.05"


def command(language: str) -> list[str]:
    """The command that starts a gateway. ``make test-examples`` builds what it needs."""
    if language == "slotwise-python":
        return [sys.executable, "-P", "-m", "slotwise.gateway"]
    if language == "slotwise-node":
        # By this link, the package finds the `zeromq` that is installed beside it.
        linked = EXAMPLES / "node/node_modules/slotwise/dist/gateway/command.js"
        links = ["--preserve-symlinks", "--preserve-symlinks-main"]
        return [shutil.which("node") or "node", *links, str(linked)]
    if language == "python":
        return [sys.executable, str(EXAMPLES / "python/gateway.py")]
    if language == "node":
        return [shutil.which("node") or "node", str(EXAMPLES / "node/gateway.mjs")]
    target = Path(os.environ.get("SLOTWISE_EXAMPLES_TARGET", EXAMPLES / "rust/target"))
    return [str(target / "debug/example-gateway")]


class Gateway:
    """The process of an example gateway, and requests to it."""

    kind = "example"
    health = "/health"
    """Whether the gateway has an engine."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.url = ""
        self.log = tempfile.TemporaryFile()
        self._process: asyncio.subprocess.Process | None = None
        self._sent = 0

    async def start(self, engines: list[str], kv_events: str) -> None:
        """Starts it with these engines. ``kv_events`` has the sockets of one: URL=EVENTS,REPLAY."""
        await self._spawn("--engines", ",".join(engines), "--kv-events", kv_events)
        self.url = await self._printed_url()

    async def _spawn(self, *arguments: str) -> None:
        words = [*command(self.language), *arguments, "--port", "0", "--scrape-every", SCRAPE_EVERY]
        # Its log is shown if the run goes wrong.
        self._process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=self.log
        )

    async def _printed_url(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        found = re.search(r"http://\S+", line)
        assert found is not None, f"the gateway did not start: {line!r}"
        return found[0]

    async def ended(self) -> int:
        """The exit status, when the process is over."""
        assert self._process is not None
        return await self._process.wait()

    def last_log(self) -> str:
        """The end of what the gateway wrote to its log."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4_000:]

    def terminate(self) -> None:
        """Sends SIGTERM, as a deployment of a new version does."""
        assert self._process is not None
        self._process.terminate()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def chat(self, headers: dict[str, str] | None = None, body: bytes | None = None) -> client.Request:
        """Sends a chat request with a new prompt, which is in no cache."""
        self._sent += 1
        asked = {"model": "m", "messages": [{"role": "user", "content": f"{self._sent} bottles"}], "stream": True}
        return client.start(self.url + PATH, "POST", body or json.dumps(asked).encode(), {**CHAT, **(headers or {})})

    async def admin(self, verb: str, engine: str, headers: dict[str, str] | None = None) -> client.Response:
        return await client.ask(f"{self.url}/admin/{verb}?engine={engine}", "POST", headers=ADMIN if headers is None else headers)

    async def metric(self, name: str) -> float:
        """A sample of the gateway's page, by its name and labels; 0 if there is none."""
        page = (await client.ask(f"{self.url}/metrics")).body.decode()
        # The gateways of the packages name the pool, too.
        page = page.replace('{pool="default"}', "").replace('pool="default",', "")
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def dispatched(self, engine: str) -> int:
        """Requests that were dispatched to an engine, by the gateway's count."""
        return int(await self.metric(f'slotwise_endpoint_dispatched_requests_total{{endpoint_name="{engine}"}}'))

    async def stored_tokens(self, engine: str) -> int:
        """Tokens in an engine's cache, from its KV events."""
        return int(await self.metric(f'slotwise_endpoint_stored_tokens{{endpoint_name="{engine}"}}'))

    async def in_flight(self) -> int:
        return int(await self.metric("slotwise_in_flight_requests"))

    async def pool(self) -> int:
        return int(await self.metric('slotwise_endpoints{state="active"}'))


class PackageGateway(Gateway):
    """A gateway of a package: engines come from a file, and operators use the admin page."""

    kind = "package"
    health = "/ready"

    def __init__(self, language: str) -> None:
        super().__init__(language)
        self.admin_url = ""
        self._folder = tempfile.TemporaryDirectory()
        self._engines: list[str] = []

    async def start(self, engines: list[str], kv_events: str) -> None:
        self._engines = list(engines)
        ports = ",".join(re.findall(r"tcp://[^,]*:(\d+)", kv_events))
        self.configure()
        await self._spawn("--config", str(self._file), "--admin", "0", "--kv-events", ports)
        self.url = await self._printed_url()
        self.admin_url = (await self._printed_url()).rstrip("/")

    @property
    def _file(self) -> Path:
        return Path(self._folder.name) / "gateway.json"

    def configure(self, **more: object) -> None:
        """Writes the file, and has it read if the gateway runs."""
        key = {"name": "chat", "sha256": hashlib.sha256(b"key-chat").hexdigest()}
        content = {"endpoints": self._engines, "gates": {"keys": [key]}, **more}
        self._file.write_text(json.dumps(content))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    async def state(self) -> dict[str, object]:
        """What the admin page shows."""
        shown: dict[str, object] = json.loads((await client.ask(f"{self.admin_url}/state.json")).body)
        return shown

    async def admin(self, verb: str, engine: str, headers: dict[str, str] | None = None) -> client.Response:
        if verb == "add":
            self._engines.append(engine)
        elif verb == "remove":
            self._engines.remove(engine)
        else:
            action = json.dumps({"pool": "default", "endpoint": engine, "action": verb}).encode()
            sent = {"content-type": "application/json"} if headers is None else headers
            return await client.ask(f"{self.admin_url}/endpoint", "POST", action, sent)
        self.configure()
        return client.Response(200, whole=True)


def gateway_of(language: str) -> Gateway:
    return PackageGateway(language) if language.startswith("slotwise-") else Gateway(language)


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Waits until the condition holds. Its only time limit is that of the whole run."""
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        await asyncio.sleep(0.002)
