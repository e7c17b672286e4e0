"""Nodes: what of a pod fits, which images there are, and the environment that an image gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kube.objects import Object, amount


@dataclass(frozen=True)
class Node:
    """``memory_mb``: of 10^6 bytes."""

    name: str = "node1"
    cpus: float = 8
    memory_mb: int = 16_000
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """The root of an image, and what its ``.image.json`` says: ``Env``, ``User``."""

    root: Path

    def settings(self) -> dict[str, Any]:
        path = self.root / ".image.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def environment(self) -> dict[str, str]:
        return dict(self.settings().get("Env", {}))

    @property
    def user(self) -> tuple[int, int]:
        user, _, group = str(self.settings().get("User") or "0:0").partition(":")
        return int(user), int(group or user)


def why_no_node(pod: Object, nodes: list[Node], running: list[Object]) -> str | Node:
    """A node with room for a pod, or the scheduler's message that there is none."""
    requests = pod["spec"]["containers"][0].get("resources", {}).get("requests") or {}
    reasons: dict[str, int] = {}
    for node in nodes:
        on_it = [one for one in running if one["spec"].get("nodeName") == node.name]
        if not (pod["spec"].get("nodeSelector") or {}).items() <= node.labels.items():
            reason = "node(s) didn't match Pod's node affinity/selector"
        elif _sum([*on_it, pod], "memory") > node.memory_mb * 10**6:
            reason = "Insufficient memory"
        elif _sum([*on_it, pod], "cpu") > node.cpus:
            reason = "Insufficient cpu"
        elif any(name.endswith("/gpu") for name in requests):
            reason = f"Insufficient {next(name for name in requests if name.endswith('/gpu'))}"
        else:
            return node
        reasons[reason] = reasons.get(reason, 0) + 1
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"0/{len(nodes)} nodes are available: {said}."


def _sum(pods: list[Object], name: str) -> float:
    found = (pod["spec"]["containers"][0].get("resources", {}).get("requests") or {} for pod in pods)
    return sum(amount(requests.get(name, 0)) for requests in found)
