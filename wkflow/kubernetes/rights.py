"""What the user, or the service account, that starts a run must be allowed to do in the namespace."""

from __future__ import annotations

from typing import NamedTuple


class Right(NamedTuple):
    """A verb, the resource that it is for (``pods/log``: a part of one), and the API group of that."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


RIGHTS = (
    *(Right(verb, "jobs", "batch") for verb in ("create", "list", "delete")),
    *(Right(verb, "pods") for verb in ("list", "delete")),
    Right("get", "pods/log"),
    Right("list", "events"),
    Right("get", "persistentvolumeclaims"),
    *(Right(verb, "secrets") for verb in ("create", "list", "delete")),
)
