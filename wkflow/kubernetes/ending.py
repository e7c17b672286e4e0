"""Ending what a run has in a cluster: Jobs, their pods, and Secrets, known by a label.

The label is random and new for each start. It is written into the run directory before anything is submitted: whoever
continues the run, after any end of it, removes what is left of earlier starts, and nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from wkflow.errors import HeldError, WkflowError
from wkflow.files import read_json, write_json
from wkflow.rundir import RunDir

if TYPE_CHECKING:  # loading the client takes half a second
    from wkflow.kubernetes.client import Api

ENDING_SECONDS = 60.0
_FILE = "kubernetes.json"
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_CLAIM = "claims"


@dataclass(frozen=True)
class Start:
    """A start of a run. ``label``: the value of the label of all that it submits; ``claims``: uids of the persistent volume
    claims by their names, by which the cluster is known again."""

    label: str
    namespace: str
    claims: Mapping[str, str]


def note_start(run_dir: RunDir, start: Start) -> None:
    """Write down what is to be looked for, if this start is cut off."""
    starts = [one for one in _noted(run_dir) if one.label != start.label]
    write_json(run_dir.path / _FILE, [asdict(one) for one in [*starts, start]])


def forget_start(run_dir: RunDir, label: str) -> None:
    """Nothing of it is left."""
    starts = [one for one in _noted(run_dir) if one.label != label]
    if starts:
        write_json(run_dir.path / _FILE, [asdict(one) for one in starts])
    else:
        (run_dir.path / _FILE).unlink(missing_ok=True)


def end_jobs(run_dir: RunDir, patience: float = ENDING_SECONDS) -> int:
    """Remove all that is left of the run in a cluster, and wait until its pods have ended. Returns how many Jobs and pods
    there were. Raises ``HeldError`` if they do not end, or if that cannot be found out."""
    starts = _noted(run_dir)
    if not starts:
        return 0
    try:
        from kubernetes.client.exceptions import ApiException

        from wkflow.kubernetes.client import connect

        api = connect(patience=min(patience, 30.0))
        count = 0
        for start in starts:
            _check_cluster(api, start, run_dir)
            count += end(api, start.label, start.namespace, patience)
    except (WkflowError, ApiException) as error:
        if isinstance(error, HeldError):
            raise
        raise HeldError(
            f"pods of the run may be at work in a Kubernetes cluster, which cannot be asked: {_why(error)}",
            where=run_dir.path / _FILE,
            hint="start it where kubectl works; if there are no such pods any more, delete that file",
        ) from None
    (run_dir.path / _FILE).unlink(missing_ok=True)
    return count


def end(api: Api, label: str, namespace: str, patience: float = ENDING_SECONDS, *, keep_finished: bool = False) -> int:
    """Remove everything with the label, and wait until it is gone. Returns how many Jobs and pods there were. Raises
    ``HeldError`` if it does not go."""
    seen: set[str] = set()
    deadline = time.monotonic() + patience
    while left := dict(_left(api, label, namespace, keep_finished=keep_finished)):
        seen.update(name for name in left if not name.startswith("secret "))
        for remove in left.values():
            _ignoring_missing(remove)
        if time.monotonic() > deadline:
            raise HeldError(
                "pods of the run do not end",
                where=f"{', '.join(sorted(left)[:5])} in namespace {namespace}",
                hint="see what they wait for (kubectl describe), then run the command again",
            )
        time.sleep(0.3)
    return len(seen)


def _left(api: Api, label: str, namespace: str, *, keep_finished: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """What there is, Jobs first, since they make new pods; and how to remove it. What is being removed need not be told again,
    except for pods whose Job is gone."""
    from wkflow.kubernetes.manifest import RUN_LABEL

    selector = f"{RUN_LABEL}={label}"
    for job in api.batch.list_namespaced_job(namespace, label_selector=selector).items:
        name = job.metadata.name
        if not (keep_finished and (job.status.succeeded or job.status.failed)):
            yield (
                f"job {name}",
                partial(api.batch.delete_namespaced_job, name, namespace, propagation_policy="Background"),
            )
    for pod in api.core.list_namespaced_pod(namespace, label_selector=selector).items:
        if keep_finished and pod.status.phase in ("Succeeded", "Failed"):
            continue
        remove = partial(api.core.delete_namespaced_pod, pod.metadata.name, namespace, grace_period_seconds=1)
        yield f"pod {pod.metadata.name}", _nothing if pod.metadata.deletion_timestamp else remove
    for secret in api.core.list_namespaced_secret(namespace, label_selector=selector).items:
        yield (
            f"secret {secret.metadata.name}",
            partial(api.core.delete_namespaced_secret, secret.metadata.name, namespace),
        )


def _nothing() -> None:
    """It is on its way."""


def _ignoring_missing(remove: Callable[[], object]) -> None:
    from kubernetes.client.exceptions import ApiException

    try:
        remove()
    except ApiException as error:
        if error.status not in (404, 409):
            raise


def _check_cluster(api: Api, start: Start, run_dir: RunDir) -> None:
    """Raise ``HeldError`` if this is another cluster than the one that has got the jobs."""
    from wkflow.kubernetes.checks import claim_uid

    for name, uid in start.claims.items():
        if claim_uid(api, start.namespace, name) != uid:
            raise HeldError(
                "pods of the run may be at work in another Kubernetes cluster than the one that is set up here",
                where=f"{run_dir.path / _FILE}: claim {name} in namespace {start.namespace}",
                hint=f"choose that cluster (here it is {api.host}); if there are no such pods any more, delete that file",
            )


def _noted(run_dir: RunDir) -> list[Start]:
    """What is written down; nothing that is not of our kind."""
    content = read_json(run_dir.path / _FILE)
    return [start for one in content if (start := _start(one))] if isinstance(content, list) else []


def _start(content: Any) -> Start | None:
    if not isinstance(content, dict) or content.keys() != {"label", "namespace", _CLAIM}:
        return None
    claims = content[_CLAIM]
    if not isinstance(claims, dict):
        return None
    words = [content["label"], content["namespace"], *claims.keys(), *claims.values()]
    if not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
        return None
    return Start(**content)


def _why(error: Exception) -> str:
    return getattr(error, "what", None) or str(getattr(error, "reason", "")) or type(error).__name__
