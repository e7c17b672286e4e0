"""Pods: from the Job controller's template to a container that runs and ends."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

from kube.container import Container, Wanted
from kube.nodes import Image, Node, why_no_node
from kube.objects import ApiError, Object, Store, amount, now

_IMAGE = re.compile(r"[a-z0-9][a-z0-9./:@_-]*", re.ASCII)
_PULL_SECONDS = 1.0


class Kubelet:
    """All nodes of a cluster. ``images``: by their names; ``claims``: folders by the names of claims."""

    def __init__(
        self, store: Store, folder: Path, images: dict[str, Path], claims: dict[str, Path], nodes: tuple[Node, ...]
    ) -> None:
        self.containers: dict[str, Container] = {}
        self.images, self.claims, self.nodes = images, claims, nodes
        self.lost: set[str] = set()  # nodes that nobody hears of
        self.account, self.port = Path("/nonexistent"), 443  # by which pods find the API server
        self._store, self._folder = store, folder
        self._deadlines: dict[str, float] = {}

    @property
    def _ready_nodes(self) -> list[Node]:
        return [node for node in self.nodes if node.name not in self.lost]

    def tick(self) -> None:
        """Bring all pods forward. Called with the lock held."""
        for pod in self._store.all("pods"):
            if pod["metadata"].get("deletionTimestamp"):
                self._end(pod)
            elif pod["status"]["phase"] == "Pending":
                self._try_to_start(pod)
            elif pod["status"]["phase"] == "Running":
                self._look_at(pod)

    def ask_to_end(self, pod: Object, grace: float | None) -> None:
        """As `kubectl delete pod`."""
        if pod["metadata"].get("deletionTimestamp"):
            return
        seconds = pod["spec"].get("terminationGracePeriodSeconds", 30) if grace is None else grace
        pod["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": seconds}
        name = pod["metadata"]["name"]
        self._deadlines[name] = time.monotonic() + seconds
        if name in self.containers:
            self.containers[name].terminate()

    def kill(self, pod: Object, reason: str, message: str) -> None:
        """End a pod at once: it has failed."""
        name = pod["metadata"]["name"]
        if container := self.containers.get(name):
            container.kill()
        pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}
        if states := pod["status"].get("containerStatuses"):
            states[0]["state"] = {"terminated": _terminated(137, "Error")}

    def tell(self, pod: Object, reason: str, message: str) -> None:
        """An event, once."""
        name = f"{pod['metadata']['name']}.{abs(hash((reason, message))):x}"
        involved = {"kind": pod["kind"], "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        event = {"metadata": {"name": name, "namespace": pod["metadata"]["namespace"]}, "involvedObject": involved}
        try:
            self._store.add(
                "events",
                event | {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": now(), "count": 1},
            )
        except ApiError:
            self._store.get("events", name)["count"] += 1

    def _try_to_start(self, pod: Object) -> None:
        if not self._has_node(pod) or not self._has_image(pod):
            return
        environment = self._environment(pod)
        if environment is not None:
            self._start(pod, environment)

    def _has_node(self, pod: Object) -> bool:
        if "nodeName" in pod["spec"]:
            return True
        missing = [claim for claim, _ in _claims(pod) if claim not in self.claims]
        running = [
            one
            for one in self._store.all("pods")
            if one["status"]["phase"] in ("Pending", "Running") and "nodeName" in one["spec"]
        ]
        found = (
            f'persistentvolumeclaim "{missing[0]}" not found'
            if missing
            else why_no_node(pod, self._ready_nodes, running)
        )
        if isinstance(found, Node):
            pod["spec"]["nodeName"] = found.name
            pod["status"] |= {"conditions": [{"type": "PodScheduled", "status": "True"}], "startTime": now()}
            return True
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": found}
        pod["status"]["conditions"] = [condition]
        self.tell(pod, "FailedScheduling", found)
        return False

    def _has_image(self, pod: Object) -> bool:
        image = pod["spec"]["containers"][0]["image"]
        if image in self.images:
            return True
        if not _IMAGE.fullmatch(image):
            said = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format'
            self._wait(pod, "InvalidImageName", said)
            self.tell(pod, "InspectFailed", said)
            return False
        began = self._deadlines.setdefault(f"pull {pod['metadata']['name']}", time.monotonic())
        said = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'
        self.tell(pod, "Failed", f'Failed to pull image "{image}": rpc error: code = NotFound desc = {said}')
        if time.monotonic() - began < _PULL_SECONDS:
            self._wait(pod, "ErrImagePull", f"rpc error: code = NotFound desc = {said}")
        else:
            self._wait(pod, "ImagePullBackOff", f'Back-off pulling image "{image}"')
            self.tell(pod, "BackOff", f'Back-off pulling image "{image}"')
        return False

    def _environment(self, pod: Object) -> dict[str, str] | None:
        """Of the container; None if a Secret is missing."""
        container = pod["spec"]["containers"][0]
        found: dict[str, str] = dict(Image(self.images[container["image"]]).environment)
        found |= {
            "HOSTNAME": pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
        }
        for one in container.get("env") or []:
            if reference := (one.get("valueFrom") or {}).get("secretKeyRef"):
                try:
                    secret = self._store.get("secrets", reference["name"])
                except ApiError:
                    if reference.get("optional"):
                        continue
                    said = f'secret "{reference["name"]}" not found'
                    self._wait(pod, "CreateContainerConfigError", said)
                    self.tell(pod, "Failed", f"Error: {said}")
                    return None
                found[one["name"]] = base64.b64decode(secret["data"][reference["key"]]).decode()
            else:
                found[one["name"]] = _expanded(one.get("value") or "", found)
        return found

    def _start(self, pod: Object, environment: dict[str, str]) -> None:
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        image = Image(self.images[container["image"]])
        security = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
        user = security.get("runAsUser", image.user[0])
        group = security.get("runAsGroup", image.user[1] if "runAsUser" not in security else 0)
        groups = {
            group,
            *(security.get("supplementalGroups") or []),
            *([security["fsGroup"]] if "fsGroup" in security else []),
        }
        if security.get("runAsNonRoot") and user == 0:
            self._wait(pod, "CreateContainerConfigError", "container has runAsNonRoot and image will run as root")
            return
        claims = dict(_claims(pod))
        mounts = {one["mountPath"]: one["name"] for one in container.get("volumeMounts") or []}
        named = {claim_volume: claim for claim, claim_volume in claims.items()}
        folders = {path: self.claims[named[volume]] for path, volume in mounts.items() if volume in named}
        if pod["spec"].get("automountServiceAccountToken") is not False:
            folders["/run/secrets/kubernetes.io/serviceaccount"] = self.account  # /var/run is a link to /run
        limit = (container.get("resources", {}).get("limits") or {}).get("memory")
        wanted = Wanted(
            image=image.root,
            command=[_expanded(part, environment) for part in [*container["command"], *(container.get("args") or [])]],
            folder=container.get("workingDir") or "/",
            environment=environment,
            mounts=folders,
            user=user,
            group=group,
            groups=sorted(groups),
            memory=int(amount(limit)) if limit else None,
        )
        self.containers[name] = Container(self._folder / name, wanted)
        state = {"running": {"startedAt": now()}}
        pod["status"] |= {"phase": "Running", "containerStatuses": [_status(pod, state)]}
        if seconds := pod["spec"].get("activeDeadlineSeconds"):
            self._deadlines[f"time {name}"] = time.monotonic() + seconds

    def _look_at(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if pod["spec"].get("nodeName") in self.lost:
            return
        container = self.containers[name]
        if container.exit_code is None:
            if time.monotonic() > self._deadlines.get(f"time {name}", time.monotonic()):
                self.kill(pod, "DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            return
        code = 137 if container.is_out_of_memory else container.exit_code
        reason = "OOMKilled" if container.is_out_of_memory else "Error" if code else "Completed"
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": _terminated(code, reason)}
        if not pod["metadata"]["labels"].get("sidecar"):
            pod["status"]["phase"] = "Failed" if code else "Succeeded"

    def _end(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        container = self.containers.get(name)
        if pod["spec"].get("nodeName") in self.lost:
            return
        if container is None or container.exit_code is not None or time.monotonic() > self._deadlines[name]:
            if container is not None:
                container.kill()
            self._store.remove("pods", name)

    def _wait(self, pod: Object, reason: str, message: str) -> None:
        pod["status"]["containerStatuses"] = [_status(pod, {"waiting": {"reason": reason, "message": message}})]


def _claims(pod: Object) -> list[tuple[str, str]]:
    """Claims with the names of the volumes that they are."""
    volumes = pod["spec"].get("volumes") or []
    return [(v["persistentVolumeClaim"]["claimName"], v["name"]) for v in volumes if v.get("persistentVolumeClaim")]


def _status(pod: Object, state: dict[str, Any]) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
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


def _terminated(code: int, reason: str) -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "startedAt": now(), "finishedAt": now()}


def _expanded(text: str, environment: dict[str, str]) -> str:
    """``$(NAME)`` of a variable that is there, and ``$$`` for ``$``; everything else stays."""

    def replace(found: re.Match[str]) -> str:
        if found.group() == "$$":
            return "$"
        return environment.get(found.group(1), found.group())

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)
