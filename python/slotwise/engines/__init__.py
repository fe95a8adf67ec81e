"""What a gateway does beside its requests: scrapes, KV events, health checks, discovery.

.. code-block:: python

    scheduler = slotwise.aio.Scheduler()
    get = engines.httpx_get(client)
    async with (
        engines.discover(scheduler, engines.of_dns("vllm.default.svc", 8000)),
        engines.scrape(scheduler, get),
        engines.subscribe(scheduler, engines.publishers_on(5557, 5558)),
    ):
        ...  # serve

Each helper is an ``async with`` block around a :class:`slotwise.aio.Scheduler`. Its work runs in
the background, on the event loop of the block. Errors of engines go to the scheduler and to the
logger ``slotwise.engines``; they never end a helper. The end of the block ends the work.
"""

from .background import Background as Background
from .background import Sleep as Sleep
from .discovery import Discovery as Discovery
from .discovery import discover as discover
from .draining import drain as drain
from .http import Get as Get
from .http import aiohttp_get as aiohttp_get
from .http import httpx_get as httpx_get
from .probing import Prober as Prober
from .probing import probe as probe
from .scraping import Scraper as Scraper
from .scraping import scrape as scrape
from .sources import Source as Source
from .sources import SrvResolver as SrvResolver
from .sources import of_dns as of_dns
from .sources import of_file as of_file
from .sources import of_list as of_list
from .sources import of_srv as of_srv
from .subscribing import Publisher as Publisher
from .subscribing import Publishers as Publishers
from .subscribing import Subscriber as Subscriber
from .subscribing import publishers_on as publishers_on
from .subscribing import subscribe as subscribe

__all__ = [
    "Background",
    "Discovery",
    "Get",
    "Prober",
    "Publisher",
    "Publishers",
    "Scraper",
    "Sleep",
    "Source",
    "SrvResolver",
    "Subscriber",
    "aiohttp_get",
    "discover",
    "drain",
    "httpx_get",
    "of_dns",
    "of_file",
    "of_list",
    "of_srv",
    "probe",
    "publishers_on",
    "scrape",
    "subscribe",
]
