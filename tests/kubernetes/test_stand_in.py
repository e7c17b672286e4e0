"""The stand-in for a cluster answers, refuses and ends pods as a real one does; asked by the real Python client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes.config
import pytest
from kube import Cluster, Node
from kubernetes.client import ApiClient, ApiException, BatchV1Api, CoreV1Api

NODES = (Node(memory_mb=1000, cpus=4),)


class Client:
    """Of one user."""

    def __init__(self, cluster: Cluster) -> None:
        client: ApiClient = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
        self.core, self.batch, self.cluster = CoreV1Api(client), BatchV1Api(client), cluster

    def run(self, script: str, name: str = "job", **pod: Any) -> None:
        self.batch.create_namespaced_job("lab", job(script, name, **pod))

    def end(self, name: str = "job") -> tuple[Any, Any]:
        """A Job and its pod when the Job is over."""

        def look() -> Any:
            found = self.batch.read_namespaced_job(name, "lab")
            return found if found.status.conditions else None

        return self.cluster.wait_for(look), (self.pods(name) or [None])[0]

    def pods(self, name: str = "job") -> list[Any]:
        return list(self.core.list_namespaced_pod("lab", label_selector=f"job-name={name}").items)

    def log(self, name: str = "job", **options: Any) -> str:
        return str(self.core.read_namespaced_pod_log(self.pods(name)[0].metadata.name, "lab", **options))


def job(script: str, name: str = "job", container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    mounts = {"volumeMounts": [{"name": "datasets", "mountPath": "/data"}]}
    one = {
        "name": "snakemake",
        "image": "lab/wkflow:1",
        "command": ["/bin/sh", "-c", script],
        **mounts,
        **(container or {}),
    }
    volumes = [{"name": "datasets", "persistentVolumeClaim": {"claimName": "datasets"}}]
    spec = {
        "containers": [one],
        "volumes": volumes,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        **pod,
    }
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}


@pytest.fixture
def make(image: Path, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    (tmp_path / "volume").mkdir(mode=0o777)
    (tmp_path / "volume").chmod(0o777)
    clusters: list[Cluster] = []

    def make_one(**options: Any) -> Client:
        cluster = Cluster(tmp_path / "cluster", image, {"datasets": tmp_path / "volume"}, nodes=NODES, **options)
        clusters.append(cluster.__enter__())
        return Client(cluster)

    yield make_one
    for cluster in clusters:
        cluster.__exit__()


@pytest.fixture
def client(make: Callable[..., Client]) -> Client:
    return make()


def test_a_job_writes_on_its_volume_as_the_user_of_the_image_and_sees_nothing_else(
    client: Client, tmp_path: Path
) -> None:
    client.run(f"id -u > /data/user; ls {tmp_path} 2> /data/outside; env > /data/env; ps ax 2>/dev/null; echo said")
    found, pod = client.end()
    assert (found.status.succeeded, pod.status.phase) == (1, "Succeeded")
    volume = tmp_path / "volume"
    assert (volume / "user").read_text() == "1000\n"
    assert "No such file" in (volume / "outside").read_text()
    names = {line.partition("=")[0] for line in (volume / "env").read_text().splitlines()}
    assert (
        {"PATH", "HOSTNAME", "KUBERNETES_SERVICE_HOST", "LANG"}
        <= names
        <= {*names, "PWD"} - {"KUBECONFIG", "VIRTUAL_ENV", "HOME_OF_HOST"}
    )
    assert client.log() == "said\n"


def test_a_job_that_fails_has_its_exit_code_and_its_log(client: Client) -> None:
    client.run("echo one; echo two; exit 3")
    found, pod = client.end()
    assert found.status.failed == 1
    assert found.status.conditions[0].reason == "BackoffLimitExceeded"
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, pod.status.phase) == (3, "Error", "Failed")
    assert client.log(tail_lines=1) == "two\n"
    with pytest.raises(ApiException, match="previous terminated container") as refused:
        client.log(previous=True)
    assert refused.value.status == 400


def test_a_container_over_its_memory_is_killed(client: Client) -> None:
    script = "/opt/wkflow/bin/python -c 'import time; x = bytearray(300_000_000); time.sleep(60)'"
    client.run(script, container={"resources": {"requests": {"memory": "100M"}, "limits": {"memory": "100M"}}})
    _, pod = client.end()
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


def test_variables_are_expanded_as_the_kubelet_does(client: Client) -> None:
    container = {
        "env": [{"name": "A", "value": "x$(B)$$y"}, {"name": "C", "value": "$(A)!"}],
        "args": ["$(C) $$(C) $HOME $(NONE)"],
    }
    container["command"] = ["/bin/sh", "-c", 'printf "%s\\n" "$0" "$C"']
    client.run("", container=container)
    client.end()
    assert client.log() == "x$(B)$y! $(C) $HOME $(NONE)\nx$(B)$y!\n"


def test_a_pod_runs_as_who_it_is_told_to(client: Client) -> None:
    security = {"runAsUser": 1234, "runAsGroup": 99, "supplementalGroups": [7], "fsGroup": 8}
    client.run("id -u; id -g; id -G", securityContext=security)
    client.end()
    assert client.log().split() == ["1234", "99", "99", "7", "8"]


def test_secrets_become_variables_and_are_waited_for(client: Client) -> None:
    reference = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "token"}}}
    client.run('echo "$TOKEN"', container={"env": [reference]})
    waiting = client.cluster.wait_for(lambda: client.pods() and client.pods()[0].status.container_statuses)[
        0
    ].state.waiting
    assert (waiting.reason, waiting.message) == ("CreateContainerConfigError", 'secret "mine" not found')
    client.core.create_namespaced_secret("lab", {"metadata": {"name": "mine"}, "stringData": {"token": "hush"}})
    client.end()
    assert client.log() == "hush\n"


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"metadata": {"name": "Big"}}, 422, "lowercase RFC 1123 subdomain"),
        ({"volumes": [{"name": "a.b", "emptyDir": {}}]}, 422, "must not contain dots"),
        ({"volumes": [{"name": "datasets", "emptyDir": {}}] * 2}, 422, 'Duplicate value: "datasets"'),
        ({"container": {"image": ""}}, 422, "image: Required value"),
        ({"container": {"resources": {"requests": {"memory": "32GB"}}}}, 400, "quantities must match"),
        ({"container": {"resources": {"requests": {"nvidia.com/gpu": 1}}}}, 422, "Limit must be set for non overcommitable"),
        ({"container": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1"}}}}, 422, "less than or equal to cpu limit"),
        ({"container": {"volumeMounts": [{"name": "x", "mountPath": "/x"}]}}, 422, 'Not found: "x"'),
        ({"restartPolicy": "Always"}, 422, "restartPolicy"),
        ({"labels": {"a/b/c": "x"}}, 422, "labels"),
    ],
)  # fmt: skip
def test_what_a_real_server_refuses_is_refused(client: Client, changed: dict[str, Any], status: int, said: str) -> None:
    body = job("true", **{key: value for key, value in changed.items() if key not in ("metadata", "labels")})
    body["metadata"] |= changed.get("metadata", {}) | ({"labels": changed["labels"]} if "labels" in changed else {})
    with pytest.raises(ApiException) as refused:
        client.batch.create_namespaced_job("lab", body)
    assert refused.value.status == status
    assert said in json.loads(refused.value.body)["message"]
    assert not client.cluster.jobs()


def test_names_are_taken_once_and_namespaces_exist(client: Client) -> None:
    client.run("true")
    with pytest.raises(ApiException, match="already exists") as conflict:
        client.run("true")
    assert conflict.value.status == 409
    with pytest.raises(ApiException, match="not found"):
        client.batch.create_namespaced_job("nowhere", job("true"))
    with pytest.raises(ApiException, match="not found"):
        client.core.read_namespaced_persistent_volume_claim("none", "lab")


def test_a_deleted_pod_gets_a_moment_to_end_and_its_job_fails(client: Client, tmp_path: Path) -> None:
    client.run("trap 'echo bye > /data/bye; exit 0' TERM; touch /data/on; while :; do sleep 0.1; done")
    client.cluster.wait_for((tmp_path / "volume/on").exists)
    client.core.delete_namespaced_pod(client.pods()[0].metadata.name, "lab")
    found, _ = client.end()
    assert found.status.failed == 1
    client.cluster.wait_for(lambda: not client.pods())
    assert (tmp_path / "volume/bye").exists()


def test_an_older_cluster_replaces_a_deleted_pod_while_it_ends(make: Callable[..., Client]) -> None:
    client = make(replaces=True)
    client.run("sleep 60", terminationGracePeriodSeconds=30)
    client.cluster.wait_for(lambda: [pod for pod in client.pods() if pod.status.phase == "Running"])
    client.core.delete_namespaced_pod(client.pods()[0].metadata.name, "lab", grace_period_seconds=5)
    pods = client.cluster.wait_for(lambda: len(client.pods()) == 2 and client.pods())
    assert len([pod for pod in pods if pod.metadata.deletion_timestamp]) == 1


def test_a_job_is_deleted_with_its_pods_and_their_processes(client: Client, tmp_path: Path) -> None:
    client.run("touch /data/on; while :; do date +%s%N > /data/alive; done")
    client.cluster.wait_for((tmp_path / "volume/on").exists)
    client.batch.delete_namespaced_job("job", "lab", propagation_policy="Background")
    client.cluster.wait_for(lambda: not client.pods())
    before = (tmp_path / "volume/alive").read_text()
    time.sleep(0.2)
    assert (tmp_path / "volume/alive").read_text() == before


def test_a_pod_without_room_or_with_a_missing_claim_waits_and_says_why(client: Client) -> None:
    client.run("true", container={"resources": {"requests": {"memory": "2G"}}})
    client.run("true", "other", volumes=[{"name": "datasets", "persistentVolumeClaim": {"claimName": "none"}}])

    def message(name: str) -> Any:
        pods = client.pods(name)
        return pods and pods[0].status.conditions and pods[0].status.conditions[0].message

    assert client.cluster.wait_for(lambda: message("job")) == "0/1 nodes are available: 1 Insufficient memory."
    assert client.cluster.wait_for(lambda: message("other")) == 'persistentvolumeclaim "none" not found'
    name = client.pods()[0].metadata.name
    (event,) = client.core.list_namespaced_event("lab", field_selector=f"involvedObject.name={name}").items
    assert (event.type, event.reason) == ("Warning", "FailedScheduling")


def test_a_pod_ends_at_its_deadline(client: Client) -> None:
    client.run("sleep 60", activeDeadlineSeconds=1)
    _, pod = client.end()
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_sidecar_keeps_a_job_from_ending(client: Client) -> None:
    client.cluster.controller.has_sidecars = True
    client.run("true")

    def state() -> Any:
        statuses = client.pods() and client.pods()[0].status.container_statuses
        return statuses and statuses[0].state.terminated

    assert client.cluster.wait_for(state).exit_code == 0
    assert not client.batch.read_namespaced_job("job", "lab").status.conditions


def test_rights_and_tokens_are_looked_at(client: Client) -> None:
    client.cluster.deny("list", "pods")
    with pytest.raises(ApiException, match="cannot list resource") as denied:
        client.pods()
    assert denied.value.status == 403
    client.cluster.expire_token()
    with pytest.raises(ApiException) as expired:
        client.batch.list_namespaced_job("lab")
    assert expired.value.status == 401


def test_requests_fail_as_they_are_told_to(client: Client) -> None:
    client.cluster.faults.fail_next(1, 429, "/jobs")
    client.cluster.faults.fail_next(1, 500, "/jobs", after=True)
    for status, left in ((429, 0), (500, 1)):
        with pytest.raises(ApiException) as failed:
            client.run("true")
        assert failed.value.status == status
        assert len(client.cluster.jobs()) == left
