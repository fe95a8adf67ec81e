"""Gateways that share their pools by sockets in a directory: one line for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from engines import engines
from running import one_pool, read, run, serving
from slotwise.gateway import Gateway, Settings
from slotwise.gateway.peering import Peering
from slotwise.gateway.settings import parse, settings_of
from slotwise.peers import seed_of
from slotwise.peers.unix import key_of

MANUAL = Path(__file__).parents[3] / "docs/src"
PAGE = MANUAL / "gateways_transports.md"
METRICS = MANUAL / "observability.md"


def test_two_gateways_count_each_other(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"unix:{tmp_path}"
        async with (
            engines("slow", "slow") as pool,
            serving(one_pool(pool), peers=url, name="a", admin=("127.0.0.1", 0)) as here,
            serving(one_pool(pool), peers=url, name="b") as there,
        ):
            a, b = here.gateway.peering, there.gateway.peering
            assert a is not None and b is not None
            await here.until(lambda: a.alive("default") == ["b"] and b.alive("default") == ["a"])
            async with here.client.get("/health") as health:
                assert await health.json() == {"status": "ok", "peers": {"default": 1}}
            async with here.client.get(f"{here.gateway.admin_url}state.json") as page:
                (shown,) = (await page.json())["pools"]
                assert (shown["peers"]["name"], shown["peers"]["alive"]) == ("a", ["b"])
                assert shown["peers"]["connected"] and not shown["peers"]["rejections"]
            async with here.post() as first:
                await first.content.readany()
                await there.until(lambda: in_flight(b) == 1)
                # The other engine is idle.
                async with there.post() as second:
                    await second.content.readany()
                    assert [engine.held for engine in pool] == [1, 1]
                    for engine in pool:
                        engine.gate.set()
                    await first.read()
                    await second.read()
            await here.until(lambda: in_flight(a) + in_flight(b) == 0)
            async with here.client.get("/metrics") as page:
                text = await page.text()
            pages = PAGE.read_text() + METRICS.read_text()
            listed = set(re.findall(r"slotwise_gateway_peer\w+", pages))
            for name in listed:
                assert f'\n{name}{{pool="default"' in text, name
            assert 'peer_message_age_seconds{pool="default",peer="b"} ' in text
            families = re.findall(r"^# TYPE (\S+)", text, flags=re.M)
            assert len(families) == len(set(families))
            samples = set(re.findall(r"^(slotwise_gateway_peer\w+)", text, flags=re.M))
            assert samples <= listed

    run(test)


def in_flight(peering: Peering) -> int:
    text = "".join(text for _, text in peering.pages(["default"]))
    found = re.search(r"^slotwise_gateway_peers_in_flight (\d+)$", text, flags=re.M)
    assert found
    return int(found[1])


def test_a_reload_shares_new_pools_and_leaves_others(tmp_path: Path) -> None:
    async def test() -> None:
        url = f"unix:{tmp_path}"

        def pools(*names: str) -> dict[str, object]:
            listed = [
                {"name": name, "endpoints": [pool[0].url], "models": [name]} for name in names
            ]
            return {"pools": listed}

        async with engines("good") as pool:
            async with (
                serving(pools("one"), peers=url) as here,
                serving(pools("one", "two"), peers=url) as there,
            ):
                a, b = here.gateway.peering, there.gateway.peering
                assert a is not None and b is not None
                await here.until(lambda: a.alive("one") and b.alive("one"))
                here.gateway.apply(read(pools("two")))
                await here.until(lambda: a.alive("two") and b.alive("two"))
                # The pool that left is idle, so its socket goes.
                await here.until(lambda: len(list(tmp_path.glob("channel-one/*.sock"))) == 1)
                assert here.gateway.pools["two"].scheduler.config.seed == a.seed
        assert not list(tmp_path.glob("channel-*/*"))

    run(test)


def test_the_seed_of_the_configuration_is_kept(tmp_path: Path) -> None:
    given = Gateway(read({"endpoints": [], "scheduler": {"seed": 4}}), shared(tmp_path))
    assert given.pools["default"].scheduler.config.seed == 4
    derived = Gateway(read({"endpoints": []}), shared(tmp_path))
    assert derived.pools["default"].scheduler.config.seed == seed_of(key_of(tmp_path))
    alone = [Gateway(read({"endpoints": []})) for _ in range(2)]
    assert all(one.peering is None for one in alone)
    assert len({one.pools["default"].scheduler.config.seed for one in alone}) == 2


def test_a_url_without_a_directory_makes_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):
        Gateway(read({"endpoints": []}), Settings(peers="unix:"))
    assert not list(tmp_path.iterdir())


def shared(folder: Path) -> Settings:
    return Settings(peers=f"unix:{folder}")


def test_the_options_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    key.write_text("sixteen bytes or more\n")
    engine = ["--engines", "http://a:1"]
    options = [*engine, "--peers", "redis://a", "--peers-key-file", str(key), "--reuse-port"]
    settings = settings_of(parse([*options, "--gateway-name", "eu-1"]))
    assert (settings.peers, settings.name) == ("redis://a", "eu-1")
    assert settings.peers_key == b"sixteen bytes or more" and settings.reuse_port
    assert "sixteen" not in repr(settings)
    key.write_text("short")
    for wrong in ([*engine, "--peers", "nats://a"], [*engine, "--peers-key-file", str(key)]):
        with pytest.raises(SystemExit):
            parse(wrong)
    assert "at least 16 bytes" in capsys.readouterr().err
    with pytest.raises(ValueError, match="need a key"):
        Gateway(read({"endpoints": []}), Settings(peers="redis://a"))
    with pytest.raises(ValueError, match="must be redis://"):
        Gateway(read({"endpoints": []}), Settings(peers="http://a", peers_key=b"x" * 16))


def test_the_examples_of_the_manual_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    assert len(blocks) == 1
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {"__name__": "__main__"})


def test_processes_may_share_a_port(tmp_path: Path) -> None:
    async def test() -> None:
        async with engines("good") as pool, serving(one_pool(pool), reuse_port=True) as here:
            host, _, port = here.gateway.url.removeprefix("http://").partition(":")
            async with serving(one_pool(pool), reuse_port=True, address=(host, int(port))) as there:
                assert there.gateway.url == here.gateway.url
                assert (await there.whole()).status == 200

    run(test)
