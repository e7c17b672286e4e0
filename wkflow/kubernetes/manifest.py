"""What the plugin leaves out of a Job: who it belongs to, as whom it runs, what else its pod needs, when it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wkflow.errors import UsageError

RUN_LABEL = "wkflow/run"
LABELS = {"app": "snakemake", "app.kubernetes.io/managed-by": "wkflow"}
WORKDIR = "/workdir"
"""The empty folder that the plugin gives to each pod."""

_GRACE_SECONDS = 5  # a job may die anywhere
_KEPT_SECONDS = 24 * 3600  # finished Jobs that nobody has removed
_MERGED = ("containers", "volumes", "restartPolicy")


@dataclass(frozen=True)
class Addition:
    """``run``: the random id of this Snakemake; ``pod``: is merged into the pod's spec, in the API's words; ``environment``:
    of the container; ``memory``: a quantity in place of the plugin's; ``seconds``: after which the pod is ended; ``note``: for
    people who look at the cluster."""

    run: str
    pod: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: str | None = None
    seconds: int | None = None
    note: str = ""


def complete(job: dict[str, Any], addition: Addition) -> None:
    """Add it to a Job as the plugin makes it, in the API's words."""
    labels = {**LABELS, RUN_LABEL: addition.run}
    notes = {"wkflow/job": addition.note} if addition.note else {}
    job["metadata"] |= {"labels": labels, "annotations": notes}
    job["spec"]["ttlSecondsAfterFinished"] = _KEPT_SECONDS
    template = job["spec"]["template"]
    template["metadata"] = {"labels": labels, "annotations": notes}
    pod = template["spec"]
    for container in pod["containers"]:
        _complete_container(container, addition)
    own: dict[str, Any] = {
        "securityContext": _same_user(),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "automountServiceAccountToken": False,
    }
    if addition.seconds:
        own["activeDeadlineSeconds"] = addition.seconds
    template["spec"] = _merged(_merged(pod, own), addition.pod)


def parse_pod(text: str) -> dict[str, Any]:
    """What is to be merged into the spec of pods. Raises :class:`UsageError`."""
    try:
        pod = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"this is not JSON: {error}") from None
    if not isinstance(pod, dict):
        raise _wrong("a JSON object is expected")
    for key in _MERGED:
        if key in pod:
            raise _wrong(f"{key} cannot be set, wkflow sets it")
    return pod


def _wrong(what: str) -> UsageError:
    return UsageError(
        what, where="--wkflow-kubernetes-pod", hint='give a part of a pod\'s spec: {"nodeSelector": {"disk": "fast"}}'
    )


def _same_user() -> dict[str, Any]:
    """New mags belong to who starts the run, as anywhere else."""
    groups = sorted({*os.getgroups()} - {os.getgid()})
    return {"runAsUser": os.getuid(), "runAsGroup": os.getgid(), **({"supplementalGroups": groups} if groups else {})}


def _complete_container(container: dict[str, Any], addition: Addition) -> None:
    # The cluster takes $(NAME) for a variable of the container.
    container["args"] = [argument.replace("$", "$$") for argument in container["args"]]
    environment = {"HOME": WORKDIR, "USER": "wkflow", "TMPDIR": "/tmp", **addition.environment}  # noqa: S108
    container["env"] = [
        *container.get("env", []),
        *({"name": name, "value": value.replace("$", "$$")} for name, value in environment.items()),
    ]
    for amounts in container["resources"].values():
        if addition.memory and "memory" in amounts:
            amounts["memory"] = addition.memory


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Objects are merged, lists are put together, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merged[key] = _merged(present, value)
        elif isinstance(present, list) and isinstance(value, list):
            merged[key] = [*present, *value]
        else:
            merged[key] = value
    return merged
