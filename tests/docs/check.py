#!/usr/bin/env python3
"""Checks that the maps, links and addresses of the documentation match the tree.

    tests/docs/check.py           # prints each mismatch; exits with 1 if there is one
    tests/docs/check.py --write   # first copies the project's address into every package

The maps are README's "What is here", docs/src/map.md, docs/src/prefix.md, CONTRIBUTING.md, the
layers in the core's lib.rs, and the tables of files in first comments of modules. Every path that
they name exists, and every folder of the repository and module of the pure crates is on one.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAP = "docs/src/map.md"

# Folders whose modules are all on the map, one by one.
MAPPED = ["crates/core/src", "crates/wire/src", "crates/gateway/src"]

SPAN = re.compile(r"`([^`\s]+)`")
FILE = re.compile(r"[\w./{},*-]+\.(rs|py|pyi|ts|mts|mjs|toml|md|sh|json|yml)$")
TABLE = re.compile(r"^\| (?:file|module) \|.*\n\|[-|: ]+\n((?:\|.*\n?)+)", flags=re.M)
TESTS = re.compile(r"#\[cfg\([^\n]*test[^\n]*\)\]\s*(?:#\[[^\n]*\]\s*)*(?:pub[()\w]* )?mod (\w+)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
INCLUDE = re.compile(r"\{\{#include ([^:}]+)")


def read(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def tracked() -> list[str]:
    """Files that git tracks, or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in done.stdout.splitlines() if (ROOT / path).exists()]


def expanded(path: str) -> list[str]:
    """A path with its alternatives in braces written out."""
    found = re.search(r"\{([^{}]*)\}", path)
    if not found:
        return [path]
    choices = found[1].split(",")
    return [one for choice in choices for one in expanded(path.replace(found[0], choice, 1))]


def exists(path: str, folders: list[str]) -> bool:
    """Whether a path, which may end in a pattern, is in one of the folders."""
    return any(
        any(ROOT.glob(f"{folder}/{path}".strip("/"))) for folder in folders if path.strip("/*")
    )


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def without_code(text: str) -> str:
    """Markdown without its fenced code."""
    return re.sub(r"^(```+).*?^\1\s*$", "", text, flags=re.M | re.S)


def wrong_paths() -> Iterator[str]:
    """Each path that a map names exists."""
    tops = {path.split("/")[0] for path in tracked()}
    here = section(read("README.md"), "What is here")
    for row in re.findall(r"^\| *(`.*?) *\|", here, flags=re.M):
        for path in SPAN.findall(row):
            if not exists(path, [""]):
                yield f"README.md: `{path}` does not exist"
    for page, folders in {
        MAP: ["", "crates"],
        "docs/src/prefix.md": ["", "crates/core/src/prefix", "crates/core/tests/support"],
        "CONTRIBUTING.md": ["", "crates/core/tests", "crates/core/src"],
    }.items():
        for span in SPAN.findall(without_code(read(page))):
            strict = page == MAP and "/" in span and "=" not in span
            rooted = span.split("/")[0] in tops and "/" in span
            for path in expanded(span):
                if (strict or rooted or FILE.fullmatch(path)) and not exists(path, folders):
                    yield f"{page}: `{path}` does not exist"


def missing_paths() -> Iterator[str]:
    """Each folder of the repository, each crate and each module is on its map."""
    files = tracked()
    here = section(read("README.md"), "What is here")
    for top in sorted({path.split("/")[0] for path in files if "/" in path}):
        if not top.startswith(".") and not re.search(rf"`{re.escape(top)}[`/]", here):
            yield f'README.md: "What is here" lacks `{top}`'
    named = {one for span in SPAN.findall(read(MAP)) for one in expanded(span)}
    named = {path.rstrip("/") for path in named}
    for crate in sorted({path.split("/")[1] for path in files if path.startswith("crates/")}):
        if f"crates/{crate}" not in named:
            yield f"{MAP}: lacks `crates/{crate}`"
    for folder in MAPPED:
        modules = {
            path.removeprefix(f"{folder}/").split("/")[0]
            for path in files
            if path.startswith(f"{folder}/") and path.endswith(".rs")
        }
        for module in sorted(modules - {"lib.rs"}):
            if f"{folder}/{module}" not in named:
                yield f"{MAP}: lacks `{folder}/{module}`"


def modules(folder: str) -> set[str]:
    """The modules in a folder, by name."""
    files = [path.removeprefix(f"{folder}/") for path in tracked() if path.startswith(f"{folder}/")]
    return {path.split("/")[0].removesuffix(".rs") for path in files if path.endswith(".rs")}


