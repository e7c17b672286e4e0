"""The workflows of ``docs/lab-workflows.md``, as they stand there, with paths put in."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from workflow.commands import ROOT, Started, mags, results, snakemake, wait_until, wkflow

PAGE = (ROOT / "docs" / "lab-workflows.md").read_text()
MODULE, RULE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMAND = re.search(r"```\n(snakemake .*?)\n```", PAGE)
PROGRAMS = {"wkflow": f'exec {shlex.quote(sys.executable)} -m wkflow "$@"', "my_statistics": 'ls "$1"'}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A workflow's folder beside a folder with the programs that it uses."""
    (tmp_path / "bin").mkdir()
    for name, line in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab"


def run(lab: Path, *more: str) -> str:
    """Run the page's command; returns what Snakemake says."""
    assert COMMAND
    path = os.pathsep.join([str(lab.parent / "bin"), os.environ["PATH"]])
    done = snakemake(*shlex.split(COMMAND[1])[1:], *more, cwd=lab, environment={"PATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_module(dataset: Path, lab: Path) -> None:
    (lab / "data").mkdir()
    dataset = dataset.rename(lab / "data" / "my_dataset")
    (lab / "Snakefile").write_text(MODULE.replace("/path/to/wkflow", str(ROOT)))
    run(lab)
    run(lab, "--", "results/statistics.txt")
    assert "color" in (lab / "results" / "statistics.txt").read_text()
    assert mags(dataset, "color") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    assert "Nothing to be done" in run(lab)
    default_triggers = snakemake("--cores", 2, "-n", cwd=lab)
    assert "Nothing to be done" in default_triggers.stdout + default_triggers.stderr


@pytest.mark.parametrize("until", [".wkflow/*/plan.json", "*/.wkflow/*/*/*.json*", ".wkflow/*/markers/l0.s*.json"])
def test_the_module_goes_on_after_it_was_killed(dataset: Path, lab: Path, tmp_path: Path, until: str) -> None:
    undisturbed = shutil.copytree(dataset, tmp_path / "undisturbed")
    assert wkflow("downsample", undisturbed).returncode == 0
    (lab / "data").mkdir()
    dataset = dataset.rename(lab / "data" / "my_dataset")
    (lab / "Snakefile").write_text(MODULE.replace("/path/to/wkflow", str(ROOT)))
    assert COMMAND
    command = [sys.executable, "-m", *shlex.split(COMMAND[1])]
    run_ = Started(
        *command, cwd=lab, environment={"PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])}
    )
    wait_until(lambda: run_.has_ended or any(dataset.glob(until)))
    run_.process.kill()
    wait_until(lambda: not run_.processes())
    run(lab)
    assert results(dataset) == results(undisturbed)


def test_the_rule_with_a_receipt_for_a_dataset_that_the_workflow_makes(dataset: Path, lab: Path) -> None:
    convert = f"""
rule convert:
    output:
        "results/converted.done",
    shell:
        "cp -r {dataset} results/my_dataset && touch {{output}}"
"""
    (lab / "Snakefile").write_text(RULE + convert)
    run(lab)
    assert (lab / "results" / "pyramid.json").is_file()
    assert mags(lab / "results" / "my_dataset", "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    assert "Nothing to be done" in run(lab)
