"""Client libraries of Node in front of two real vLLM servers, through a `fetch` that routes."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from replicas import Replica

HOSTS = Path(__file__).parents[2] / "crates/node/npm/test/hosts"


@pytest.mark.skipif(
    shutil.which("node") is None or not (HOSTS / "node_modules").is_dir(),
    reason="needs Node, and the packages that `make test-node` installs",
)
def test_four_client_libraries_are_served(replicas: list[Replica]) -> None:
    publishers = {one.url: {"events": one.events, "replay": one.replay} for one in replicas}
    environment = {**os.environ, "PUBLISHERS": json.dumps(publishers)}
    ran = subprocess.run(
        ["node", HOSTS / "vllm.mjs"], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["completed"] == report["asked"] and report["failed"] == 0, report
    assert report["cancelled"] == 1 and report["open"] == 0, report
    assert report["pieces"] > 0 and report["stored"] > 0, report
    assert "tiny" in report["models"], report
