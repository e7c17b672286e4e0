"""A dataset downsampled on a cluster is the same, byte for byte, as one downsampled here."""

from __future__ import annotations

import subprocess
from pathlib import Path

from clusters import COLOR, check_same, downsample, environment, three_layers
from datasets.bare import Bare, make_bare
from workflow.commands import ROOT

from slurm.cluster import Cluster
from slurm.runs import SLURM


def test_the_example_of_the_users_page_ends_well_though_its_memory_is_far_too_small(
    cluster: Cluster, tmp_path: Path
) -> None:
    dataset = three_layers(tmp_path / "cortex")
    done = downsample(cluster, dataset, "--jobs", 4, *SLURM, "--job-resources", '{"mem": "10M"}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 MB of memory are asked for, but jobs will probably need" in done.stdout
    check_same(dataset)
    jobs = cluster.jobs(tmp_path)
    names = {job.name.rpartition(".")[0] for job in jobs}
    assert names == {f"cortex.{layer}.2_to_4" for layer in ("color", "seg", "other")}
    states = [job.state for job in jobs]
    assert states.count("COMPLETED") == 3
    assert len(states) - 3 == sum(state in ("FAILED", "OUT_OF_MEMORY") for state in states) == 3
    again = downsample(cluster, dataset, *SLURM)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert len(cluster.jobs(tmp_path)) == len(jobs)


def test_nothing_needs_to_be_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    """Also in a folder whose name means something to shells, to Snakemake and to Slurm."""
    dataset = three_layers(tmp_path / "it's $HOME {x} `y` &")
    done = downsample(cluster, dataset, *COLOR, *SLURM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asked for" not in done.stdout
    check_same(dataset, *COLOR)


def test_a_batch_is_a_larger_job(cluster: Cluster, tmp_path: Path) -> None:
    """Of a mag of 1024 x 1024 x 2048 voxels, which would be two jobs otherwise."""
    dataset = make_bare(Bare((2048, 2048, 4096)), tmp_path / "batch")
    how = ("--distribution-strategy", "slurm+batching", "--job-resources", "batch-size=2,mem=2G")
    done = downsample(cluster, dataset, "--coarsest-mag", "2", *how)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cluster.jobs(tmp_path)) == 1


def test_plain_snakemake_with_the_profile_does_the_same(cluster: Cluster, tmp_path: Path) -> None:
    size = (256, 256, 128)
    dataset = three_layers(tmp_path / "plain", size)
    (tmp_path / "config.yaml").write_text(f"target: {dataset}\nlayer_names: [color]\njob_voxels: 65536\n")
    profile = ["--profile", str(ROOT / "profiles/slurm"), "--configfile", "config.yaml", "--jobs", "4"]
    done = _snakemake(cluster, tmp_path, *profile)
    assert done.returncode == 0, done.stderr
    check_same(dataset, *COLOR, size=size)
    assert len(cluster.jobs(tmp_path, "plain.color.")) == 4 + 1


def test_another_executor_takes_the_same_jobs(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "generic")
    submit = "sbatch --parsable --output=/dev/null --mem={resources.mem_mb} --time={resources.runtime} --cpus-per-task={threads}"
    options = ["--executor", "cluster-generic", "--cluster-generic-submit-cmd", submit, "--jobs", "4"]
    done = downsample(cluster, dataset, *COLOR, "--", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    check_same(dataset, *COLOR)
    assert len(cluster.jobs(tmp_path)) == 1


def _snakemake(cluster: Cluster, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / ".venv/bin/snakemake"), "--snakefile", str(ROOT / "Snakefile"), *options]
    return subprocess.run(
        command, cwd=cwd, env=environment(cluster), capture_output=True, text=True, timeout=300, check=False
    )
