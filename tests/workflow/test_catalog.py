"""What the Snakemake workflow catalog checks and shows: linting, and the use that snakedeploy prepares."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from wkflow.verification.checks import Checks
from workflow.commands import ROOT, mags, program, snakemake

SNAKEFILES = ("Snakefile", "workflow/Snakefile", "workflow/verify.smk")
DEPLOYED = """
configfile: "config/config.yaml"


module wkflow:
    snakefile:
        "{address}"
    config:
        config


use rule * from wkflow
"""
"""As ``snakedeploy deploy-workflow`` writes it, but for the address."""


@pytest.mark.parametrize("snakefile", SNAKEFILES)
def test_snakemake_s_linter_finds_nothing(snakefile: str, tmp_path: Path) -> None:
    (tmp_path / "checks.json").write_bytes(Checks("/data", False, 1, 100, (), ()).dump())
    done = snakemake("--lint", "--snakefile", ROOT / snakefile, "--directory", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "good condition" in done.stderr + done.stdout


def test_all_rules_are_formatted() -> None:
    rules = [*ROOT.glob("workflow/*.smk"), *ROOT.glob("workflow/rules/*.smk")]
    assert len(rules) >= 6
    done = program(
        sys.executable, "-m", "snakefmt", "--check", *(ROOT / name for name in SNAKEFILES[:2]), *rules, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=["a folder", "a repository"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the pipeline comes from. A repository has no folder beside its Snakefile, be it here or on GitHub."""
    if request.param == "a folder":
        return f"{ROOT}/workflow/Snakefile"
    repository = tmp_path / "repository"
    (repository / "workflow").mkdir(parents=True)
    shutil.copy(ROOT / "workflow" / "Snakefile", repository / "workflow")
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    for command in (
        ("init", "--quiet", "--initial-branch", "main"),
        ("add", "."),
        (*who, "commit", "--quiet", "-m", "all"),
    ):
        assert program("git", *command, cwd=repository).returncode == 0
    return f"git+file://{repository}/workflow/Snakefile@main"


def test_a_deployed_workflow_needs_nothing_but_its_configuration(dataset: Path, tmp_path: Path, address: str) -> None:
    deployed = tmp_path / "deployed"
    (deployed / "workflow").mkdir(parents=True)
    (deployed / "workflow" / "Snakefile").write_text(DEPLOYED.format(address=address))
    shutil.copytree(ROOT / "config", deployed / "config")
    done = snakemake("--cores", 2, "--config", f"target={dataset}", cwd=deployed)
    assert done.returncode == 0, done.stderr
    assert mags(dataset, "color") == mags(dataset, "cells") == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
