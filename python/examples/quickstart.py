"""Routes one streaming request: python quickstart.py http://10.0.0.1:8000 http://10.0.0.2:8000"""

import asyncio, sys
import httpx, slotwise.aio

async def main() -> None:
    scheduler = slotwise.aio.Scheduler()
    for url in sys.argv[1:]:
        scheduler.add_endpoint(slotwise.Endpoint(url, kv_capacity=422_000))
    prompt = "You are a helpful assistant. What is a prefix cache?"
    body = {"model": "llama-3.1-8b", "prompt": prompt, "stream": True}
    lease = await scheduler.acquire(prompt, model="llama-3.1-8b")
    async with httpx.AsyncClient(timeout=None) as client:
        async with client.stream("POST", f"{lease.name}/v1/completions", json=body) as answer:
            async for chunk in lease.stream(answer.aiter_text()):
                print(chunk, end="")
    assert scheduler.stats().completed == 1

asyncio.run(main())
