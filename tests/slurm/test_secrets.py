"""Jobs on a cluster read from a server with the user's token, which nobody else sees."""

from __future__ import annotations

import subprocess
from pathlib import Path

from clusters import command, three_layers
from remote.remotely import Remote, clean_environment, local_result, same, served
from standin import EDITOR

from slurm.cluster import Cluster
from slurm.runs import SLURM


def test_the_token_gets_to_the_jobs_and_nowhere_else(cluster: Cluster, tmp_path: Path) -> None:
    with served(tmp_path) as remote:
        done = _run(cluster, remote, "--verbose")
        assert done.returncode == 0, done.stdout + done.stderr
        assert same(remote.voxels(), local_result(remote.original, tmp_path / "local"))
        said = [done.stdout, done.stderr]
        jobs = cluster.jobs(tmp_path)
        assert len(jobs) == 2
        for job in jobs:
            said.append(cluster.run("scontrol", "show", "job", job.id))
            said.append(cluster.run("scontrol", "write", "batch_script", job.id, "-"))
        said.append(cluster.run("sacct", "--parsable2", "--format=ALL"))
        said.append(cluster.run("squeue", "--states=all", "--format=%all"))
    assert "downsample" in "".join(said)
    assert not [text for text in said if EDITOR in text]
    for path in (path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()):
        assert EDITOR.encode() not in path.read_bytes(), path


def test_snakemakes_own_verbose_would_show_the_token_and_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text("verbose: true\n")
    with served(tmp_path) as remote:
        for options in (("--verbose",), ("--profile", str(profile))):
            failed = _run(cluster, remote, theirs=options)
            assert failed.returncode == 1
            assert "--verbose writes the environment of each job into its log" in failed.stderr
        assert not cluster.jobs(tmp_path)


def test_jobs_of_a_dataset_on_disk_get_no_token(cluster: Cluster, tmp_path: Path) -> None:
    dataset = three_layers(tmp_path / "data")
    environment = clean_environment({**cluster.environment, "WK_TOKEN": EDITOR})
    line = [*command(dataset, "--layer-name", "color", *SLURM), "--", "--verbose", "--slurm-keep-successful-logs"]
    done = subprocess.run(line, cwd="/", env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (log,) = dataset.glob(".wkflow/*/.snakemake/slurm_logs/*/*/*.log")
    assert "environment: " in log.read_text()
    assert EDITOR not in log.read_text()


def _run(
    cluster: Cluster, remote: Remote, *options: str, theirs: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    line = [*remote.command(*SLURM, *options), "--", *theirs] if theirs else remote.command(*SLURM, *options)
    return subprocess.run(
        line,
        cwd=remote.folder,
        env=clean_environment(cluster.environment),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
