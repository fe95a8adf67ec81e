#!/usr/bin/env python3
"""Draws how lookups grow, from a record of `make bench-rivals`, as an SVG with log-log axes.

    benches/plot.py benches/record/2026-11-21-epyc-2core-rivals.json docs/src/scale.svg

One panel shows the cost against the number of endpoints, the other against the blocks of the
prompt. Each curve is an index. The blocks are private prompts, two holders each, long not asked
for. Needs only Python.
"""

import json
import math
import re
import sys

BLOCKS = 2_000_000
PROMPT = 128
ENDPOINTS = 64
WIDTH, HEIGHT, LEFT, TOP, PANEL_W, PANEL_H = 940, 400, 60, 40, 320, 290
COLOURS = ["#d62728", "#1f77b4", "#17becf", "#9467bd", "#2ca02c", "#ff7f0e"]


def medians(record):
    """The medians by (endpoints, prompt blocks, contestant), in ns."""
    found = {}
    title = rf"(\d+) endpoints, private, two holders, {BLOCKS} blocks, long not asked for"
    for table in record["tables"]:
        match = re.match(title, table["title"])
        if table["group"] != "lookup" or not match:
            continue
        for row in table["rows"]:
            length = re.match(r"(\d+) blocks, full$", row["name"])
            if not length:
                continue
            for name, cell in zip(table["contestants"], row["cells"], strict=True):
                if cell and cell.get("median"):
                    found[int(match[1]), int(length[1]), name] = cell["median"]
    return found


def scale(values, low, high):
    """Maps values to pixels by their logarithm."""
    first, last = math.log10(min(values)), math.log10(max(values))
    return lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)


def panel(left, label, curves, limits):
    """One pair of axes with a curve for each contestant."""
    xs = sorted({x for points in curves.values() for x, _ in points})
    to_x = scale(xs, left, left + PANEL_W)
    to_y = scale(limits, TOP + PANEL_H, TOP)
    yield f'<rect x="{left}" y="{TOP}" width="{PANEL_W}" height="{PANEL_H}" class="frame"/>'
    for x in xs:
        at = to_x(x)
        yield f'<text x="{at:.1f}" y="{TOP + PANEL_H + 16}" class="middle">{x:,}</text>'
    for power in range(math.ceil(math.log10(limits[0])), math.floor(math.log10(limits[1])) + 1):
        at = to_y(10**power)
        yield f'<path d="M{left} {at:.1f}h{PANEL_W}" class="grid"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" class="end">{10**power:,}</text>'
    middle = left + PANEL_W / 2
    yield f'<text x="{middle}" y="{TOP + PANEL_H + 36}" class="middle">{label}</text>'
    for colour, points in zip(COLOURS, curves.values(), strict=False):
        path = "L".join(f"{to_x(x):.1f} {to_y(y):.1f}" for x, y in points)
        yield f'<path d="M{path}" stroke="{colour}" class="curve"/>'


def draw(record):
    """The whole picture."""
    found = medians(record)
    names = list(dict.fromkeys(name for _, _, name in found))
    by_endpoints, by_length = ({name: [] for name in names} for _ in range(2))
    for (endpoints, length, name), nanos in sorted(found.items()):
        if length == PROMPT:
            by_endpoints[name].append((endpoints, nanos))
        if endpoints == ENDPOINTS:
            by_length[name].append((length, nanos))
    every = [ns for curves in (by_endpoints, by_length) for c in curves.values() for _, ns in c]
    limits = (min(every) / 1.2, max(every) * 1.2)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
    yield (
        "<style>text{font:12px sans-serif;fill:#333}"
        ".middle{text-anchor:middle}.end{text-anchor:end}"
        ".frame{fill:#fff;stroke:#999}.grid{stroke:#ddd}.curve{fill:none;stroke-width:2}</style>"
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    title = f"ns a lookup, cold, {BLOCKS:,} blocks, {record['date']}"
    yield f'<text x="{LEFT}" y="22">{title}</text>'
    yield from panel(LEFT, f"endpoints, prompts of {PROMPT} blocks", by_endpoints, limits)
    right = LEFT + PANEL_W + 70
    yield from panel(right, f"blocks of the prompt, {ENDPOINTS} endpoints", by_length, limits)
    for at, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        y = TOP + 14 + 18 * at
        yield f'<path d="M{right + PANEL_W + 12} {y - 4}h14" stroke="{colour}" class="curve"/>'
        yield f'<text x="{right + PANEL_W + 32}" y="{y}">{name}</text>'
    yield "</svg>"


def main():
    """Reads the record and writes the picture."""
    source, target = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        record = json.load(file)
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(draw(record)) + "\n")


if __name__ == "__main__":
    main()
