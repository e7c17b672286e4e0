"""What the documentation says about the project is true."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from workflow.commands import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("config/*.md")])


def test_every_promise_has_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 10
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert tests, row
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(), (file, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert "://" in link or (page.parent / link).exists(), link
    for name in re.findall(r"`((?:tests|scripts|benchmarks|docs)/[\w/.]+\.\w+)`", text):
        assert (ROOT / name).exists(), name


def test_every_module_has_a_place_in_the_house() -> None:
    house = (ROOT / "CONTRIBUTING.md").read_text().partition("| room |")[2].partition("\n\n")[0]
    named = {Path(name).name for name in re.findall(r"`([\w./]+)`", house)}
    modules = {path.name for path in ROOT.glob("wkflow/*.py") if not path.name.startswith("__")}
    rooms = {path.parent.name for path in ROOT.glob("*/*/__init__.py") if path.parent.parent.name == "wkflow"}
    plugins = {path.parent.name for path in ROOT.glob("snakemake_executor_plugin_*/__init__.py")}
    assert (modules | rooms | plugins) - named == set()


DESCRIBING = (
    *("*.md", "docs/*.md", "docs/images/*.svg", "config/*", "benchmarks/*.md"),
    *("envs/*.*", "envs/Containerfile", "envs/kubernetes/*", "profiles/*/*", "Makefile", "mkdocs.yml"),
)
MACHINE = re.compile(r"/tmp/w|/work(?![\w-])|/root(?![\w-])")
"""Folders of the machines on which the project is developed."""


@pytest.mark.parametrize("pattern", DESCRIBING)
def test_no_paths_of_a_machine_are_described(pattern: str) -> None:
    files = list(ROOT.glob(pattern))
    assert files
    for path in files:
        assert not MACHINE.search(path.read_text()), path


def test_rooms_are_drawn_above_those_that_they_know() -> None:
    """docs/images/rooms.svg and the layers of the import linter"""
    layers = (ROOT / ".importlinter").read_text().partition("layers =")[2].partition("[")[0].strip().splitlines()
    depths = {name: depth for depth, line in enumerate(layers) for name in re.findall(r"wkflow\.(\w+)", line)}
    drawn = re.findall(r'class="room" x="\d+" y="(\d+)">(\w+)<', (ROOT / "docs" / "images" / "rooms.svg").read_text())
    bands: dict[int, list[int]] = {}
    for height, room in drawn:
        bands.setdefault(int(height), []).append(depths[room])
    ordered = [bands[height] for height in sorted(bands)]
    assert len(ordered) > 5
    assert all(max(upper) < min(lower) for upper, lower in pairwise(ordered))


def test_every_page_has_one_place_in_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    places = re.findall(r"- (?:[\w ]+: )?([\w-]+\.md)$", text, re.MULTILINE)
    elsewhere = re.findall(r'^    "([\w-]+\.md)": ', (ROOT / "docs" / "site.py").read_text(), re.MULTILINE)
    assert sorted(places) == sorted([*(page.name for page in (ROOT / "docs").glob("*.md")), *elsewhere])


OURS_ALONE = {"OPENBLAS_NUM_THREADS", "PYTHONPATH", "WKFLOW_FAIL_AT", "WKFLOW_OWNER"}
"""Environment variables that processes set for each other, or that tests set."""


def test_every_environment_variable_is_described() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    code = "\n".join(path.read_text() for path in [*ROOT.glob("wkflow/**/*.py"), *ROOT.glob("scripts/*.py")])
    read = {
        *re.findall(r'environ(?:\.\w+\(|\[)"([A-Z_]+)"', code),
        *re.findall(r'"((?:WK|WKFLOW|SNAKEMAKE|NUMBA)_[A-Z_]+)"', code),
    }
    assert read >= {"WK_TOKEN", "WKFLOW_HTTP_TRIES", "SNAKEMAKE_PROFILE", "XDG_CACHE_HOME"}
    assert {name for name in read - OURS_ALONE if f"`{name}`" not in page} == set()


def test_what_the_page_about_extending_names_exists() -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    files = {path.name: path.read_text() for path in ROOT.glob("wkflow/**/*.py")}
    for code in re.findall(r"`([\w/.]+)`", page):
        if code.endswith(".py"):
            assert (ROOT / code).is_file() or code in files, code
        elif code.endswith("/"):
            assert (ROOT / code).is_dir(), code
        elif "/" not in code and "." not in code:
            assert any(re.search(rf"\b{code}\b", text) for text in files.values()), code
