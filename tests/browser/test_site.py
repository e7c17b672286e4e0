"""The documentation as a site: it asks nobody but its own server, fits on a phone, and can be searched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from workflow.commands import ROOT

from browser.browser import Browser

PAGES = ["index", "start", "concepts", "options", "config", "architecture", "faq", "kubernetes", "results"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its parent calls it
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    subprocess.run(build, cwd=ROOT, check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_asks_nobody_else(site: str, browser: Browser, name: str, width: int, dark: bool) -> None:
    with browser.page(width=width, dark=dark) as page:
        page.open(f"{site}/{name}.html")
        page.wait_for("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert (page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") is not dark
        page.screenshot(f"site-{name}-{width}")
    assert not page.problems
    assert [url for url in page.requests if not url.startswith(site)] == []


def test_links_lead_to_pages_and_are_called_like_them(site: str, browser: Browser) -> None:
    with browser.page() as page:
        page.open(f"{site}/start.html")
        names = page.ask("[...document.querySelectorAll('article a[href$=\".html\"]')].map(link => link.textContent)")
    assert "Which mags are made" in names
    assert not [name for name in names if name.endswith(".md")]


def test_it_can_be_searched(site: str, browser: Browser) -> None:
    with browser.page() as page:
        page.open(f"{site}/index.html")
        page.inner.locator("[data-md-component=search-query]").click()
        page.inner.keyboard.type("anisotropic")
        page.wait_for("document.querySelectorAll('.md-search-result__item').length > 1")
        page.screenshot("site-search", whole=False)
    assert not page.problems
