"""What several test files need."""

from pathlib import Path

CORE_TESTS = Path(__file__).parents[2] / "crates" / "core" / "tests"
