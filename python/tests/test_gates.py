"""The examples of the gates' page are run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "src" / "gates.md"


def test_the_pages_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, PAGE, "exec"), {})
