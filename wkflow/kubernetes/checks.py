"""What would keep pods from running, said before the first one is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kubernetes.client.exceptions import ApiException

from wkflow.errors import RemoteError, UsageError
from wkflow.home import home
from wkflow.kubernetes.client import Api, connect
from wkflow.kubernetes.resources import Volume, mount_of
from wkflow.kubernetes.rights import RIGHTS, Right
from wkflow.plan import Plan
from wkflow.run import Run

_RESOURCES = "--job-resources"
_PATIENCE_SECONDS = 10.0
_ONE_POD = "ReadWriteOncePod"
_READ_ONLY = "ReadOnlyMany"


def check(run: Run, volumes: Sequence[Volume], namespace: str | None, snakefile: Path | None = None) -> None:
    """Raise :class:`WkflowError` if the jobs of ``run`` could not be done. ``namespace``: None is that of the kubeconfig;
    ``snakefile``: the main one, if it is not ours."""
    check_volumes(run, volumes, snakefile)
    api = connect(_PATIENCE_SECONDS)
    check_cluster(api, namespace or api.namespace, [volume.claim for volume in volumes])


def check_volumes(run: Run, volumes: Sequence[Volume], snakefile: Path | None = None) -> None:
    """Raise :class:`UsageError` if a file of the run is on no volume that pods have. ``snakefile``: the main one."""
    for what, path in _paths(run, snakefile):
        if mount_of(path, volumes) is None:
            mounted = ", ".join(map(str, volumes)) or "none"
            raise UsageError(
                f"{what} is on no volume that is mounted in the pods (mounted: {mounted})",
                where=path,
                hint=f"give the claim of its volume with {_RESOURCES}: volumes=CLAIM:{_likely_mount(path)}; it has to be "
                "mounted at the same path here",
            )


def check_cluster(api: Api, namespace: str, claims: Sequence[str]) -> None:
    """Raise :class:`UsageError` if the claims are not there, cannot be used by pods, or a right is missing."""
    denied = [right for right in RIGHTS if not _may(api, namespace, right)]
    if denied:
        raise UsageError(
            f"rights are missing in the namespace {namespace}: {', '.join(map(str, denied))}",
            where=f"cluster {api.host}",
            hint="have them granted, see envs/kubernetes/rights.yaml; or choose another namespace",
        )
    for claim in claims:
        _check_claim(api, namespace, claim)


def claim_uid(api: Api, namespace: str, name: str) -> str | None:
    """The uid of a persistent volume claim; None if there is no such claim. Raises :class:`RemoteError`."""
    found = _claim(api, namespace, name)
    return str(found.metadata.uid) if found else None


def _paths(run: Run, snakefile: Path | None) -> Iterator[tuple[str, Path]]:
    plan: Plan = run.plan
    yield "the run's folder", run.dir.path
    yield "the dataset", Path(plan.dataset)
    for layer in plan.layers:
        yield f"layer {layer.name!r}", Path(layer.directory)
        for source in layer.sources:
            if not source.is_remote:
                yield f"mag {source.mag} of layer {layer.name!r}", Path(source.address).resolve()
    if snakefile is not None and not snakefile.resolve().is_relative_to(home()):
        yield "the Snakefile", snakefile


def _likely_mount(path: Path) -> str:
    """A guess for an example: the mount point here."""
    return next((str(one) for one in [path, *path.parents] if one.is_mount() and one != Path("/")), str(path.parent))


def _may(api: Api, namespace: str, right: Right) -> bool:
    resource, _, part = right.resource.partition("/")
    attributes = {"namespace": namespace, "verb": right.verb, "resource": resource, "group": right.group}
    if part:
        attributes["subresource"] = part
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        return bool(api.authorization.create_self_subject_access_review(body).status.allowed)
    except ApiException as error:
        if error.status == 403:  # not even that may be asked: it will show
            return True
        raise _unreachable(api, error) from None


def _check_claim(api: Api, namespace: str, name: str) -> None:
    claim = _claim(api, namespace, name)
    where = f"claim {name} in namespace {namespace}"
    if claim is None:
        raise UsageError(
            "there is no such persistent volume claim",
            where=where,
            hint=f"see `kubectl get pvc`; give another: {_RESOURCES}",
        )
    if claim.metadata.deletion_timestamp or (claim.status and claim.status.phase == "Lost"):
        raise UsageError("the persistent volume claim is lost or being deleted", where=where, hint="make a new one")
    modes = set(claim.spec.access_modes or ())
    if modes and modes <= {_ONE_POD, _READ_ONLY}:
        raise UsageError(
            f"the persistent volume claim cannot be written by several pods ({', '.join(sorted(modes))})",
            where=where,
            hint="use a claim with access mode ReadWriteMany (or ReadWriteOnce, for pods of one node)",
        )


def _claim(api: Api, namespace: str, name: str) -> Any:
    try:
        return api.core.read_namespaced_persistent_volume_claim(name, namespace)
    except ApiException as error:
        if error.status == 404:
            return None
        raise _unreachable(api, error) from None


def _unreachable(api: Api, error: ApiException) -> RemoteError:
    if error.status == 401:
        return RemoteError(
            "the Kubernetes cluster does not accept the credentials",
            where=api.host,
            hint="log in anew, until `kubectl get pods` works here",
        )
    return RemoteError(
        f"the Kubernetes cluster does not answer as expected: {error.status or ''} {error.reason}".replace("  ", " "),
        where=api.host,
        hint="see that `kubectl get pods` works here",
    )
