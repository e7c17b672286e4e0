"""The Job controller: a pod for each Job, and what becomes of it."""

from __future__ import annotations

import copy
import secrets

from kube.kubelet import Kubelet
from kube.objects import Object, Store, now


class Controller:
    """``replaces``: whether a pod that is deleted gets a successor while it still ends, as before Kubernetes 1.26; later, its Job
    fails. ``history``: all Jobs that there were."""

    def __init__(self, store: Store, kubelet: Kubelet, *, replaces: bool) -> None:
        self.history: list[Object] = []
        self.has_sidecars = False
        self._store, self._kubelet, self._replaces = store, kubelet, replaces

    def add(self, job: Object) -> Object:
        self._store.add("jobs", job)
        uid = job["metadata"]["uid"]
        labels = {
            "job-name": job["metadata"]["name"],
            "controller-uid": uid,
            "batch.kubernetes.io/job-name": job["metadata"]["name"],
        }
        metadata = job["spec"]["template"].setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        job["status"] = {}
        self.history.append(job)
        return job

    def delete(self, job: Object, policy: str) -> None:
        """Its pods go, too, unless they are orphaned."""
        self._store.remove("jobs", job["metadata"]["name"])
        if policy != "Orphan":
            for pod in self.pods_of(job):
                self._kubelet.ask_to_end(pod, None)

    def pods_of(self, job: Object) -> list[Object]:
        return self._store.all(
            "pods", lambda pod: pod["metadata"]["labels"].get("controller-uid") == job["metadata"]["uid"]
        )

    def tick(self) -> None:
        """Bring all Jobs forward. Called with the lock held."""
        for job in self._store.all("jobs"):
            if not job["status"].get("conditions"):
                self._bring_forward(job)

    def _bring_forward(self, job: Object) -> None:
        pods, status = self.pods_of(job), job["status"]
        going = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
        active = [pod for pod in pods if pod not in going and pod["status"]["phase"] in ("Pending", "Running")]
        is_new = "startTime" not in status
        status["active"] = len(active)
        if any(pod["status"]["phase"] == "Succeeded" for pod in pods):
            status |= {"succeeded": 1, "active": 0, "completionTime": now(), "conditions": [_condition("Complete")]}
        elif any(pod["status"]["phase"] == "Failed" for pod in pods) or (
            not is_new and not active and not self._replaces
        ):
            failed = _condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            status |= {"failed": 1, "active": 0, "conditions": [failed]}
        elif not active:
            status.setdefault("startTime", now())
            self._make_pod(job)

    def _make_pod(self, job: Object) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        name = job["metadata"]["name"]
        if self.has_sidecars:
            template["metadata"]["labels"]["sidecar"] = "yes"
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name,
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        metadata = template["metadata"] | {
            "name": f"{name}-{secrets.token_hex(3)[:5]}",
            "namespace": job["metadata"]["namespace"],
            "ownerReferences": [owner],
        }
        self._store.add("pods", {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})


def _condition(kind: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}
