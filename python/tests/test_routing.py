"""The documentation of routing is run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "src" / "routing.md"


def test_the_pages_example_runs() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(examples) == 1
    exec(compile(examples[0], PAGE, "exec"), {})
