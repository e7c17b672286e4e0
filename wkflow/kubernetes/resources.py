"""``--job-resources`` for Kubernetes: what pods are given.

Memory, time and processors are taken apart, since they grow when a job fails; disk, GPUs and the type of machine are
resources that the executor plugin knows; image, volumes and so on are its settings; the rest is put into the pod's spec.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from wkflow.kubernetes import values
from wkflow.kubernetes.keys import named
from wkflow.kubernetes.placement import label_value, node_selector, tolerations
from wkflow.kubernetes.quantity import megabytes
from wkflow.kubernetes.values import wrong
from wkflow.kubernetes.volume import Volume, mount_of, volumes

__all__ = ["LEAST_MEMORY_MB", "Given", "Granted", "Volume", "default_resources", "kubernetes_resources", "mount_of"]

_T = TypeVar("_T")
_Named = dict[str, tuple[str, Any]]

LEAST_MEMORY_MB = 500
"""What a pod needs that does nothing: Snakemake twice, and Python."""

_MANUFACTURERS = ("nvidia", "amd")
_MOST_GPUS = 1000


@dataclass(frozen=True)
class Given:
    """What each pod is given; None: as wkflow estimates it, or as the cluster has it.

    ``memory_mb``: of 10^6 bytes. ``cpu_scalar``: processors asked for per thread. ``others``: resources of the executor
    plugin. ``pod``: is merged into the pod's spec, in the API's words. ``notes``: what the user should know.
    """

    memory_mb: int | None = None
    threads: int | None = None
    cpu_scalar: float | None = None
    runtime_minutes: int | None = None
    image: str | None = None
    namespace: str | None = None
    volumes: tuple[Volume, ...] = ()
    service_account: str | None = None
    privileged: bool | None = None
    others: Mapping[str, int | str] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def over(self, common: Given) -> Given:
        """This, and what ``common`` gives beside it: each key is that of one of the two. Raises :class:`UsageError`."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        chosen = {key: value if value not in (None, ()) else getattr(common, key) for key, value in own.items()}
        if self.memory_mb is not None:  # notes are about that
            chosen["notes"] = self.notes
        security = {**common.pod.get("securityContext", {}), **self.pod.get("securityContext", {})}
        chosen["others"] = _checked({**common.others, **self.others})
        chosen["pod"] = {**common.pod, **self.pod, **({"securityContext": security} if security else {})}
        return Given(**chosen)


@dataclass(frozen=True)
class Granted:
    """What a pod was given."""

    memory_mb: int
    minutes: int


def kubernetes_resources(given: Mapping[str, Any]) -> Given:
    """Understand what was given. Raises :class:`UsageError` that names the key."""
    found = named(given)
    memory_mb, notes = _memory(found)
    threads, cpu_scalar = _cpus(found)
    return Given(
        memory_mb=memory_mb,
        threads=threads,
        cpu_scalar=cpu_scalar,
        runtime_minutes=_taken(found, "time", values.minutes),
        image=_taken(found, "image", values.image),
        namespace=_taken(found, "namespace", values.label),
        volumes=_taken(found, "volumes", volumes) or (),
        service_account=_taken(found, "service-account", values.name),
        privileged=_taken(found, "privileged", values.flag),
        others=_checked(_others(found)),
        pod=_pod(found),
        notes=notes,
    )


def default_resources(given: Given) -> list[str]:
    """Arguments of Snakemake's ``--default-resources``, which evaluates them as Python after it has put in variables of the
    environment. Limits are set to what is requested (``scale=0``) if nothing else is said."""
    others = {"scale": 0, **given.others}
    return [f"{key}={value!r}".replace("$", r"\x24") for key, value in others.items()]


def _taken(found: _Named, key: str, read: Callable[[str, Any], _T]) -> _T | None:
    return read(*found[key]) if key in found else None


def _memory(found: _Named) -> tuple[int | None, tuple[str, ...]]:
    size = _taken(found, "memory", values.size)
    if size is None or (memory_mb := megabytes(size)) >= LEAST_MEMORY_MB:
        return (None if size is None else memory_mb), ()
    key, said = found["memory"]
    return LEAST_MEMORY_MB, (f"{key}: {said} is too little for a pod, which gets {LEAST_MEMORY_MB} MB",)


def _cpus(found: _Named) -> tuple[int | None, float | None]:
    """Threads, and what the plugin multiplies them by: it requests ``int(threads * scalar * 1000)`` thousandths."""
    milli = _taken(found, "cpu", values.millicpus)
    if milli is None:
        return None, None
    threads = math.ceil(milli / 1000)
    scalar = milli / 1000 / threads
    while int(threads * scalar * 1000) < milli:
        scalar = math.nextafter(scalar, math.inf)
    return threads, scalar


def _others(found: _Named) -> dict[str, int | str]:
    others: dict[str, int | str] = {}
    if size := _taken(found, "disk", values.size):
        others["disk_mb"] = megabytes(size)
    if machine := _taken(found, "machine-type", _machine):
        others["machine_type"] = machine
    if (scale := _taken(found, "scale", values.flag)) is not None:
        others["scale"] = int(scale)
    return others | _gpus(found)


def _machine(key: str, value: Any) -> str:
    values.text(key, value)  # not empty
    return label_value(key, value)


def _gpus(found: _Named) -> dict[str, int | str]:
    maker = _taken(found, "gpu-manufacturer", values.text)
    if maker is not None and maker.lower() not in _MANUFACTURERS:
        raise wrong(found["gpu-manufacturer"][0], f"{values.shown(maker)} is not known", "give nvidia or amd")
    if "gpu" not in found:
        if maker:
            raise wrong(found["gpu-manufacturer"][0], "the number of GPUs is missing", "give gpu=1, or leave it out")
        return {}
    key, value = found["gpu"]
    named_maker, separator, _ = key.lower().partition(".com/")
    if separator and maker and maker.lower() != named_maker:
        raise wrong(key, f"it contradicts the manufacturer {maker}", "give one of them")
    count = values.whole(key, value, 1, _MOST_GPUS)
    return {"gpu": count, "gpu_manufacturer": named_maker if separator else (maker or _MANUFACTURERS[0]).lower()}


def _checked(others: dict[str, int | str]) -> dict[str, int | str]:
    if "gpu" in others and others.get("scale"):
        raise wrong("scale", "the API takes GPUs with limits only", "leave scale out, or gpu")
    return others


def _pod(found: _Named) -> dict[str, Any]:
    security = {
        "runAsUser": _taken(found, "run-as-user", values.whole),
        "runAsGroup": _taken(found, "run-as-group", values.whole),
        "fsGroup": _taken(found, "fs-group", values.whole),
        "supplementalGroups": _taken(found, "supplemental-groups", values.each(values.whole)),
    }
    secrets = _taken(found, "image-pull-secrets", values.names)
    pod = {
        "nodeSelector": _taken(found, "node-selector", node_selector),
        "tolerations": _taken(found, "tolerations", tolerations),
        "imagePullSecrets": None if secrets is None else [{"name": name} for name in secrets],
        "priorityClassName": _taken(found, "priority-class", values.name),
        "securityContext": {key: value for key, value in security.items() if value is not None} or None,
    }
    return {key: value for key, value in pod.items() if value is not None}
