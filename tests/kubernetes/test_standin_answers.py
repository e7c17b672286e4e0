"""The stand-in for a cluster refuses what a real one refuses, in its words, and fails as asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes.client import BatchV1Api
from tiny import Client, client_of, job, refused, resources, tiny_image


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def lab(root: Path, tmp_path: Path) -> Iterator[Client]:
    with client_of(root, tmp_path) as client:
        yield client


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (job("", "Upper"), 422, "metadata.name: Invalid value"),
        (job("", "x" * 64), 422, "must be no more than 63 characters"),
        (job("", container={"image": None}), 422, "containers[0].image: Required value"),
        (job("", container=resources(limits={"memory": "32GB"})), 400, "quantities must match the regular expression"),
        (
            job("", container=resources(requests={"cpu": "2"}, limits={"cpu": "1500m"})),
            422,
            "less than or equal to cpu limit",
        ),
        (
            job("", container=resources(requests={"nvidia.com/gpu": 1})),
            422,
            "Limit must be set for non overcommitable resources",
        ),
        (job("", restartPolicy="Always"), 422, "restartPolicy"),
        (job("", volumes=[{"name": "da.ta", "emptyDir": {}}]), 422, "must not contain dots"),
        (job("", volumes=[{"name": "data", "emptyDir": {}}] * 2), 422, "Duplicate value"),
        (job("", volumes=[]), 422, 'volumeMounts[0].name: Not found: "data"'),
        (job("", container={"volumeMounts": [{"name": "data", "mountPath": "/d"}] * 2}), 422, "must be unique"),
        (job("", container={"env": [{"name": "A", "value": 1}]}), 400, "cannot unmarshal number"),
        (job("", activeDeadlineSeconds=0), 422, "activeDeadlineSeconds"),
        ({"metadata": {"name": "empty"}, "spec": {}}, 422, "containers: Required value"),
        (job("") | {"metadata": {"name": "job", "labels": {"a b": "c"}}}, 422, "metadata.labels"),
        (job("") | {"metadata": {"name": "job", "labels": {"a": "it's"}}}, 422, "metadata.labels"),
    ],
)
def test_what_a_real_server_refuses_is_refused(lab: Client, body: dict[str, Any], code: int, said: str) -> None:
    got = refused(lab.batch.create_namespaced_job, "lab", body)
    assert got[0] == code
    assert said in got[1]
    assert not lab.cluster.history()


def test_names_are_taken_once_and_unknown_fields_are_dropped(lab: Client) -> None:
    lab.cluster.paused = True
    body = job("")
    body["spec"]["template"]["spec"]["notAField"] = 1
    lab.batch.create_namespaced_job("lab", body)
    assert refused(lab.batch.create_namespaced_job, "lab", body) == (409, 'jobs.batch "job" already exists')
    assert "notAField" not in json.dumps(lab.cluster.jobs())
    assert refused(lab.batch.create_namespaced_job, "nowhere", body) == (404, 'namespaces "nowhere" not found')
    assert refused(lab.core.read_namespace, "nowhere")[0] == 404
    assert not lab.batch.list_namespaced_job("nowhere").items
    assert refused(lab.batch.read_namespaced_job, "none", "lab") == (404, 'jobs.batch "none" not found')
    name = lab.cluster.wait_for(lab.cluster.pods)[0]["metadata"]["name"]
    code, said = refused(lab.core.read_namespaced_pod_log, name, "lab")
    assert (code, said) == (400, f'container "snakemake" in pod "{name}" is waiting to start: ContainerCreating')


def test_lists_come_in_pieces(lab: Client) -> None:
    for name in ("a", "b", "c"):
        metadata = {"name": name, "labels": {"run": "1", "of": name}}
        lab.core.create_namespaced_secret("lab", {"metadata": metadata})
    first = lab.core.list_namespaced_secret("lab", label_selector="run=1", limit=2)
    rest = lab.core.list_namespaced_secret("lab", label_selector="run=1", limit=2, _continue=first.metadata._continue)
    assert [one.metadata.name for one in [*first.items, *rest.items]] == ["a", "b", "c"]
    assert len(first.items) == 2
    assert not rest.metadata._continue
    (found,) = lab.core.list_namespaced_secret("lab", label_selector="run=1,of=b").items
    assert found.metadata.name == "b"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"container": resources(requests={"memory": "900G"})}, "0/1 nodes are available: 1 Insufficient memory."),
        ({"container": resources(limits={"cpu": 5})}, "0/1 nodes are available: 1 Insufficient cpu."),
        ({"container": resources(limits={"amd.com/gpu": 1})}, "0/1 nodes are available: 1 Insufficient amd.com/gpu."),
        (
            {"nodeSelector": {"disk": "slow"}},
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
        ),
        (
            {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "no"}}]},
            'persistentvolumeclaim "no" not found',
        ),
    ],
)
def test_what_fits_nowhere_waits_with_a_reason(lab: Client, asked: dict[str, Any], said: str) -> None:
    lab.run(**asked)
    (event,) = lab.cluster.wait_for(lambda: lab.core.list_namespaced_event("lab").items)
    assert (event.reason, event.message) == ("FailedScheduling", said)
    (condition,) = lab.pod().status.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    selector = f"involvedObject.name={lab.pod().metadata.name}"
    assert lab.core.list_namespaced_event("lab", field_selector=selector).items


@pytest.mark.parametrize(
    ("container", "reasons", "said"),
    [
        ({"image": "registry.example/no:1"}, ["ImagePullBackOff"], 'Back-off pulling image "registry.example/no:1"'),
        ({"image": "Not An Image"}, ["InvalidImageName"], "invalid reference format"),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "a"}}}]},
            ["CreateContainerConfigError"],
            'secret "no" not found',
        ),
        ({"command": None, "args": None}, ["CreateContainerError"], "no command specified"),
    ],
)
def test_what_cannot_be_made_waits_with_a_reason(
    lab: Client, container: dict[str, Any], reasons: list[str], said: str
) -> None:
    lab.run(container=container)

    def waiting() -> Any:
        status = lab.cluster.pods()[0]["status"] if lab.cluster.pods() else {}
        found = (status.get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {})
        return found if found.get("reason") in reasons else None

    assert said in lab.cluster.wait_for(waiting, 20)["message"]
    assert any(said in event.message for event in lab.core.list_namespaced_event("lab").items)
    lab.run("true", "other")
    lab.cluster.wait_for(lambda: any(one["status"].get("succeeded") for one in lab.cluster.jobs()), 20)


def test_a_program_that_is_not_there_is_not_a_failure_of_its_own(lab: Client) -> None:
    lab.run(container={"command": ["nothing"]})
    assert lab.ended().failed == 1
    assert (lab.state().terminated.exit_code, lab.state().terminated.reason) == (128, "StartError")
    assert lab.log() == ""


def test_requests_fail_as_asked(lab: Client) -> None:
    lab.cluster.fail_next(1, 429, "/jobs")
    assert refused(lab.batch.list_namespaced_job, "lab")[0] == 429
    lab.cluster.fail_next(1, 500, "/jobs", after=True)
    assert refused(lab.batch.create_namespaced_job, "lab", job(""))[0] == 500
    assert len(lab.batch.list_namespaced_job("lab").items) == 1
    lab.cluster.fail_every(2, 503, methods=("GET",))
    assert lab.core.list_namespaced_pod("lab")
    assert refused(lab.core.list_namespaced_pod, "lab")[0] == 503
    assert [request.status for request in lab.cluster.requests] == [429, 500, 200, 200, 503]
    lab.cluster.clear()
    assert not lab.cluster.jobs() + lab.cluster.history() + lab.cluster.requests
    lab.cluster.drop_next(1)
    api = kubernetes.config.new_client_from_config(str(lab.cluster.kubeconfig))
    assert BatchV1Api(api).list_namespaced_job("lab").items == []  # the client itself tries dropped GETs again
    assert [request.status for request in lab.cluster.requests] == [0, 200]


def test_tokens_expire_and_rights_are_missing(lab: Client) -> None:
    assert lab.cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    lab.cluster.expire_token()
    assert refused(lab.core.list_namespaced_pod, "lab") == (401, "Unauthorized")
    lab.cluster.renew_token()
    assert refused(lab.core.list_namespaced_pod, "lab")[0] == 401
    again = Client(lab.cluster, lab.volume)
    again.core.list_namespaced_pod("lab")
    lab.cluster.deny("create", "jobs")
    said = (
        'jobs.batch is forbidden: User "user" cannot create resource "jobs" in API group "batch" in the namespace "lab"'
    )
    assert refused(again.batch.create_namespaced_job, "lab", job("")) == (403, said)
    asked = {"verb": "create", "resource": "jobs", "group": "batch", "namespace": "lab"}
    for verb, allowed in (("create", False), ("delete", True)):
        review = {"spec": {"resourceAttributes": asked | {"verb": verb}}}
        assert again.rights.create_self_subject_access_review(review).status.allowed is allowed
