"""Why a pod has ended or does not start: what the API and logs say, in words for the user."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wkflow.kubernetes.ended import PodState, is_hopeless, is_wrong_image, why_ended, why_refused, why_waiting
from wkflow.kubernetes.resources import Granted

GRANTED = Granted(800, 7)
RUNNING = PodState("p-x", "Running", "n1")
PENDING = PodState("p-x", "Pending", "n1")
FAILED = PodState("p-x", "Failed", "n1", exit_code=1, ended="Error")
OTHER_VERSIONS = """error: the container image has other versions than the host that has submitted this job
  where: image: wkflow 1; host: wkflow 2
  what to do: build the image anew
"""


def ended(pod: PodState | None, log: str = "") -> str:
    return why_ended("job l0.s0.r0", "snakejob-1", pod, log, GRANTED)


@pytest.mark.parametrize(
    ("pod", "words", "hint"),
    [
        (replace(FAILED, exit_code=137, ended="OOMKilled"), "needed more memory than the 800 MB", "memory="),
        (replace(FAILED, ended="OOMKilled"), "needed more memory than the 800 MB", "memory="),
        (
            replace(
                FAILED, exit_code=137, reason="DeadlineExceeded", message="Pod was active on the node longer than ..."
            ),
            "not done within its time limit of 7 minutes (Pod was active",
            "time=",
        ),
        (
            replace(FAILED, exit_code=None, reason="Evicted", message="The node was low on resource: memory."),
            "evicted from its node, which was short of memory or disk (The node was low on resource: memory.)",
            "same command",
        ),
        (
            replace(FAILED, reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit 1G."),
            "more room on its node's own disk",
            "disk=",
        ),
        (replace(FAILED, exit_code=None, reason="Preempting"), "make room for other pods", "same command"),
        (replace(FAILED, reason="NodeLost"), "lost with its node", "same command"),
        (replace(FAILED, exit_code=137, ended="ContainerStatusUnknown"), "lost with its node", "same command"),
        (replace(FAILED, exit_code=None, reason="OutOfmemory"), "had no room for it any more", "same command"),
        (replace(FAILED, exit_code=None, reason="OutOfnvidia.com/gpu"), "had no room for it any more", "same command"),
        (replace(FAILED, exit_code=None, reason="UnexpectedAdmissionError"), "had no room for it", "same command"),
        (replace(FAILED, exit_code=137), "killed, perhaps for its memory, perhaps by somebody", "same command"),
        (replace(FAILED, exit_code=143), "ended from outside (SIGTERM)", "same command"),
        (
            replace(FAILED, exit_code=128, ended="StartError", ended_message='exec: "/bin/sh": no such file'),
            'could not start in its container image: exec: "/bin/sh": no such file',
            "Containerfile",
        ),
        (replace(FAILED, exit_code=127, ended="ContainerCannotRun"), "could not start in its", "Containerfile"),
        (
            replace(PENDING, waiting="InvalidImageName", waiting_message="couldn't parse image"),
            "could not start: its container image cannot be used: couldn't parse image",
            "image=",
        ),
        (replace(PENDING, waiting="ImagePullBackOff"), "cannot be used: ImagePullBackOff", "image_pull_secrets="),
        (replace(PENDING, message="odd"), "could not start, or was ended from outside: odd", "same command"),
        (RUNNING, "perhaps by somebody who has deleted its pod", "same command"),
        (FAILED, "has failed", "left no log|ends with: nothing"),
    ],
)
def test_what_the_cluster_knows(pod: PodState, words: str, hint: str) -> None:
    text = ended(pod)
    assert text.startswith("job l0.s0.r0 ")
    assert words in text.splitlines()[0]
    assert "\n  where: pod p-x on node n1" in text
    assert any(one in text.partition("what to do: ")[2] for one in hint.split("|"))


@pytest.mark.parametrize(
    ("exit_code", "log", "words"),
    [
        (1, "Error in rule level:\n  a.sh: line 1: 12 Killed  python x\n", "needed more memory than the 800 MB that"),
        (1, "CalledProcessError: died with <Signals.SIGKILL: 9>.", "needed more memory"),
        (1, "returned non-zero exit status 137.", "needed more memory"),
        (1, "x\n/usr/bin/python: No module named wkflow", "there is no Python with wkflow in the container image"),
        (
            1,
            "ModuleNotFoundError: No module named 'snakemake'",
            "there is no Python with wkflow in the container image",
        ),
        (127, "/bin/sh: 1: exec: python: not found", "there is no Python with wkflow in the container image"),
        (127, "/bin/sh: line 1: exec: python: not found", "there is no Python with wkflow in the container image"),
        (127, "bash: rsync: command not found", "a program is missing in the container image: bash: rsync"),
        (1, "exec /bin/sh: exec format error", "for other processors than those of its node"),
        (255, "exec /bin/sh: exec format error", "for other processors"),
        (2, "/bin/sh: 1: cd: can't cd to /data/x", "the run's folder is not on the volume that the pod has"),
        (1, "/bin/sh: line 1: cd: /data/x: Permission denied", "its user may not enter it: /bin/sh"),
        (
            1,
            "a\nFileNotFoundError: [Errno 2] No such file or directory: 'x'\n\n",
            "its log ends with: FileNotFoundError",
        ),
        (3, "a\nb \n\n", "its log ends with: b"),
    ],
)
def test_what_the_log_tells(exit_code: int, log: str, words: str) -> None:
    text = ended(replace(FAILED, exit_code=exit_code), log)
    assert text.startswith("job l0.s0.r0 ")
    assert words in text
    assert "\n  where: pod p-x on node n1" in text


def test_what_the_program_of_a_pod_says_itself_is_said() -> None:
    assert ended(FAILED, f"some warning\n{OTHER_VERSIONS}") == (
        "job l0.s0.r0 has failed: the container image has other versions than the host that has submitted this job\n"
        "  where: pod p-x on node n1: image: wkflow 1; host: wkflow 2\n"
        "  what to do: build the image anew"
    )
    assert ended(FAILED, "error: no") == "job l0.s0.r0 has failed: no\n  where: pod p-x on node n1"


def test_a_pod_that_is_gone() -> None:
    text = ended(None)
    assert "somebody has deleted it" in text
    assert "where: snakejob-1" in text


@pytest.mark.parametrize(
    ("log", "is_wrong"),
    [
        (OTHER_VERSIONS, True),
        ("/usr/bin/python: No module named wkflow", True),
        ("ModuleNotFoundError: No module named 'wkflow.cli'", True),
        ("/bin/sh: 1: exec: python: not found", True),
        ("exec /bin/sh: exec format error", True),
        ("ModuleNotFoundError: No module named 'other'", False),
        ("error: no space left", False),
        ("", False),
    ],
)
def test_an_image_that_will_never_do(log: str, is_wrong: bool) -> None:
    assert is_wrong_image(log) is is_wrong


# ---------------------------------------------------------------- waiting

NO_NODE = "0/3 nodes are available: 3 Insufficient memory."


@pytest.mark.parametrize(
    ("pod", "events", "words"),
    [
        (PENDING, [], None),
        (replace(PENDING, waiting="ContainerCreating"), [], None),
        (replace(PENDING, waiting="ContainerCreating"), [NO_NODE], None),
        (replace(PENDING, waiting="PodInitializing"), [], None),
        (None, [], "the cluster has made no pod for it yet"),
        (None, ["a", "pods is forbidden: exceeded quota: q"], "pods is forbidden: exceeded quota: q (ask for less"),
        (replace(PENDING, node="", unscheduled=NO_NODE), ["old"], NO_NODE),
        (replace(PENDING, node=""), [NO_NODE], NO_NODE),
        (
            replace(PENDING, waiting="ContainerCreating"),
            ["a", "MountVolume.SetUp\n failed"],
            "MountVolume.SetUp failed",
        ),
        (
            replace(PENDING, waiting="ImagePullBackOff", waiting_message='Back-off pulling image "x"'),
            ["old"],
            'ImagePullBackOff: Back-off pulling image "x" (correct --job-resources image=...)',
        ),
        (replace(PENDING, waiting="ErrImagePull"), ["404"], "ErrImagePull: 404 (correct --job-resources image=...)"),
        (
            replace(PENDING, waiting="CreateContainerConfigError", waiting_message="container has runAsNonRoot"),
            [],
            "CreateContainerConfigError: container has runAsNonRoot (correct run_as_user",
        ),
        (replace(PENDING, waiting="CreateContainerError"), [], "CreateContainerError"),
        (replace(PENDING, waiting="\x1b[2J"), [], "\\x1b[2J"),
    ],
)
def test_why_a_pod_waits(pod: PodState | None, events: list[str], words: str | None) -> None:
    text = why_waiting(pod, events)
    assert text == words or (words and text and text.startswith(words))


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_a_pod_that_will_never_start(reason: str) -> None:
    assert is_hopeless(replace(PENDING, waiting=reason))


@pytest.mark.parametrize(
    "reason", ["", "ContainerCreating", "ImagePullBackOff", "ErrImagePull", "CreateContainerError"]
)
def test_a_pod_that_may_start_yet(reason: str) -> None:
    assert not is_hopeless(replace(PENDING, waiting=reason))


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (403, 'jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch"', "rights.yaml"),
        (403, 'pods "x" is forbidden: exceeded quota: compute, requested: requests.memory=8G', "memory or cpu"),
        (
            403,
            'pods "x" is forbidden: maximum memory usage per Container is 4Gi, but limit is 8G',
            "memory, cpu or disk",
        ),
        (403, 'pods "x" is forbidden: no PriorityClass with name low was found', "priority_class"),
        (
            403,
            'pods "x" is forbidden: error looking up service account a/b: serviceaccount "b" not found',
            "service_acc",
        ),
        (403, 'violates PodSecurity "restricted:latest": runAsNonRoot != true', "run_as_user"),
        (403, 'violates PodSecurity "baseline:latest": privileged (container "snakemake" must not ...)', "privileged"),
        (404, 'namespaces "nowhere" not found', "namespace="),
        (422, 'Job.batch "x" is invalid: spec.template.spec.containers[0].image: Required value', "image="),
        (422, 'Job.batch "x" is invalid: spec.template.spec.containers[0].volumeMounts[1].name: Not found', "volumes="),
        (422, 'Job.batch "x" is invalid: spec.template.spec.nodeSelector: Invalid value', "node_selector"),
        (422, 'Job.batch "x" is invalid: spec.template.spec.tolerations[0].operator: Invalid value', "tolerations="),
        (422, 'Job.batch "x" is invalid: spec...resources.limits: Required value: Limit must be set', "gpu"),
        (400, "Job in version v1 cannot be handled as a Job: quantities must match", "correct --job-resources, then"),
        (401, "Unauthorized", "log in anew"),
        (429, "too many requests", "goes on where it stopped"),
        (500, "etcdserver: request timed out", "goes on where it stopped"),
    ],
)
def test_what_a_cluster_does_not_take(status: int, said: str, hint: str) -> None:
    body = json.dumps({"kind": "Status", "message": f"{said}\n", "code": status})
    text = why_refused("job l0.s0.r0", status, body)
    assert text.startswith(f"Kubernetes has refused job l0.s0.r0: {said}\n")
    assert f"where: answer {status}" in text
    assert hint in text.partition("what to do: ")[2]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html>Bad\nGateway</html>", "<html>Bad Gateway</html>"),
        ("[1]", "[1]"),
        ('{"message": ""}', '{"message": ""}'),
        ('{"message": {"a": 1}}', "{'a': 1}"),
        ("", "it gives no reason"),
        ("[" * 10**5, "[" * 500),
    ],
)
def test_answers_that_are_not_of_the_api(body: str, said: str) -> None:
    assert why_refused("job", 400, body).splitlines()[0] == f"Kubernetes has refused job: {said}"


def test_a_cluster_that_does_not_answer() -> None:
    text = why_refused("job", 0, "Connection refused")
    assert text.startswith("job could not be submitted: Connection refused\n")


# ---------------------------------------------------------------- anything

_TEXT = st.text(max_size=20) | st.sampled_from(
    ["{x}", "{memory_mb}", "\x1b[2J", "a\nb", "error: {last}\n  where: \x07"]
)
_STATES = st.builds(
    PodState,
    name=st.just("p-x"),
    phase=_TEXT,
    node=st.sampled_from(["", "n1"]),
    reason=_TEXT | st.sampled_from(["Evicted", "OutOfcpu"]),
    message=_TEXT,
    waiting=_TEXT,
    waiting_message=_TEXT,
    exit_code=st.none() | st.sampled_from([1, 2, 127, 137, 143]),
    ended=_TEXT | st.sampled_from(["OOMKilled", "StartError"]),
    ended_message=_TEXT,
    unscheduled=_TEXT,
)


@given(_STATES, _TEXT, st.lists(_TEXT, max_size=2), st.integers(0, 599))
def test_whatever_a_cluster_says_moves_no_cursor(pod: PodState, log: str, events: list[str], status: int) -> None:
    texts = [ended(pod, log), why_waiting(pod, events) or "", why_refused("job", status, log)]
    for text in texts:
        assert text.count("\n") <= 2
        assert not [c for c in text if c != "\n" and unicodedata.category(c) == "Cc"]
