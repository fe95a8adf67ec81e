"""The metrics page: the metrics of every pool under its name, and those of the gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aiohttp import web

from .peering import Peering
from .pools import Pool

if TYPE_CHECKING:
    from .gateway import Gateway

__all__ = ["CONTENT_TYPE", "metrics_page", "render"]

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def metrics_page(gateway: Gateway) -> web.Response:
    """The page of a gateway as an answer."""
    text = render(gateway.pools, gateway.statuses, gateway.open_requests, gateway.peering)
    return web.Response(body=text.encode(), headers={"content-type": CONTENT_TYPE})


def render(
    pools: Iterable[Pool],
    statuses: Counter[int],
    open_requests: int,
    peering: Peering | None = None,
) -> str:
    """The page as OpenMetrics text. Each metric of a scheduler gets the label ``pool``."""
    families: dict[str, list[str]] = {}
    names: list[str] = []
    for pool in pools:
        names.append(pool.name)
        _add(families, pool.scheduler.metrics_text(), _escaped(pool.name))
    if peering is not None:
        for channel, text in peering.pages(dict.fromkeys(names)):
            _add(families, text, _escaped(channel))
    lines = [line for family in families.values() for line in family]
    lines += [
        "# TYPE slotwise_gateway_requests counter",
        "# HELP slotwise_gateway_requests Requests to APIs that were answered, by status.",
        *(
            f'slotwise_gateway_requests_total{{status="{status}"}} {count}'
            for status, count in sorted(statuses.items())
        ),
        "# TYPE slotwise_gateway_open_requests gauge",
        "# HELP slotwise_gateway_open_requests Requests to APIs whose answer has not ended.",
        f"slotwise_gateway_open_requests {open_requests}",
    ]
    lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _add(families: dict[str, list[str]], text: str, pool: str) -> None:
    """Adds the samples of a pool to their families. Descriptions are added once."""
    family: list[str] = []
    known = False
    for line in text.splitlines():
        if line == "# EOF":
            return
        if line.startswith("# "):
            name = line.split(" ", 3)[2]
            if not family or family is not families.get(name):
                known = name in families
                family = families.setdefault(name, [])
            if not known:
                family.append(line)
            continue
        family.append(_labelled(line, pool))


def _labelled(sample: str, pool: str) -> str:
    """A sample with the label ``pool``."""
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{pool="{pool}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{pool="{pool}"}} {value}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
