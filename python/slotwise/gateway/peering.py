"""Other gateways of the same pools: what each shares, and what this one shows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .. import Scheduler, peers
from ..ingress import Ingress
from .pools import Pool

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["Peering", "peering_of"]


class Peering:
    """How the pools of a gateway are shared: one channel for each pool, with its name."""

    def __init__(self, url: str, key: bytes, name: str | None) -> None:
        self._url = url
        self._key = key
        self._name = name
        self._shared: dict[str, peers.Sharing] = {}

    @property
    def seed(self) -> int:
        """The seed of pools whose configuration has none."""
        return peers.seed_of(self._key)

    def share(self, pool: Pool) -> peers.Sharing:
        """Shares a pool. Enter the result."""
        transport = peers.connect(self._url, channel=pool.name)
        sharing = peers.share(pool.scheduler, transport, key=self._key, name=self._name)
        self._shared[pool.name] = sharing
        return sharing

    def share_usage(self, ingress: Ingress) -> peers.Sharing:
        """Shares what clients use of their limits. Enter the result.

        The channel is no pool's: pools come and go, and usage must not be lost with them.
        """
        transport = peers.connect(self._url, channel=USAGE_CHANNEL)
        scheduler = Scheduler({"seed": self.seed})
        return peers.share(scheduler, transport, key=self._key, name=self._name, gates=ingress)

    def alive(self, pool: str) -> list[str]:
        """The names of the other gateways of a pool."""
        sharing = self._shared.get(pool)
        return [] if sharing is None else sharing.alive

    def state(self, pool: str) -> dict[str, Any] | None:
        """What the admin page shows of a pool's gateways; ``None`` before it is shared."""
        if (sharing := self._shared.get(pool)) is None:
            return None
        return {
            "name": sharing.name,
            "alive": sharing.alive,
            "connected": sharing.transport.connected,
            "dropped": sharing.transport.dropped,
            "rejections": sharing.rejections,
        }

    def metrics(self, pools: Iterable[str]) -> dict[str, list[tuple[str, float]]]:
        """The metrics of pools: the value of each by the pool, by the name of the metric."""
        families: dict[str, list[tuple[str, float]]] = {name: [] for name, _, _ in METRICS}
        for pool in pools:
            if (sharing := self._shared.get(pool)) is None:
                continue
            counts: dict[str, float] = asdict(sharing.stats())
            loads = [sharing.link.load(endpoint) for endpoint in sharing.scheduler.endpoint_names()]
            counts["in_flight"] = sum(load.prefilling + load.running for load in loads)
            counts["connected"] = float(sharing.transport.connected)
            counts["dropped"] = sharing.transport.dropped
            for name, field, _ in METRICS:
                families[name].append((pool, counts[field]))
        return families


def peering_of(settings: Settings) -> Peering | None:
    """What the settings ask for. Raises ``ValueError`` if they are incomplete."""
    if settings.peers is None:
        return None
    # A URL that cannot be used is reported before its directory gets a key.
    peers.connect(settings.peers)
    key = settings.peers_key
    if key is None and settings.peers.startswith("unix:"):
        from ..peers.unix import key_of

        key = key_of(settings.peers.removeprefix("unix:"))
    if key is None:
        raise ValueError("gateways that share a server need a key: --peers-key-file FILE")
    return Peering(settings.peers, key, settings.name)


USAGE_CHANNEL = "/usage"
"""No pool has this name in a cluster."""

METRICS = [
    ("slotwise_gateway_peers_alive", "alive", "gauge"),
    ("slotwise_gateway_peers_in_flight", "in_flight", "gauge"),
    ("slotwise_gateway_peers_connected", "connected", "gauge"),
    ("slotwise_gateway_peer_messages_sent", "sent", "counter"),
    ("slotwise_gateway_peer_bytes_sent", "sent_bytes", "counter"),
    ("slotwise_gateway_peer_messages_received", "received", "counter"),
    ("slotwise_gateway_peer_bytes_received", "received_bytes", "counter"),
    ("slotwise_gateway_peer_messages_rejected", "rejected", "counter"),
    ("slotwise_gateway_peer_messages_dropped", "dropped", "counter"),
]
"""Names, fields and types of the metrics."""
