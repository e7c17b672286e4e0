"""The objects of the cluster, as JSON, and the answers of an API server that refuses something."""

from __future__ import annotations

import itertools
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

RESOURCES = {
    "jobs": ("Job", "batch/v1"),
    "pods": ("Pod", "v1"),
    "secrets": ("Secret", "v1"),
    "events": ("Event", "v1"),
    "persistentvolumeclaims": ("PersistentVolumeClaim", "v1"),
}


class ApiError(Exception):
    """An answer that is not 2xx, in the words of a real server."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


def not_found(resource: str, name: str) -> ApiError:
    group = ".batch" if resource == "jobs" else ""
    return ApiError(404, "NotFound", f'{resource}{group} "{name}" not found')


class Store:
    """All objects of one namespace, by resource and name. Whoever reads or changes them holds ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._objects: dict[str, dict[str, Object]] = {resource: {} for resource in RESOURCES}
        self._versions = itertools.count(1)

    def add(self, resource: str, content: Object) -> Object:
        kind, version = RESOURCES[resource]
        name = content["metadata"]["name"]
        if name in self._objects[resource]:
            group = ".batch" if resource == "jobs" else ""
            raise ApiError(409, "AlreadyExists", f'{resource}{group} "{name}" already exists')
        content |= {"kind": kind, "apiVersion": version}
        content["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            "resourceVersion": str(next(self._versions)),
        }
        self._objects[resource][name] = content
        return content

    def get(self, resource: str, name: str) -> Object:
        try:
            return self._objects[resource][name]
        except KeyError:
            raise not_found(resource, name) from None

    def all(self, resource: str, wanted: Callable[[Object], bool] = lambda _: True) -> list[Object]:
        return [content for content in self._objects[resource].values() if wanted(content)]

    def remove(self, resource: str, name: str) -> None:
        self._objects[resource].pop(name, None)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def has_labels(selector: str) -> Callable[[Object], bool]:
    """Of a label selector: ``a=b,c=d``."""
    wanted = dict(part.replace("==", "=").split("=", 1) for part in selector.split(",") if part)
    return lambda content: wanted.items() <= (content["metadata"].get("labels") or {}).items()


def has_fields(selector: str) -> Callable[[Object], bool]:
    """Of a field selector: ``involvedObject.name=x``."""
    wanted = dict(part.split("=", 1) for part in selector.split(",") if part)

    def matches(content: Object) -> bool:
        return all(str(_field(content, path)) == value for path, value in wanted.items())

    return matches


def _field(content: Any, path: str) -> Any:
    for key in path.split("."):
        content = (content or {}).get(key)
    return content


_DECIMAL = re.compile(r"([0-9.]+)([mkMGTPE]|[KMGTPE]i)?")
_UNITS = {"m": 1e-3, "": 1, "k": 1e3, **{u: 10.0 ** (6 + 3 * n) for n, u in enumerate("MGTPE")}} | {
    f"{u}i": 2.0 ** (10 + 10 * n) for n, u in enumerate("KMGTPE")
}


def amount(quantity: Any) -> float:
    """A quantity of a request or a limit. Raises ``ValueError``."""
    found = _DECIMAL.fullmatch(str(quantity))
    if not found:
        raise ValueError(quantity)
    return float(found.group(1)) * _UNITS[found.group(2) or ""]
