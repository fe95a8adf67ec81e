"""The command ``slotwise``: checks, prints and compares files of a configuration.

``slotwise config check FILE`` exits with 0 if the file is valid, else with 1 and one line for each
problem. ``-`` is the standard input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .configuration import Configuration

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "check":
            return _check(options.file)
        if options.action == "print":
            sys.stdout.write(_load(options.file).text())
        elif options.action == "diff":
            return _diff(options.old, options.new)
        else:
            print(Configuration.schema())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slotwise")
    actions = (
        parser.add_subparsers(required=True)
        .add_parser("config", help="files of a configuration")
        .add_subparsers(dest="action", required=True)
    )
    check = actions.add_parser("check", help="reports problems, and what has no effect")
    check.add_argument("file", metavar="FILE")
    shown = actions.add_parser("print", help="prints the file without defaults")
    shown.add_argument("file", metavar="FILE")
    diff = actions.add_parser("diff", help="prints what differs; exits with 1 if anything does")
    diff.add_argument("old", metavar="OLD")
    diff.add_argument("new", metavar="NEW")
    actions.add_parser("schema", help="prints the JSON Schema of the own file")
    return parser


def _load(name: str) -> Configuration:
    text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    return Configuration(text, name=name)


def _check(name: str) -> int:
    configuration = _load(name)
    for line in configuration.ignored:
        print(line)
    pools = ", ".join(configuration.pools)
    print(f"{name}: valid, with the pools {pools}")
    return 0


def _diff(old: str, new: str) -> int:
    changes = _load(old).diff(_load(new))
    for change in changes:
        print(change)
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main())
