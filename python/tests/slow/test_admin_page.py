"""The admin page of the gateway in Chromium, with hostile names and by keyboard.

Skipped without ``playwright`` and a ``chromium`` in the path.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest
from slotwise.configuration import Configuration
from slotwise.gateway import Gateway, Settings
from slotwise.gateway.demo import demo_engines

playwright = pytest.importorskip("playwright.async_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


async def ask(gateway: Gateway, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with gateway.upstream.control.post(
        f"{gateway.url}/v1/chat/completions", json=body
    ) as answer:
        await answer.read()


async def look(page: Any, gateway: Gateway, problems: list[str]) -> None:
    await page.goto(gateway.admin_url)
    await page.wait_for_selector("table")
    await ask(gateway, EVIL)
    await page.evaluate("refresh()")
    await page.wait_for_selector("details")
    summary = page.locator("summary").first
    assert EVIL in await summary.inner_text()
    await summary.focus()
    await page.keyboard.press("Enter")
    assert "http://127.0.0.1" in await page.locator("details pre").first.inner_text()
    await page.evaluate("refresh()")
    assert await page.locator("details").first.get_attribute("open") is not None
    button = page.get_by_role("button", name="drain").first
    await button.focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="resume").first.wait_for()
    assert await page.title() == "slotwise gateway"
    assert await page.locator("img").count() == 0
    assert problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_hostile_text_as_text_and_works_by_keyboard(scheme: str) -> None:
    async def test() -> None:
        async with demo_engines(2) as urls, playwright.async_playwright() as driver:
            pools = {"pools": [{"name": EVIL, "endpoints": urls}]}
            settings = Settings(admin=("127.0.0.1", 0))
            async with Gateway(Configuration(json.dumps(pools)), settings) as gateway:
                options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
                browser = await driver.chromium.launch(**options)
                page = await browser.new_page(color_scheme=scheme)
                problems: list[str] = []
                page.on("pageerror", lambda error: problems.append(str(error)))
                page.on(
                    "console",
                    lambda one: problems.append(one.text) if one.type == "error" else None,
                )
                page.on(
                    "request",
                    lambda one: None
                    if one.url.startswith((gateway.admin_url, "data:"))
                    else problems.append(one.url),
                )
                try:
                    await look(page, gateway, problems)
                finally:
                    await browser.close()

    asyncio.run(test())
