"""The conda environment has what the programs of the rules import, in the versions that the package asks for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_FOR_JOBS = {
    "kubernetes",
    "pygments",
    "snakemake",
    "snakemake-executor-plugin-kubernetes",
    "snakemake-executor-plugin-slurm",
    "typer",
    "zarr",
}


ONLY_FOR_SERVERS = {"boto3", "requests", "rich"}
"""What jobs need for datasets on a server, and others need not wait for."""


def requirements() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(re.fullmatch(r"([a-z0-9-]+)(.*)", line).groups() for line in project["dependencies"])  # type: ignore[union-attr]


def test_the_conda_environment_has_what_the_package_needs_in_the_versions_that_are_tested() -> None:
    locked = dict(
        line.lower().replace("_", "-").split("==") for line in (ROOT / "requirements.lock").read_text().split()
    )
    listed = yaml.safe_load((ROOT / "envs" / "wkflow.yaml").read_text())["dependencies"]
    [from_pip] = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    packages = dict(entry.split(" =", 1) for entry in listed if isinstance(entry, str) and " " in entry)
    assert packages.pop("python") == "3.11"
    assert packages == {name: ".".join(locked[name].split(".")[:2]) for name in packages}
    assert from_pip == [f"{name} =={locked[name]}" for name in ("tensorstore", "wkw")]
    assert {*packages, "tensorstore", "wkw"} == requirements().keys() - NOT_FOR_JOBS


def test_the_workflow_catalog_finds_what_it_looks_for() -> None:
    """https://snakemake.github.io/snakemake-workflow-catalog: standardized usage"""
    for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml", "README.md", "LICENSE"):
        assert (ROOT / name).is_file(), name
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"].keys() == {"conda", "apptainer", "apptainer+conda"}
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}


def test_programs_import_nothing_that_only_the_command_line_needs() -> None:
    modules = [name.replace("-", "_") for name in NOT_FOR_JOBS | ONLY_FOR_SERVERS]
    code = (
        f"import sys, wkflow.job, wkflow.run, wkflow.publish, wkflow.receipt; print(set({modules}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_locked_version_fits_the_package() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = dict(line.split("==") for line in lines)
    assert {name.lower().replace("_", "-") for name in locked} >= requirements().keys()
