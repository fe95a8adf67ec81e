"""Models under other names, canaries, mirrors and fallback pools at the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from engines import EVENT, Engine, engines
from fake_time import Time
from running import ASKED, CHAT, run, serving
from slotwise.gateway.demo import DemoEngine
from slotwise.gateway.server import Listener


def pools(**engines_of: Engine) -> list[dict[str, Any]]:
    return [
        {"name": name, "models": [name], "endpoints": [engine.url], "scheduler": {"seed": 1}}
        for name, engine in engines_of.items()
    ]


def model_of(engine: Engine) -> list[str]:
    return [json.loads(body)["model"] for body in engine.bodies]


def split(pool: str, name: str, **targets: int) -> dict[str, Any]:
    weighted = [{"model": model, "weight": weight} for model, weight in targets.items()]
    return {"name": name, "pool": pool, "rules": [{"models": [name], "targets": weighted}]}


def test_a_model_is_rewritten_and_its_name_is_put_back() -> None:
    async def test() -> None:
        listener = Listener(("127.0.0.1", 0), DemoEngine(token_time=0).handle, max_body=2**20)
        host_name, port = await listener.start()
        configuration = {
            "pools": [
                {
                    "name": "default",
                    "models": ["demo"],
                    "endpoints": [f"http://{host_name}:{port}"],
                }
            ],
            "rewrites": [split("default", "chat", demo=1)],
        }
        async with serving(configuration) as host:
            asked = {**ASKED, "model": "chat"}
            whole = await host.whole({**asked, "stream": False})
            assert whole.json["model"] == "chat"
            streamed = await host.whole(asked)
            assert b'"chat"' in streamed.body and b'"demo"' not in streamed.body
            message = await host.whole({**asked, "max_tokens": 9}, "/v1/messages")
            assert b'"demo"' not in message.body and b"message_stop" in message.body
            unknown = await host.whole({**asked, "model": "gpt"})
            assert unknown.status == 404
            assert "'chat' or 'demo'" in unknown.json["error"]["message"]
            async with host.client.get("/v1/models") as models:
                assert [one["id"] for one in (await models.json())["data"]] == ["chat", "demo"]
        await listener.close()

    run(test)


def test_a_canary_takes_its_share() -> None:
    async def test() -> None:
        async with engines("good") as pool:
            configuration = {
                "pools": [
                    {"name": "default", "models": ["a", "b"], "endpoints": [pool[0].url]}
                ],
                "rewrites": [split("default", "chat", a=90, b=10)],
            }
            async with serving(configuration) as host:
                for _ in range(200):
                    await host.whole({**ASKED, "model": "chat"})
                assert 5 <= model_of(pool[0]).count("b") <= 40

    run(test)


def mirrored(main: Engine, shadow: Engine) -> dict[str, Any]:
    return {
        "pools": pools(m=main, shadow=shadow),
        "rules": [
            {
                "name": "all",
                "backends": [{"pool": "m"}],
                "mirrors": [{"pool": "shadow"}],
            }
        ],
        "rewrites": [split("shadow", "m", shadow=1)],
    }


def test_a_mirror_gets_a_copy_and_never_delays() -> None:
    async def test() -> None:
        async with engines("good", "late") as (main, shadow):
            async with serving(mirrored(main, shadow)) as host:
                answer = await host.whole()
                assert answer.status == 200
                await host.until(lambda: shadow.held == 1)
                assert (model_of(main), model_of(shadow)) == (["m"], ["shadow"])
                shadow.gate.set()
                await host.until(lambda: len(host.gateway.mirrors) == 0)
                assert host.stats("shadow").completed == 1

    run(test)


def test_copies_that_a_pool_has_no_room_for_are_dropped() -> None:
    async def test() -> None:
        async with engines("good", "late") as (main, shadow):
            configured = mirrored(main, shadow)
            configured["pools"][1]["scheduler"] |= {"max_in_flight": 2}
            async with serving(configured) as host:
                answers = await asyncio.gather(*(host.whole() for _ in range(8)))
                assert [answer.status for answer in answers] == [200] * 8
                mirrors = host.gateway.mirrors
                await host.until(lambda: mirrors.dropped == 6 and shadow.held == 2)
                assert host.stats("shadow").queued == 0
                shadow.gate.set()
                await host.until(lambda: len(mirrors) == 0)
                assert host.stats("shadow").completed == 2

    run(test)


def test_a_copy_keeps_the_query_and_names_the_adapter_of_its_target() -> None:
    async def test() -> None:
        async with engines("good", "good") as (main, shadow):
            configured = mirrored(main, shadow)
            configured["pools"][1]["models"] = ["base"]
            configured["pools"][1]["adapters"] = [{"name": "shadow", "base": "base"}]
            async with serving(configured, admin=("127.0.0.1", 0)) as host:
                answer = await host.whole(path=f"{CHAT}?x=1")
                assert answer.status == 200
                await host.until(lambda: host.stats("shadow").completed == 1)
                assert shadow.targets == [f"{CHAT}?x=1"] and model_of(shadow) == ["shadow"]
                [endpoint] = host.stats("shadow").endpoints
                assert endpoint.adapters == ("shadow",)

    run(test)


def test_a_failing_mirror_changes_nothing() -> None:
    async def test() -> None:
        async with engines("good", 500) as (main, shadow):
            async with serving(mirrored(main, shadow)) as host:
                assert (await host.whole()).status == 200
                await host.until(lambda: shadow.asked == 1)
                await host.until(lambda: len(host.gateway.mirrors) == 0)
                await shadow.stop()
                assert (await host.whole()).status == 200

    run(test)


def test_a_fallback_pool_serves_what_the_first_pool_has_no_room_for() -> None:
    async def test() -> None:
        async with engines("late", "good") as (main, spare):
            configured = pools(m=main, spare=spare)
            configured[0]["fallback"] = "spare"
            configured[0]["scheduler"] |= {"max_in_flight": 1, "flow": {"max_requests": 1}}
            configured[1]["models"] = ["m"]
            async with serving({"pools": configured}) as host:
                first = asyncio.ensure_future(host.whole())
                await host.until(lambda: main.held == 1)
                second = asyncio.ensure_future(host.whole())
                queued = host.gateway.pools["m"].scheduler
                await host.until(lambda: queued.queued == 1)
                third = await host.whole()
                assert third.status == 200 and spare.asked == 1
                main.gate.set()
                assert (await first).status == (await second).status == 200
                await main.stop()
                assert (await host.whole()).status == 200
                assert spare.asked == 2

    run(test)


def test_a_rule_limits_the_time_of_a_request(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with engines("late", "slow") as (late, slow):
            rules = [
                {
                    "name": name,
                    "matches": [{"headers": [{"name": "x-pool", "value": name}]}],
                    "backends": [{"pool": name}],
                    "timeout": 5,
                }
                for name in ("late", "slow")
            ]
            async with serving({"pools": pools(late=late, slow=slow), "rules": rules}) as host:

                async def ask(pool: str, path: str = CHAT) -> tuple[int, bytes]:
                    asked = {**ASKED, "model": pool, "max_tokens": 4}
                    headers = {"x-pool": pool}
                    async with host.client.post(path, json=asked, headers=headers) as answer:
                        return answer.status, await answer.read()

                status, body = await ask("late")
                assert (status, json.loads(body)["error"]["code"]) == (504, "request_timeout")
                # After the first byte, an error event ends the stream.
                status, body = await ask("slow")
                event = body.removeprefix(EVENT).removeprefix(b"data: ")
                assert (status, json.loads(event)["error"]["code"]) == (200, "request_timeout")
                _, body = await ask("slow", "/v1/messages")
                assert body.startswith(EVENT + b"event: error\ndata: ")
                assert caplog.text.count("an answer broke off: expired") == 2
                # The engines are not to blame.
                for name, cancelled in (("late", 1), ("slow", 2)):
                    stats = host.stats(name)
                    assert (stats.in_flight, stats.failed, stats.cancelled) == (0, 0, cancelled)

    time.run(test())


def test_models_of_a_pool_without_a_list_come_from_its_engines() -> None:
    async def test() -> None:
        async def engine(request: web.BaseRequest) -> web.Response:
            return web.json_response({"data": [{"id": "x"}]})

        listener = Listener(("127.0.0.1", 0), engine, max_body=2**20)
        name, port = await listener.start()
        async with serving({"endpoints": [f"http://{name}:{port}"]}) as host:
            async with host.client.get("/v1/models") as models:
                body = await models.json()
                assert [one["id"] for one in body["data"]] == ["x"] and body["first_id"] == "x"
            async with host.client.get("/v1/models/x") as model:
                assert (await model.json())["id"] == "x"
            async with host.client.get("/v1/models/y") as model:
                assert model.status == 404
        await listener.close()

    run(test)
