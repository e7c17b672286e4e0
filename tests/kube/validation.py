"""What a real API server refuses of a Job or a Secret, in its words, and what it fills in."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any

from kube.objects import ApiError, Object, amount

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_OVERCOMMITTED = ("cpu", "memory", "ephemeral-storage")
_SECRET_BYTES, _ANNOTATION_BYTES, _LARGEST = 2**20, 2**18, 2**31 - 1
_LEAST = {"terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": 1}
_LEAST_OF_JOB = {"backoffLimit": 0, "ttlSecondsAfterFinished": 0, "activeDeadlineSeconds": 0, "parallelism": 0}


def check_job(job: Object) -> None:
    """Raise :class:`ApiError` if a Job could not be made, else fill in what it does not say."""
    pod = job.get("spec", {}).get("template", {}).get("spec", {})
    for container in pod.get("containers", []):
        resources = container.get("resources", {})
        for quantity in [*resources.get("requests", {}).values(), *resources.get("limits", {}).values()]:
            try:
                amount(quantity)
            except ValueError:
                said = f'Job in version "v1" cannot be handled as a Job: {_QUANTITY}'
                raise ApiError(400, "BadRequest", said) from None
        if "limits" in resources:
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
    _raise("Job.batch", job, _of_job(job))
    pod.setdefault("terminationGracePeriodSeconds", 30)
    pod.setdefault("securityContext", {})
    job["spec"].setdefault("backoffLimit", 6)


def check_secret(secret: Object) -> None:
    _raise("Secret", secret, [*_of_metadata(secret["metadata"]), *_of_data(secret)])


def _raise(kind: str, content: Object, problems: Iterable[str]) -> None:
    if found := list(problems):
        said = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
        raise ApiError(422, "Invalid", f'{kind} "{content["metadata"].get("name", "")}" is invalid: {said}')


def _of_data(secret: Object) -> Iterator[str]:
    size = 0
    for key, value in [*secret.get("data", {}).items(), *secret.get("stringData", {}).items()]:
        if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
            yield f'data[{key}]: Invalid value: "{key}": a valid config key must consist of alphanumeric characters'
        try:
            size += len(
                value.encode() if key in secret.get("stringData", {}) else base64.b64decode(value, validate=True)
            )
        except binascii.Error:
            raise ApiError(
                400, "BadRequest", 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data'
            ) from None
    if size > _SECRET_BYTES:
        yield f"data: Too long: must have at most {_SECRET_BYTES} bytes"


def _of_metadata(metadata: Object, path: str = "metadata", *, is_template: bool = False) -> Iterator[str]:
    name = metadata.get("name", "")
    if not is_template and not name:
        yield f"{path}.name: Required value: name or generateName is required"
    elif not is_template and not _SUBDOMAIN.fullmatch(name):
        yield f'{path}.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower case ...'
    yield from _of_labels(metadata.get("labels", {}), f"{path}.labels")
    for key in metadata.get("annotations", {}):
        if not _KEY.fullmatch(key.lower()):
            yield f'{path}.annotations: Invalid value: "{key}": name part must consist of alphanumeric characters ...'
    if sum(len(key) + len(value) for key, value in metadata.get("annotations", {}).items()) > _ANNOTATION_BYTES:
        yield f"{path}.annotations: Too long: must have at most {_ANNOTATION_BYTES} bytes"


def _of_labels(labels: Object, path: str) -> Iterator[str]:
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            yield f'{path}: Invalid value: "{key}": name part must consist of alphanumeric characters ...'
        if len(value) > 63:
            yield f'{path}: Invalid value: "{value}": must be no more than 63 characters'
        elif not _VALUE.fullmatch(value):
            yield f'{path}: Invalid value: "{value}": a valid label must be an empty string or consist of ...'


def _of_numbers(content: Object, least: dict[str, int], path: str) -> Iterator[str]:
    for name, value in least.items():
        number = content.get(name, value)
        if number < value:
            yield f"{path}.{name}: Invalid value: {number}: must be greater than or equal to {value}"
        elif number > _LARGEST and name != "terminationGracePeriodSeconds":
            yield f"{path}.{name}: Invalid value: {number}: must be between {value} and {_LARGEST}, inclusive"


def _of_job(job: Object) -> Iterator[str]:
    yield from _of_metadata(job["metadata"])
    spec, path = job.get("spec", {}), "spec.template.spec"
    yield from _of_numbers(spec, _LEAST_OF_JOB, "spec")
    template = spec.get("template", {})
    labels = (
        {"job-name": job["metadata"].get("name", "")} if _SUBDOMAIN.fullmatch(job["metadata"].get("name", "")) else {}
    )
    metadata = template.get("metadata", {})
    yield from _of_metadata(
        metadata | {"labels": metadata.get("labels", {}) | labels}, "spec.template", is_template=True
    )
    pod = template.get("spec", {})
    yield from _of_numbers(pod, _LEAST, path)
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f'{path}.restartPolicy: Required value: valid values: "OnFailure", "Never"'
    yield from _of_labels(pod.get("nodeSelector", {}), f"{path}.nodeSelector")
    volumes = [volume.get("name", "") for volume in pod.get("volumes", [])]
    for number, volume in enumerate(pod.get("volumes", [])):
        yield from _of_volume(volume, volumes[:number], f"{path}.volumes[{number}]")
    yield from _of_user(pod.get("securityContext", {}), f"{path}.securityContext")
    if not pod.get("containers"):
        yield f"{path}.containers: Required value"
    for number, container in enumerate(pod.get("containers", [])):
        yield from _of_container(container, f"{path}.containers[{number}]", volumes)


def _of_volume(volume: Object, before: list[str], path: str) -> Iterator[str]:
    name, kinds = volume.get("name", ""), volume.keys() - {"name"}
    if not _LABEL.fullmatch(name):
        why = "must not contain dots" if "." in name else "a lowercase RFC 1123 label must consist of lower case ..."
        yield f'{path}.name: Invalid value: "{name}": {why}'
    if name in before:
        yield f'{path}.name: Duplicate value: "{name}"'
    if not kinds:
        yield f"{path}: Required value: must specify a volume type"
    if len(kinds) > 1:
        yield f"{path}: Forbidden: may not specify more than 1 volume type"
    if "persistentVolumeClaim" in kinds and not volume["persistentVolumeClaim"].get("claimName"):
        yield f"{path}.persistentVolumeClaim.claimName: Required value"


def _of_user(security: Object, path: str) -> Iterator[str]:
    numbers = [(name, security[name]) for name in ("runAsUser", "runAsGroup", "fsGroup") if name in security]
    for name, number in [*numbers, *(("supplementalGroups", one) for one in security.get("supplementalGroups", []))]:
        if not 0 <= number <= _LARGEST:
            yield f"{path}.{name}: Invalid value: {number}: must be between 0 and {_LARGEST}, inclusive"


def _of_container(container: Object, path: str, volumes: list[str]) -> Iterator[str]:
    if not _LABEL.fullmatch(container.get("name", "")):
        yield f'{path}.name: Invalid value: "{container.get("name", "")}": a lowercase RFC 1123 label must consist of ...'
    if not container.get("image"):
        yield f"{path}.image: Required value"
    elif container["image"] != container["image"].strip():
        yield f'{path}.image: Invalid value: "{container["image"]}": must not have leading or trailing whitespace'
    for number, one in enumerate(container.get("env", [])):
        if not _VARIABLE.fullmatch(one.get("name", "")):
            yield f'{path}.env[{number}].name: Invalid value: "{one.get("name", "")}": a valid environment variable name ...'
        if one.get("value") and one.get("valueFrom"):
            yield f'{path}.env[{number}].valueFrom: Invalid value: "": may not be specified when `value` is not empty'
    yield from _of_mounts(container.get("volumeMounts", []), path, volumes)
    yield from _of_user(container.get("securityContext", {}), f"{path}.securityContext")
    yield from _of_resources(container.get("resources", {}), f"{path}.resources")


def _of_mounts(mounts: list[Object], path: str, volumes: list[str]) -> Iterator[str]:
    places: list[Any] = []
    for number, mount in enumerate(mounts):
        if mount.get("name") not in volumes:
            yield f'{path}.volumeMounts[{number}].name: Not found: "{mount.get("name", "")}"'
        if not mount.get("mountPath"):
            yield f"{path}.volumeMounts[{number}].mountPath: Required value"
        elif mount["mountPath"] in places:
            yield f'{path}.volumeMounts[{number}].mountPath: Invalid value: "{mount["mountPath"]}": must be unique'
        places.append(mount.get("mountPath"))


def _of_resources(resources: Object, path: str) -> Iterator[str]:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for name, quantity in requests.items():
        if amount(quantity) < 0:
            yield f'{path}.requests[{name}]: Invalid value: "{quantity}": must be greater than or equal to 0'
        if name not in _OVERCOMMITTED and name not in limits:
            yield f"{path}.limits: Required value: Limit must be set for non overcommitable resources"
        elif name not in _OVERCOMMITTED and amount(quantity) != amount(limits[name]):
            yield f'{path}.requests: Invalid value: "{quantity}": must be equal to {name} limit of {limits[name]}'
        elif name in limits and amount(quantity) > amount(limits[name]):
            yield f'{path}.requests: Invalid value: "{quantity}": must be less than or equal to {name} limit of {limits[name]}'
