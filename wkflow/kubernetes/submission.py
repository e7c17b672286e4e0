"""How Jobs get to the cluster: the plugin makes them, we complete them, and the cluster may refuse them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubernetes.client import BatchV1Api
from kubernetes.client.exceptions import ApiException


class RefusedError(Exception):
    """A Job that the cluster does not take: ``status`` and what was ``said``. Not of the client's kind, which the plugin would
    make a text of."""

    def __init__(self, error: ApiException) -> None:
        super().__init__(error)
        self.status = int(error.status or 0)
        self.said = str(error.body or error.reason)


class CompletedJobs(BatchV1Api):  # type: ignore[misc] # the client has no types
    """What the plugin submits Jobs by. ``completed``: makes of its Job what is submitted."""

    def __init__(self, client: Any, completed: Callable[[Any], dict[str, Any]]) -> None:
        super().__init__(client)
        self._completed = completed

    def create_namespaced_job(self, namespace: str, body: Any, **options: Any) -> Any:
        """As of the base class. Raises :class:`RefusedError`."""
        try:
            return super().create_namespaced_job(namespace, self._completed(body), **options)
        except ApiException as error:
            raise RefusedError(error) from None
