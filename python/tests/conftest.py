"""What several test files need."""

from pathlib import Path

CORE_TESTS = Path(__file__).parents[2] / "crates" / "core" / "tests"
WIRE_TESTS = CORE_TESTS.parents[1] / "wire" / "tests"
