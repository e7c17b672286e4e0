"""The pipeline by itself: plain Snakemake in a clone, what it declares, and its reports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from wkflow.resources import machine_memory_mb
from workflow.commands import ROOT, mags, results, snakemake, tree, wkflow


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"target": str(dataset)}))
    return path


def test_plain_snakemake_does_what_the_command_does(dataset: Path, config: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    done = snakemake("--configfile", config, "--cores", 2)
    assert done.returncode == 0, done.stderr
    assert _provided_mb(done.stderr) == machine_memory_mb()
    assert wkflow("downsample", copy).returncode == 0
    assert results(dataset) == results(copy)


def test_a_second_plain_run_has_nothing_to_do(dataset: Path, config: Path) -> None:
    assert snakemake("--configfile", config).returncode == 0
    before = tree(dataset)
    second = snakemake("--configfile", config)
    assert "Nothing to be done" in second.stderr
    assert tree(dataset) == before


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_plan_the_same_jobs_and_a_dry_run_touches_nothing(
    dataset: Path, config: Path, snakefile: str
) -> None:
    before = tree(dataset)
    shown = snakemake("-s", snakefile, "-n", "--configfile", config)
    assert shown.returncode == 0, shown.stderr
    counts = {line.split()[0]: int(line.split()[1]) for line in _table(shown.stdout + shown.stderr)}
    assert counts == {"all": 1, "downsample": 2, "plan": 1, "publish": 2, "total": 6}
    assert tree(dataset) == before


def test_the_workflow_folder_s_snakefile_runs_them_one_by_one_if_the_user_s_bound_of_memory_is_low(
    dataset: Path, config: Path
) -> None:
    bound = 600
    done = snakemake("-s", "workflow/Snakefile", "--configfile", config, "--cores", 2, "--resources", f"mem_mb={bound}")
    assert done.returncode == 0, done.stderr
    assert mags(dataset, "color") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    assert _provided_mb(done.stderr) == bound
    declared = _declared_mb(done.stderr, "downsample")
    assert len(declared) == 2
    assert max(declared) < bound < sum(declared)
    events = re.findall(r"rule downsample:|Finished jobid: \d+ \(Rule: downsample\)", done.stderr)
    assert [event.split()[0] for event in events] == ["rule", "Finished", "rule", "Finished"]


def test_dag_and_report(config: Path, tmp_path: Path) -> None:
    dag = snakemake("--configfile", config, "--dag")
    assert dag.returncode == 0
    assert "digraph" in dag.stdout
    assert snakemake("--configfile", config).returncode == 0
    report = tmp_path / "report.html"
    made = snakemake("--configfile", config, "--report", report)
    assert made.returncode == 0, made.stderr
    assert report.stat().st_size > 10_000


def test_lint_needs_no_target() -> None:
    done = snakemake("--lint")
    assert done.returncode == 0, done.stderr


def test_no_job_claims_more_memory_than_there_is(config: Path) -> None:
    shown = snakemake("--configfile", config, "-n", "--resources", "mem_mb=100")
    assert shown.returncode == 0, shown.stderr
    assert set(_declared_mb(shown.stdout + shown.stderr, "downsample")) == {100}


def test_a_run_without_a_target_says_what_to_do() -> None:
    done = snakemake("--cores", 1)
    assert done.returncode == 1
    assert "no dataset is given" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_named_with_those_there_are(dataset: Path) -> None:
    done = snakemake("-n", "--config", f"target={dataset}", "smapling_mode=isotropic")
    assert done.returncode == 1
    output = done.stdout + done.stderr
    assert "smapling_mode" in output
    assert "sampling_mode" in output
    assert "Traceback" not in output


def test_a_relative_target_counts_from_the_caller_s_folder(dataset: Path) -> None:
    done = snakemake("-s", ROOT / "Snakefile", "--config", f"target={dataset.name}", "--cores", 1, cwd=dataset.parent)
    assert done.returncode == 0, done.stderr
    assert len(mags(dataset)) == 3


def _table(text: str) -> list[str]:
    """Snakemake's table of jobs and their numbers."""
    lines = text.splitlines()
    start = max(number for number, line in enumerate(lines) if line.startswith("job "))
    end = next(number for number in range(start, len(lines)) if lines[number].startswith("total"))
    return lines[start + 2 : end + 1]


def _provided_mb(text: str) -> int:
    """What Snakemake says that all jobs together may use."""
    found = re.search(r"Provided resources: .*mem_mb.*?(\d+)", text)
    assert found, text
    return int(found[1])


def _declared_mb(text: str, rule: str) -> list[int]:
    """What Snakemake says of each job of a rule."""
    return [int(found) for found in re.findall(rf"rule {rule}:(?:\n .*)*?\n +resources: .*?mem_mb=(\d+)", text)]
