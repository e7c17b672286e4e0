"""Why a pod does not start, or has ended without success, in words for its user."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from wkflow.errors import message
from wkflow.kubernetes.remedies import remedy, with_remedy
from wkflow.kubernetes.resources import Granted

_AGAIN = "run the same command again, it goes on where it stopped"
_TRANSIENT = (408, 409, 429, 500, 502, 503, 504)
_LONGEST = 500  # characters of what others say
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_CANNOT_START = ("StartError", "ContainerCannotRun")
_STARTING = ("", "ContainerCreating", "PodInitializing")
_KILLED = re.compile(r"\bKilled\b|SIGKILL|signal 9|exit(?:ed)? (?:status|code)\s*(?:-9|137)")
_NO_IMAGE = re.compile(
    r"No module named '?(?:wkflow|snakemake)|error: the container image has other versions"
    r"|exec:.*python: (?:command )?not found|exec format error"
)
_ERROR = re.compile(r"^error: (.*)(?:\n  where: (.*))?(?:\n  what to do: (.*))?", re.MULTILINE)
_NO_FOLDER = re.compile(r"can't cd to |\bcd: .*: (?:No such file or directory|Permission denied|Not a directory)")
_ANYTHING = re.compile("")
_UNSCHEDULED = re.compile(r"\d+/\d+ nodes are available")


@dataclass(frozen=True)
class PodState:
    """What is known of a pod, as in its status: ``waiting`` and ``ended`` are reasons of its container; ``unscheduled``: why it
    has no node; ``ended_message``: what the cluster says about the end of the container."""

    name: str
    phase: str = ""
    node: str = ""
    reason: str = ""
    message: str = ""
    waiting: str = ""
    waiting_message: str = ""
    exit_code: int | None = None
    ended: str = ""
    ended_message: str = ""
    unscheduled: str = ""


class _Kind(NamedTuple):
    """A way to end: reasons of the pod or its container that tell it (and its message, if that matters), and what is said of
    it."""

    reasons: tuple[str, ...]
    what: str
    hint: str
    message: str = ""


_MORE_MEMORY = "give it more: --job-resources memory=...; or let it use fewer threads: cpu=..."
_OUT_OF_MEMORY = "was killed: it needed more memory than the {memory_mb} MB that it was given"
_KINDS = (
    _Kind(("OOMKilled",), _OUT_OF_MEMORY, _MORE_MEMORY),
    _Kind(
        ("DeadlineExceeded",),
        "was not done within its time limit of {minutes} minutes",
        f"{_AGAIN}; or give it more: --job-resources time=...",
    ),
    _Kind(
        ("Evicted",),
        "was ended: it needed more room on its node's own disk than it was given",
        "give it more: --job-resources disk=...",
        r"exceeds the|exceeds its|ephemeral local storage",
    ),
    _Kind(("Evicted",), "was evicted from its node, which was short of memory or disk", _AGAIN),
    _Kind(("Preempting", "Preempted", "PreemptionByScheduler"), "had to make room for other pods", _AGAIN),
    _Kind(
        (
            "NodeLost",
            "NodeShutdown",
            "Shutdown",
            "Terminated",
            "NodeAffinity",
            "TerminationByKubelet",
            "ContainerStatusUnknown",
        ),
        "was lost with its node",
        _AGAIN,
    ),
    _Kind(
        ("UnexpectedAdmissionError", "OutOf"),
        "was not taken by its node, which had no room for it any more",
        _AGAIN,
    ),
)


class _Told(NamedTuple):
    """A way to end that its log or exit code tells: any of ``codes``, any at all if there are none."""

    log: re.Pattern[str]
    codes: tuple[int, ...]
    what: str
    hint: str


_BUILD = "build the image with envs/Containerfile"
_TOLD = (
    _Told(
        re.compile("exec format error"),
        (),
        "could not start: the container image is for other processors than those of its node",
        "build it for them (docker build --platform), or choose nodes: --job-resources node_selector=...",
    ),
    _Told(
        _NO_IMAGE,
        (),
        "has failed: there is no Python with wkflow in the container image: {last}",
        f"{_BUILD}, and give its name: --job-resources image=...",
    ),
    _Told(
        _NO_FOLDER,
        (1, 2),
        "has failed: the run's folder is not on the volume that the pod has, or its user may not enter it: {last}",
        "see that the claim in --job-resources volumes=... is the volume that is mounted here at that path, and that "
        "run_as_user=... may enter it",
    ),
    _Told(_ANYTHING, (127,), "has failed: a program is missing in the container image: {last}", _BUILD),
    _Told(_ANYTHING, (137,), "was killed, perhaps for its memory, perhaps by somebody", _AGAIN),
    _Told(_ANYTHING, (143,), "was ended from outside (SIGTERM)", _AGAIN),
)


def why_ended(what: str, job_name: str, pod: PodState | None, log: str, given: Granted) -> str:
    """One message about a job that has failed. ``what`` describes it; ``pod``: its newest one, None if there is none any more;
    ``log``: what that has said at last."""
    if pod is None:
        return message(
            f"{what} has lost its pod: somebody has deleted it, or its node is gone", where=job_name, hint=_AGAIN
        )
    where = f"pod {pod.name}" + (f" on node {pod.node}" if pod.node else "")
    for kind in _KINDS:
        if _is(kind, pod):
            said = f" ({_one_line(pod.message)})" if pod.message.strip() else ""
            return message(f"{what} {kind.what.format(**asdict(given))}{said}", where=where, hint=kind.hint)
    if pod.exit_code is None or pod.ended in _CANNOT_START:
        return _never_started(what, where, pod)
    if _KILLED.search(log):
        return message(f"{what} {_OUT_OF_MEMORY.format(**asdict(given))}, most likely", where=where, hint=_MORE_MEMORY)
    return _by_its_log(what, where, pod.exit_code, log)


def why_waiting(pod: PodState | None, events: Sequence[str]) -> str | None:
    """Why a pod does not start. ``events``: warnings about it, or about its Job if there is no pod yet; the newest last. None if
    nothing is wrong."""
    if pod is None:
        return _told(events[-1]) if events else "the cluster has made no pod for it yet"
    if pod.unscheduled:
        return _told(pod.unscheduled)
    if pod.node:  # what was said before it had one is over
        events = [event for event in events if not _UNSCHEDULED.match(event)]
    newest = events[-1] if events else ""
    if pod.waiting not in _STARTING:
        return _told(": ".join(filter(None, (pod.waiting, pod.waiting_message or newest))))
    return _told(newest) if newest else None


def is_hopeless(pod: PodState) -> bool:
    """Whether it will never start."""
    return pod.waiting in _HOPELESS


def is_wrong_image(log: str) -> bool:
    """Whether the image is not one that was made for this version of wkflow."""
    return _NO_IMAGE.search(log) is not None


def why_refused(what: str, status: int, body: str) -> str:
    """The message about something that the cluster does not take. ``body``: of its answer."""
    said = body.strip()
    try:
        content = json.loads(body)
        said = str(content["message"]) if isinstance(content, dict) and content.get("message") else said
    except (ValueError, RecursionError):
        pass
    said = _one_line(said) or "it gives no reason"
    if not status:
        return message(f"{what} could not be submitted: {said}", where="Kubernetes", hint=_AGAIN)
    if status == 401:
        hint = "log in anew, until `kubectl get pods` works here"
    elif status in _TRANSIENT:
        hint = _AGAIN
    else:
        hint = f"{remedy(said) or 'correct --job-resources'}, then run the same command again"
    return message(f"Kubernetes has refused {what}: {said}", where=f"answer {status}", hint=hint)


def _is(kind: _Kind, pod: PodState) -> bool:
    reasons = {pod.reason, pod.ended, "OutOf" if pod.reason.startswith("OutOf") else ""}
    return not reasons.isdisjoint(kind.reasons) and re.search(kind.message, pod.message) is not None


def _never_started(what: str, where: str, pod: PodState) -> str:
    why = pod.ended_message or pod.waiting_message or pod.message or pod.unscheduled or pod.waiting or pod.reason
    if pod.waiting in ("ErrImagePull", "ImagePullBackOff", *_HOPELESS):
        return message(
            f"{what} could not start: its container image cannot be used: {_one_line(why)}",
            where=where,
            hint="correct --job-resources image=..., or give image_pull_secrets=...",
        )
    if pod.ended in _CANNOT_START:
        return message(
            f"{what} could not start in its container image: {_one_line(why or pod.ended)}",
            where=where,
            hint=f"{_BUILD}; or correct --job-resources",
        )
    if not why:
        return message(
            f"{what} was ended from outside, perhaps by somebody who has deleted its pod", where=where, hint=_AGAIN
        )
    return message(f"{what} could not start, or was ended from outside: {_one_line(why)}", where=where, hint=_AGAIN)


def _by_its_log(what: str, where: str, exit_code: int, log: str) -> str:
    if found := _ERROR.search(log):
        said, at, hint = found.groups()
        return message(f"{what} has failed: {said}", where=f"{where}: {at}" if at else where, hint=hint)
    where = f"{where}, exit code {exit_code}"
    for told in _TOLD:
        if exit_code in (told.codes or (exit_code,)) and told.log.search(log):
            return message(f"{what} {told.what.format(last=_last_line(log))}", where=where, hint=told.hint)
    return message(f"{what} has failed", where=where, hint=f"its log ends with: {_last_line(log)}")


def _told(said: str) -> str:
    return message(with_remedy(_one_line(said)))


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
