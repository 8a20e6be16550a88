"""The page that shows the documentation: everything from this server, nothing inline, and a browser agrees."""

import asyncio
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest

from server.config import PROJECT_DIR
from tests.conftest import Client
from tests.documents import published

VENDOR = PROJECT_DIR / "web" / "static" / "vendor" / "swagger-ui"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a page loads, and what it holds inline."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within = tag
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag in ("script", "img", "iframe", "source", "audio", "video", "embed"):
            self.loaded.append(given.get("src") or "")
        if tag == "link":
            self.loaded.append(given.get("href") or "")

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style") and data.strip():
            self.inline.append(f"{self._within}: {data.strip()}")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the signature is the parser's
        self._within = ""


async def test_the_page_loads_only_what_this_server_has(client: Client) -> None:
    response = await client.get("/docs")
    assert response.status == 200
    assert response.content_type == "text/html"
    page = Page(await response.text())
    assert len(page.loaded) >= 5
    for url in page.loaded:
        assert re.fullmatch(r"/static/[\w./-]+", url), url
        assert (await client.get(url)).status == 200, url


async def test_the_page_has_no_script_and_no_style_of_its_own(client: Client) -> None:
    response = await client.get("/docs")
    assert Page(await response.text()).inline == []
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_style_sheets_fetch_nothing_from_elsewhere(client: Client) -> None:
    page = Page(await (await client.get("/docs")).text())
    sheets = [url for url in page.loaded if url.endswith(".css")]
    assert sheets
    for sheet in sheets:
        text = await (await client.get(sheet)).text()
        assert "@import" not in text
        for target in re.findall(r"url\(\s*[\"']?([^\"')]{1,80})", text):
            assert target.startswith("data:") or urljoin(sheet, target).startswith("/static/"), (sheet, target)


def test_the_vendored_files_come_with_their_licence_and_origin() -> None:
    assert "Apache License" in (VENDOR / "LICENSE").read_text()
    assert "SmartBear" in (VENDOR / "NOTICE").read_text()
    readme = (VENDOR / "README.md").read_text()
    assert "npm: swagger-ui-dist" in readme
    version = re.search(r"swagger-ui-dist (\d+\.\d+\.\d+)", readme)
    assert version
    assert f'"{version[1]}"' in (VENDOR / "swagger-ui-bundle.js").read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
async def test_a_browser_shows_every_operation_without_a_complaint(client: Client, tmp_path: Path) -> None:
    html, complaints = await _browse(str(client.make_url("/docs")), tmp_path)
    shown = {found for found in re.findall(r'id="operations-([^"]+)"', html) if not found.startswith("tag-")}
    expected = {
        f"{operation['tags'][0].replace(' ', '_')}-{operation['operationId']}"
        for methods in published()["paths"].values()
        for operation in methods.values()
    }
    assert shown == expected
    assert complaints == []


async def _browse(url: str, profile: Path) -> tuple[str, list[str]]:
    """The page as the browser has it once its scripts have run, and what it wrote to its console."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        f"--user-data-dir={profile / 'chromium'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(50):
            html, log = await browser.communicate()
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return html.decode(), [line for line in log.decode().splitlines() if "CONSOLE" in line]


async def test_a_person_who_opens_the_server_is_led_to_the_api(client: Client) -> None:
    answer = await client.get("/", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/docs")
