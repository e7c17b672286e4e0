"""Requests to a Kubernetes cluster that survive what happens to its API server while jobs run for days.

The Python client has no time-outs, does not try again, and knows only the credentials that it has begun with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.config
import urllib3
import yaml
from kubernetes.client import ApiClient, AuthorizationV1Api, BatchV1Api, Configuration, CoreV1Api, rest
from kubernetes.client.exceptions import ApiException

from wkflow.errors import UsageError

PATIENCE_SECONDS = 300.0
"""How long a request is tried again before it counts as failed."""

_TIME_OUT = (10, 60)  # seconds to connect, and until something is read
_TRANSIENT = (429, 500, 502, 503, 504)
_LONGEST_WAIT = 20.0
# What the client raises about a kubeconfig that is not there, or is none.
_BROKEN = (
    kubernetes.config.ConfigException,
    yaml.YAMLError,
    OSError,
    TypeError,
    AttributeError,
    ValueError,
    LookupError,
)
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Api:
    """The parts of the API that are used, and the ``namespace`` that is meant if none is given."""

    core: CoreV1Api
    batch: BatchV1Api
    authorization: AuthorizationV1Api
    namespace: str
    host: str


def connect(patience: float = PATIENCE_SECONDS) -> Api:
    """The cluster of the kubeconfig, else that in which this process runs. Raises :class:`UsageError` if there is none."""
    client = PatientClient(patience)
    return Api(
        CoreV1Api(client), BatchV1Api(client), AuthorizationV1Api(client), _namespace(), client.configuration.host
    )


class PatientClient(ApiClient):  # type: ignore[misc] # the client has no types
    """Tries again what has failed for a while. ``patience``: for how many seconds."""

    def __init__(self, patience: float) -> None:
        super().__init__(_configuration())
        self._patience = patience

    def request(self, method: str, url: str, **options: Any) -> Any:
        """As of the base class. Raises ``ApiException``, with status 0 if there was no answer."""
        options["_request_timeout"] = options.get("_request_timeout") or _TIME_OUT
        deadline = time.monotonic() + self._patience
        wait, is_renewed, is_again = 1.0, False, False
        while True:
            try:
                return super().request(method, url, **options)
            except ApiException as error:
                failed = error
            except urllib3.exceptions.HTTPError as error:
                failed = ApiException(status=0, reason=_reason(error))
            if failed.status == 409 and is_again and method == "POST":  # an earlier try had worked
                return super().request("GET", f"{url.partition('?')[0]}/{_name(options['body'])}", **_for_get(options))
            if failed.status == 401 and not is_renewed:
                is_renewed = self._renew(options)
                continue
            if failed.status not in (0, 401, *_TRANSIENT) or time.monotonic() + wait > deadline:
                raise failed
            time.sleep(_retry_after(failed) or wait)
            wait, is_renewed, is_again = min(_LONGEST_WAIT, 2 * wait), False, True

    def _renew(self, options: dict[str, Any]) -> bool:
        """Read the credentials again: tokens expire, and others write new ones. Always true."""
        with suppress(UsageError):  # the file may be just being written
            self.configuration = _configuration()
            self.rest_client = rest.RESTClientObject(self.configuration)
            if token := self.configuration.get_api_key_with_prefix("authorization"):
                options["headers"] = {**(options.get("headers") or {}), "authorization": token}
        return True


def _configuration() -> Any:
    configuration = Configuration()
    configuration.retries = False  # we do that
    try:
        kubernetes.config.load_kube_config(client_configuration=configuration)
    except _BROKEN as error:
        try:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        except kubernetes.config.ConfigException:
            raise UsageError(
                f"there is no Kubernetes cluster to be reached from here: {error}",
                where="kubeconfig (KUBECONFIG, ~/.kube/config)",
                hint="see that `kubectl get pods` works here, or start wkflow in a pod of the cluster",
            ) from None
    return configuration


def _namespace() -> str:
    """That of the kubeconfig's context, or of the pod that this process runs in."""
    with suppress(*_BROKEN):
        _, active = kubernetes.config.list_kube_config_contexts()
        return str(active["context"].get("namespace") or "default")
    try:
        return _NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _name(body: Any) -> str:
    return str(body["metadata"]["name"])


def _for_get(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key in ("headers", "_preload_content", "_request_timeout")}


def _reason(error: Exception) -> str:
    """The innermost cause: urllib3 wraps what the operating system says."""
    while error.__context__ is not None and not isinstance(error, OSError):
        error = error.__context__  # type: ignore[assignment]
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _retry_after(error: ApiException) -> float | None:
    try:
        return min(_LONGEST_WAIT, max(1.0, float((error.headers or {}).get("Retry-After") or "none")))
    except ValueError:
        return None


def ignoring_missing(request: Callable[[], object]) -> None:
    """Make a request that deletes something; nothing is wrong if it is gone already."""
    try:
        request()
    except ApiException as error:
        if error.status != 404:
            raise
