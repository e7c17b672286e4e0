"""Every command on the pages of the documentation is run, here or by a test that is named."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets import DatasetSpec, make_dataset

from workflow.commands import ROOT, program
from workflow.conftest import CELLS, COLOR

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
PROGRAMS = r"(\w+=\S+ )?(wkflow|snakemake|python|pip|make|npx|kubectl|squeue|echo|(\./)?(envs|\.venv)/\S+) "
DATASETS = ("/path/to/dataset", "demo/cortex")

ELSEWHERE = {
    r"make (demo|test|bench|docs|soak)\b.*": "tests/workflow/test_clone.py",  # and by whoever has come here
    r"pip install \.": "tests/workflow/test_installed.py",
    r"python wrapper_cli.py .*": "tests/workflow/test_clone.py",
    r".*--transfer-mode http https://webknossos.org/.*": "tests/workflow/test_user_page.py",
    r"wkflow info https://.*": "tests/workflow/test_info.py",
    r"wkflow preview .*https://.*": "tests/workflow/test_preview.py",
    r"wkflow .*slurm.*|squeue .*|snakemake --profile profiles/slurm .*": "tests/slurm/test_runs.py",
    r"wkflow .*cluster-generic.*": "tests/slurm/test_runs.py",
    r"wkflow .* -- --profile my-cluster": "tests/slurm/test_runs.py",
    r"wkflow .*kubernetes.*|kubectl .*|snakemake .*profiles/kubernetes .*": "tests/kubernetes/test_pod_runs.py",
    r"snakemake --cores 4 --rerun-incomplete .*": "tests/workflow/test_lab_docs.py",
    r"python benchmarks/bench.py .*": "benchmarks/bench.py",
    r"python tests/performance/counts.py.*": "tests/performance/test_counts.py",
    r"python docs/show_in_neuroglancer.py .*": "tests/browser/test_neuroglancer.py",
    r"npx http-server .*": "docs/viewers.md",  # another project's program, named as an example
}
"""Commands that need a cluster, a server, root or another program, and the tests in which they, or their likes, are run."""


def commands(page: Path) -> Iterator[str]:
    """Those in blocks without a language, one per line, without comments and what is optional."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for block in [block for language, block in blocks if language in ("", "bash", "sh", "console")]:
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*|\s*\[[^\]]*\](\.\.\.)?", "", line.removeprefix("$ ")).strip()
            if re.match(PROGRAMS, f"{command} "):
                yield re.sub(r"\s+", " ", command).replace(".venv/bin/python", "python")


def elsewhere(command: str) -> str | None:
    return next((test for pattern, test in ELSEWHERE.items() if re.fullmatch(pattern, command)), None)


ALL = [(page, command) for page in PAGES for command in commands(page)]


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 40
    assert {page.name for page, _ in ALL} >= {"README.md", "start.md", "plan.md", "options.md", "slurm.md"}


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_nothing_is_said_to_be_tested_elsewhere_that_is_on_no_page(pattern: str) -> None:
    assert any(re.fullmatch(pattern, command) for _, command in ALL)
    assert (ROOT / ELSEWHERE[pattern]).is_file()


@pytest.mark.parametrize(
    "page", sorted({page for page, command in ALL if not elsewhere(command)}), ids=lambda p: p.name
)
def test_the_commands_of_a_page_succeed_one_after_the_other(page: Path, tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((COLOR, CELLS)), tmp_path / "dataset")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, line in {"python": "", "wkflow": "-m wkflow", "snakemake": "-m snakemake"}.items():
        (bin_ / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {line} "$@"\n')
        (bin_ / name).chmod(0o755)
    for name in ("Snakefile", "workflow", "scripts", "profiles", "wkflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in [command for command in commands(page) if not elsewhere(command)]:
        line = re.sub("|".join(DATASETS), str(dataset), command)
        done = program("sh", "-c", f"PATH={bin_}:$PATH; {line}", cwd=tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    shutil.rmtree(dataset)
