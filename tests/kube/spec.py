"""From a pod's specification to the container that is wanted."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kube.container import Wanted
from kube.nodes import Image
from kube.objects import ApiError, Object, amount

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Node(Protocol):
    """Where a container comes to be: ``claims``: folders by names; ``account``: the folder by which, at ``port`` of this machine,
    pods find the API server."""

    claims: dict[str, Path]
    account: Path
    port: int

    def secret(self, name: str) -> Object:
        """Raises :class:`ApiError`."""


class Unusable(Exception):  # noqa: N818
    """A container cannot be made as asked: the kubelet tries again and again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


def wanted(pod: Object, image: Image, node: Node) -> Wanted:
    """The container of a pod. Raises :class:`Unusable`."""
    container = pod["spec"]["containers"][0]
    variables = _environment(pod, node)
    command = [expanded(part, variables) for part in image.command(container)]
    if not command:
        raise Unusable("CreateContainerError", "failed to generate container spec opts: no command specified")
    user, group, groups = _identity(pod, image)
    mounts, empty = _mounts(pod, node.claims)
    if pod["spec"].get("automountServiceAccountToken") is not False:
        mounts.append((node.account, _ACCOUNT, True))
    limit = container.get("resources", {}).get("limits", {}).get("memory")
    return Wanted(
        image=image.root,
        hostname=pod["metadata"]["name"][:63],
        command=command,
        folder=container.get("workingDir") or image.settings().get("WorkingDir") or "/",
        environment=image.environment | variables,
        mounts=mounts,
        empty=empty,
        user=user,
        group=group,
        groups=groups,
        is_privileged=container.get("securityContext", {}).get("privileged", False),
        memory=int(amount(limit)) if limit else None,
    )


def claims_of(pod: Object) -> dict[str, str]:
    """Claims by the names of the volumes that they are."""
    volumes = pod["spec"].get("volumes", [])
    return {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` of a variable that is there, and ``$$`` for ``$``; everything else stays."""

    def replace(found: re.Match[str]) -> str:
        return "$" if found.group() == "$$" else variables.get(found.group(1), found.group())

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


def _environment(pod: Object, node: Node) -> dict[str, str]:
    """Without those of the image, which are not expanded."""
    found = {
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(node.port),
    }
    for one in pod["spec"]["containers"][0].get("env", []):
        source = one.get("valueFrom", {})
        if "fieldRef" in source:
            found[one["name"]] = str(_field(pod, source["fieldRef"]["fieldPath"]))
        elif "secretKeyRef" not in source:
            found[one["name"]] = expanded(one.get("value", ""), found)
        elif (value := _secret_value(pod, source["secretKeyRef"], node)) is not None:
            found[one["name"]] = value
    return found


def _field(pod: Object, path: str) -> object:
    for key in path.split("."):
        pod = pod.get(key, "")
    return pod


def _secret_value(pod: Object, reference: Object, node: Node) -> str | None:
    name, key = reference.get("name", ""), reference["key"]
    try:
        data = node.secret(name).get("data", {})
        if key in data:
            return base64.b64decode(data[key]).decode()
        why = f"couldn't find key {key} in Secret {pod['metadata']['namespace']}/{name}"
    except ApiError:
        why = f'secret "{name}" not found'
    if reference.get("optional"):
        return None
    raise Unusable("CreateContainerConfigError", why)


def _identity(pod: Object, image: Image) -> tuple[int, int, list[int]]:
    """User, group, and all groups."""
    common = pod["spec"].get("securityContext", {})
    security = {**common, **pod["spec"]["containers"][0].get("securityContext", {})}
    user, group = image.user
    if "runAsUser" in security:
        user = security["runAsUser"]
        group = image.group_of(user)
    if security.get("runAsNonRoot") and user == 0:
        why = (
            "container's runAsUser breaks non-root policy"
            if "runAsUser" in security
            else ("container has runAsNonRoot and image will run as root")
        )
        raise Unusable("CreateContainerConfigError", why)
    group = security.get("runAsGroup", group)
    more = {*common.get("supplementalGroups", []), *([common["fsGroup"]] if "fsGroup" in common else [])}
    return user, group, sorted({group, *more})


def _mounts(pod: Object, claims: Mapping[str, Path]) -> tuple[list[tuple[Path, str, bool]], list[str]]:
    """Folders of this machine with their places, and the places of empty folders."""
    volumes = {one["name"]: one for one in pod["spec"].get("volumes", [])}
    mounts, empty = [], []
    for mount in pod["spec"]["containers"][0].get("volumeMounts", []):
        volume, place = volumes[mount["name"]], f"/{mount['mountPath'].strip('/')}"
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            folder = claims[claim["claimName"]] / mount.get("subPath", "")
            folder.mkdir(parents=True, exist_ok=True)
            mounts.append((folder, place, bool(mount.get("readOnly") or claim.get("readOnly"))))
        elif "emptyDir" in volume:
            empty.append(place)
        else:
            raise NotImplementedError(f"the stand-in has no such volumes: {volume}")
    return mounts, empty
