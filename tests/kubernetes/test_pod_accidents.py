"""What happens to pods, and to the API server: jobs are tried again, the others go on, and the user is told what it was."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pytest
from clusters import COLOR, check_same, downsample, program_of, three_layers
from kube import Cluster, Node
from lab import KUBERNETES, Lab

ANY = ("--job-resources", "{}")
ONCE = ("--", "--retries", "0")


def the_pod(lab: Lab) -> str:
    """The name of the pod that runs."""
    return str(
        lab.cluster.wait_for(lambda: [p for p in lab.cluster.pods() if p["status"]["phase"] == "Running"])[0][
            "metadata"
        ]["name"]
    )


def test_a_pod_that_runs_out_of_memory_is_named_with_what_it_was_given(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, "--job-resources", "memory=600M", *ONCE) as run:
        lab.cluster.wait_for(lab.cluster.pods)
        lab.cluster.limit(the_pod(lab), 40)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "layer 'color'" in errors
    assert "was killed: it needed more memory than the 600 MB that it was given" in errors
    assert "Traceback" not in errors


def test_after_a_failure_a_pod_gets_more_memory(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, "--job-resources", "memory=600M") as run:
        program_of(dataset, "l0.s0.r0").kill()
        output, errors = run.communicate(timeout=90)
    assert run.returncode == 0, output + errors
    memory = [_memory(job) for job in lab.cluster.history()]
    assert memory[0] == "600M"
    assert memory[1].endswith("Mi")
    assert int(memory[1][:-2]) >= 1200
    check_same(dataset, *COLOR)


@pytest.mark.parametrize("accident", ["evict", "delete_pod", "delete_job"])
def test_a_job_whose_pod_goes_is_tried_again(lab: Lab, accident: str) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program_of(dataset, "l0.s0.r0").suspend()
        name = the_pod(lab)
        if accident == "delete_job":
            name = lab.cluster.jobs()[0]["metadata"]["name"]
        getattr(lab.cluster, accident)(name)
        output, errors = run.communicate(timeout=90)
    assert run.returncode == 0, output + errors
    assert len(lab.cluster.history()) == 2
    check_same(dataset, *COLOR)
    assert not lab.left()


def test_a_pod_that_the_cluster_replaces_is_watched_on(lab_of_old: Lab) -> None:
    lab = lab_of_old
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program_of(dataset, "l0.s0.r0").suspend()
        lab.cluster.delete_pod(the_pod(lab))
        output, errors = run.communicate(timeout=90)
    assert run.returncode == 0, output + errors
    assert len(lab.cluster.history()) == 1
    check_same(dataset, *COLOR)


def test_a_job_on_a_node_that_is_lost_is_done_on_another_one_while_the_first_may_go_on(
    image: Path, tmp_path: Path
) -> None:
    (tmp_path / "volume").mkdir()
    nodes = (Node("node1"), Node("node2"))
    with Cluster(tmp_path / "cluster", image, {"datasets": tmp_path / "volume"}, nodes=nodes) as cluster:
        lab = Lab(cluster, tmp_path / "volume")
        dataset = three_layers(lab.volume / "data")
        with lab.started(dataset, *COLOR, *ANY) as run:
            first = program_of(dataset, "l0.s0.r0")
            first.suspend()
            cluster.lose_node("node1")
            cluster.wait_for(lambda: len(cluster.history()) == 2)
            output, errors = run.communicate(timeout=120)
        assert run.returncode == 0, output + errors
        check_same(dataset, *COLOR)
        first.resume()
        psutil.wait_procs([first], timeout=30)
        check_same(dataset, *COLOR)
        assert not [path for path in dataset.rglob("*") if path.name.endswith(".tmp")]


def test_an_evicted_pod_is_named_while_the_others_are_done_and_kept(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *ANY, *ONCE) as run:
        program_of(dataset, "l1.s0.r0").suspend()
        pod = lab.cluster.wait_for(
            lambda: [p for p in lab.cluster.pods() if "'seg'" in str(p["metadata"].get("annotations"))]
        )[0]
        lab.cluster.wait_for(
            lambda: len([p for p in lab.cluster.pods() if p["status"]["phase"] == "Running"]) == 1 or None
        )
        lab.cluster.evict(pod["metadata"]["name"])
        _, errors = run.communicate(timeout=90)
    assert run.returncode == 1
    assert "layer 'seg'" in errors
    assert "was evicted from its node" in errors
    assert "layer 'color'" not in errors
    before = len(lab.cluster.history())
    again = downsample(lab, dataset, *KUBERNETES, *ANY)
    assert again.returncode == 0, again.stderr
    assert len(lab.cluster.history()) == before + 1
    check_same(dataset)


def test_an_api_server_that_fails_again_and_again_is_survived(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    lab.cluster.faults.fail_every(4, 500)
    lab.cluster.faults.fail_every(5, 429)
    lab.cluster.faults.fail_every(7, 0)
    done = downsample(lab, dataset, *KUBERNETES, *ANY)
    assert done.returncode == 0, done.stdout + done.stderr
    check_same(dataset)
    assert len(lab.cluster.history()) == 3


def test_lost_answers_make_no_second_job(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    lab.cluster.faults.fail_next(1, 500, "/jobs", after=True)
    done = downsample(lab, dataset, *COLOR, *KUBERNETES, *ANY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(lab.cluster.history()) == 1
    check_same(dataset, *COLOR)


def test_a_cluster_that_is_not_reached_for_a_while_is_waited_for_and_this_is_told(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    with lab.started(dataset, *COLOR, *ANY) as run:
        program = program_of(dataset, "l0.s0.r0")
        program.suspend()
        lab.cluster.expire_token()
        _wait_for_line(run, "does not accept the credentials")
        program.resume()
        lab.cluster.renew_token()
        output, errors = run.communicate(timeout=90)
    assert run.returncode == 0, output + errors
    assert len(lab.cluster.history()) == 1
    check_same(dataset, *COLOR)


@pytest.mark.parametrize(
    ("resources", "why"),
    [
        ("memory=900G", "Insufficient memory"),
        ("image=registry.example/missing:1", "registry.example/missing:1"),
    ],
)
def test_why_a_pod_does_not_start_is_told_within_a_minute(lab: Lab, resources: str, why: str) -> None:
    dataset = three_layers(lab.volume / "data")
    began = time.monotonic()
    with lab.started(dataset, *COLOR, "--job-resources", resources) as run:
        line = _wait_for_line(run, "waits: ")
        assert why in line
        assert time.monotonic() - began < 60
        run.terminate()
        run.communicate(timeout=30)
    assert not lab.left()


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("claim", "there is no such persistent volume claim"),
        ("elsewhere", "the run's folder is on no volume that is mounted in the pods"),
        ("right", "rights are missing in the namespace lab: create jobs, list pods"),
        ("namespace", "namespace"),
        ("cluster", "there is no Kubernetes cluster to be reached from here"),
        ("silent", "does not answer"),
    ],
)
def test_what_would_keep_pods_from_running_is_said_first(lab: Lab, tmp_path: Path, problem: str, said: str) -> None:
    dataset, more, asked = three_layers(lab.volume / "data"), {}, "{}"
    if problem == "claim":
        asked = f"volumes=nothing:{lab.volume}"
    elif problem == "elsewhere":
        dataset = three_layers(tmp_path / "elsewhere")
    elif problem == "right":
        lab.cluster.deny("create", "jobs")
        lab.cluster.deny("list", "pods")
    elif problem == "namespace":
        asked = "namespace=nowhere"
    elif problem == "cluster":
        more = {"KUBECONFIG": str(tmp_path / "none")}
    else:
        lab.cluster.faults.fail_next(1000, 0)
    failed = downsample(lab, dataset, *COLOR, *KUBERNETES, "--job-resources", asked, more=more)
    assert failed.returncode in (1, 2)
    assert said in failed.stderr
    assert "what to do: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not lab.cluster.history()
    assert not list(dataset.glob("color/2*"))


def test_what_the_cluster_refuses_ends_the_run_with_its_reason(lab: Lab) -> None:
    dataset = three_layers(lab.volume / "data")
    lab.cluster.deny("create", "jobs", reviewed=False)
    failed = downsample(lab, dataset, *KUBERNETES, *ANY)
    assert failed.returncode == 1
    assert "Kubernetes has refused job l0.s0.r0" in failed.stderr
    assert 'cannot create resource "jobs"' in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not lab.left()


def test_an_image_of_another_version_is_told_and_not_tried_again(lab: Lab, image: Path, tmp_path: Path) -> None:
    dataset = three_layers(lab.volume / "data")
    other = tmp_path / "other"
    subprocess.run(["cp", "-al", image, other], check=True)
    (package,) = other.glob("opt/wkflow/lib/python3.*/site-packages/wkflow")
    (package / "region.py").unlink()
    (package / "region.py").write_text("# of a release that was never made\n")
    lab.cluster.kubelet.images["lab/other:1"] = other
    failed = downsample(lab, dataset, *COLOR, *KUBERNETES, "--job-resources", "image=lab/other:1")
    assert failed.returncode == 1
    assert "the container image has other versions than the host" in failed.stderr
    assert "build the image anew" in failed.stderr
    assert len(lab.cluster.history()) == 1


def _memory(job: dict) -> str:  # type: ignore[type-arg]
    return str(job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])


def _wait_for_line(run, text: str) -> str:  # type: ignore[no-untyped-def]
    """A line of the command's output."""
    said = []
    for line in run.stdout:
        said.append(line)
        if text in line:
            return str(line)
    raise AssertionError("".join(said))
