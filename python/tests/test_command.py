"""The command ``slotwise config``."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from slotwise.__main__ import main
from slotwise.configuration import Configuration

PAGE = Path(__file__).parents[2] / "docs" / "src" / "configuration.md"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("endpoints: [http://a]\n")
    new.write_text("endpoints: [http://a]\nmodels: [llama]\n")
    return str(old), str(new)


def test_a_valid_file_is_0(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", files[0]]) == 0
    assert capsys.readouterr().out == f"{files[0]}: valid, with the pools default\n"


def test_an_invalid_file_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("endpoint: [a]\n")
    assert main(["config", "check", str(file)]) == 1
    problem = 'unknown field "endpoint"; did you mean "endpoints"?'
    assert capsys.readouterr().err == f"{file}:1:1: {problem}\n"
    assert main(["config", "check", str(tmp_path / "none.yaml")]) == 1


def test_files_are_printed_and_compared(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "print", files[0]]) == 0
    assert capsys.readouterr().out == Configuration("endpoints: [http://a]").text()
    assert main(["config", "diff", files[0], files[0]]) == 0
    assert main(["config", "diff", *files]) == 1
    assert capsys.readouterr().out == 'pools[default].models: default -> ["llama"]\n'


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-P", "-m", "slotwise", "config", "check", "-"]
    run = subprocess.run(command, input="{}", capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "-: valid, with the pools default\n")


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
