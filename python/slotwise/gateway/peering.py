"""Other gateways of the same pools: what each shares, and what this one shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        sharing = peers.share(scheduler, transport, key=self._key, name=self._name, gates=ingress)
        self._shared[USAGE_CHANNEL] = sharing
        return sharing

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

    def pages(self, pools: Iterable[str]) -> Iterator[tuple[str, str]]:
        """The metrics of each link as OpenMetrics text, after its channel: a pool's name, or
        ``/usage``.
        """
        for name in (*pools, USAGE_CHANNEL):
            if (sharing := self._shared.get(name)) is not None:
                yield name, sharing.link.metrics_text()
                yield name, _of_transport(sharing.transport)


def _of_transport(transport: peers.Transport) -> str:
    return f"""\
# TYPE slotwise_gateway_peers_connected gauge
# HELP slotwise_gateway_peers_connected Whether messages can be sent and received.
slotwise_gateway_peers_connected {transport.connected:d}
# TYPE slotwise_gateway_peer_messages_dropped counter
# HELP slotwise_gateway_peer_messages_dropped Messages that made room for newer ones.
slotwise_gateway_peer_messages_dropped_total {transport.dropped}
"""


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
