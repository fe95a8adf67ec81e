"""A gateway for model servers, compatible with the OpenAI and Anthropic APIs.

.. code-block:: console

    $ pip install 'slotwise[gateway]'
    $ python -m slotwise.gateway --demo
    $ python -m slotwise.gateway --engines http://10.0.0.1:8000,http://10.0.0.2:8000
    $ python -m slotwise.gateway --config gateway.yaml --reload

A program runs it as a context manager:

.. code-block:: python

    from slotwise.configuration import Configuration
    from slotwise.gateway import Gateway

    async with Gateway(Configuration("endpoints: [http://10.0.0.1:8000]")) as gateway:
        print(gateway.url)

One request passes these files:

====================  ==================================================================
``server``            sockets and paths
``serving``           one request: identify, admit, ask, send, settle
``safety``            checks of prompts and answers by a function of the host
``upstream``          HTTP to engines
``mirrors``           copies of requests for other pools
``failures``          errors in the format of the client's API
``pools``             one scheduler for each pool of the configuration
``following``         metrics pages of engines
``peering``           other gateways of the same pools
``reloading``         another configuration while requests are in flight
``workers``           several processes that serve one port
``history``, ``admin``  the last decisions, and the page that shows them
====================  ==================================================================

The package needs aiohttp, and nothing else in ``slotwise`` imports it.
"""

from __future__ import annotations

try:
    import aiohttp as _aiohttp  # noqa: F401
except ImportError as _error:
    raise ImportError(
        "slotwise.gateway needs aiohttp: pip install 'slotwise[gateway]'", name=_error.name
    ) from _error

from .gateway import Gateway
from .safety import Block, SafetyFunction, Verdict
from .settings import Settings

__all__ = ["Block", "Gateway", "SafetyFunction", "Settings", "Verdict"]
