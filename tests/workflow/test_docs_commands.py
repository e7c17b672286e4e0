"""Every command on the pages of the documentation is run, here or by a test that is named."""

from __future__ import annotations

import re
import shlex
import sys
import xml.etree.ElementTree as ET  # of a file of ours
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest
import typer
import yaml
from datasets import DatasetSpec, make_dataset
from standin import EDITOR, Server

from wkflow.cli.app import app
from wkflow.cli.downsample import asked
from wkflow.config import Config
from workflow.commands import ROOT, program
from workflow.conftest import CELLS, COLOR

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("config/*.md"), *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
DATASETS = ("/path/to/dataset", "demo/cortex")
SERVER = "https://webknossos.org"

ELSEWHERE = {
    r"make (demo|test|bench|docs|soak)\b.*": "tests/workflow/test_clone.py",  # and by whoever has come here
    r"pip install \.": "tests/workflow/test_installed.py",
    r"python wrapper_cli.py .*": "tests/workflow/test_clone.py",
    r"wkflow .*slurm.*|squeue .*|snakemake --profile profiles/slurm .*": "tests/slurm/test_runs.py",
    r"wkflow .*cluster-generic.*": "tests/slurm/test_runs.py",
    r"wkflow .* -- --profile my-cluster": "tests/slurm/test_runs.py",
    r"wkflow .*kubernetes.*|kubectl .*|snakemake .*profiles/kubernetes .*": "tests/kubernetes/test_pod_runs.py",
    r"export WKFLOW_KUBERNETES=.*": "tests/kubernetes/lab.py",
    r"docker (build|push|run) .*": "tests/kubernetes/test_image.py",  # the same image, made without Docker
    r"snakemake --cores 4 --rerun-incomplete .*": "tests/workflow/test_lab_docs.py",
    r"python benchmarks/bench.py .*": "benchmarks/bench.py",
    r"python tests/performance/counts.py.*": "tests/performance/test_counts.py",
    r"python docs/show_in_neuroglancer.py .*": "tests/browser/test_neuroglancer.py",
    r"wkflow --install-completion": "tests/workflow/test_completion.py",
    r"npx http-server .*": "docs/viewers.md",  # another project's program, named as an example
}
"""Commands that need a cluster, root or another program, and the tests in which they, or their likes, are run."""

NOT_OURS = {
    *("--config", "--configfile", "--executor", "--nolock", "--unlock", "--wkflow-kubernetes-pod"),
    *("--data", "--help", "--user"),
}
"""Options of other programs, Snakemake above all, that pages name in a sentence."""


def commands(page: Path) -> Iterator[str]:
    """Every line of blocks without a language, but for comments and what is optional. In blocks with prompts, lines behind
    prompts; the others are output."""
    for _, language, block in BLOCK.findall(page.read_text()):
        if language in ("", "bash", "sh", "console"):
            lines = dedent(block).replace("\\\n", " ").splitlines()
            typed = [line[2:] for line in lines if line.startswith("$ ")]
            for line in typed or lines:
                command = re.sub(r"(^|\s+)#.*|\s*\[[^\]]*\](\.\.\.)?", "", line).strip()
                if command:
                    yield re.sub(r"\s+", " ", command).replace(".venv/bin/", "")


def elsewhere(command: str) -> str | None:
    return next((test for pattern, test in ELSEWHERE.items() if re.fullmatch(pattern, command)), None)


ALL = [(page, command) for page in PAGES for command in commands(page)]


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 60
    assert {page.name for page, _ in ALL} >= {"README.md", "start.md", "plan.md", "options.md", "slurm.md", "remote.md"}


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_nothing_is_said_to_be_tested_elsewhere_that_is_on_no_page(pattern: str) -> None:
    assert any(re.fullmatch(pattern, command) for _, command in ALL)
    assert (ROOT / ELSEWHERE[pattern]).is_file()


