"""The objects of the cluster, as JSON, and the answers of an API server that refuses something."""

from __future__ import annotations

import itertools
import re
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from kubernetes import client

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


def qualified(resource: str) -> str:
    """As messages name it."""
    return f"{resource}.batch" if resource == "jobs" else resource


def not_found(resource: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{qualified(resource)} "{name}" not found')


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
            raise ApiError(409, "AlreadyExists", f'{qualified(resource)} "{name}" already exists')
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

    def clear(self) -> None:
        for objects in self._objects.values():
            objects.clear()


def now(later: float = 0) -> str:
    """In so many seconds."""
    return (datetime.now(UTC) + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ")


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


_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]+))?", re.ASCII)
_UNITS = {unit: Fraction(1000) ** power for power, unit in enumerate(["n", "u", "m", "", *"kMGTPE"], -3)} | {
    f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", 1)
}


def amount(quantity: Any) -> Fraction:
    """A quantity of a request or a limit. Raises ``ValueError``."""
    found = _QUANTITY.fullmatch(str(quantity))
    if not found:
        raise ValueError(quantity)
    number, unit, exponent = found.groups()
    return Fraction(number) * _UNITS[unit or ""] * Fraction(10) ** int(exponent or 0)


def known_fields(content: Any, kind: str, path: str = "") -> Any:
    """Without the fields that the API does not know, and without those that are null. ``kind``: of the Python client's models.
    Raises :class:`ApiError` for what is of another type."""
    if found := re.fullmatch(r"list\[(.+)\]", kind):
        _expect(content, list, path)
        return [known_fields(one, found.group(1), path) for one in content]
    if found := re.fullmatch(r"dict\(str, (.+)\)", kind):
        _expect(content, dict, path)
        is_quantity = path.endswith((".limits", ".requests"))
        return {
            key: known_fields(one, "object" if is_quantity else found.group(1), path) for key, one in content.items()
        }
    model = getattr(client, kind, None)
    if model is None:
        _expect(content, {"str": str, "int": int, "bool": bool}.get(kind, object), path)
        return content
    _expect(content, dict, path)
    kinds = {name: model.openapi_types[field] for field, name in model.attribute_map.items()}
    given = {name: one for name, one in content.items() if name in kinds and one is not None}
    return {name: known_fields(one, kinds[name], f"{path}.{name}") for name, one in given.items()}


def _expect(content: Any, kind: type, path: str) -> None:
    if not isinstance(content, kind) or (kind is int and isinstance(content, bool)):
        words = {str: "string", dict: "object", list: "array", bool: "bool", int: "number", float: "number"}
        said = f"json: cannot unmarshal {words.get(type(content), 'null')} into Go struct field {path}"
        raise ApiError(400, "BadRequest", f"the request cannot be handled: {said} of type {words[kind]}")
