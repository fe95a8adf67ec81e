"""The Python quickstart of the READMEs is ``examples/quickstart.py``.

The example works with engines of all manners.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from engines import CUT_EVENT, DONE, ERROR_EVENT, EVENT, REFUSED_EVENT, Engine, engines

EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart.py"
ROOT = EXAMPLE.parents[2]
WHOLE = (EVENT + EVENT + DONE).decode()


@pytest.mark.parametrize("readme", ["README.md", "python/README.md"])
def test_the_readmes_show_the_example(readme: str) -> None:
    code = EXAMPLE.read_text().split('"""\n\n', 1)[1].strip()
    assert code in (ROOT / readme).read_text()
    assert len(list(filter(None, code.splitlines()))) <= 20


def run(*manners: str | int) -> tuple[int, str, list[Engine]]:
    """Runs the example with engines of these manners.

    Returns its exit status, its output, and the engines.
    """

    async def example() -> tuple[int, str, list[Engine]]:
        async with engines(*("good" if manner == "dead" else manner for manner in manners)) as pool:
            for engine, manner in zip(pool, manners, strict=True):
                if manner == "dead":
                    await engine.stop()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(EXAMPLE),
                *(engine.url for engine in pool),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await process.communicate()
            assert process.returncode is not None
            return process.returncode, printed.decode(), pool

    return asyncio.run(example())


def test_it_routes_a_streaming_request() -> None:
    status, printed, pool = run("good", "good")
    assert (status, printed) == (0, "200\n" + WHOLE), printed
    [body] = [json.loads(body) for engine in pool for body in engine.bodies]
    assert body["prompt"] == "You are a helpful assistant. What is a prefix cache?"
    assert body["stream"] is True


@pytest.mark.parametrize("manner", [404, 429, 500, "dies", "empty", "fails", "dead"])
def test_an_engine_that_does_not_answer_costs_no_request(manner: str | int) -> None:
    status, printed, pool = run(manner, manner, "good")
    assert status == 0 and printed.endswith("200\n" + WHOLE), printed
    assert pool[2].asked == 1
    assert all(engine.asked <= 1 for engine in pool)


@pytest.mark.parametrize(
    ("manner", "last"),
    [
        (400, "400\n{"),
        (500, "500\n{"),
        ("refuses", "200\n" + REFUSED_EVENT.decode()),
        ("error", "200\n" + (EVENT + ERROR_EVENT).decode()),
        ("dead", '503\n{"error"'),
    ],
)
def test_what_no_other_engine_can_answer_reaches_the_client(manner: str | int, last: str) -> None:
    status, printed, _ = run(manner)
    assert status == 0 and last in printed, printed


def test_a_stream_that_breaks_off_ends_with_an_error_event() -> None:
    status, printed, _ = run("breaks")
    assert status == 0 and printed.endswith("200\n" + (EVENT + CUT_EVENT).decode()), printed


def test_the_manual_includes_the_gateway_as_it_is() -> None:
    page = (ROOT / "docs/src/gateway.md").read_text()
    included = re.findall(r"{{#include \.\./\.\./(\S+):(\w+)}}", page)
    assert len(included) == 2
    for path, anchor in included:
        code = (ROOT / path).read_text()
        assert f"# ANCHOR: {anchor}\n" in code and f"# ANCHOR_END: {anchor}\n" in code


def test_the_gateways_are_short() -> None:
    for path in ("python/gateway.py", "node/gateway.mjs", "rust/src/main.rs"):
        lines = (ROOT / "examples" / path).read_text().splitlines()
        assert len(lines) <= 150, path
        assert all(len(line) <= 120 for line in lines), path