def wrong_module_maps() -> Iterator[str]:
    """A table of files in the first comment of a module names each file beside it."""
    for path in tracked():
        if not re.match(r"crates/\w+/src/.*(mod|lib)\.rs$", path):
            continue
        comment = "\n".join(re.findall(r"^//! ?(.*)$", read(path), flags=re.M))
        table = TABLE.search(comment)
        if not table:
            continue
        rows = re.findall(r"^\|([^|]*)\|", table[1], flags=re.M)
        named = {name.strip("/").removesuffix(".rs") for row in rows for name in SPAN.findall(row)}
        there = modules(str(Path(path).parent))
        for name in sorted(named - there):
            yield f"{path}: its table names `{name}`, which does not exist"
        for name in sorted(there - named - set(TESTS.findall(read(path))) - {"mod", "lib"}):
            yield f"{path}: its table lacks `{name}`"
    layers = read("crates/core/src/lib.rs").partition("# The layers")[2].partition("//! #")[0]
    for name in sorted(modules("crates/core/src") - {"lib"} - set(re.findall(r"\w+", layers))):
        yield f"crates/core/src/lib.rs: the layers lack `{name}`"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and mdBook make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", without_code(text), flags=re.M):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def broken_links() -> Iterator[str]:
    """Each relative link leads to a file, and to a heading in it."""
    for page in tracked():
        if not page.endswith(".md"):
            continue
        text, folder = read(page), (ROOT / page).parent
        for target in INCLUDE.findall(text):
            if not (folder / target).is_file():
                yield f"{page}: {target} does not exist"
        for link in LINK.findall(without_code(text)):
            if re.match(r"[a-z]+:", link):
                continue
            if page == "python/README.md":
                yield f"{page}: {link} is relative, and PyPI resolves no relative links"
            path, _, anchor = link.partition("#")
            target = folder / path if path else ROOT / page
            if not target.exists():
                yield f"{page}: {link} does not exist"
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                yield f"{page}: {link} has no such heading"


# What looks like a name: words joined by underscores, or by capitals.
NAME = re.compile(r"\b(?:[a-z][a-z0-9]*(?:_[a-z0-9]+)+|[A-Za-z]+[a-z0-9][A-Z][A-Za-z0-9]*)\b")
SOURCES = (".rs", ".py", ".pyi", ".ts", ".mjs", ".toml", ".yml", ".json", ".sh", ".txt")

# Names of other programs, traces and conventions.
FOREIGN = set(
    "no_run camelCase preStop seqN replay_address write_bytes per_request"
    " conversation_trace mooncake_fast25_conversation_trace claude_code_sessions"
    " capacity_utilization flow_control_pool_saturation flow_control_stale_endpoints"
    " AzurePublicDataset bailian_trace burst_gpt_trace mooncake_trace"
    " producer_name target_model_name ContextWindowExceededError"
    " EndpointPickerConfig prefillThroughput"
    # Fields of Kubernetes' HorizontalPodAutoscaler.
    " apiVersion AverageValue averageValue maxReplicas minReplicas scaleTargetRef".split()
)


def unknown_names() -> Iterator[str]:
    """Each name that the manual and the READMEs print as code stands in the code, too."""
    known: set[str] = set()
    pages = []
    for path in tracked():
        if path.endswith(SOURCES) or path.endswith("Makefile"):
            known.update(NAME.findall((ROOT / path).read_text(encoding="utf-8", errors="ignore")))
            known.add(Path(path).stem)
        elif path.endswith(".md") and path != "CHANGELOG.md" and "/record/" not in path:
            pages.append(path)
    endings = {name.partition("endpoint_")[2] for name in known}
    for page in pages:
        text = read(page)
        code = re.findall(r"^```\w.*?^```", text, flags=re.M | re.S)
        code += re.findall(r"`[^`\n]+`", without_code(text))
        for name in sorted({name for part in code for name in NAME.findall(part)}):
            # Names of metrics are compared by the exposition's test.
            counted = name.startswith(("slotwise_", "llm_d_"))
            if not counted and name not in known | FOREIGN | endings:
                yield f"{page}: the code has no `{name}`"


def unlisted_pages() -> Iterator[str]:
    """Each page of the manual is in its table of contents, and names each page once."""
    listed = LINK.findall(read("docs/src/SUMMARY.md"))
    for page in sorted((ROOT / "docs/src").glob("*.md")):
        if page.name != "SUMMARY.md" and listed.count(page.name) != 1:
            yield f"docs/src/SUMMARY.md: {page.name} stands in it {listed.count(page.name)} times"


def repeated_terms() -> Iterator[str]:
    """The glossary has each term once, in order."""
    terms = re.findall(r"^\| ([^|]+?) \|", read("docs/src/glossary.md"), flags=re.M)[2:]
    for term in sorted({term for term in terms if terms.count(term) > 1}):
        yield f"docs/src/glossary.md: {term} stands in it twice"
    for before, after in zip(terms, terms[1:], strict=False):
        if before.lower() > after.lower():
            yield f"docs/src/glossary.md: {after} stands after {before}"


def addresses() -> dict[str, str]:
    """The project's address, from the one place that names it: the workspace's manifest."""
    package = tomllib.loads(read("Cargo.toml"))["workspace"]["package"]
    return {"repository": package["repository"], "homepage": package["homepage"]}


def package_json() -> str:
    """The manifest of the npm package."""
    return "crates/node/npm/package.json"


