"""Nodes: what of a pod fits, which images there are, and what an image says of its containers."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from kube.objects import Object, amount

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?", re.ASCII
)


@dataclass(frozen=True)
class Node:
    """``memory_mb``: of 10^6 bytes."""

    name: str = "node1"
    cpus: float = 8
    memory_mb: int = 16_000
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """The root of an image, and what its ``.image.json`` says: ``Env``, ``User``, ``WorkingDir``, ``Entrypoint``, ``Cmd``."""

    root: Path

    def settings(self) -> dict[str, Any]:
        path = self.root / ".image.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def environment(self) -> dict[str, str]:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, **self.settings().get("Env", {})}

    @property
    def user(self) -> tuple[int, int]:
        """Numbers of user and group."""
        said, _, group = str(self.settings().get("User") or "0").partition(":")
        for words in self._passwd():
            if said in (words[0], words[2]):
                return int(words[2]), int(group or words[3])
        return int(said), int(group or 0)

    def group_of(self, user: int) -> int:
        return next((int(words[3]) for words in self._passwd() if words[2] == str(user)), 0)

    def command(self, container: Object) -> list[str]:
        """Of a container that is made of it."""
        command, arguments = container.get("command") or [], container.get("args") or []
        if command:
            return [*command, *arguments]
        settings = self.settings()
        return [*(settings.get("Entrypoint") or []), *(arguments or settings.get("Cmd") or [])]

    def _passwd(self) -> list[list[str]]:
        path = self.root / "etc/passwd"
        return (
            [line.split(":") for line in path.read_text().splitlines() if line.count(":") == 6] if path.exists() else []
        )


def is_image_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))


def why_no_node(pod: Object, nodes: Sequence[Node], running: list[Object], lost: Collection[str] = ()) -> str | Node:
    """A node with room for a pod, or the scheduler's message that there is none."""
    reasons: dict[str, int] = {}
    for node in nodes:
        on_it = [one for one in running if one["spec"].get("nodeName") == node.name]
        if (reason := _why_not(pod, node, on_it, lost)) is None:
            return node
        reasons[reason] = reasons.get(reason, 0) + 1
    said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"0/{len(nodes)} nodes are available: {said}."


def _why_not(pod: Object, node: Node, on_it: list[Object], lost: Collection[str]) -> str | None:
    there = {"memory": node.memory_mb * 10**6, "cpu": Fraction(node.cpus), "ephemeral-storage": 10**15}
    if node.name in lost:
        return "node(s) had untolerated taint {node.kubernetes.io/unreachable: }"
    if not (pod["spec"].get("nodeSelector") or {}).items() <= node.labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    for name in sorted(_requests(pod), reverse=True):
        if sum(amount(_requests(one).get(name, 0)) for one in [*on_it, pod]) > there.get(name, 0):
            return f"Insufficient {name}"
    return None


def _requests(pod: Object) -> dict[str, Any]:
    resources = pod["spec"]["containers"][0].get("resources") or {}
    return dict(resources.get("requests") or {})
