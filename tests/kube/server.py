"""The part of the API that is used, over HTTP, with the answers of a real server."""

from __future__ import annotations

import base64
import json
import re
import ssl
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from kube.faults import Dropped, failure
from kube.objects import RESOURCES, ApiError, Object, has_fields, has_labels, known_fields, not_found, qualified
from kube.validation import check_job, check_secret

if TYPE_CHECKING:
    from kube.cluster import Cluster

_PATH = re.compile(r"/(api|apis/batch)/v1/namespaces/([^/]+)/(\w+)(?:/([^/]+))?(?:/(\w+))?")
_NAMESPACE = re.compile(r"/api/v1/namespaces/([^/]+)")
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERSION = {"major": "1", "minor": "32", "gitVersion": "v1.32.0-standin", "platform": "linux/amd64"}
_VERSION |= dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler"), "")
_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}
_PARTS = {"jobs": {"status"}, "pods": {"status", "log"}}


@dataclass
class Request:
    """What a client has asked for. ``status``: of the answer; 0 if there was none."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    user: str
    status: int = 0


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

    do_POST = do_DELETE = do_PUT = do_PATCH = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, parts.path, query, body, self.headers.get("Authorization", ""))
        with self.cluster.store.lock:  # objects do not change while they are written down
            self.cluster.requests.append(request)
            try:
                code, content = self._do(request)
            except ApiError as error:
                code, content = error.code, error.body
            except Dropped:
                self.close_connection = True
                return
            except Exception:  # ours, not the client's: told at the end of the test
                self.cluster.errors.append(traceback.format_exc())
                code, content = 500, ApiError(500, "InternalError", "the stand-in is broken").body
            request.status = code
            is_text = isinstance(content, str)
            data = content.encode() if is_text else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if is_text else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _do(self, request: Request) -> tuple[int, Any]:
        self.cluster.faults.before(request.method, request.path)
        if request.user.partition(" ")[2] not in (self.cluster.token, self.cluster.pod_token):
            raise failure(401)
        answer = _route(self.cluster, request)
        self.cluster.faults.after(request.method, request.path)
        return answer


def _route(cluster: Cluster, request: Request) -> tuple[int, Any]:
    if request.path.rstrip("/") == "/version":
        return 200, _VERSION
    if request.path == _REVIEW and request.method == "POST":
        return 201, _review(cluster, _body(request))
    if request.method not in _VERBS:
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    if (found := _NAMESPACE.fullmatch(request.path)) and request.method == "GET":
        return 200, _namespace(cluster, found.group(1))
    if not (found := _PATH.fullmatch(request.path)) or not _is_served(*found.groups()):
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    _, namespace, resource, name, part = found.groups()
    verb = _VERBS[request.method] if name or request.method == "POST" else "list"
    _check_right(cluster, verb, namespace, resource, name, part)
    if request.method == "DELETE" and not name:
        raise ApiError(405, "MethodNotAllowed", "the stand-in deletes one by one")
    act: Callable[..., tuple[int, Any]] = {"list": _list, "get": _get, "create": _create, "delete": _delete}[verb]
    return act(cluster, request, namespace, resource, name, part)


def _is_served(group: str, namespace: str, resource: str, name: str | None, part: str | None) -> bool:
    right = "apis/batch" if resource == "jobs" else "api"
    return resource in RESOURCES and group == right and (not part or part in _PARTS.get(resource, set()))


def _check_right(
    cluster: Cluster, verb: str, namespace: str, resource: str, name: str | None = None, part: str | None = None
) -> None:
    full = f"{resource}/{part}" if part else resource
    if (verb, full) in cluster.faults.denied:
        group = "batch" if resource == "jobs" else ""
        where = f'in API group "{group}" in the namespace "{namespace}"'
        what = f'{qualified(resource)} "{name}"' if name else qualified(resource)
        said = f'{what} is forbidden: User "user" cannot {verb} resource "{full}" {where}'
        raise ApiError(403, "Forbidden", said)


def _body(request: Request) -> Object:
    try:
        content = json.loads(request.body or b"{}")
    except ValueError as error:
        raise ApiError(400, "BadRequest", f"couldn't get version/kind; json parse error: {error}") from None
    return content if isinstance(content, dict) else {}


def _namespace(cluster: Cluster, name: str) -> Object:
    _check_right(cluster, "get", name, "namespaces", name)
    if name != cluster.namespace:
        raise not_found("namespaces", name)
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": "Active"}}


def _review(cluster: Cluster, body: Object) -> Object:
    asked = body["spec"]["resourceAttributes"]
    resource = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
    is_denied = cluster.faults.denied.get((asked["verb"], resource), False) or asked["namespace"] != cluster.namespace
    return body | {"status": {"allowed": not is_denied, **({"reason": ""} if is_denied else {})}}


def _list(cluster: Cluster, request: Request, namespace: str, resource: str, *_: object) -> tuple[int, Any]:
    labels = has_labels(request.query.get("labelSelector", ""))
    fields = has_fields(request.query.get("fieldSelector", ""))
    here = namespace == cluster.namespace
    items = cluster.store.all(resource, lambda one: labels(one) and fields(one)) if here else []
    items.sort(key=lambda one: str(one["metadata"]["name"]))
    metadata = {"resourceVersion": "1"}
    start = base64.b64decode(request.query.get("continue", "")).decode()
    items = [one for one in items if one["metadata"]["name"] >= start]
    limit = int(request.query.get("limit", 0))
    if limit and len(items) > limit:
        metadata["continue"] = base64.b64encode(items[limit]["metadata"]["name"].encode()).decode()
        items = items[:limit]
    kind, version = RESOURCES[resource]
    bare = [{key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in items]
    return 200, {"kind": f"{kind}List", "apiVersion": version, "metadata": metadata, "items": bare}


def _get(
    cluster: Cluster, request: Request, namespace: str, resource: str, name: str, part: str | None
) -> tuple[int, Any]:
    if namespace != cluster.namespace:
        raise not_found(resource, name)
    content = cluster.store.get(resource, name)
    return 200, _log(cluster, content, request) if part == "log" else content


def _log(cluster: Cluster, pod: Object, request: Request) -> str:
    name, names = pod["metadata"]["name"], [one["name"] for one in pod["spec"]["containers"]]
    container = request.query.get("container", names[0] if len(names) == 1 else "")
    where = f'container "{container}" in pod "{name}"'
    if not container:
        said = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        raise ApiError(400, "BadRequest", said)
    if container not in names:
        raise ApiError(400, "BadRequest", f"container {container} is not valid for pod {name}")
    if pod["spec"].get("nodeName") in cluster.kubelet.lost:
        raise ApiError(
            500, "InternalError", f'Get "https://{pod["spec"]["nodeName"]}:10250/containerLogs": no route to host'
        )
    if request.query.get("previous", "false").lower() not in ("false", "0"):  # the Python client says "True"
        raise ApiError(400, "BadRequest", f"previous terminated {where} not found")
    if name not in cluster.kubelet.containers:
        state = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {})
        reason = state.get("waiting", {}).get("reason", "ContainerCreating")
        why = "trying and failing to pull image" if "Pull" in reason else f"waiting to start: {reason}"
        raise ApiError(400, "BadRequest", f"{where} is {why}")
    if container != names[0]:
        return ""
    lines = cluster.kubelet.containers[name].log.read_text(errors="replace").splitlines(keepends=True)
    tail = int(request.query.get("tailLines", len(lines)))
    return "".join(lines[len(lines) - min(tail, len(lines)) :])


def _create(cluster: Cluster, request: Request, namespace: str, resource: str, *_: object) -> tuple[int, Any]:
    if resource not in ("jobs", "secrets"):
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    kind, _ = RESOURCES[resource]
    content = known_fields(_body(request), f"V1{kind}", kind)
    metadata = content.setdefault("metadata", {})
    if metadata.setdefault("namespace", namespace) != namespace:
        said = "the namespace of the provided object does not match the namespace sent on the request"
        raise ApiError(400, "BadRequest", said)
    if namespace != cluster.namespace:
        raise not_found("namespaces", namespace)
    if resource == "jobs":
        check_job(content)
        return 201, cluster.controller.add(content)
    check_secret(content)
    texts = content.pop("stringData", {})
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in texts.items()}
    content["data"] = {**content.get("data", {}), **encoded}
    content.setdefault("type", "Opaque")
    return 201, cluster.store.add("secrets", content)


def _delete(
    cluster: Cluster, request: Request, namespace: str, resource: str, name: str, *_: object
) -> tuple[int, Any]:
    if namespace != cluster.namespace:
        raise not_found(resource, name)
    content = cluster.store.get(resource, name)
    options = _body(request)
    if (uid := (options.get("preconditions") or {}).get("uid", content["metadata"]["uid"])) != content["metadata"][
        "uid"
    ]:
        why = f"the UID in the precondition ({uid}) does not match the UID in record ({content['metadata']['uid']})"
        raise ApiError(409, "Conflict", f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {why}')
    if resource == "jobs":
        policy = request.query.get("propagationPolicy") or options.get("propagationPolicy")
        cluster.controller.delete(content, policy or "Orphan")
    elif resource == "pods":
        grace = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        cluster.kubelet.ask_to_end(content, None if grace is None else float(grace))
    else:
        cluster.store.remove(resource, name)
    if "deletionTimestamp" in content["metadata"]:
        return 200, content  # it is still there
    details = {"name": name, "kind": resource, "uid": content["metadata"]["uid"]}
    return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
