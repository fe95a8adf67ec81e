"""The examples of the manual's pages on routing, clusters and configuration are run."""

import doctest
import re
from pathlib import Path

import pytest
from slotwise import configuration

PAGES = Path(__file__).parents[2] / "docs" / "src"


@pytest.mark.parametrize("page", ["routing.md", "clusters.md", "configuration.md"])
def test_the_example_of_the_manual(page: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), flags=re.S)
    exec(compile(example, page, "exec"), {})


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(configuration).failed == 0


def test_the_files_of_the_manual_are_valid() -> None:
    files = re.findall(r"```yaml\n(.*?)```", (PAGES / "configuration.md").read_text(), flags=re.S)
    valid = [file for file in files if not _problems(file)]
    assert len(valid) >= 2
    # Every other file stands before the problem that it has.
    text = (PAGES / "configuration.md").read_text()
    for file in files:
        for problem in _problems(file).splitlines():
            assert problem.partition(":")[2].split(": ", 1)[1] in " ".join(text.split()), problem


def _problems(file: str) -> str:
    try:
        configuration.Configuration(file)
    except ValueError as error:
        return str(error)
    return ""
