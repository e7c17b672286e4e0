"""Pods that do not start: how long that lasts, whether there is hope, and what the cluster says."""

from __future__ import annotations

import time
from contextlib import suppress

from kubernetes.client.exceptions import ApiException

from wkflow.kubernetes.client import Api
from wkflow.kubernetes.ended import PodState, is_hopeless, why_waiting
from wkflow.kubernetes.watch import events_of

TELL_SECONDS = 10.0
"""After which it is told why a pod has not started."""

IMAGE_SECONDS = 180.0
"""How long a registry is given to hand out an image."""

_NO_IMAGE = ("ErrImagePull", "ImagePullBackOff")


class Waiting:
    """The pods of the Jobs of one namespace that have not started yet."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._since: dict[str, float] = {}

    def has_started(self, job: str) -> None:
        self._since.pop(job, None)

    def is_in_vain(self, job: str, pod: PodState | None) -> bool:
        """Whether the pod of a Job will never start."""
        if pod is None:
            return False
        return is_hopeless(pod) or (pod.waiting in _NO_IMAGE and self._seconds(job) > IMAGE_SECONDS)

    def why(self, job: str, pod: PodState | None) -> str | None:
        """What to tell the user; None if it does not take long, or nothing is wrong."""
        if self._seconds(job) < TELL_SECONDS:
            return None
        events: list[str] = []
        with suppress(ApiException):
            events = events_of(self._api, self._namespace, pod.name if pod else job)
        return why_waiting(pod, events)

    def _seconds(self, job: str) -> float:
        return time.monotonic() - self._since.setdefault(job, time.monotonic())
