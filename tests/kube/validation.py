"""What a real API server refuses of a Job or a Secret, in its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kube.objects import ApiError, Object, amount

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_NOT_OVERCOMMITTED = ("nvidia.com/gpu", "amd.com/gpu")


def check_job(job: Object) -> None:
    """Raise :class:`ApiError` if a Job could not be made."""
    for container in job["spec"]["template"]["spec"].get("containers") or []:
        for kind in ("requests", "limits"):
            for quantity in ((container.get("resources") or {}).get(kind) or {}).values():
                try:
                    amount(quantity)
                except ValueError:
                    raise ApiError(
                        400, "BadRequest", f'Job in version "v1" cannot be handled as a Job: {_QUANTITY}'
                    ) from None
    _raise("Job.batch", job, list(_of_job(job)))


def check_secret(secret: Object) -> None:
    _raise("Secret", secret, list(_of_metadata(secret["metadata"])) + list(_of_data(secret)))


def _raise(kind: str, content: Object, problems: list[str]) -> None:
    if problems:
        said = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise ApiError(422, "Invalid", f'{kind} "{content["metadata"].get("name")}" is invalid: {said}')


def _of_data(secret: Object) -> Iterator[str]:
    for key in [*(secret.get("data") or {}), *(secret.get("stringData") or {})]:
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
            yield f'data[{key}]: Invalid value: "{key}": a valid config key must consist of ...'


def _of_metadata(metadata: Object, path: str = "metadata") -> Iterator[str]:
    name = metadata.get("name", "")
    if path == "metadata" and not _SUBDOMAIN.fullmatch(name):
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of ...'
    for key, value in (metadata.get("labels") or {}).items():
        if not _KEY.fullmatch(key):
            yield f'{path}.labels: Invalid value: "{key}": name part must consist of ...'
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            yield f'{path}.labels: Invalid value: "{value}": a valid label must be an empty string or ...'
    for key in metadata.get("annotations") or {}:
        if not _KEY.fullmatch(key):
            yield f'{path}.annotations: Invalid value: "{key}": name part must consist of ...'


def _of_job(job: Object) -> Iterator[str]:
    yield from _of_metadata(job["metadata"])
    template = job["spec"]["template"]
    yield from _of_metadata(template.get("metadata") or {}, "spec.template.labels")
    pod, path = template["spec"], "spec.template.spec"
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f'{path}.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    volumes = [volume["name"] for volume in pod.get("volumes") or []]
    for number, name in enumerate(volumes):
        if not _LABEL.fullmatch(name):
            yield f'{path}.volumes[{number}].name: Invalid value: "{name}": must not contain dots'
        if name in volumes[:number]:
            yield f'{path}.volumes[{number}].name: Duplicate value: "{name}"'
    if not pod.get("containers"):
        yield f"{path}.containers: Required value"
    for number, container in enumerate(pod.get("containers") or []):
        yield from _of_container(container, f"{path}.containers[{number}]", volumes)


def _of_container(container: Object, path: str, volumes: list[str]) -> Iterator[str]:
    if not container.get("image"):
        yield f"{path}.image: Required value"
    places: list[Any] = []
    for number, mount in enumerate(container.get("volumeMounts") or []):
        if mount["name"] not in volumes:
            yield f'{path}.volumeMounts[{number}].name: Not found: "{mount["name"]}"'
        if mount["mountPath"] in places:
            yield f'{path}.volumeMounts[{number}].mountPath: Invalid value: "{mount["mountPath"]}": must be unique'
        places.append(mount["mountPath"])
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, quantity in requests.items():
        if name in _NOT_OVERCOMMITTED and name not in limits:
            yield f"{path}.resources.limits: Required value: Limit must be set for non overcommitable resources"
        elif name in limits and amount(quantity) > amount(limits[name]):
            yield (
                f'{path}.resources.requests: Invalid value: "{quantity}": must be less than or equal to {name} limit'
            )
