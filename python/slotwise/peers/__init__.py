"""Several gateways, one fleet: what each has in flight and has sent where, for all others.

.. code-block:: python

    from slotwise import peers

    transport = peers.connect("redis://10.0.0.9:6379", channel="llama")
    async with peers.share(scheduler, transport, key=key):
        ...  # serve

All gateways of a pool need the same ``key``, and schedulers with the same seed:
``Config(seed=peers.seed_of(key))``.

===============  ===============================================================
``link``         :class:`PeerLink`: a scheduler's messages, without I/O
``sharing``      :func:`share`: sends and receives them by a transport
``transport``    what a transport is, and :func:`connect`
``redis``        the channels of a Redis server; needs the extra ``redis``
``nats``         the subjects of a NATS server; needs the extra ``nats``
``unix``         sockets in a directory, for the processes of one host
===============  ===============================================================

A transport may lose, repeat and reorder messages. While it has no connection, each gateway counts
its own requests and scraped loads. The chapter "Several gateways" of the manual lists what that
costs.
"""

from __future__ import annotations

from ..errors import PeerError as PeerError
from .link import PeerLimits as PeerLimits
from .link import PeerLink as PeerLink
from .link import PeerLoad as PeerLoad
from .link import PeersStats as PeersStats
from .link import seed_of as seed_of
from .sharing import Sharing as Sharing
from .sharing import share as share
from .transport import Transport as Transport
from .transport import connect as connect

__all__ = [
    "PeerError",
    "PeerLimits",
    "PeerLink",
    "PeerLoad",
    "PeersStats",
    "Sharing",
    "Transport",
    "connect",
    "seed_of",
    "share",
]
