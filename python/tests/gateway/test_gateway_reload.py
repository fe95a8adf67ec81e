"""Another configuration while requests are in flight."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from engines import engines
from running import ASKED, one_pool, run, serving
from slotwise.gateway.reloading import Reloading
from slotwise.gateway.server import Listener


def write(path: Path, configuration: Any) -> None:
    path.write_text(
        configuration if isinstance(configuration, str) else json.dumps(configuration)
    )


def test_endpoints_leave_and_join_under_load_and_no_request_is_lost(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with engines("slow", "good", "good") as (old, kept, new):
            write(path, one_pool([old, kept]))
            async with serving(one_pool([old, kept])) as host:
                reloading = Reloading(host.gateway, str(path))
                load = [asyncio.ensure_future(host.whole()) for _ in range(20)]
                await host.until(lambda: old.asked + kept.asked == 20)
                write(path, one_pool([kept, new]))
                assert reloading.poll() and not reloading.poll()
                before = old.asked
                load += [asyncio.ensure_future(host.whole()) for _ in range(20)]
                await asyncio.gather(*load[20:])
                assert old.asked == before and new.asked > 0
                old.gate.set()
                assert [answer.status for answer in await asyncio.gather(*load)] == [200] * 40
                host.gateway.pools.remove_idle()
                names = [one.name for one in host.stats().endpoints]
                assert names == [kept.url, new.url]
                assert host.stats().in_flight == 0 and host.stats().completed == 40

    run(test)


def test_a_bad_file_is_reported_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with engines("good", "good") as pool:
            good = one_pool(pool[:1])
            write(path, good)
            async with serving(good) as host:
                reloading = Reloading(host.gateway, str(path))
                bad: list[Any] = [
                    "endpoint: [x]",
                    "[",
                    {**good, "scheduler": {"kv_limit": 2}},
                    # This field cannot change while the pool serves.
                    {**one_pool(pool), "scheduler": {"seed": 2}},
                ]
                for configuration in bad:
                    write(path, configuration)
                    assert not reloading.reload()
                    assert str(path) in (host.gateway.reload_error or "") or (
                        "seed" in (host.gateway.reload_error or "")
                    )
                    assert [one.name for one in host.stats().endpoints] == [pool[0].url]
                    assert (await host.whole()).status == 200
                path.unlink()
                assert not reloading.reload()
                write(path, one_pool(pool))
                assert reloading.reload() and host.gateway.reload_error is None
                assert len(host.stats().endpoints) == 2

    run(test)


def test_a_pool_that_leaves_serves_its_last_requests(tmp_path: Path) -> None:
    async def test() -> None:
        async with engines("slow", "good") as (old, new):
            before = {"pools": [{"name": "old", "endpoints": [old.url]}]}
            after = {"pools": [{"name": "new", "endpoints": [new.url]}]}
            path = tmp_path / "gateway.json"
            write(path, before)
            async with serving(before) as host:
                first = asyncio.ensure_future(host.whole())
                await host.until(lambda: old.held == 1)
                write(path, after)
                assert Reloading(host.gateway, str(path)).reload()
                assert (await host.whole()).status == 200 and new.asked == 1
                assert [pool.name for pool in host.gateway.pools] == ["new", "old"]
                old.gate.set()
                assert (await first).status == 200
                host.gateway.pools.remove_idle()
                assert [pool.name for pool in host.gateway.pools] == ["new"]

    run(test)


def test_quotas_in_use_survive_a_reload(tmp_path: Path) -> None:
    from running import key

    async def test() -> None:
        limits = {"quotas": [{"measure": "requests", "limit": 2, "window": 86_400.0}]}
        gates = {"keys": [key("alice", limits=limits)]}
        async with engines("good", "good") as pool:
            path = tmp_path / "gateway.json"
            write(path, one_pool(pool, gates=gates))
            async with serving(one_pool(pool[:1], gates=gates)) as host:
                assert (await host.whole(ASKED, key="alice")).status == 200
                assert Reloading(host.gateway, str(path)).reload()
                assert (await host.whole(ASKED, key="alice")).status == 200
                assert (await host.whole(ASKED, key="alice")).status == 429

    run(test)


def test_a_change_while_the_gateway_starts_is_applied(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with engines("good", "good") as pool:
            write(path, one_pool(pool[:1]))
            before = path.stat()
            async with serving(one_pool(pool[:1])) as host:
                # The new file has the size and the time of the old one.
                write(path, one_pool(pool[1:]))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
                reloading = Reloading(host.gateway, str(path))
                assert reloading.poll() and not reloading.poll()
                await host.whole()
                assert pool[1].asked == 1

    run(test)


class Checked:
    """An engine that answers health checks, and counts them."""

    def __init__(self) -> None:
        self.checks = 0
        self.status = 200
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.checks += request.path == "/checked"
        return web.Response(status=self.status if request.path == "/checked" else 404)


@asynccontextmanager
async def checked() -> AsyncIterator[Checked]:
    engine = Checked()
    listener = Listener(("127.0.0.1", 0), engine.handle, max_body=2**20)
    host, port = await listener.start()
    engine.url = f"http://{host}:{port}"
    yield engine
    await listener.close()


def test_health_checks_change_with_the_file_and_all_else_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with checked() as engine:
            without = {"endpoints": [engine.url]}
            check = {"path": "/checked", "interval": 0.02, "timeout": 0.01}
            async with serving(without) as host:
                reloading = Reloading(host.gateway, str(path))
                works = host.gateway.following.works

                def apply(configuration: Any) -> None:
                    write(path, configuration)
                    assert reloading.reload(), host.gateway.reload_error

                assert works() == ["default: metrics pages"]
                apply({**without, "health_check": check})
                await host.until(lambda: engine.checks > 0)
                engine.status = 500
                [one] = host.stats().endpoints
                await host.until(lambda: host.stats().endpoints[0].backoff == "probe")
                apply({**without, "health_check": {**check, "path": "/elsewhere"}})
                engine.checks = 0
                assert len(works()) == 2 and "/elsewhere" in works()[0]
                apply(without)
                assert works() == ["default: metrics pages"]
                assert one.id == host.stats().endpoints[0].id and engine.checks == 0

    run(test)


def test_a_check_that_cannot_be_applied_leaves_the_present_one(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "gateway.json"
        async with engines("good") as pool:
            async with serving(one_pool(pool, health_check={"path": "/a"})) as host:
                reloading = Reloading(host.gateway, str(path))
                works = host.gateway.following.works()
                for check, seed in ({"path": "/b", "interval": 0}, 1), ({"path": "/b"}, 2):
                    write(path, one_pool(pool, health_check=check) | {"scheduler": {"seed": seed}})
                    assert not reloading.reload()
                    assert host.gateway.following.works() == works

    run(test)
