"""The stand-in for a cluster runs pods as a real one does, and ends them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes.client import VersionApi
from tiny import FOREVER, Client, client_of, containers, job, refused, resources, tiny_image


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def lab(root: Path, tmp_path: Path) -> Iterator[Client]:
    with client_of(root, tmp_path) as client:
        yield client


@pytest.fixture
def lab_of_old(root: Path, tmp_path: Path) -> Iterator[Client]:
    with client_of(root, tmp_path, replaces=True) as client:
        yield client


def test_a_job_writes_into_its_claim_and_succeeds(lab: Client) -> None:
    lab.run("echo said; echo done >/data/result; echo lost >/dev/shm/standin-test; echo lost >/tmp/standin-test")
    status = lab.ended()
    assert (status.succeeded, status.failed, status.conditions[0].type) == (1, None, "Complete")
    assert (lab.volume / "result").read_text() == "done\n"
    assert (lab.volume / "result").stat().st_uid == 1000
    assert lab.state().terminated.reason == "Completed"
    assert lab.pod().spec.node_name == "node1"
    assert lab.log(container="snakemake", tail_lines=1) == "said\n"
    assert not Path("/dev/shm/standin-test").exists()
    assert not Path("/tmp/standin-test").exists()
    assert VersionApi(lab.core.api_client).get_code().major == "1"


def test_a_failing_job_has_a_log_but_no_previous_one(lab: Client) -> None:
    lab.run("echo one; echo two >&2; exit 3")
    status = lab.ended()
    assert (status.failed, status.conditions[0].reason) == (1, "BackoffLimitExceeded")
    assert (lab.state().terminated.exit_code, lab.state().terminated.reason) == (3, "Error")
    assert lab.log() == "one\ntwo\n"
    assert lab.log(tail_lines=1) == "two\n"
    name = lab.pod().metadata.name
    code, said = refused(lab.core.read_namespaced_pod_log, name, "lab", container="snakemake", previous=True)
    assert (code, said) == (400, f'previous terminated container "snakemake" in pod "{name}" not found')


def test_a_container_has_its_own_world(lab: Client) -> None:
    """Environment, user, files, processes and hostname; of this machine nothing."""
    lab.core.create_namespaced_secret("lab", {"metadata": {"name": "s"}, "stringData": {"token": "hush"}})
    reference = {"secretKeyRef": {"name": "s", "key": "token"}}
    variables = [
        {"name": "A", "value": "1"},
        {"name": "T", "valueFrom": reference},
        {"name": "B", "value": "$(A)$$(A)$(NO)"},
    ]
    script = "env; id; hostname; cat /proc/1/cmdline; echo; cat /var/run/secrets/*/*/token; ls -d /root /work /data"
    user = {"runAsUser": 4321, "runAsGroup": 77, "fsGroup": 88, "supplementalGroups": [99]}
    lab.run(script, container={"env": variables, "workingDir": "/workdir"}, securityContext=user)
    lab.ended()
    lines = lab.log().splitlines()
    pod = lab.pod().metadata.name
    found = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    assert found | {"_": ""} == {
        **{
            "A": "1",
            "T": "hush",
            "B": "1$(A)$(NO)",
            "OF_IMAGE": "yes",
            "HOME": "/",
            "HOSTNAME": pod,
            "PWD": "/workdir",
        },
        **{"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(lab.cluster.port), "_": ""},
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    assert "uid=4321 gid=77 groups=77,88,99" in lines
    assert pod in lines
    assert any(lab.cluster.pod_token in line for line in lines)
    assert any(line.startswith("/bin/sh\0-c") for line in lines)
    assert "/data" in lines
    assert not {"/root", "/work"} & set(lines)


def test_a_container_over_its_memory_is_killed_with_all_its_processes(lab: Client) -> None:
    shell = "x=0123456789abcdef; while :; do x=$x$x; done"
    limits = resources(limits={"memory": "20M"})
    lab.run(f"({shell}) & wait; echo survived", container=limits)
    assert lab.ended().failed == 1
    assert (lab.state().terminated.exit_code, lab.state().terminated.reason) == (137, "OOMKilled")
    assert "survived" not in lab.log()


@pytest.mark.parametrize("user", [0, 1234])
@pytest.mark.parametrize("end", ["evict", "grace", "foreground"])
def test_nothing_of_a_pod_goes_on_after_its_end(lab: Client, end: str, user: int) -> None:
    lab.run("trap : TERM; touch /data/ready; while :; do sleep 0.05; done", securityContext={"runAsUser": user})
    pod = lab.ready().metadata.name
    if end == "evict":
        lab.cluster.evict(pod)
        assert (lab.pod().status.phase, lab.pod().status.reason) == ("Failed", "Evicted")
        assert lab.ended().failed == 1
    elif end == "grace":
        lab.core.delete_namespaced_pod(pod, "lab", grace_period_seconds=0)
        lab.cluster.wait_for(lambda: not lab.cluster.pods())
        assert lab.ended().failed == 1
    else:
        lab.batch.delete_namespaced_job("job", "lab", propagation_policy="Foreground", body={})
        assert lab.batch.read_namespaced_job("job", "lab").metadata.deletion_timestamp
        lab.core.delete_namespaced_pod(pod, "lab", grace_period_seconds=0)
        lab.cluster.wait_for(lambda: not lab.cluster.jobs())
        assert not lab.cluster.pods()
    assert not containers(lab.volume.parent)


def test_who_handles_sigterm_has_time_to_end(lab: Client) -> None:
    lab.run(FOREVER)
    lab.ready()
    lab.batch.delete_namespaced_job("job", "lab", propagation_policy="Background", body={})
    assert not lab.cluster.jobs()
    lab.cluster.wait_for(lambda: not lab.cluster.pods(), 4)  # before the 5 s of grace are over


def test_who_does_not_handle_sigterm_is_not_ended_by_it(lab: Client) -> None:
    lab.run("touch /data/ready; while :; do sleep 0.05; [ -e /data/stop ] && exit 0; done")
    pod = lab.ready().metadata.name
    lab.core.delete_namespaced_pod(pod, "lab", grace_period_seconds=300)
    (lab.volume / "stop").touch()
    lab.cluster.wait_for(lambda: not lab.cluster.pods())
    assert lab.cluster.all_pods()[0]["metadata"]["deletionGracePeriodSeconds"] == 300


def test_a_time_limit_ends_a_pod_with_grace(lab: Client) -> None:
    lab.run(FOREVER, activeDeadlineSeconds=1)
    assert lab.ended().failed == 1
    status = lab.pod().status
    assert (status.phase, status.reason) == ("Failed", "DeadlineExceeded")
    assert status.message == "Pod was active on the node longer than the specified deadline"
    assert (lab.state().terminated.exit_code, lab.log()) == (3, "asked\n")


def test_a_deleted_pod_fails_its_job(lab: Client) -> None:
    lab.run(FOREVER)
    lab.cluster.delete_pod(lab.ready().metadata.name)
    assert lab.ended().failed == 1


def test_an_old_controller_replaces_a_pod_that_still_ends(lab_of_old: Client) -> None:
    lab = lab_of_old
    lab.run("trap : TERM; touch /data/ready; while [ ! -e /data/stop ]; do sleep 0.05; done")
    first = lab.ready().metadata.name
    lab.cluster.delete_pod(first, grace=300)
    pods = lab.cluster.wait_for(lambda: len(lab.cluster.pods()) == 2 and lab.cluster.pods())
    assert [first in one["metadata"]["name"] for one in pods if "deletionTimestamp" in one["metadata"]] == [True]
    (lab.volume / "stop").touch()
    assert lab.ended().succeeded == 1


def test_a_lost_node_says_nothing_until_it_is_given_up(lab: Client) -> None:
    lab.run(FOREVER)
    pod = lab.ready().metadata.name
    lab.cluster.lose_node("node1", is_noticed=False)
    lab.core.delete_namespaced_pod(pod, "lab")
    assert refused(lab.core.read_namespaced_pod_log, pod, "lab")[0] == 500
    lab.cluster.node_gone("node1")
    assert lab.ended().failed == 1
    assert not lab.cluster.pods()


def test_a_sidecar_keeps_a_job_from_completing(lab: Client) -> None:
    lab.cluster.sidecar = True
    lab.run("exit 0")
    ended = lab.cluster.wait_for(
        lambda: [one for one in lab.cluster.pods() if "terminated" in json.dumps(one["status"])]
    )
    assert ended[0]["status"]["phase"] == "Running"
    assert not lab.batch.read_namespaced_job_status("job", "lab").status.succeeded
    states = {one.name: one.state for one in lab.pod().status.container_statuses}
    assert states["snakemake"].terminated.exit_code == 0
    assert states["sidecar"].running


def test_pods_end_with_a_process_that_is_killed(root: Path, tmp_path: Path) -> None:
    """No test run leaves them, however it ends."""
    (tmp_path / "volume").mkdir(mode=0o777)
    (tmp_path / "volume").chmod(0o777)
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
import kubernetes, time
from kube import Cluster
cluster = Cluster(Path({str(tmp_path / "c")!r}), Path({str(root)!r}), {{"data": Path({str(tmp_path / "volume")!r})}})
with cluster:
    api = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
    kubernetes.client.BatchV1Api(api).create_namespaced_job("lab", {job(FOREVER)!r})
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        _wait_for((tmp_path / "volume/ready").exists)
        assert containers(tmp_path)
        process.kill()
    _wait_for(lambda: not containers(tmp_path))


def _wait_for(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)
