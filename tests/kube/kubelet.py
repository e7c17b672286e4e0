"""Pods: from the Job controller's template to a container that runs and ends."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kube.container import Container
from kube.nodes import Image, Node, is_image_name, why_no_node
from kube.objects import ApiError, Object, Store, now
from kube.spec import Unusable, claims_of, wanted

_PULL_SECONDS = 1.0
_TOO_LONG = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Kubelet:
    """All nodes of a cluster, and the scheduler. ``images``: by their names; ``claims``: folders by the names of claims; ``lost``:
    nodes of which nobody hears; ``latency``: seconds until a pod has its node."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        images: dict[str, Path],
        claims: dict[str, Path],
        nodes: tuple[Node, ...],
        latency: float = 0.05,
    ) -> None:
        self.containers: dict[str, Container] = {}
        self.images, self.claims, self.nodes, self.latency = images, claims, nodes, latency
        self.lost: set[str] = set()
        self.is_paused = False
        self.account, self.port = Path("/nonexistent"), 443  # by which pods find the API server
        self._store, self._folder = store, folder
        self._until: dict[tuple[str, str], float] = {}  # by what it is about, and pod

    def tick(self, pod: Object) -> None:
        """Bring a pod forward. Called with the lock held."""
        if pod["spec"].get("nodeName") in self.lost:
            return
        if pod["metadata"].get("deletionTimestamp"):
            self._end(pod)
        elif pod["status"]["phase"] == "Pending":
            self._try_to_start(pod)
        elif pod["status"]["phase"] == "Running":
            self._look_at(pod)

    def secret(self, name: str) -> Object:
        return self._store.get("secrets", name)

    def ask_to_end(self, pod: Object, grace: float | None) -> None:
        """As `kubectl delete pod`. Who asks again can make it sooner, but not later."""
        name, metadata = pod["metadata"]["name"], pod["metadata"]
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        until = time.monotonic() + seconds
        is_first = "deletionTimestamp" not in metadata
        if is_first or until < self._until["end", name]:
            metadata |= {"deletionTimestamp": now(seconds), "deletionGracePeriodSeconds": int(seconds)}
            self._until["end", name] = until
        if pod["spec"].get("nodeName") in self.lost:
            if seconds == 0:
                self._store.remove("pods", name)
        elif is_first and name in self.containers:
            self.containers[name].terminate()

    def forget(self, pod: Object) -> None:
        """The pod is gone. Its processes, too, unless its node is lost."""
        name = pod["metadata"]["name"]
        self._store.remove("pods", name)
        if pod["spec"].get("nodeName") not in self.lost and (container := self.containers.pop(name, None)):
            container.remove()

    def kill(self, pod: Object, reason: str, message: str) -> None:
        """End a pod at once: it has failed."""
        if container := self.containers.get(pod["metadata"]["name"]):
            container.kill()
            self._finish(pod, 137, "Error")
        pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}

    def tell(self, pod: Object, reason: str, message: str) -> None:
        """An event, once; then it is counted."""
        name = f"{pod['metadata']['name']}.{abs(hash((reason, message))):x}"
        metadata = {"name": name, "namespace": pod["metadata"]["namespace"]}
        involved = {"kind": pod["kind"], "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        involved["namespace"] = pod["metadata"]["namespace"]
        event = {"type": "Warning", "reason": reason, "message": message, "firstTimestamp": now(), "count": 0}
        with suppress(ApiError):  # it is told again
            self._store.add("events", {"metadata": metadata, "involvedObject": involved, **event})
        told = self._store.get("events", name)
        told |= {"count": told["count"] + 1, "lastTimestamp": now()}

    def _try_to_start(self, pod: Object) -> None:
        if self.is_paused or not self._has_node(pod):
            return
        if self._is_over("time", pod):
            pod["status"] |= {"phase": "Failed", "reason": _TOO_LONG[0], "message": _TOO_LONG[1]}
        elif self._has_image(pod):
            self._start(pod)

    def _has_node(self, pod: Object) -> bool:
        if "nodeName" in pod["spec"]:
            return True
        if time.monotonic() < self._until.setdefault(
            ("schedule", pod["metadata"]["name"]), time.monotonic() + self.latency
        ):
            return False
        missing = [claim for claim in claims_of(pod).values() if claim not in self.claims]
        phases = ("Pending", "Running")
        placed = self._store.all("pods", lambda one: one["status"]["phase"] in phases and "nodeName" in one["spec"])
        found = (
            f'persistentvolumeclaim "{missing[0]}" not found'
            if missing
            else why_no_node(pod, self.nodes, placed, self.lost)
        )
        if isinstance(found, Node):
            pod["spec"]["nodeName"] = found.name
            scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
            pod["status"] |= {"conditions": [scheduled], "startTime": now()}
            if seconds := pod["spec"].get("activeDeadlineSeconds"):
                self._until["time", pod["metadata"]["name"]] = time.monotonic() + seconds
            self._wait(pod, "ContainerCreating")
            return True
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": found}
        pod["status"]["conditions"] = [condition]
        self.tell(pod, "FailedScheduling", found)
        return False

    def _has_image(self, pod: Object) -> bool:
        image = pod["spec"]["containers"][0]["image"]
        if image in self.images:
            return True
        if not is_image_name(image):
            why = f'couldn\'t parse image name "{image}": invalid reference format'
            said = f'Failed to apply default image tag "{image}": {why}'
            self._wait(pod, "InvalidImageName", said)
            self.tell(pod, "InspectFailed", said)
            return False
        until = self._until.setdefault(("pull", pod["metadata"]["name"]), time.monotonic() + _PULL_SECONDS)
        said = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
        self.tell(pod, "Failed", f'Failed to pull image "{image}": rpc error: code = NotFound desc = {said}')
        if time.monotonic() < until:
            self._wait(pod, "ErrImagePull", f"rpc error: code = NotFound desc = {said}")
            self.tell(pod, "Failed", "Error: ErrImagePull")
        else:
            self._wait(pod, "ImagePullBackOff", f'Back-off pulling image "{image}"')
            self.tell(pod, "BackOff", f'Back-off pulling image "{image}"')
        return False

    def _start(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        image = Image(self.images[pod["spec"]["containers"][0]["image"]])
        try:
            asked = wanted(pod, image, self)
        except Unusable as problem:
            self._wait(pod, problem.reason, problem.message)
            self.tell(pod, "Failed", f"Error: {problem.message}")
            return
        self.containers[name] = Container(self._folder / name, asked)
        pod["status"]["phase"] = "Running"
        self._set_state(pod, {"running": {"startedAt": now()}})

    def _look_at(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        container = self.containers[name]
        if self._is_over("time", pod) and ("kill", name) not in self._until:
            self._until["kill", name] = time.monotonic() + pod["spec"].get("terminationGracePeriodSeconds", 30)
            container.terminate()
        if self._is_over("kill", pod):
            container.kill()
        code = container.exit_code
        if code is None or "terminated" in pod["status"]["containerStatuses"][0]["state"]:
            return
        if container.is_out_of_memory:
            self._finish(pod, 137, "OOMKilled")
        elif container.complaint:
            self._finish(pod, 128, "StartError", container.complaint)
        else:
            self._finish(pod, code, "Error" if code else "Completed")
        if ("kill", name) in self._until:
            pod["status"] |= {"phase": "Failed", "reason": _TOO_LONG[0], "message": _TOO_LONG[1]}
        elif len(pod["spec"]["containers"]) == 1:
            failed = pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
            pod["status"]["phase"] = "Failed" if failed else "Succeeded"

    def _end(self, pod: Object) -> None:
        container = self.containers.get(pod["metadata"]["name"])
        if container is None or container.exit_code is not None or self._is_over("end", pod):
            self.forget(pod)

    def _is_over(self, what: str, pod: Object) -> bool:
        until = self._until.get((what, pod["metadata"]["name"]))
        return until is not None and time.monotonic() >= until

    def _finish(self, pod: Object, code: int, reason: str, message: str = "") -> None:
        running = pod["status"]["containerStatuses"][0]["state"].get("running", {})
        ended = {"exitCode": code, "reason": reason, **({"message": message} if message else {})}
        times = {"startedAt": running.get("startedAt", now()), "finishedAt": now()}
        self._set_state(pod, {"terminated": ended | times})

    def _wait(self, pod: Object, reason: str, message: str = "") -> None:
        self._set_state(pod, {"waiting": {"reason": reason, **({"message": message} if message else {})}})

    def _set_state(self, pod: Object, state: dict[str, Any]) -> None:
        """Of its container. Others, which somebody else has put into the pod, run from its start on."""
        first, *others = pod["spec"]["containers"]
        runs = {"running": {"startedAt": pod["status"].get("startTime", now())}}
        pod["status"]["containerStatuses"] = [_status(first, state), *(_status(one, runs) for one in others)]


def _status(container: Object, state: dict[str, Any]) -> dict[str, Any]:
    is_running = "running" in state
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": is_running,
        "restartCount": 0,
        "started": is_running,
        "state": state,
        "lastState": {},
    }
