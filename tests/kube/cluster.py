"""A Kubernetes cluster on this machine, for tests: an honest stand-in for the part of one that wkflow meets."""

from __future__ import annotations

import copy
import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from kube.certificate import make_certificate
from kube.controller import Controller
from kube.faults import Faults
from kube.kubelet import Kubelet
from kube.nodes import Node
from kube.objects import Object, Store, now
from kube.server import Request, serve
from kube.validation import check_job

T = TypeVar("T")
_TICK_SECONDS = 0.05


class Cluster:
    """``image``: the root of the one image that there is, called ``lab/wkflow:1``; ``claims``: folders by the names of claims;
    ``replaces``: see :class:`kube.controller.Controller`. To be used with ``with``, as root."""

    def __init__(
        self,
        folder: Path,
        image: Path,
        claims: Mapping[str, Path],
        *,
        namespace: str = "lab",
        replaces: bool = False,
        nodes: tuple[Node, ...] = (Node(cpus=32, memory_mb=256_000),),
    ) -> None:
        self.namespace, self.folder = namespace, folder
        self.store, self.faults = Store(), Faults()
        self.requests: list[Request] = []
        self.kubelet = Kubelet(self.store, folder / "pods", {"lab/wkflow:1": image}, dict(claims), nodes)
        self.controller = Controller(self.store, self.kubelet, replaces=replaces)
        folder.mkdir(parents=True, exist_ok=True)
        self._certificate, key = make_certificate(folder)
        self._server = serve(self, self._certificate, key)
        self._is_ending = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._server.serve_forever, self._run)]
        self.kubeconfig = folder / "kubeconfig"
        self.renew_token()
        self.pod_token = self._account_for_pods()
        for name in claims:
            content = {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Bound"}}
            self.store.add("persistentvolumeclaims", content | {"metadata": {"name": name, "namespace": namespace}})

    def __enter__(self) -> Cluster:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._threads[1].join()
        for container in self.kubelet.containers.values():
            container.kill()
        shutil.rmtree(self.folder / "pods", ignore_errors=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def jobs(self) -> list[Object]:
        return self._all("jobs")

    def pods(self) -> list[Object]:
        return self._all("pods")

    def secrets(self) -> list[Object]:
        return self._all("secrets")

    def history(self) -> list[Object]:
        """All Jobs that there were."""
        with self.store.lock:
            return copy.deepcopy(self.controller.history)

    def renew_token(self) -> None:
        """Log in anew."""
        self.token = secrets.token_hex(16)
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self._certificate)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": server}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": self.namespace}}],
            "users": [{"name": "me", "user": {"token": self.token}}],
        }
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(json.dumps(content))

    def _account_for_pods(self) -> str:
        """The token of the service account, with what else pods get by which they find the cluster."""
        token = secrets.token_hex(16)
        place = self.folder / "account"
        place.mkdir()
        (place / "token").write_text(token)
        (place / "namespace").write_text(self.namespace)
        shutil.copy(self._certificate, place / "ca.crt")
        self.kubelet.account, self.kubelet.port = place, self.port
        return token

    def expire_token(self) -> None:
        """Until it is renewed."""
        self.token = secrets.token_hex(16)

    def deny(self, verb: str, resource: str, *, reviewed: bool = True) -> None:
        """A right is missing. ``reviewed``: who asks before is told so."""
        self.faults.denied[verb, resource] = reviewed

    def evict(self, pod: str) -> None:
        """As a node that is short of memory does."""
        with self.store.lock:
            said = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi."
            self.kubelet.kill(self.store.get("pods", pod), "Evicted", said)

    def lose_node(self, node: str) -> None:
        """Nobody hears of a node any more, so its pods are given up; what runs on it goes on."""
        with self.store.lock:
            self.kubelet.lost.add(node)
            for pod in self.store.all("pods", lambda pod: pod["spec"].get("nodeName") == node):
                pod["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 30}
                pod["status"]["reason"] = "NodeLost"

    def delete_pod(self, pod: str) -> None:
        """As somebody does with `kubectl delete pod`."""
        with self.store.lock:
            self.kubelet.ask_to_end(self.store.get("pods", pod), 1)

    def delete_job(self, job: str) -> None:
        with self.store.lock:
            self.controller.delete(self.store.get("jobs", job), "Background")

    def submit(self, job: Object) -> None:
        """As `kubectl apply`."""
        job["metadata"].setdefault("namespace", self.namespace)
        check_job(job)
        with self.store.lock:
            self.controller.add(job)

    def limit(self, pod: str, megabytes: int) -> None:
        """Let a running container have no more memory than this."""
        self.kubelet.containers[pod].memory = megabytes * 10**6

    def wait_for(self, look: Callable[[], T | None], seconds: float = 60) -> T:
        """What ``look`` finds, as soon as it finds something."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited in vain: {[pod['status'] for pod in self.pods()]}"
            time.sleep(0.05)
        return found

    def _all(self, resource: str) -> list[Object]:
        with self.store.lock:
            return copy.deepcopy(self.store.all(resource))

    def _run(self) -> None:
        while not self._is_ending.wait(_TICK_SECONDS):
            with self.store.lock:
                self.controller.tick()
                self.kubelet.tick()
