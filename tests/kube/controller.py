"""The Job controller: a pod for each Job, and what becomes of it; and the removal of what belongs to what is removed."""

from __future__ import annotations

import copy
import secrets

from kube.kubelet import Kubelet
from kube.objects import Object, Store, now

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SIDECAR = {"name": "sidecar", "image": "registry.example/sidecar:1"}


class Controller:
    """``replaces``: whether a pod that is deleted gets a successor while it still ends, as before Kubernetes 1.26; later, its Job
    fails. ``history``: all Jobs that there were; ``pods``: all pods."""

    def __init__(self, store: Store, kubelet: Kubelet, *, replaces: bool) -> None:
        self.history: list[Object] = []
        self.pods: list[Object] = []
        self.has_sidecars = False
        self._store, self._kubelet, self._replaces = store, kubelet, replaces

    def add(self, job: Object) -> Object:
        self._store.add("jobs", job)
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        labels = {"job-name": name, "controller-uid": uid}
        if not self._replaces:  # since 1.27
            labels |= {f"batch.kubernetes.io/{key}": value for key, value in labels.items()}
        metadata = job["spec"]["template"].setdefault("metadata", {})
        metadata["labels"] = {**metadata.get("labels", {}), **labels}
        job["spec"] |= {"selector": {"matchLabels": {"controller-uid": uid}}, "parallelism": 1, "completions": 1}
        job["status"] = {}
        self.history.append(job)
        return job

    def delete(self, job: Object, policy: str) -> None:
        """Its pods go, too, unless they are orphaned. Foreground: it stays until they are gone."""
        pods = self.pods_of(job)
        if policy == "Foreground" and pods:
            job["metadata"] |= {"deletionTimestamp": now(), "finalizers": ["foregroundDeletion"]}
        else:
            self._store.remove("jobs", job["metadata"]["name"])
        for pod in pods:
            if policy == "Orphan":
                del pod["metadata"]["ownerReferences"]
            else:
                self._kubelet.ask_to_end(pod, None)

    def pods_of(self, job: Object) -> list[Object]:
        uid = job["metadata"]["uid"]
        return self._store.all(
            "pods", lambda pod: uid in (one["uid"] for one in pod["metadata"].get("ownerReferences", []))
        )

    def tick(self, job: Object) -> None:
        """Bring a Job forward. Called with the lock held."""
        if "deletionTimestamp" in job["metadata"]:
            if not self.pods_of(job):
                self._store.remove("jobs", job["metadata"]["name"])
        elif not job["status"].get("conditions"):
            self._bring_forward(job)

    def _bring_forward(self, job: Object) -> None:
        pods, status = self.pods_of(job), job["status"]
        phases = [pod["status"]["phase"] for pod in pods]
        active = [
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in ("Pending", "Running")
        ]
        is_new = "startTime" not in status
        status["active"] = len(active)
        if "Succeeded" in phases:
            status |= {"succeeded": 1, "active": 0, "completionTime": now(), "conditions": [_condition("Complete")]}
        elif "Failed" in phases or (not is_new and not active and not self._replaces):
            failed = _condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
            status |= {"failed": 1, "active": 0, "conditions": [failed]}
            for pod in active:
                self._kubelet.ask_to_end(pod, None)
        elif not active:
            status.setdefault("startTime", now())
            self._make_pod(job)
            status["active"] = 1

    def _make_pod(self, job: Object) -> None:
        template = copy.deepcopy(job["spec"]["template"])
        name = job["metadata"]["name"]
        if self.has_sidecars:
            template["spec"]["containers"].append(dict(_SIDECAR))
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        metadata = template["metadata"] | {
            "name": f"{name[:57]}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}",
            "generateName": f"{name[:57]}-",
            "namespace": job["metadata"]["namespace"],
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        }
        pod = {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}}
        self.pods.append(self._store.add("pods", pod))


def _condition(kind: str, reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}
