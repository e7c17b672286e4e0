"""What is added to the Jobs that the executor plugin makes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from wkflow.errors import UsageError
from wkflow.kubernetes.manifest import Addition, complete, parse_pod


def job() -> dict[str, Any]:
    """As the plugin makes it."""
    container = {
        "name": "snakemake",
        "image": "lab/wkflow:1",
        "command": ["/bin/sh"],
        "args": ["-c", "cd '/data/$HOME $(X)' && exec python"],
        "workingDir": "/workdir",
        "resources": {"requests": {"cpu": "950m", "memory": "700M"}, "limits": {"cpu": "1000m", "memory": "700M"}},
        "env": [{"name": "WK_TOKEN", "valueFrom": {"secretKeyRef": {"key": "WK_TOKEN", "name": "x"}}}],
    }
    return {
        "metadata": {"name": "snakejob-1", "labels": {"app": "snakemake"}},
        "spec": {
            "backoffLimit": 0,
            "template": {"spec": {"containers": [container], "nodeSelector": {}, "restartPolicy": "Never"}},
        },
    }


def completed(**options: Any) -> dict[str, Any]:
    content = job()
    complete(content, Addition("f00", **options))
    return content


def test_jobs_and_pods_are_found_by_the_label_of_their_run() -> None:
    made = completed(note="job l0.s0.r0 (layer 'a b')")
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"]["wkflow/run"] == "f00"
        assert metadata["labels"]["app"] == "snakemake"
        assert metadata["annotations"] == {"wkflow/job": "job l0.s0.r0 (layer 'a b')"}
    assert made["metadata"]["name"] == "snakejob-1"


def test_the_cluster_takes_nothing_in_a_command_for_a_variable() -> None:
    (container,) = completed()["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["-c", "cd '/data/$$HOME $$(X)' && exec python"]


def test_pods_have_a_home_and_run_as_who_starts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    monkeypatch.setattr(os, "getgroups", lambda: [100, 5])
    pod = completed(environment={"WKFLOW_OWNER": "a$b"})["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsUser": 1234, "runAsGroup": 100, "supplementalGroups": [5]}
    assert pod["automountServiceAccountToken"] is False
    environment = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert environment == {
        "WK_TOKEN": None,
        "HOME": "/workdir",
        "USER": "wkflow",
        "TMPDIR": "/tmp",
        "WKFLOW_OWNER": "a$$b",
    }


def test_memory_is_as_asked_or_as_estimated() -> None:
    def amounts(**options: Any) -> list[str]:
        resources = completed(**options)["spec"]["template"]["spec"]["containers"][0]["resources"]
        return [resources["requests"]["memory"], resources["limits"]["memory"]]

    assert amounts() == ["700M", "700M"]
    assert amounts(memory="900Mi") == ["900Mi", "900Mi"]


def test_a_pod_ends_after_its_time_if_there_is_one() -> None:
    assert "activeDeadlineSeconds" not in completed()["spec"]["template"]["spec"]
    assert completed(seconds=90)["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 90


def test_what_the_user_adds_to_pods_comes_last() -> None:
    added = {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "gpu"}], "securityContext": {"runAsUser": 7}}
    pod = completed(pod=added)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "fast"}
    assert pod["tolerations"] == [{"key": "gpu"}]
    assert pod["securityContext"] == {**completed()["spec"]["template"]["spec"]["securityContext"], "runAsUser": 7}
    assert pod["restartPolicy"] == "Never"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"containers": []}', '{"volumes": []}', '{"restartPolicy": "Always"}', "[" * 99999]
)
def test_what_cannot_be_added_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--wkflow-kubernetes-pod"):
        parse_pod(text)
