#!/usr/bin/env python3
"""Checks what the repository promises about its supply chain. `make lint` runs it.

    tests/supply/check.py             # prints each broken promise; exits with 1 if there is one
    tests/supply/check.py --release   # also rejects placeholders of contact and owner

Every action is pinned by commit, publishing waits for the whole of CI, every package carries its
LICENSE and third-party notices, and every lockfile is watched for updates.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True

import notices  # noqa: E402

ROOT = notices.ROOT

USES = re.compile(r"^\s*(?:-\s+)?uses:\s*(\S+)\s*(.*)$")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
TAG = re.compile(r"# v?\d+(\.\d+)*\S*")

# The jobs of release.yml that write to a registry.
PUBLISHERS = ["crates", "npm", "pypi"]


def read(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def tracked(pattern: str) -> list[str]:
    """Files that git tracks, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.split()


def unpinned_actions() -> Iterator[str]:
    """Each `uses:` is a workflow of this repository, or a commit with its tag as a comment."""
    for path in tracked(".github/*.y*ml"):
        for number, line in enumerate(read(path).splitlines(), 1):
            found = USES.match(line)
            if not found or found[1].startswith("./"):
                continue
            if not PINNED.fullmatch(found[1]):
                yield f"{path}:{number}: {found[1]} is not pinned to a commit"
            elif not TAG.fullmatch(found[2]):
                yield f"{path}:{number}: {found[1]} lacks its tag as a comment"


def jobs(path: str) -> dict[str, str]:
    """The jobs of a workflow by name, as text: YAML without a parser, by indentation."""
    text = read(path).partition("\njobs:\n")[2]
    parts = re.split(r"^  ([\w-]+):[ ]*$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def untested_releases() -> Iterator[str]:
    """Each job that publishes needs `ci`, which calls the whole of ci.yml."""
    if "  workflow_call:\n" not in read(".github/workflows/ci.yml"):
        yield "ci.yml cannot be called by another workflow"
    release = jobs(".github/workflows/release.yml")
    if "uses: ./.github/workflows/ci.yml\n" not in release.get("ci", ""):
        yield "release.yml: the job `ci` does not call ci.yml"
    for name, body in release.items():
        publishes = "environment: release\n" in body or re.search(r"\bpublish\b", body)
        needs = re.search(r"^    needs: (.*)$", body, flags=re.M)
        if publishes and "ci" not in re.findall(r"[\w-]+", needs[1] if needs else ""):
            yield f"release.yml: the job `{name}` publishes without `needs: ci`"
    for name in PUBLISHERS:
        if "environment: release\n" not in release.get(name, ""):
            yield f"release.yml: the job `{name}` is not in the environment `release`"


def missing_licenses() -> Iterator[str]:
    """LICENSE and notices are where each package's build picks them up."""
    license_text = read("LICENSE")
    copies = ["python/LICENSE"]
    for path in tracked("crates/*/Cargo.toml"):
        if tomllib.loads(read(path))["package"].get("publish", True):
            copies.append(str(Path(path).parent / "LICENSE"))
    for copy in copies:
        if not (ROOT / copy).is_file() or read(copy) != license_text:
            yield f"{copy} is not a copy of LICENSE"
    both = {"LICENSE", "THIRD_PARTY_NOTICES"}
    if not both <= set(tomllib.loads(read("python/pyproject.toml"))["project"]["license-files"]):
        yield "python/pyproject.toml: `license-files` lacks one of " + ", ".join(sorted(both))
    package = json.loads(read("crates/node/npm/package.json"))
    if not both <= set(package["files"]) or "LICENSE" not in package["scripts"]["prepack"]:
        yield "crates/node/npm/package.json: `files` or `prepack` lacks LICENSE or the notices"
    if "npm run platforms" not in jobs(".github/workflows/release.yml")["npm"]:
        yield "release.yml: the platforms' npm packages are made without `npm run platforms`"
    for path in notices.stale():
        yield f"{path} is not what Cargo.lock asks for: run tests/supply/notices.py"


def unlisted_crates() -> Iterator[str]:
    """`cargo package` puts LICENSE into each crate that is published."""
    crates = re.findall(r"cargo publish -p ([\w-]+)", read(".github/workflows/release.yml"))
    for crate in crates:
        listed = notices.cargo("package", "--list", "--allow-dirty", "--offline", "-p", crate)
        if "LICENSE" not in listed.split():
            yield f"the package of {crate} lacks LICENSE"


def unwatched_locks() -> Iterator[str]:
    """Dependabot looks at the folder of each lockfile."""
    watched = set(re.findall(r'"(/[^"]*)"', read(".github/dependabot.yml")))
    for pattern in ("*Cargo.lock", "*package-lock.json", "*requirements*.txt", "*pyproject.toml"):
        for path in tracked(pattern):
            folder = "/" + str(Path(path).parent).removeprefix(".")
            if folder not in watched:
                yield f".github/dependabot.yml does not watch {folder} ({path})"


def placeholder_contact() -> Iterator[str]:
    """A release needs an address that reaches the maintainers."""
    if ".invalid" in read("SECURITY.md"):
        yield "SECURITY.md: the contact is still the placeholder"


def placeholder_owner() -> Iterator[str]:
    """A release needs the project's address, which packages and registries link to."""
    if "/OWNER/" in read("Cargo.toml"):
        yield "Cargo.toml: `repository` and `homepage` still have the placeholder OWNER"


def main() -> int:
    checks = [
        unpinned_actions,
        untested_releases,
        missing_licenses,
        unlisted_crates,
        unwatched_locks,
    ]
    if sys.argv[1:] == ["--release"]:
        checks += [placeholder_contact, placeholder_owner]
    elif sys.argv[1:]:
        print(__doc__)
        return 2
    broken = [problem for check in checks for problem in check()]
    print("\n".join(broken) or "supply chain: actions, releases, licenses, lockfiles are in order")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
