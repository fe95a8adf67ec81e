"""The admin page: its data, its actions, and text that clients choose."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import slotwise.gateway
from engines import engines
from running import ASKED, Host, one_pool, run, serving

PAGE = Path(slotwise.gateway.__file__).with_name("admin.html")
EVIL = "</script><img src=x onerror=alert(1)>\"'&"


async def state(host: Host) -> Any:
    async with host.client.get(f"{host.gateway.admin_url}state.json") as answer:
        assert answer.status == 200
        return await answer.json()


def admin(**more: Any) -> Any:
    return {"admin": ("127.0.0.1", 0), **more}


def test_the_page_shows_pools_and_explains_decisions_while_it_is_open() -> None:
    async def test() -> None:
        async with engines("good", "good") as pool:
            async with serving(one_pool(pool), **admin()) as host:
                await host.whole()
                first = await state(host)
                assert first["decisions"][0]["explanation"] is None
                await host.whole({**ASKED, "model": EVIL})
                second = await state(host)
        [one] = second["pools"]
        assert one["name"] == "default" and one["completed"] == 2
        assert {endpoint["name"] for endpoint in one["endpoints"]} == {e.url for e in pool}
        decision = second["decisions"][0]
        assert decision["status"] == 200 and decision["model"] == EVIL
        assert decision["endpoint"] in decision["explanation"]

    run(test)


def test_decisions_are_bounded_and_long_names_are_cut() -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool), **admin()) as host:
            for _ in range(70):
                await host.whole({**ASKED, "model": "x" * 1_000})
            decisions = (await state(host))["decisions"]
            assert len(decisions) == 64 and decisions[0]["number"] == 70
            assert len(decisions[0]["model"]) == 200

    run(test)


def test_endpoints_are_drained_and_resumed() -> None:
    async def test() -> None:
        async with engines("good", "good") as pool:
            async with serving(one_pool(pool), **admin()) as host:
                url = f"{host.gateway.admin_url}endpoint"
                asked = {"pool": "default", "endpoint": pool[0].url, "action": "drain"}
                async with host.client.post(url, json=asked) as answer:
                    assert await answer.json() == {"in_flight": 0}
                for _ in range(5):
                    await host.whole()
                assert pool[0].asked == 0
                async with host.client.post(url, json={**asked, "action": "resume"}) as answer:
                    assert answer.status == 200
                assert not any(one["draining"] for one in (await state(host))["pools"][0]["endpoints"])
                for wrong in ({}, [], {**asked, "action": "x"}, {**asked, "endpoint": "x"}):
                    async with host.client.post(url, json=wrong) as answer:
                        assert answer.status in (400, 404)

    run(test)


def test_other_sites_can_neither_read_nor_act() -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool), **admin()) as host:
            asked = {"pool": "default", "endpoint": pool[0].url, "action": "drain"}
            form = {"content-type": "text/plain"}
            url = f"{host.gateway.admin_url}endpoint"
            async with host.client.post(url, data=json.dumps(asked), headers=form) as answer:
                assert answer.status == 415
            rebound = {"host": "attacker.example"}
            async with host.client.get(f"{host.gateway.admin_url}state.json", headers=rebound) as got:
                assert got.status == 421
            assert "access-control-allow-origin" not in answer.headers
            # The page is not on the clients' listener.
            async with host.client.get("/state.json") as got:
                assert got.status == 404

    run(test)


def test_the_page_sets_text_only_and_its_policy_allows_no_other_script() -> None:
    page = PAGE.read_text()
    script = page.split("<script>")[1].split("</script>")[0]
    for markup in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "href ="):
        assert markup not in script, markup
    assert not re.search(r"(src|href)=[\"'](?!data:,)", page), "the page has no external resource"
    assert page.count("<script>") == page.count("<style>") == 1

    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool), **admin()) as host:
            async with host.client.get(host.gateway.admin_url) as answer:
                policy = answer.headers["content-security-policy"]
                assert await answer.text() == page
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert policy.count("'sha256-") == 2

    run(test)
