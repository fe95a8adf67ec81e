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
    assert len(files) == 2
    for file in files:
        configuration.Configuration(file)
