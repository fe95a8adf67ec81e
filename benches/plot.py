#!/usr/bin/env python3
"""Draws how costs grow, from records of `make bench-rivals`, as an SVG with log-log axes.

    benches/plot.py RECORD.json [RECORD.json ...] docs/src/scale.svg

Each curve is an index. Two panels show a lookup, against the number of endpoints and against the
blocks of the prompt: private prompts with two holders each, long not asked for. Two more show a
lookup and a stored block against the blocks that endpoints hold. Needs only Python.
"""

import json
import math
import re
import sys

BLOCKS = 2_000_000
PROMPT = 128
ENDPOINTS = 64
WIDTH, HEIGHT, LEFT, TOP, PANEL_W, PANEL_H = 940, 780, 60, 60, 320, 270
COLOURS = ["#d62728", "#1f77b4", "#17becf", "#9467bd", "#2ca02c", "#ff7f0e"]


def curves(record):
    """The four panels: a label, and the points of each contestant by name, in ns."""
    labels = (
        f"lookup: endpoints, {BLOCKS:,} blocks, prompts of {PROMPT}",
        f"lookup: blocks of the prompt, {ENDPOINTS} endpoints",
        "lookup: blocks held",
        "store, a block: blocks held",
    )
    panels = [(label, {}) for label in labels]

    def add(panel, name, x, cell):
        if "median" in cell:
            panels[panel][1].setdefault(name, []).append((x, cell["median"]))

    lookups = rf"(\d+) endpoints, private, two holders, {BLOCKS} blocks, long not asked for"
    for table in record["tables"]:
        for row in table["rows"]:
            for name, cell in zip(table["contestants"], row["cells"], strict=True):
                if not isinstance(cell, dict):
                    continue
                if table["group"] == "scale":
                    held = int(table["title"].split()[0])
                    if row["name"] == "look up a known prompt":
                        add(2, name, held, cell)
                    if row["name"] == "store 128 new blocks, a block":
                        add(3, name, held, cell)
                endpoints = re.match(lookups, table["title"])
                length = re.match(r"(\d+) blocks, full$", row["name"])
                if table["group"] == "lookup" and endpoints and length:
                    if int(length[1]) == PROMPT:
                        add(0, name, int(endpoints[1]), cell)
                    if int(endpoints[1]) == ENDPOINTS:
                        add(1, name, int(length[1]), cell)
    return panels


def scale(values, low, high):
    """Maps values to pixels by their logarithm."""
    first, last = math.log10(min(values)), math.log10(max(values))
    return lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)


def panel(left, top, label, points_of, colour_of):
    """One pair of axes with a curve for each contestant."""
    points = [point for curve in points_of.values() for point in curve]
    xs = sorted({x for x, _ in points})
    limits = (min(y for _, y in points) / 1.2, max(y for _, y in points) * 1.2)
    to_x = scale(xs, left, left + PANEL_W)
    to_y = scale(limits, top + PANEL_H, top)
    yield f'<rect x="{left}" y="{top}" width="{PANEL_W}" height="{PANEL_H}" class="frame"/>'
    for x in xs:
        yield f'<text x="{to_x(x):.1f}" y="{top + PANEL_H + 16}" class="middle">{x:,}</text>'
    for power in range(math.ceil(math.log10(limits[0])), math.floor(math.log10(limits[1])) + 1):
        at = to_y(10**power)
        yield f'<path d="M{left} {at:.1f}h{PANEL_W}" class="grid"/>'
        yield f'<text x="{left - 6}" y="{at + 4:.1f}" class="end">{10**power:,}</text>'
    yield f'<text x="{left}" y="{top - 8}">{label}</text>'
    for name, curve in points_of.items():
        path = "L".join(f"{to_x(x):.1f} {to_y(y):.1f}" for x, y in sorted(curve))
        yield f'<path d="M{path}" stroke="{colour_of[name]}" class="curve"/>'


def draw(record):
    """The whole picture."""
    panels = [(label, points) for label, points in curves(record) if points]
    names = list(dict.fromkeys(name for _, points in panels for name in points))
    colour_of = dict(zip(names, COLOURS, strict=False))
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
    yield (
        "<style>text{font:12px sans-serif;fill:#333}"
        ".middle{text-anchor:middle}.end{text-anchor:end}"
        ".frame{fill:#fff;stroke:#999}.grid{stroke:#ddd}.curve{fill:none;stroke-width:2}</style>"
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
    yield f'<text x="{LEFT}" y="22">ns, out of the cache, {record["date"]}</text>'
    for at, (label, points) in enumerate(panels):
        left = LEFT + at % 2 * (PANEL_W + 70)
        top = TOP + at // 2 * (PANEL_H + 80)
        yield from panel(left, top, label, points, colour_of)
    right = LEFT + 2 * PANEL_W + 70
    for at, name in enumerate(names):
        y = TOP + 14 + 18 * at
        yield f'<path d="M{right + 12} {y - 4}h14" stroke="{colour_of[name]}" class="curve"/>'
        yield f'<text x="{right + 32}" y="{y}">{name}</text>'
    yield "</svg>"


def main():
    """Reads the records and writes the picture."""
    *sources, target = sys.argv[1:]
    records = []
    for source in sources:
        with open(source, encoding="utf-8") as file:
            records.append(json.load(file))
    record = {
        "tables": [table for record in records for table in record["tables"]],
        "date": ", ".join(sorted({record["date"] for record in records})),
    }
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(draw(record)) + "\n")


if __name__ == "__main__":
    main()
