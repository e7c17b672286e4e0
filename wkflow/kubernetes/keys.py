"""The keys of ``--job-resources`` for Kubernetes: by how many names each is known, and which cannot be given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from wkflow.kubernetes.values import wrong

# the key -> other names
_NAMES: dict[str, tuple[str, ...]] = {
    "memory": ("mem", "mem-mb", "memory-mb"),
    "cpu": ("cpus", "cores", "threads"),
    "disk": ("disk-mb", "ephemeral-storage"),
    "gpu": ("gpus", "nvidia.com/gpu", "amd.com/gpu"),
    "gpu-manufacturer": (),
    "image": ("container-image",),
    "namespace": (),
    "volumes": ("volume", "mounts", "mount", "pvc", "pvcs", "claim", "claims", "persistent-volumes"),
    "node-selector": (),
    "machine-type": ("instance-type",),
    "service-account": ("service-account-name",),
    "scale": (),
    "privileged": (),
    "time": ("walltime", "runtime"),
    "tolerations": ("toleration",),
    "image-pull-secrets": ("image-pull-secret",),
    "priority-class": ("priority-class-name",),
    "run-as-user": (),
    "run-as-group": (),
    "fs-group": (),
    "supplemental-groups": (),
}
_KEYS = {name: key for key, others in _NAMES.items() for name in (key, *others)}

# what to do instead -> words of Slurm, of upstream, and of the API
_REASONS: dict[str, tuple[str, ...]] = {
    "there are no partitions and queues on Kubernetes; choose nodes with node_selector": (
        *("partition", "slurm-partition", "queue", "constraint", "nodelist", "exclude", "clusters", "reservation"),
        "affinity",
    ),
    "there are no accounts on Kubernetes; give namespace or priority_class": (
        *("account", "slurm-account", "qos", "wckey", "nice"),
    ),
    "each job is one pod on one node; --jobs is how many run at once": (
        *("nodes", "ntasks", "tasks", "ntasks-per-node", "tasks-per-node", "array", "parallelism", "completions"),
    ),
    "give cpu, for the whole pod": ("cpus-per-task", "cpus-per-gpu"),
    "give memory, for the whole pod": ("mem-per-cpu", "mem-mb-per-cpu", "mem-per-gpu"),
    "give gpu, and choose the nodes that have the right ones with node_selector": ("gres", "gpu-model"),
    "give time": ("active-deadline-seconds", "deadline"),
    "give memory and cpu; with scale=0 limits are what is requested, with scale=1 there are none": (
        *("limits", "requests", "resources"),
    ),
    "give run_as_user, run_as_group, fs_group or supplemental_groups": ("security-context",),
    "it is for slurm+batching only": ("batch-size",),
    "wkflow names its jobs, so that it finds them again": ("job-name", "name", "labels", "annotations"),
    "wkflow tries failed jobs again by itself": ("backoff-limit", "restart-policy", "retries", "requeue"),
    "wkflow decides what a pod runs": ("command", "args", "containers", "workdir", "working-dir", "env"),
}
_REFUSED = {key: reason for reason, keys in _REASONS.items() for key in keys}


def named(values: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """For each key the name by which it was given, and the value. Raises :class:`UsageError` if there is no such key."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in values.items():
        key = _key(name)
        if key in found:
            raise wrong(name, f"this was given twice, also as {found[key][0]}", "give it once")
        found[key] = name.strip(), value
    return found


def _key(name: str) -> str:
    """From dashes, underscores or the camel case of the API."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.strip()).replace("_", "-").lower()
    if word in _KEYS:
        return _KEYS[word]
    if word in _REFUSED:
        raise wrong(name, "this cannot be given on Kubernetes", _REFUSED[word])
    near = get_close_matches(word, [*_KEYS, *_REFUSED], n=1)
    if near:
        hint = _REFUSED.get(near[0]) or f"did you mean {near[0].replace('-', '_')}?"
    else:
        hint = f"there are {', '.join(key.replace('-', '_') for key in _NAMES)}"
    raise wrong(name, "there is no such key for Kubernetes", hint)
