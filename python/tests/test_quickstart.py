"""The README's Python quickstart is ``examples/quickstart.py``, and it works: against engines that stream."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import HANG

EXAMPLE = Path(__file__).parents[1] / "examples" / "quickstart.py"


class Engine(BaseHTTPRequestHandler):
    """Answers everything with two chunks."""

    asked: list[object]

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b'data: {"choices":[{"text":"A cache"}]}\n\n')
        self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engines() -> Iterator[list[ThreadingHTTPServer]]:
    Engine.asked = []
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Engine) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()


def test_the_readme_shows_the_example() -> None:
    code = EXAMPLE.read_text().split('"""\n\n', 1)[1].strip()
    assert code in (EXAMPLE.parents[2] / "README.md").read_text()
    assert len(list(filter(None, code.splitlines()))) <= 20


def test_it_routes_a_streaming_request(engines: list[ThreadingHTTPServer]) -> None:
    urls = [f"http://127.0.0.1:{server.server_port}" for server in engines]
    run = subprocess.run([sys.executable, EXAMPLE, *urls], capture_output=True, text=True, timeout=HANG)
    assert run.returncode == 0, run.stderr
    assert '{"text":"A cache"}' in run.stdout and "[DONE]" in run.stdout
    assert [request["prompt"] for request in Engine.asked if isinstance(request, dict)] == [
        "You are a helpful assistant. What is a prefix cache?"
    ]
