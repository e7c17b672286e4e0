"""The harness sees what goes wrong in a page, or the other tests would prove nothing."""

from __future__ import annotations

from pathlib import Path

from browser.browser import Browser


def test_what_goes_wrong_in_a_page_is_seen(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='nowhere.png'><script>console.error('told'); throw Error('thrown')</script>")
    with browser.page() as page:
        page.open(bad)
    assert page.requests == [(tmp_path / "nowhere.png").as_uri()]
    assert list(page.failures) == page.requests
    assert "told" in page.errors
    assert any("thrown" in error for error in page.errors)


def test_a_good_page_has_no_problems_and_webgl(browser: Browser, tmp_path: Path) -> None:
    good = tmp_path / "good.html"
    good.write_text("<link rel=icon href=data:,><canvas id=c></canvas><p>fine</p>")
    with browser.page(width=390, dark=True) as page:
        page.open(good)
        assert page.ask("document.getElementById('c').getContext('webgl2') !== null")
        assert page.ask("matchMedia('(prefers-color-scheme: dark)').matches && innerWidth === 390")
        assert page.screenshot("good").stat().st_size > 0
    assert not page.problems
    assert not page.requests
