"""An engine of the demonstration as a process of its own: engine_process.py PORT"""

from __future__ import annotations

import asyncio
import sys

from slotwise.gateway.demo import DemoEngine
from slotwise.gateway.server import Listener


async def main(port: int) -> None:
    engine = DemoEngine(token_time=0.002, block_time=0.0)
    listener = Listener(("127.0.0.1", port), engine.handle, max_body=2**20)
    host, bound = await listener.start()
    print(f"http://{host}:{bound}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
