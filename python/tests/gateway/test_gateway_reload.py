"""Another configuration while requests are in flight."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from engines import engines
from running import ASKED, one_pool, run, serving
from slotwise.gateway.reloading import Reloading


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
