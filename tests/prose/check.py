#!/usr/bin/env python3
"""Checks the prose of the repository: Markdown, comments and docstrings. `make lint` runs it.

    tests/prose/check.py                    # all files that git tracks, or would
    tests/prose/check.py docs/src README.md # these files and folders

Prints `file:line: rule: text` for each finding and exits with 1 if there is one. The rules:

- word: pronouns that hide the subject ("the caller" is one word longer and clear)
- verb: a component returns, reports, rejects and records; only people talk
- line: at most 100 columns, except a line that holds one unbreakable address
- sentence: at most 25 words, in Markdown
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COLUMNS = 100
WORDS = 25

MARKDOWN = {".md"}
PYTHON = {".py", ".pyi"}
SLASHES = {".rs", ".ts", ".mts", ".mjs", ".js"}
HASHES = {".toml", ".sh", ".yml", ".yaml"}

# Data, licences and what other programs write.
EXCLUDED = re.compile(
    r"(^|/)(fixtures|vectors|native|record|node_modules|target|dist|\.git)/"
    r"|(^|/)(LICENSE|THIRD_PARTY_NOTICES|Cargo\.lock|Cargo\.toml\.orig)$"
    r"|\.lock\.txt$"
)

BANNED = re.compile(r"\b(nobody|whoever|whomever|somebody|everybody|anybody|those who)\b", re.I)

COMPONENT = (
    r"adapter|addon|answer|body|call|client library|cache|core|counter|decision|dispatch|endpoint"
    r"|engine|error|event|exposition|extractor|field|filter|frame|function|gauge|guard|header"
    r"|histogram|index|lease|library|load report|machine|method|metric|metrics page|module"
    r"|package|page|picker|policy|pool|profile|queue|reader|rejection|report|reply|replica"
    r"|response|scheduler|scorer|server|simulator|slotwise|snapshot|statistic|stream|table"
    r"|trace|vLLM|SGLang|llama\.cpp"
)
SPEECH = r"says?|said|tells?|told|hears?|heard|knows?|knew|speaks?|spoke|believes?|believed"
VERBS = [
    re.compile(rf"\b(?:{COMPONENT})s? (?:itself |never |also |only )?(?:{SPEECH})\b", re.I),
    re.compile(r"\b(?:unless|if|is|are|was|were|be|been|as|until) told\b", re.I),
    re.compile(r"\bspeaks? (?:of|in|HTTP|the)\b", re.I),
    re.compile(r"\b(?:is|are|be) (?:believed|heeded)\b", re.I),
]

ADDRESS = re.compile(r"^[\s/#*>|\-\[\]!:.\w()`\"',<]*https?://\S+$")
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|al|approx)\.", re.I)


class Finding(NamedTuple):
    line: int
    rule: str
    text: str


def check(name: str, text: str) -> list[Finding]:
    """All findings of one file, in order."""
    lines = text.splitlines()
    markdown = Path(name).suffix in MARKDOWN
    prose = list(enumerate(lines, 1)) if markdown else list(comments(name, text))
    found = [*long_lines(lines, None if markdown else prose), *wording(prose)]
    if markdown:
        found += long_sentences(lines)
    return sorted(found)


def long_lines(lines: list[str], prose: list[tuple[int, str]] | None) -> Iterator[Finding]:
    """Lines of Markdown, and lines of code that hold prose. Formatters check other code."""
    numbers = range(1, len(lines) + 1) if prose is None else sorted({line for line, _ in prose})
    for number in numbers:
        line = lines[number - 1].rstrip()
        if len(line) > COLUMNS and not ADDRESS.match(line):
            yield Finding(number, "line", f"{len(line)} columns: {line.strip()[:60]} ...")


def wording(prose: list[tuple[int, str]]) -> Iterator[Finding]:
    """Banned words and verbs, also where a line ends between two words."""
    following = {number: text for number, text in prose}
    for number, text in prose:
        rest = following.get(number + 1, "").strip().lstrip("/!#*> ")
        both = f"{text.rstrip()} {rest}"
        for rule, patterns in (("word", [BANNED]), ("verb", VERBS)):
            for pattern in patterns:
                for found in pattern.finditer(both):
                    if found.start() < len(text.rstrip()):
                        yield Finding(number, rule, found[0])


def comments(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Comments and docstrings with their lines."""
    path = Path(name)
    if path.suffix in PYTHON:
        yield from python_comments(text)
    elif path.suffix in SLASHES:
        yield from marked(text, re.compile(r"(?:^|\s)(//.*|/\*.*|\* .*)$"), "\"'`")
    elif path.suffix in HASHES or path.name == "Makefile":
        yield from marked(text, re.compile(r"(?:^|\s)(#.*)$"), "\"'")


def marked(text: str, comment: re.Pattern[str], quotes: str) -> Iterator[tuple[int, str]]:
    """Comments by their marks: one that starts a line, or follows code without an open quote."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in comment.finditer(line):
            before = line[: found.start(1)]
            starred = found[1].startswith("*")
            closed = all(before.count(quote) % 2 == 0 for quote in quotes)
            if not before.strip() or (closed and not starred):
                yield number, found[1]


def python_comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments, and strings that are statements."""
    starts = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
    before, depth = tokenize.ENCODING, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
            continue
        if token.type == tokenize.STRING and before in starts and depth == 0:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        before = token.type


