"""The part of the API that is used, over HTTP, with the answers of a real server."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from kube.faults import Dropped, failure
from kube.objects import RESOURCES, ApiError, Object, has_fields, has_labels, not_found
from kube.validation import check_job, check_secret

if TYPE_CHECKING:
    from kube.cluster import Cluster

_PATH = re.compile(r"/(?:api/v1|apis/batch/v1)/namespaces/([^/]+)/(\w+)(?:/([^/]+))?(?:/(\w+))?")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}


@dataclass(frozen=True)
class Request:
    """What a client has asked for."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    user: str


def serve(cluster: Cluster, certificate: Path, key: Path) -> ThreadingHTTPServer:
    """A server on a free port of this machine, over TLS, not yet at work."""

    class Handler(_Handler):
        pass

    Handler.cluster = cluster
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, parts.path, query, body, self.headers.get("Authorization", ""))
        try:
            code, content = self._do(request)
        except ApiError as error:
            code, content = error.code, error.body
        except Dropped:
            self.close_connection = True
            return
        is_text = isinstance(content, str)
        data = content.encode() if is_text else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self, request: Request) -> tuple[int, Any]:
        cluster = self.cluster
        with cluster.store.lock:
            cluster.requests.append(request)
            cluster.faults.before(request.path)
            if request.user.partition(" ")[2] not in (cluster.token, cluster.pod_token):
                raise failure(401)
            answer = _route(cluster, request)
            cluster.faults.after(request.method, request.path)
        return answer


def _route(cluster: Cluster, request: Request) -> tuple[int, Any]:
    if request.path == _REVIEW and request.method == "POST":
        return 201, _review(cluster, json.loads(request.body))
    found = _PATH.fullmatch(request.path)
    if not found or found.group(2) not in RESOURCES:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    namespace, resource, name, part = found.groups()
    verb = _VERBS[request.method] if name or request.method == "POST" else "list"
    full = f"{resource}/{part}" if part else resource
    if (verb, full) in cluster.faults.denied:
        group = "batch" if resource == "jobs" else ""
        where = f'in API group "{group}" in the namespace "{namespace}"'
        said = f'{resource} is forbidden: User "user" cannot {verb} resource "{full}" {where}'
        raise ApiError(403, "Forbidden", said)
    act: Callable[..., tuple[int, Any]] = {"list": _list, "get": _get, "create": _create, "delete": _delete}[verb]
    return act(cluster, request, namespace, resource, name, part)


def _review(cluster: Cluster, body: Object) -> Object:
    wanted = body["spec"]["resourceAttributes"]
    resource = "/".join(filter(None, [wanted["resource"], wanted.get("subresource")]))
    is_denied = cluster.faults.denied.get((wanted["verb"], resource), False) or wanted["namespace"] != cluster.namespace
    return body | {"status": {"allowed": not is_denied}}


def _list(cluster: Cluster, request: Request, namespace: str, resource: str, *_: object) -> tuple[int, Any]:
    labels, fields = (
        has_labels(request.query.get("labelSelector", "")),
        has_fields(request.query.get("fieldSelector", "")),
    )
    here = namespace == cluster.namespace
    items = cluster.store.all(resource, lambda one: labels(one) and fields(one)) if here else []
    kind, version = RESOURCES[resource]
    return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}


def _get(
    cluster: Cluster, request: Request, namespace: str, resource: str, name: str, part: str | None
) -> tuple[int, Any]:
    if namespace != cluster.namespace:
        raise not_found(resource, name)
    content = cluster.store.get(resource, name)
    return 200, _log(cluster, content, request) if part == "log" else content


def _log(cluster: Cluster, pod: Object, request: Request) -> str:
    name = pod["metadata"]["name"]
    container = request.query.get("container", "snakemake")
    where = f'container "{container}" in pod "{name}"'
    if request.query.get("previous", "").lower() == "true":
        raise ApiError(400, "BadRequest", f"previous terminated {where} not found")
    if name not in cluster.kubelet.containers:
        reason = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason")
        raise ApiError(400, "BadRequest", f"{where} is waiting to start: {reason or 'ContainerCreating'}")
    lines = cluster.kubelet.containers[name].log.read_text(errors="replace").splitlines(keepends=True)
    return "".join(lines[-int(request.query.get("tailLines", len(lines) or 1)) :])


def _create(cluster: Cluster, request: Request, namespace: str, resource: str, *_: object) -> tuple[int, Any]:
    if namespace != cluster.namespace:
        raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
    content = json.loads(request.body)
    content["metadata"]["namespace"] = namespace
    if resource == "jobs":
        check_job(content)
        return 201, cluster.controller.add(content)
    if resource == "secrets":
        check_secret(content)
        texts = content.pop("stringData", {})
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
        content["data"] = {**(content.get("data") or {}), **encoded}
        return 201, cluster.store.add("secrets", content)
    raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def _delete(
    cluster: Cluster, request: Request, namespace: str, resource: str, name: str, *_: object
) -> tuple[int, Any]:
    if namespace != cluster.namespace:
        raise not_found(resource, name)
    content = cluster.store.get(resource, name)
    options = json.loads(request.body) if request.body and request.body != b"null" else {}
    if resource == "jobs":
        cluster.controller.delete(
            content, request.query.get("propagationPolicy") or options.get("propagationPolicy") or "Orphan"
        )
    elif resource == "pods":
        grace = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        cluster.kubelet.ask_to_end(content, None if grace is None else float(grace))
    else:
        cluster.store.remove(resource, name)
    return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
