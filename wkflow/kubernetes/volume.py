"""Persistent volume claims, and where they are mounted: at the same path in pods and on the submitting host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any

from wkflow.kubernetes.values import label, listed, shown, text, wrong

_EXAMPLE = "example: volumes=CLAIM:/data"
_WORKDIR = "workdir"  # the volume of the executor plugin, and its place

# Whoever hides them, or something in them, has no pod that starts.
_SYSTEM = (
    *(
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/etc",
        "/boot",
        "/dev",
        "/proc",
        "/sys",
        "/run",
        "/var/run",
        "/workdir",
    ),
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/libexec", "/usr/local", "/usr/share", "/usr/include"),
)


@dataclass(frozen=True)
class Volume:
    """A persistent volume ``claim`` and the absolute ``path`` where it is mounted, in pods and here."""

    claim: str
    path: PurePosixPath

    def __str__(self) -> str:
        return f"{self.claim}:{self.path}"


def mount_of(path: PurePath, volumes: Sequence[Volume]) -> Volume | None:
    """The volume that an absolute path lies on, None if it is on none of them."""
    return max(
        (volume for volume in volumes if path.is_relative_to(volume.path)),
        key=lambda volume: len(volume.path.parts),
        default=None,
    )


def volumes(key: str, value: Any) -> tuple[Volume, ...]:
    """Of ``claim:/path``, several in a list or with ``;`` between them, or an object of claims and paths."""
    if isinstance(value, dict):
        pairs = [(claim, text(key, path)) for claim, path in value.items()]
    else:
        pairs = [_pair(key, text(key, part)) for part in listed(value)]
    if not pairs:
        raise wrong(key, "a value is missing", _EXAMPLE)
    found = [Volume(_claim(key, claim), _path(key, path)) for claim, path in pairs]
    for index, volume in enumerate(found):
        for other in found[:index]:
            if volume.claim == other.claim:
                raise wrong(
                    key,
                    f"the claim {volume.claim} is mounted twice",
                    "mount it once; another claim for the same volume has another name",
                )
            if volume.path == other.path:
                raise wrong(key, f"two claims are mounted at {volume.path}", "give each claim a path of its own")
    return tuple(found)


def _pair(key: str, said: str) -> tuple[str, str]:
    claim, separator, path = said.partition(":")
    if said.startswith("/"):
        raise wrong(
            key,
            f"{shown(said)} is a path without a claim",
            "pods mount claims: make a persistent volume of kind hostPath and a claim for it (docs/kubernetes.md); "
            f"{_EXAMPLE}",
        )
    if not separator:
        raise wrong(key, f"{shown(said)} is not of the form claim:/path", _EXAMPLE)
    return claim, path


def _claim(key: str, said: str) -> str:
    """The plugin makes a volume of the same name, for which fewer names are allowed than for claims."""
    claim = said.strip()
    if claim == _WORKDIR or "." in claim or len(claim) > 63:
        raise wrong(
            key,
            f"the claim {shown(claim)} cannot be mounted",
            f"its name must not be {_WORKDIR}, nor have a dot or more than 63 characters: make another claim for the same "
            "volume",
        )
    return label(key, claim)


def _path(key: str, said: str) -> PurePosixPath:
    path = PurePosixPath("/" + said.strip().lstrip("/"))
    if not said.strip().startswith("/") or ".." in path.parts or ":" in said:
        raise wrong(key, f"{shown(said)} is not an absolute path without .. and :", _EXAMPLE)
    for place in map(PurePosixPath, _SYSTEM):
        if place.is_relative_to(path) or path.is_relative_to(place):
            raise wrong(
                key,
                f"nothing can be mounted at {path}: pods have their own {place} there",
                f"mount the volume elsewhere, at the same path here and in pods; {_EXAMPLE}",
            )
    return path
