"""A Kubernetes cluster on this machine, for tests: an honest stand-in for the part of one that wkflow meets."""

from __future__ import annotations

import copy
import json
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from kube.certificate import make_certificate
from kube.controller import Controller
from kube.faults import Faults
from kube.kubelet import Kubelet
from kube.nodes import Node
from kube.objects import Object, Store
from kube.server import Request, serve
from kube.validation import check_job

T = TypeVar("T")
_TICK_SECONDS = 0.05


class Cluster:
    """``image``: the root of the one image that there is, called ``lab/wkflow:1``; ``claims``: folders by the names of claims;
    ``replaces``: see :class:`kube.controller.Controller`. To be used with ``with``, as root.

    ``errors``: what has gone wrong in the stand-in itself; the end of ``with`` raises them."""

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
        self.errors: list[str] = []
        self.images = {"lab/wkflow:1": image}
        self.kubelet = Kubelet(self.store, folder / "pods", self.images, dict(claims), nodes)
        self.controller = Controller(self.store, self.kubelet, replaces=replaces)
        self._claims = claims
        folder.mkdir(parents=True, exist_ok=True)
        self._certificate, key = make_certificate(folder)
        self._server = serve(self, self._certificate, key)
        self._is_ending = threading.Event()
        serving = threading.Thread(target=self._server.serve_forever, args=(_TICK_SECONDS,), daemon=True)
        self._threads = [serving, threading.Thread(target=self._run, daemon=True)]
        self.kubeconfig = folder / "kubeconfig"
        self.renew_token()
        self.pod_token = self._account_for_pods()
        self._add_claims()

    def __enter__(self) -> Cluster:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._threads[1].join()
        self._end_containers()
        assert not self.errors, "the stand-in is broken:\n" + "\n".join(self.errors)

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
        """All Jobs that there were, as they are or were at last."""
        with self.store.lock:
            return copy.deepcopy(self.controller.history)

    def all_pods(self) -> list[Object]:
        """All pods that there were, as they are or were at last."""
        with self.store.lock:
            return copy.deepcopy(self.controller.pods)

    @property
    def paused(self) -> bool:
        """Whether pods wait before they get a node."""
        return self.kubelet.is_paused

    @paused.setter
    def paused(self, value: bool) -> None:
        self.kubelet.is_paused = value

    @property
    def sidecar(self) -> bool:
        """Whether pods get a second container, which never ends."""
        return self.controller.has_sidecars

    @sidecar.setter
    def sidecar(self, value: bool) -> None:
        self.controller.has_sidecars = value

    def clear(self) -> None:
        """An empty cluster without faults, and without memories."""
        with self.store.lock:
            self._end_containers()
            self.store.clear()
            self._add_claims()
            self.kubelet.lost.clear()
            self.faults = Faults()
            self.paused = self.sidecar = False
            for memory in (self.requests, self.controller.history, self.controller.pods):
                memory.clear()

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

    def fail_every(self, n: int, status: int, methods: Collection[str] = ("GET", "POST", "DELETE")) -> None:
        self.faults.fail_every(n, status, methods)

    def fail_next(self, count: int, status: int, where: str = "", *, after: bool = False) -> None:
        self.faults.fail_next(count, status, where, after=after)

    def drop_next(self, count: int, where: str = "") -> None:
        """The connection ends without an answer."""
        self.faults.fail_next(count, 0, where)

    def deny(self, verb: str, resource: str, *, reviewed: bool = True) -> None:
        """A right is missing. ``reviewed``: who asks before is told so."""
        self.faults.denied[verb, resource] = reviewed

    def evict(self, pod: str) -> None:
        """As a node that is short of memory does."""
        with self.store.lock:
            said = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi."
            self.kubelet.kill(self.store.get("pods", pod), "Evicted", said)

    def delete_pod(self, pod: str, grace: float = 1) -> None:
        """As somebody does with `kubectl delete pod --grace-period`."""
        with self.store.lock:
            self.kubelet.ask_to_end(self.store.get("pods", pod), grace)

    def delete_job(self, job: str) -> None:
        with self.store.lock:
            self.controller.delete(self.store.get("jobs", job), "Background")

    def submit(self, job: Object) -> None:
        """As `kubectl apply`."""
        job["metadata"].setdefault("namespace", self.namespace)
        check_job(job)
        with self.store.lock:
            self.controller.add(job)

    def lose_node(self, node: str, *, is_noticed: bool = True) -> None:
        """Nobody hears of it any more. Its pods seem to run, and what runs on it goes on. ``is_noticed``: they are given up."""
        with self.store.lock:
            self.kubelet.lost.add(node)
            if is_noticed:
                for pod in self.store.all("pods", lambda pod: pod["spec"].get("nodeName") == node):
                    self.kubelet.ask_to_end(pod, 30)
                    pod["status"]["reason"] = "NodeLost"

    def node_gone(self, node: str) -> None:
        """A lost node is removed: its pods are no more, though their processes may go on."""
        with self.store.lock:
            self.kubelet.lost.add(node)
            for pod in self.store.all("pods", lambda pod: pod["spec"].get("nodeName") == node):
                self.kubelet.forget(pod)

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

    def _add_claims(self) -> None:
        for name in self._claims:
            content = {"spec": {"accessModes": ["ReadWriteMany"]}, "status": {"phase": "Bound"}}
            metadata = {"name": name, "namespace": self.namespace}
            self.store.add("persistentvolumeclaims", content | {"metadata": metadata})

    def _end_containers(self) -> None:
        for container in self.kubelet.containers.values():
            container.kill()
        self.kubelet.containers.clear()
        shutil.rmtree(self.folder / "pods", ignore_errors=True)

    def _run(self) -> None:
        while not self._is_ending.wait(_TICK_SECONDS):
            with self.store.lock:
                work = [(self.controller.tick, "jobs"), (self.kubelet.tick, "pods")]
                for tick, resource in work:
                    for content in self.store.all(resource):
                        self._bring_forward(tick, content)

    def _bring_forward(self, tick: Callable[[Object], None], content: Object) -> None:
        """A mistake in one object does not stop the others."""
        try:
            tick(content)
        except Exception:
            if (error := traceback.format_exc()) not in self.errors:
                self.errors.append(error)
