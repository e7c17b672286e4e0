"""A dataset downsampled in pods is the same, byte for byte, as one downsampled here."""

from __future__ import annotations

from pathlib import Path

from clusters import COLOR, check_same, downsample, three_layers
from lab import KUBERNETES, Lab
from workflow.commands import ROOT


def test_the_users_example_ends_well(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "cortex")
    done = downsample(lab, dataset, "--jobs", 4, *KUBERNETES, "--job-resources", "memory=32G")
    assert done.returncode == 0, done.stdout + done.stderr
    check_same(dataset)
    jobs = lab.cluster.history()
    assert len(jobs) == 3
    for job in jobs:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"] == "32000M"
        assert "env" not in container or not any("valueFrom" in one for one in container["env"])
    assert {job["metadata"]["annotations"]["wkflow/job"].split("'")[1] for job in jobs} == {"color", "seg", "other"}
    assert not lab.left()
    again = downsample(lab, dataset, *KUBERNETES, "--job-resources", "{}")
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_the_example_of_the_users_page_gets_what_a_pod_needs_at_least(lab: Lab) -> None:
    """Its 10 MB are not enough for anything."""
    dataset = three_layers(lab.volume / "data")
    done = downsample(lab, dataset, *COLOR, *KUBERNETES, "--job-resources", '{"mem": "10M"}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10M is too little for a pod, which gets 500 MB" in done.stdout
    check_same(dataset, *COLOR)


def test_paths_may_mean_something_to_shells_to_snakemake_and_to_the_cluster(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "it's $HOME $(HOME) {x} `y` &")
    done = downsample(lab, dataset, *COLOR, *KUBERNETES, "--job-resources", "{}")
    assert done.returncode == 0, done.stdout + done.stderr
    check_same(dataset, *COLOR)


def test_finished_jobs_can_be_kept(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    keep = ("--", "--wkflow-kubernetes-omit-job-cleanup")
    done = downsample(lab, dataset, *COLOR, *KUBERNETES, "--job-resources", "{}", *keep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in lab.left()] == ["Job", "Pod"]


def test_a_pod_has_what_was_asked_for(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    asked = (
        '{"memory": "2Gi", "cpu": "500m", "time": "2h", "node_selector": {"disk": "fast"}, "tolerations": ["imaging:NoSchedule"],'
        ' "image_pull_secrets": ["registry"], "run_as_user": 1234, "fs_group": 99, "disk": "1G"}'
    )
    with lab.started(dataset, *COLOR, "--job-resources", asked):
        (job,) = lab.cluster.wait_for(lab.cluster.jobs)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "2148M", "ephemeral-storage": "1000M"},
        "limits": {"cpu": "1000m", "memory": "2148M", "ephemeral-storage": "1000M"},
    }
    assert pod["activeDeadlineSeconds"] == 7200
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [{"key": "imaging", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["securityContext"]["runAsUser"] == 1234
    assert pod["securityContext"]["fsGroup"] == 99


def test_plain_snakemake_with_the_profile_does_the_same(lab: Lab) -> None:
    size = (256, 256, 128)
    dataset = three_layers(lab.volume / "plain", size)
    folder = lab.volume / "folder"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"target: {dataset}\nlayer_names: [color]\njob_voxels: 65536\n")
    _snakemake(lab, folder, "--configfile", "config.yaml", "--jobs", "2")
    check_same(dataset, *COLOR, size=size)
    assert len(lab.cluster.history()) == 4 + 1
    assert not lab.left()


def test_a_workflow_of_a_lab_runs_in_the_same_pods(lab: Lab) -> None:
    """With wkflow as a module, and a rule of its own that depends on it."""
    dataset = three_layers(lab.volume / "mine")
    folder = lab.volume / "workflow of mine"
    folder.mkdir()
    (folder / "Snakefile").write_text(
        f"""
from wkflow.home import home

module wkflow:
    snakefile:
        str(home() / "Snakefile")
    config:
        {{"target": {str(dataset)!r}, "layer_names": ["color"], "receipt": {str(folder / "done.json")!r}}}

use rule * from wkflow as wkflow_*

rule mine:
    input:
        {str(folder / "done.json")!r},
    output:
        "mine.txt",
    default_target: True
    shell:
        "ls {dataset}/color > {{output}}"
"""
    )
    _snakemake(lab, folder, snakefile=folder / "Snakefile")
    assert (folder / "mine.txt").read_text().split() == ["1", "2", "4", "zarr.json"]
    check_same(dataset, *COLOR)
    assert len(lab.cluster.history()) == 2


def test_the_executor_that_copies_files_is_refused(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    options = ["--executor", "kubernetes", "--jobs", "1", "--shared-fs-usage", "none"]
    failed = downsample(lab, dataset, *COLOR, "--", *options)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    assert not lab.cluster.history()


def _snakemake(lab: Lab, cwd: Path, *options: str, snakefile: Path = ROOT / "Snakefile") -> None:
    with lab.snakemake(cwd, *options, snakefile=snakefile) as run:
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
