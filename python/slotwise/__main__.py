"""The command ``slotwise``: checks, prints and compares files of a configuration.

``slotwise config check FILE`` exits with 0 if the file is valid, else with 1 and one line for each
problem. A wrong call exits with 2. The command of the Node package prints the same.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from .configuration import Configuration

__all__ = ["main"]

_USAGE = """\
usage: slotwise config check FILE    reports problems, and what has no effect
       slotwise config print FILE    prints the file without defaults
       slotwise config diff OLD NEW  prints what differs; exits with 1 if anything does
       slotwise config schema        prints the JSON Schema of the own file

A file - is the standard input.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "-h" in words or "--help" in words:
        return _print(_USAGE)
    try:
        match words:
            case ["config", "check", file]:
                return _check(file)
            case ["config", "print", file]:
                return _print(_load(file).text())
            case ["config", "diff", old, new]:
                return _diff(old, new)
            case ["config", "schema"]:
                return _print(f"{Configuration.schema()}\n")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stderr.write(_USAGE)
    return 2


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


def _load(name: str) -> Configuration:
    """Reads a file. Raises ``ValueError`` for what is wrong with it."""
    try:
        return Configuration(_bytes(name).decode(), name=name)
    except UnicodeDecodeError:
        raise ValueError(f"{name}: must be UTF-8") from None


def _bytes(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise ValueError(f"{name}: cannot be read: {code}") from None


def _print(text: str) -> int:
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
