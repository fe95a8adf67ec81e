"""The size of the wheel."""

import os
import zlib
from importlib.metadata import files
from pathlib import Path

import pytest

#: Bytes that a wheel may have.
LIMIT = 2_500_000


def test_the_wheel_is_small() -> None:
    installed = [Path(str(file.locate())) for file in files("slotwise") or ()]
    contents = [file.read_bytes() for file in installed if file.suffix != ".pyc"]
    # Continuous integration installs no other module than the one that is published.
    if max(map(len, contents)) > 4 * LIMIT and "CI" not in os.environ:
        pytest.skip("built for debugging")
    # A wheel compresses each of its files by itself.
    size = sum(len(zlib.compress(content, 9)) for content in contents)
    assert size <= LIMIT
