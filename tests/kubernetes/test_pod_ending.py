"""A run that is stopped leaves nothing in the cluster, or the next start removes it; then it goes on."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest
from clusters import COLOR, check_same, downsample, program_of, three_layers
from kube import Cluster
from lab import KUBERNETES, Lab
from workflow.commands import program

ANY = ("--job-resources", "{}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_everything_and_the_next_start_goes_on(lab: Lab, number: signal.Signals) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program_of(dataset, "l0.s0.r0").suspend()
        began = time.monotonic()
        run.send_signal(number)
        _, errors = run.communicate(timeout=30)
    assert run.returncode in (-number, 128 + number)
    assert "removed 2 Job(s) and pod(s) from the Kubernetes cluster" in errors
    assert time.monotonic() - began < 20
    assert not lab.left()
    again = downsample(lab, dataset, *COLOR, *KUBERNETES, *ANY)
    assert again.returncode == 0, again.stderr
    check_same(dataset, *COLOR)


@pytest.mark.parametrize("strategy", ["kubernetes", "multiprocessing"])
def test_what_a_killed_run_has_left_and_nothing_else_is_removed_by_the_next_start(lab: Lab, strategy: str) -> None:
    dataset, other = three_layers(lab.volume / "data"), three_layers(lab.volume / "other")
    with lab.started(other, *COLOR, *ANY) as neighbour:
        program = program_of(other, "l0.s0.r0")
        program.suspend()
        with lab.started(dataset, *COLOR, *ANY) as run:
            program_of(dataset, "l0.s0.r0").suspend()
            run.kill()
        left = {job["metadata"]["name"] for job in lab.cluster.jobs()}
        assert len(left) == 2
        asked = ANY if strategy == "kubernetes" else ()
        again = downsample(lab, dataset, *COLOR, "--distribution-strategy", strategy, *asked)
        assert again.returncode == 0, again.stderr
        check_same(dataset, *COLOR)
        (remaining,) = lab.cluster.jobs()
        assert remaining["metadata"]["name"] in left
        program.resume()
        _, errors = neighbour.communicate(timeout=60)
    assert neighbour.returncode == 0, errors
    assert not lab.left()


@pytest.mark.parametrize("command", ["clean", "restart"])
def test_pods_go_before_the_files_that_they_write_are_deleted(lab: Lab, command: str) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program_of(dataset, "l0.s0.r0").suspend()
        run.kill()
    assert len(lab.cluster.jobs()) == 1
    line = (
        ["clean", "--yes", str(dataset)]
        if command == "clean"
        else ["downsample", "--restart", "--yes", *COLOR, str(dataset)]
    )
    done = program(sys.executable, "-m", "wkflow", *line, environment=lab.environment)
    assert done.returncode == 0, done.stderr
    assert "removed 2 Job(s) and pod(s) from the Kubernetes cluster" in done.stdout
    assert not lab.left()
    if command == "restart":
        check_same(dataset, *COLOR)


def test_if_the_cluster_cannot_be_asked_about_an_earlier_start_nothing_is_begun(
    lab: Lab, image: Path, tmp_path: Path
) -> None:
    """It is not there, or it is another one."""
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program_of(dataset, "l0.s0.r0").suspend()
        run.kill()
    nowhere = downsample(lab, dataset, *COLOR, more={"KUBECONFIG": str(tmp_path / "none")})
    assert nowhere.returncode == 1
    assert "pods of the run may be at work in a Kubernetes cluster, which cannot be asked" in nowhere.stderr
    with Cluster(tmp_path / "second", image, {"datasets": lab.volume}) as second:
        elsewhere = downsample(lab, dataset, *COLOR, more={"KUBECONFIG": str(second.kubeconfig)})
    assert elsewhere.returncode == 1
    assert "may be at work in another Kubernetes cluster than the one that is set up here" in elsewhere.stderr
    assert not list(dataset.glob("color/2*"))


def test_plain_snakemake_removes_everything_at_ctrl_c(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.snakemake(lab.volume, "--config", f"target={dataset}", "layer_names=[color]") as run:
        program_of(dataset, "l0.s0.r0").suspend()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode != 0
    assert not lab.left()
