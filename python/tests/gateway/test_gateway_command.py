"""The command ``python -m slotwise.gateway``, as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from engines import engines
from running import ASKED, CHAT, one_pool, run
from slotwise.gateway.__main__ import main
from slotwise.gateway.settings import parse

ROOT = Path(__file__).parents[3]
MOST_REQUESTS = 1_000
"""More requests than the command serves before it handles a signal that came first."""

COMMAND = [sys.executable, "-P", "-m", "slotwise.gateway"]


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """Runs the command, and provides the lines that it prints until it listens."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode().strip()]
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def address(line: str) -> str:
    found = re.search(r"http://[\d.]+:\d+", line)
    assert found, line
    return found[0]


def test_the_demonstration_answers_the_request_that_it_prints() -> None:
    async def test() -> None:
        async with command("--demo", "--port", "0") as (process, lines):
            assert process.stdout is not None
            shown = (await process.stdout.readline()).decode()
            curl, url, option, body = shlex.split(shown.removeprefix("try: "))
            assert (curl, option) == ("curl", "-d") and url == address(lines[0]) + CHAT
            async with aiohttp.ClientSession() as client:
                form = {"content-type": "application/x-www-form-urlencoded"}
                async with client.post(url, data=body, headers=form) as answer:
                    message = (await answer.json())["choices"][0]["message"]
            assert message["content"] == "You said: Hello"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0

    run(test)


@pytest.mark.parametrize("readme", ["README.md", "python/README.md", "docs/src/python_gateway.md"])
def test_the_documents_begin_with_the_demonstration(readme: str) -> None:
    commands = re.findall(r"^\$ (python .*)", (ROOT / readme).read_text(), flags=re.M)
    assert commands[0] == "python -m slotwise.gateway --demo"
    # Before any example in Python.
    text = (ROOT / readme).read_text()
    assert text.index(commands[0]) < text.index("```python")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_command_that_the_demonstration_prints_works_as_it_is() -> None:
    async def test() -> None:
        async with command("--demo", "--port", "0") as (process, _):
            assert process.stdout is not None
            shown = (await process.stdout.readline()).decode().removeprefix("try: ")
            curl = await asyncio.create_subprocess_shell(
                f"exec {shown.strip()} -s", stdout=asyncio.subprocess.PIPE
            )
            body, _ = await curl.communicate()
            assert json.loads(body)["choices"][0]["message"]["content"] == "You said: Hello"

    run(test)


def test_the_manual_lists_the_options() -> None:
    page = (ROOT / "docs/src/python_gateway.md").read_text()
    with pytest.raises(SystemExit):
        parse([])
    from slotwise.gateway import settings

    source = Path(settings.__file__).read_text()
    for option in re.findall(r'add_argument\(\s*"(--[\w-]+)"', source):
        assert f"`{option}" in page, option


def test_a_stop_signal_finishes_the_stream() -> None:
    async def test() -> None:
        async with engines("slow") as pool:
            async with command("--engines", pool[0].url, "--port", "0") as (process, lines):
                async with aiohttp.ClientSession(address(lines[0])) as client:
                    response = await client.post(CHAT, json=ASKED)
                    assert await response.content.readany()
                    process.send_signal(signal.SIGTERM)
                    pool[0].gate.set()
                    assert (await response.read()).endswith(b"[DONE]\n\n")
                assert await process.wait() == 0

    run(test)


def test_a_hangup_signal_reloads_the_file(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with engines("good", "good") as pool:
            path.write_text(json.dumps(one_pool(pool[:1])))
            async with command("--config", str(path), "--port", "0") as (process, lines):
                path.write_text(json.dumps(one_pool(pool[1:])))
                process.send_signal(signal.SIGHUP)
                async with aiohttp.ClientSession(address(lines[0])) as client:
                    for _ in range(MOST_REQUESTS):
                        async with client.post(CHAT, json=ASKED) as answer:
                            assert answer.status == 200
                            await answer.read()
                        if pool[1].asked:
                            break
                    assert pool[1].asked, "the file was not reloaded"
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0

    run(test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --config, --engines, --discover and --demo is required"),
        (["--demo", "--reload"], "--reload needs --config"),
        (["--demo", "--safety", "nothing:here"], "cannot be imported"),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_wrong_command_line_is_reported(arguments: list[str], message: str) -> None:
    async def test() -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "COLUMNS": "200"},
        )
        printed, errors = await process.communicate()
        assert process.returncode != 0 and not printed
        assert message in errors.decode()

    run(test)


def test_nothing_is_imported_until_the_gateway_is() -> None:
    async def test() -> None:
        code = "import slotwise, slotwise.aio, sys; print('aiohttp' in sys.modules)"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", code, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert printed.decode().strip() == "False"

    run(test)


FREE = ["--engines", "http://127.0.0.1:1", "--port", "0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engines", "foo", "--port", "0"], "'foo' of the pool 'default' must be a URL, such as"),
        ([*FREE, "--port", "99999"], "argument --port: '99999' must be a port"),
        ([*FREE, "--admin", "x"], "argument --admin: 'x' must be a port"),
        ([*FREE, "--kv-events", "1"], "'1' must be two ports, such as 5557,5558"),
        ([*FREE, "--scrape-every", "0"], "'0' must be seconds above 0"),
        ([*FREE, "--discover-every", "x"], "'x' must be seconds above 0"),
        ([*FREE, "--attempts", "0"], "'0' must be a whole number above 0"),
        ([*FREE, "--log-level", "loud"], "invalid choice: 'loud'"),
        ([*FREE, "--engine-key-file", "missing"], "missing cannot be read: No such file"),
        ([*FREE, "--discover", "b=file:x"], "no pool is named 'b'"),
        ([*FREE, "--discover", "dns://x"], "must be dns://HOST:PORT or file:PATH"),
        ([*FREE, "--host", "host.invalid"], "cannot listen on host.invalid:0: "),
        (["--config", "missing.yaml"], "missing.yaml cannot be read: No such file"),
        (["--config", "wrong.yaml"], 'wrong.yaml:1:1: unknown field "endpoint"'),
        (["--config", "wrong.toml"], "wrong.toml:2:1: is not YAML"),
        (["--config", "empty.yaml"], "empty.yaml: is empty; a file has at least one field"),
    ],
)
def test_a_mistake_is_reported_with_its_place(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("endpoint: [a]\n")
    Path("wrong.toml").write_text('[pools]\nname = "x"\n')
    Path("empty.yaml").write_text("")
    try:
        code = main(arguments)
    except SystemExit as exited:
        code = exited.code if isinstance(exited.code, int) else 0
    printed = capsys.readouterr()
    assert code and not printed.out and message in printed.err, printed.err
    assert "Traceback" not in printed.err


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for arguments in (["--port", str(port)], ["--admin", str(port)]):
            assert main([*FREE, *arguments]) == 1
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in (
                capsys.readouterr().err
            )


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "zmq.asyncio", None)
    assert main([*FREE, "--kv-events", "5557,5558"]) == 1
    assert "pip install 'slotwise[kv-events]'" in capsys.readouterr().err