def long_sentences(lines: list[str]) -> Iterator[Finding]:
    """Sentences of Markdown paragraphs and list items; tables, headings and code hold none."""
    for start, paragraph in paragraphs(lines):
        position = 0
        for sentence in sentences(paragraph):
            words = len(sentence.split())
            if words > WORDS:
                line = start + paragraph.count("\n", 0, position)
                beginning = " ".join(sentence.split())[:60]
                yield Finding(line, "sentence", f"{words} words: {beginning} ...")
            position += len(sentence) + 1


def paragraphs(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Runs of lines that are one paragraph or list item, with their first line."""
    start, block, fence, comment = 1, [], None, False
    for number, line in enumerate([*lines, ""], 1):
        text = line.strip()
        mark = re.match(r"(```+|~~~+)", text)
        if mark and (fence is None or text.startswith(fence)):
            fence = mark[1] if fence is None else None
            text = ""
        elif fence is not None:
            text = ""
        comment = comment or text.startswith("<!--")
        skipped = comment or not text or text[0] in "|#<" or set(text) <= set("-=")
        comment = comment and "-->" not in text
        item = re.match(r"([-*+]|\d+[.)])\s+", text)
        if block and (skipped or item):
            yield start, "\n".join(block)
            block = []
        if not skipped:
            if not block:
                start = number
            block.append(text[item.end() :] if item else text)


def sentences(paragraph: str) -> list[str]:
    """Its sentences, with code and links as the words that a reader sees."""
    plain = re.sub(r"`[^`]*`", lambda code: "code" + "\n" * code[0].count("\n"), paragraph)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    plain = ABBREVIATION.sub(lambda found: found[0].replace(".", ""), plain)
    return re.split(r"(?<=[.!?:])[*_)\"]*\s", plain)


def files(arguments: list[str]) -> Iterator[str]:
    """Files that git tracks, or would, under the given paths."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if arguments:
        listed += ["--", *(str(Path(argument).resolve()) for argument in arguments)]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    kinds = MARKDOWN | PYTHON | SLASHES | HASHES
    for name in sorted(set(filter(None, done.stdout.split("\0")))):
        path = Path(name)
        wanted = path.suffix in kinds or path.name == "Makefile"
        if wanted and not EXCLUDED.search(name) and (ROOT / path).is_file():
            yield name


# Each rule with a text that breaks it and one that keeps it.
CASES = [
    ("a.md", "Whoever calls it waits.\n", ["word"]),
    ("a.md", "The caller waits.\n", []),
    ("a.md", "An endpoint that holds it, and those\nwho wait.\n", ["word"]),
    ("a.rs", "let nobody = 1;\n", []),
    ("a.rs", "let x = 1; // nobody\n", ["word"]),
    ("a.rs", 'let url = "https://nobody"; let y = 2;\n', []),
    ("a.rs", "/// The engine says that it is full.\n", ["verb"]),
    ("a.rs", "/// The engine\n/// tells its load.\n", ["verb"]),
    ("a.rs", "/// The engine reports that it is full. Callers know it.\n", []),
    ("a.py", 'def f():\n    """Nobody calls it."""\n    return "nobody"\n', ["word"]),
    ("a.py", 'x = 1  # 60 s unless told\ny = {\n    "nobody": 1,\n}\n', ["verb"]),
    ("a.ts", "/**\n * Everybody waits.\n */\nconst a = 2 * b;\n", ["word"]),
    ("a.toml", 'name = "nobody" # somebody\n', ["word"]),
    ("Makefile", "test: ## Somebody tests\n", ["word"]),
    ("a.md", "x" * 101 + "\n", ["line"]),
    ("a.md", "- <https://example.com/" + "x" * 100 + ">\n", []),
    ("a.rs", "// " + "x " * 50 + "\n", ["line"]),
    ("a.rs", 'let x = "' + "x" * 100 + '";\n', []),
    ("a.md", "word " * 13 + "\n" + "word " * 13 + "end.\n", ["sentence"]),
    ("a.md", "word " * 13 + "end.\n" + "word " * 13 + "end.\n", []),
    ("a.md", "- " + "word " * 13 + "\n- " + "word " * 13 + "\n", []),
    ("a.md", "```text\n" + "word " * 15 + "\n" + "word " * 15 + "\n```\n", []),
    ("a.md", "| " + "word " * 19 + "|\n| " + "word " * 19 + "|\n", []),
    ("a.md", "`" + "a " * 13 + "`\n`" + "a " * 14 + "` [are](" + "b/" * 9 + ") short.\n", []),
]


def self_test() -> None:
    """The rules find what they should, and nothing else."""
    for name, text, expected in CASES:
        found = [finding.rule for finding in check(name, text)]
        assert found == expected, f"{name}: {text!r} gives {found}, not {expected}"


def main() -> int:
    self_test()
    count = 0
    for name in files(sys.argv[1:]):
        for finding in check(name, (ROOT / name).read_text(encoding="utf-8")):
            print(f"{name}:{finding.line}: {finding.rule}: {finding.text}")
            count += 1
    if count:
        print(f"{count} findings; CONTRIBUTING.md has the rules of prose", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
