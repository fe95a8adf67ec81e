"""The command ``slotwise config``."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slotwise.configuration import Configuration

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "command" / "cases.json"
PAGE = ROOT / "docs" / "src" / "configuration.md"


@pytest.mark.parametrize("case", json.loads(CASES.read_text()), ids=lambda case: case["doc"])
def test_it_does_what_the_command_of_node_does(case: dict[str, Any], tmp_path: Path) -> None:
    for name, text in case.get("files", {}).items():
        (tmp_path / name).write_text(text)
    for name, octets in case.get("bytes", {}).items():
        (tmp_path / name).write_bytes(bytes(octets))
    run = subprocess.run(
        [sys.executable, "-P", "-m", "slotwise", *case["arguments"]],
        cwd=tmp_path,
        input=case.get("stdin", ""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == case.get("code", 0), run.stderr
    for stream, printed in (("stdout", run.stdout), ("stderr", run.stderr)):
        start = case.get(f"{stream}_start")
        if start is None:
            assert printed == case.get(stream, "")
        else:
            assert printed.startswith(start)


def test_the_schema_accepts_the_own_files_of_the_manual() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    schema = json.loads(Configuration.schema())
    page, _ = PAGE.read_text().split("\n## Errors\n")
    own = 0
    for text in re.findall(r"```yaml\n(.*?)```", page, flags=re.S):
        for document in yaml.safe_load_all(text):
            if "apiVersion" not in document:
                jsonschema.validate(document, schema)
                own += 1
    assert own == 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"pols": []}, schema)