def npm_addresses(folder: str) -> dict[str, object]:
    """The fields of package.json that hold the address."""
    repository = addresses()["repository"]
    return {
        "homepage": addresses()["homepage"],
        "repository": {"type": "git", "url": f"git+{repository}.git", "directory": folder},
        "bugs": f"{repository}/issues",
    }


def python_addresses() -> dict[str, str]:
    """The table `project.urls` of pyproject.toml."""
    repository = addresses()["repository"]
    return {
        "Homepage": addresses()["homepage"],
        "Documentation": f"{repository}/tree/main/docs/src",
        "Repository": repository,
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }


def write_addresses() -> None:
    """Copies the address into the manifests of the Python and the Node package."""
    path = package_json()
    manifest = {}
    new = npm_addresses(str(Path(path).parent))
    for key, value in json.loads(read(path)).items():
        if key not in new:
            manifest[key] = value
        if key == "license":
            manifest |= new
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (ROOT / path).write_text(text, encoding="utf-8")
    lines = "".join(f'{key} = "{value}"\n' for key, value in python_addresses().items())
    text = re.sub(r"\[project\.urls\]\n(?:\S.*\n)*\n", "", read("python/pyproject.toml"))
    text = text.replace("[project.optional-", f"[project.urls]\n{lines}\n[project.optional-", 1)
    (ROOT / "python/pyproject.toml").write_text(text, encoding="utf-8")


def wrong_addresses() -> Iterator[str]:
    """Each package has the project's address."""
    path = package_json()
    manifest = json.loads(read(path))
    for key, value in npm_addresses(str(Path(path).parent)).items():
        if manifest.get(key) != value:
            yield f"{path}: `{key}` is stale: run tests/docs/check.py --write"
    project = tomllib.loads(read("python/pyproject.toml"))["project"]
    if project.get("urls") != python_addresses():
        yield "python/pyproject.toml: `urls` is stale: run tests/docs/check.py --write"
    for manifest_path in tracked():
        if re.fullmatch(r"crates/\w+/Cargo\.toml", manifest_path):
            package = tomllib.loads(read(manifest_path))["package"]
            if not package.get("publish", True):
                continue
            for key in ("repository", "homepage"):
                if package.get(key) != {"workspace": True}:
                    yield f"{manifest_path}: `{key}.workspace = true` is missing"
            if package.get("documentation") != f"https://docs.rs/{package['name']}":
                yield f"{manifest_path}: `documentation` is not its page on docs.rs"
    owner = addresses()["repository"].split("/")[-2]
    allowed = {"Cargo.toml", path, "python/pyproject.toml", "CONTRIBUTING.md"}
    for page in tracked():
        if page.endswith((".md", ".toml", ".json", ".yml")) and page not in allowed:
            if f"/{owner}/slotwise" in read(page):
                yield f"{page}: repeats the project's address; use a relative link"


def unexplained_dependencies() -> Iterator[str]:
    """CONTRIBUTING has a reason for each dependency of a package, and lists no other."""
    table = section(read("CONTRIBUTING.md"), "Dependencies").partition("| reason |")[2]
    rows = re.findall(r"^\| (`[^|]*) \|", table, flags=re.M)
    listed = {name for row in rows for name in SPAN.findall(row)}
    used: set[str] = set()
    for path in tracked():
        if not re.fullmatch(r"crates/\w+/Cargo\.toml|benches/Cargo\.toml", path):
            continue
        manifest = tomllib.loads(read(path))
        tables = [manifest, *manifest.get("target", {}).values()]
        for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
            names = {name for table in tables for name in table.get(kind, {})}
            used |= names
            for name in sorted(names - listed):
                if not name.startswith("slotwise"):
                    yield f"CONTRIBUTING.md: no reason for {name}, which {path} depends on"
    project = tomllib.loads(read("python/pyproject.toml"))
    extras = project["project"]["optional-dependencies"].values()
    requirements = [*project["build-system"]["requires"], *(one for extra in extras for one in extra)]
    used |= {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    package = json.loads(read(package_json()))
    for kind in ("dependencies", "peerDependencies", "optionalDependencies"):
        names = set(package.get(kind, {}))
        used |= names
        for name in sorted(names - listed):
            yield f"CONTRIBUTING.md: no reason for {name}, which {package_json()} depends on"
    used |= set(json.loads(read("crates/node/npm/test/hosts/package.json"))["dependencies"])
    for name in sorted(listed - used):
        yield f"CONTRIBUTING.md: {name} is no dependency"


def main() -> int:
    if sys.argv[1:] == ["--write"]:
        write_addresses()
    elif sys.argv[1:]:
        print(__doc__)
        return 2
    checks = [
        wrong_paths,
        missing_paths,
        wrong_module_maps,
        broken_links,
        unlisted_pages,
        repeated_terms,
        unknown_names,
        wrong_addresses,
        unexplained_dependencies,
    ]
    broken = [problem for check in checks for problem in check()]
    print("\n".join(broken) or "documentation: maps, links and addresses match the tree")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
