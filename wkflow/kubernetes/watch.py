"""What a cluster says about Jobs and their pods, in two requests for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wkflow.kubernetes.client import Api
from wkflow.kubernetes.ended import PodState
from wkflow.kubernetes.manifest import RUN_LABEL

CONTAINER = "snakemake"
"""The container of the job; a cluster may put others beside it."""


@dataclass(frozen=True)
class Seen:
    """A Job. ``pod``: its newest one, None if there is none (any more)."""

    is_done: bool
    is_failed: bool
    pod: PodState | None


def look(api: Api, namespace: str, label: str) -> dict[str, Seen]:
    """All Jobs with the label, by their names. Raises ``ApiException``."""
    selector = f"{RUN_LABEL}={label}"
    jobs = api.batch.list_namespaced_job(namespace, label_selector=selector).items
    pods: dict[str, list[Any]] = {}
    for pod in api.core.list_namespaced_pod(namespace, label_selector=selector).items:
        pods.setdefault((pod.metadata.labels or {}).get("job-name", ""), []).append(pod)
    return {job.metadata.name: _seen(job, pods.get(job.metadata.name, [])) for job in jobs}


def events_of(api: Api, namespace: str, name: str) -> list[str]:
    """The warnings about a pod or a Job, the newest last."""
    found = api.core.list_namespaced_event(namespace, field_selector=f"involvedObject.name={name}").items
    warnings = [event for event in found if event.type == "Warning" and event.message]
    return [str(event.message) for event in sorted(warnings, key=_when)]


def _seen(job: Any, pods: list[Any]) -> Seen:
    """The container counts, too: if others run beside it, the Job does not end with it. A pod that is being deleted does not:
    its Job fails, or gets another pod (clusters before 1.26)."""
    newest = max(
        pods, key=lambda pod: (not pod.metadata.deletion_timestamp, pod.metadata.creation_timestamp), default=None
    )
    state = state_of(newest) if newest else None
    exit_code = state.exit_code if state and newest and not newest.metadata.deletion_timestamp else None
    is_done = bool(job.status.succeeded) or exit_code == 0
    is_failed = not is_done and (_is_failed(job) or exit_code is not None)
    return Seen(is_done, is_failed, state)


def _is_failed(job: Any) -> bool:
    conditions: Iterable[Any] = job.status.conditions or ()
    return bool(job.status.failed) or any(one.type == "Failed" and one.status == "True" for one in conditions)


def state_of(pod: Any) -> PodState:
    """A pod of the client as plain data."""
    status = pod.status
    container = next((one for one in status.container_statuses or () if one.name == CONTAINER), None)
    state = container.state if container else None
    waiting, ended = (state.waiting, state.terminated) if state else (None, None)
    scheduled = next((one for one in status.conditions or () if one.type == "PodScheduled"), None)
    return PodState(
        name=pod.metadata.name,
        phase=status.phase or "",
        node=pod.spec.node_name or "",
        reason=status.reason or "",
        message=status.message or "",
        waiting=(waiting.reason if waiting else None) or "",
        waiting_message=(waiting.message if waiting else None) or "",
        exit_code=ended.exit_code if ended else None,
        ended=(ended.reason if ended else None) or "",
        ended_message=(ended.message if ended else None) or "",
        unscheduled=(scheduled.message or scheduled.reason or "") if scheduled and scheduled.status == "False" else "",
    )


def _when(event: Any) -> str:
    return str(event.last_timestamp or event.event_time or event.metadata.creation_timestamp or "")
