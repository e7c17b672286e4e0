"""The report in a browser: complete by itself, readable on a phone, in light and dark, whatever layers are called."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, Storage, make_dataset
from workflow.commands import program

from browser.browser import Browser

SIZE = (300, 280, 90)
HOSTILE = "<script>alert(1)<img src=x onerror=alert(1)>{{ 7*7 }}'\"&amp;"  # no name of a layer has a slash


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    storage = Storage("zarr3", chunk=(32, 32, 32), shard=(256, 256, 256))
    layers = (
        LayerSpec("color", size=SIZE, pattern="em", storage=storage),
        LayerSpec("cells", "segmentation", "uint32", size=SIZE, pattern="labels", storage=storage),
    )
    return made(DatasetSpec(layers, voxel_size=(11.24, 11.24, 28.0)), folder / "cortex")


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = (LayerSpec(HOSTILE), LayerSpec("n" * 200))
    return made(DatasetSpec(layers), tmp_path_factory.mktemp("hostile") / "<b>{% raw %}")


def made(spec: DatasetSpec, path: Path) -> Path:
    make_dataset(spec, path)
    place = path.with_name("report.html")
    options = ["--coarsest-mag", "8", "--report", place]
    done = program(
        sys.executable,
        "-m",
        "wkflow",
        "downsample",
        *options,
        path,
        environment={"WK_DEFAULT_CHUNKS_PER_SHARD": "2,2,2"},
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False), (390, True)])
def test_it_opens_without_errors_and_network_and_fits(report: Path, browser: Browser, width: int, dark: bool) -> None:
    with browser.page(width=width, dark=dark) as page:
        page.open(report)
        assert page.ask("[...document.images].length") == 2 * 4 * 3
        assert page.ask("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.ask("[...document.images].every(image => image.alt)")
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert (page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)") is not dark
        page.screenshot(f"report-{width}-{'dark' if dark else 'light'}")
    assert not page.problems
    assert not page.requests


def test_all_mags_of_a_layer_are_drawn_at_the_same_scale(report: Path, browser: Browser) -> None:
    with browser.page() as page:
        page.open(report)
        sizes = page.ask(
            "[...document.querySelectorAll('figure')].filter(f => f.querySelector('img')).map(f => [...f.querySelectorAll('img')]"
            ".map(i => [Math.round(i.getBoundingClientRect().width), Math.round(i.getBoundingClientRect().height)]))"
        )
    assert len(sizes) == 8
    assert all(one == sizes[0] for one in sizes)
    (xy_width, xy_height), (xz_width, xz_height), (yz_width, _) = sizes[0]
    assert xy_width == xz_width > yz_width
    assert xy_height / xy_width == pytest.approx(280 / 300, abs=0.02)
    assert xz_height / xz_width == pytest.approx(90 * 28 / (300 * 11.24), abs=0.02)


def test_names_of_layers_are_shown_and_do_nothing(hostile: Path, browser: Browser) -> None:
    with browser.page(width=390) as page:
        page.open(hostile)
        headings = page.ask("[...document.querySelectorAll('h2')].map(h => h.textContent)")
        assert page.ask("document.scripts.length") == 0
        assert page.ask("document.documentElement.scrollWidth") <= 390
        assert page.ask("document.querySelector('h1').textContent") == "<b>{% raw %}"
        page.screenshot("report-hostile")
    assert headings[:2] == [f"Layer {HOSTILE}", f"Layer {'n' * 200}"]
    assert not page.problems
    assert not page.requests


def test_it_can_be_printed(report: Path, browser: Browser, tmp_path: Path) -> None:
    with browser.page(dark=True) as page:
        page.open(report)
        page.inner.emulate_media(media="print")
        assert page.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.inner.pdf(path=tmp_path / "report.pdf")
        page.screenshot("report-print")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
