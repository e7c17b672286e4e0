"""The stand-in for a cluster with a tiny image, and the real Python client for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kube import Cluster, Node
from kubernetes.client import ApiException, AuthorizationV1Api, BatchV1Api, CoreV1Api

_PROGRAMS = ("sh", "cat", "id", "env", "sleep", "touch", "hostname", "ls", "tail", "mkdir")
FOREVER = "trap 'echo asked; exit 3' TERM; touch /data/ready; while :; do sleep 0.05; done"


class Client:
    """The real one, and Jobs for it."""

    def __init__(self, cluster: Cluster, volume: Path) -> None:
        api = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
        self.cluster, self.volume = cluster, volume
        self.batch, self.core, self.rights = BatchV1Api(api), CoreV1Api(api), AuthorizationV1Api(api)

    def run(self, script: str = "true", name: str = "job", **pod: Any) -> None:
        self.batch.create_namespaced_job("lab", job(script, name, **pod))

    def pod(self, name: str = "job") -> Any:
        (pod,) = self.core.list_namespaced_pod("lab", label_selector=f"job-name={name}").items
        return pod

    def phase(self, phase: str, name: str = "job") -> Any:
        """The pod, as soon as it is so far."""
        self.cluster.wait_for(lambda: any(p["status"]["phase"] == phase for p in self.cluster.pods()), 20)
        return self.pod(name)

    def ready(self) -> Any:
        """The pod of ``FOREVER``, when it can be asked to end."""
        self.cluster.wait_for((self.volume / "ready").exists, 20)
        return self.phase("Running")

    def ended(self, name: str = "job") -> Any:
        """The Job, as soon as it is over."""
        self.cluster.wait_for(lambda: any(j["status"].get("conditions") for j in self.cluster.jobs()), 20)
        return self.batch.read_namespaced_job_status(name, "lab").status

    def state(self, name: str = "job") -> Any:
        return self.pod(name).status.container_statuses[0].state

    def log(self, name: str = "job", **options: Any) -> str:
        return str(self.core.read_namespaced_pod_log(self.pod(name).metadata.name, "lab", **options))


def job(script: str, name: str = "job", *, container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    base = {"name": "snakemake", "image": "lab/wkflow:1", "command": ["/bin/sh"], "args": ["-c", script]}
    mounts = [{"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    spec = {"restartPolicy": "Never", "containers": [base | {"volumeMounts": mounts} | (container or {})]}
    template = {"spec": spec | {"volumes": volumes, "terminationGracePeriodSeconds": 5} | pod}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": template}}


def resources(**amounts: Any) -> dict[str, Any]:
    return {"resources": amounts}


def tiny_image(root: Path) -> Path:
    """The root of an image with a shell and little else."""
    for program in _PROGRAMS:
        path = Path(shutil.which(program) or "").resolve()
        said = subprocess.run(["/usr/bin/ldd", path], capture_output=True, text=True, check=True).stdout
        for source, target in [(path, f"/bin/{program}"), *((one, one) for one in re.findall(r"(/\S+) \(0x", said))]:
            (root / target.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / target.lstrip("/"))
    (root / ".image.json").write_text(
        json.dumps({"Env": {"OF_IMAGE": "yes"}, "User": "1000:1001", "WorkingDir": "/srv"})
    )
    return root


@contextmanager
def client_of(root: Path, folder: Path, **options: Any) -> Iterator[Client]:
    """Of a new cluster. When it has ended, nothing of it is left."""
    volume = folder / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    nodes = (Node("node1", cpus=4, memory_mb=8000, labels={"disk": "fast"}),)
    with Cluster(folder / "cluster", root, {"data": volume}, nodes=nodes, **options) as cluster:
        yield Client(cluster, volume)
    assert not containers(folder)
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def containers(folder: Path) -> list[str]:
    """Processes whose root is below a cluster's folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/mounts"):
        with suppress(OSError):  # it has ended meanwhile
            if f"upperdir={folder}" in path.read_text():
                found.append(path.parent.name)
    return found


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(ApiException) as raised:
        call(*arguments, **options)
    status = json.loads(raised.value.body)
    assert status["kind"] == "Status"
    assert status["code"] == raised.value.status
    return raised.value.status, status["message"]
