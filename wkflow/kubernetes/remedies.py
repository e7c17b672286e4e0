"""What a user can do about what a cluster says, which speaks of its own objects."""

from __future__ import annotations

import re

# Quotas and policies refuse pods, not their Jobs.
_REMEDIES = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"exceeded quota", "ask for less memory or cpu, run fewer jobs at once (--jobs), or choose another namespace"),
        (
            r"(?:maximum|minimum) (?:memory|cpu|ephemeral-storage) usage",
            "correct memory, cpu or disk in --job-resources",
        ),
        (r"serviceaccount|service account", "correct --job-resources service_account=..."),
        (r"PriorityClass|priorityClassName", "correct --job-resources priority_class=..."),
        (r"namespaces? .*(?:not found|being terminated)", "correct --job-resources namespace=..."),
        (r"[Pp]rivileged", "leave privileged out of --job-resources"),
        (
            r"PodSecurity|runAsNonRoot|runAsUser|fsGroup",
            "correct run_as_user, run_as_group or fs_group in --job-resources",
        ),
        (r"persistentvolumeclaim|volumeMounts|mountPath|spec\.volumes", "correct --job-resources volumes=..."),
        (r"nodeSelector", "correct node_selector or machine_type in --job-resources"),
        (r"tolerations", "correct --job-resources tolerations=..."),
        (
            r"imagePullSecrets|pull access denied|[Uu]nauthorized",
            "correct image or image_pull_secrets in --job-resources",
        ),
        (r"\.image\b|[Ii]mage", "correct --job-resources image=..."),
        (r"cannot \w+ resource", "see envs/kubernetes/rights.yaml for the rights that are needed"),
        (r"resources\.(?:limits|requests)", "correct memory, cpu, disk or gpu in --job-resources"),
    )
)


def remedy(said: str) -> str | None:
    """What to do about it, mostly which key of ``--job-resources``; None if that is not known."""
    return next((hint for pattern, hint in _REMEDIES if pattern.search(said)), None)


def with_remedy(said: str) -> str:
    hint = remedy(said)
    return f"{said} ({hint})" if hint else said
