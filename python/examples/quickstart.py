"""Routes one streaming request: python quickstart.py http://10.0.0.1:8000 http://10.0.0.2:8000"""

import asyncio, json, sys
import httpx, slotwise.aio

PATH, JSON = "/v1/completions", {"content-type": "application/json"}

async def main() -> None:
    scheduler = slotwise.aio.Scheduler()
    for url in sys.argv[1:]:
        scheduler.add_endpoint(slotwise.Endpoint(url, kv_cache_tokens=422_000))
    prompt = "You are a helpful assistant. What is a prefix cache?"
    body = json.dumps({"model": "llama-3.1-8b", "prompt": prompt, "stream": True}).encode()
    async with httpx.AsyncClient(timeout=None) as client:
        async def send(url: str) -> httpx.Response:
            request = client.build_request("POST", url + PATH, content=body, headers=JSON)
            return await client.send(request, stream=True)
        reply = await scheduler.forward(send, body=body, path=PATH)
        print(reply.status)
        async for chunk in reply:
            print(chunk.decode(), end="")

asyncio.run(main())
