"""Pages in Debian's chromium, without a window, and what went wrong in them::

    with Browser() as browser, browser.page(width=390, dark=True) as page:
        page.open("file:///tmp/report.html")
        page.screenshot("report-phone-dark")
        assert not page.problems

WebGL is drawn by the processor. Screenshots go to ``build/screenshots``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Page as PlaywrightPage
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
SCREENSHOTS = ROOT / "build" / "screenshots"
_LOCK = Path("/var/lock/wkflow-chromium")
_WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_QUIET = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]


def chromium() -> str:
    """The path of chromium, which is installed if it is missing (Debian, as root)."""
    if found := shutil.which("chromium"):
        return found
    if os.geteuid() != 0:
        raise RuntimeError("chromium is missing: install it, or run this as root")
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which("chromium"):
            install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(install, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=True)
    found = shutil.which("chromium")
    assert found, "the package chromium has no program chromium"
    return found


class Page:
    """One page. ``inner`` is playwright's, for all that is not here.

    ``errors``: of the console, and uncaught ones; ``requests``: addresses that were asked for, but for the page itself and data in
    it; ``failures``: requests that failed, with the reason or the answer's status.
    """

    def __init__(self, inner: PlaywrightPage) -> None:
        self.inner = inner
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.failures: dict[str, str] = {}
        self._address = ""
        inner.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        inner.on("pageerror", lambda error: self.errors.append(str(error)))
        inner.on("request", lambda request: self._note(request.url))
        inner.on("requestfailed", lambda request: self.failures.update({request.url: str(request.failure)}))
        inner.on(
            "response",
            lambda answer: self.failures.update({answer.url: str(answer.status)}) if answer.status >= 400 else None,
        )

    @property
    def problems(self) -> list[str]:
        """Errors and failed requests."""
        return [*self.errors, *(f"{url}: {reason}" for url, reason in self.failures.items())]

    def open(self, address: str | Path) -> None:
        """Show a URL or a file, and wait until all of it is there."""
        self._address = address.absolute().as_uri() if isinstance(address, Path) else address
        self.inner.goto(self._address, wait_until="load")

    def ask(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        return self.inner.evaluate(script)

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression of JavaScript is true."""
        self.inner.wait_for_function(script, timeout=seconds * 1000)

    def screenshot(self, name: str, *, whole: bool = True) -> Path:
        """Take a picture of what is seen, or of the whole page. Returns the file."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.inner.screenshot(path=path, full_page=whole)
        return path

    def _note(self, url: str) -> None:
        if url != self._address and not url.startswith(("data:", "blob:")):
            self.requests.append(url)


class Browser:
    """Chromium, as long as the context lasts."""

    def __enter__(self) -> Browser:
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=chromium(), args=[*_WEBGL, *_QUIET], chromium_sandbox=False
            )
        except BaseException:
            self._playwright.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()
        self._playwright.stop()

    @contextmanager
    def page(self, *, width: int = 1200, height: int = 800, dark: bool = False) -> Iterator[Page]:
        """A new page that knows nothing of others. ``dark``: what the user prefers."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        try:
            yield Page(context.new_page())
        finally:
            context.close()