@pytest.mark.parametrize(
    "page", sorted({page for page, command in ALL if not elsewhere(command)}), ids=lambda p: p.name
)
def test_the_commands_of_a_page_succeed_one_after_the_other(page: Path, tmp_path: Path) -> None:
    lines = [command for command in commands(page) if not elsewhere(command)]
    dataset = make_dataset(DatasetSpec((COLOR, CELLS)), tmp_path / "dataset")
    put_in = dict.fromkeys(DATASETS, str(dataset))
    environment = {}
    with ExitStack() as stack:
        if SERVER in "".join(lines):
            server = stack.enter_context(Server(tmp_path / "storage"))
            server.add(dataset, "my_dataset", organization="Organization_X")
            put_in |= {SERVER: server.url, "WK_TOKEN=...": f"WK_TOKEN={EDITOR}"}
            environment["WK_TOKEN"] = EDITOR  # help texts say that it is there
        for line in lines:
            done = program("sh", "-c", replaced(line, put_in), cwd=sandbox(tmp_path), environment=environment)
            assert done.returncode == 0, (line, done.stdout, done.stderr)


def sandbox(folder: Path) -> Path:
    """A folder that looks like a clone, with the programs in ``bin``."""
    work = folder / "work"
    if not work.exists():
        (work / "bin").mkdir(parents=True)
        for name, line in {"python": "", "wkflow": "-m wkflow", "snakemake": "-m snakemake"}.items():
            (work / "bin" / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {line} "$@"\n')
            (work / "bin" / name).chmod(0o755)
        for name in ("Snakefile", "workflow", "scripts", "profiles", "wkflow"):
            (work / name).symlink_to(ROOT / name)
    return work


def replaced(line: str, put_in: dict[str, str]) -> str:
    for old, new in put_in.items():
        line = line.replace(old, new)
    return f"PATH=$PWD/bin:$PATH; {line}"


def codes(page: Path) -> list[str]:
    """What stands in sentences and tables as code."""
    found = re.findall(r"`([^`]+)`", BLOCK.sub("", page.read_text()))
    return [" ".join(code.split()).replace(".venv/bin/", "") for code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_for_clusters_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they say is read; whether it is done, is tested elsewhere."""
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
        elif words[:2] == ["wkflow", "downsample"] and elsewhere(line):
            arguments = words[2 : words.index("--") if "--" in words else None]
            config, how = asked(ours()["downsample"].make_context("downsample", arguments).params)
            assert config.target, line
            assert how.arguments, line


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "RESULTS.md"], ids=lambda page: page.name)
def test_targets_and_programs_that_a_page_names_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for code in codes(page):
        if named := re.fullmatch(r"make ([a-z-]+)( .*)?", code):
            assert named[1] in targets, code
        if named := re.fullmatch(r"python ([\w/.]+\.py)( .*)?", code):
            assert '__name__ == "__main__"' in (ROOT / named[1]).read_text(), code
            options = re.findall(r"(?<!\S)--[a-z-]+", named[2] or "")
            if options:
                known = program(sys.executable, ROOT / named[1], "--help").stdout
                assert set(options) <= set(re.findall(r"--[a-z-]+", known)), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_on_a_page_are_valid(page: Path) -> None:
    for _, language, block in BLOCK.findall(page.read_text()):
        if language == "yaml":
            assert Config.of(yaml.safe_load(block)).target


def test_there_are_configurations_on_pages() -> None:
    assert {page.name for page in PAGES if "```yaml\n" in page.read_text()} == {"README.md", "remote.md"}


def test_the_picture_of_a_plan_has_the_columns_of_the_plan(tmp_path: Path) -> None:
    first = next(ET.parse(ROOT / "docs" / "images" / "plan.svg").iter("{http://www.w3.org/2000/svg}text"))
    done = program(sys.executable, "-m", "wkflow", "plan", make_dataset(DatasetSpec((COLOR,)), tmp_path / "dataset"))
    assert re.split(r" {2,}", str(first.text)) == re.split(r" {2,}", done.stdout.splitlines()[0].strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    known = {name: {word for option in command.params for word in option.opts} for name, command in ours().items()}
    known_to_the_program = {word for option in typer.main.get_command(app).params for word in option.opts}
    for code in codes(page):
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code.partition("-- ")[0])) - NOT_OURS
        if named := re.match(r"wkflow ([a-z]+)", code):
            assert options <= known[named[1]], code
        elif code.startswith("--"):
            assert options <= known_to_the_program.union(*known.values()), code


def ours() -> dict[str, typer.core.TyperCommand]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]
