"""A real browser for tests of pages: Chromium without a window, which loads from this machine only.

What lives here: starting and ending it, and what it complains about. What must not: what any page should show.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from playwright.async_api import ConsoleMessage, Error, Page, async_playwright

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium: Final = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@asynccontextmanager
async def page(complaints: list[str]) -> AsyncIterator[Page]:
    """An empty page; `complaints` gets what its scripts throw and what the browser reports as an error."""

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    def on_error(fault: Error) -> None:
        complaints.append(str(fault))

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking", "--disable-sync"]
        )
        try:
            opened = await browser.new_page()
            opened.on("console", on_console)
            opened.on("pageerror", on_error)
            yield opened
        finally:
            await browser.close()
