"""Snakemake's executor ``wkflow-kubernetes``: that of snakemake-executor-plugin-kubernetes, for pods that have the dataset's
volume.

The plugin makes the Jobs. What is different:

- Volumes are mounted at the same path in pods and here. So a pod works in the run's folder as any other host would do,
  with the pipeline of its container image; nothing is copied to it, and it installs nothing.
- Jobs and pods are watched by two requests for all of them. Requests that fail are made again, credentials are read again,
  pods that are evicted, deleted or replaced are survived: with the plugin, each of them ends the run or makes it hang.
- Why a pod does not start, or has failed, is told in the user's words.
- All that a run has made in the cluster is removed when it ends, or by the next start (:mod:`wkflow.kubernetes.ending`).
"""

from __future__ import annotations

import os
import shlex
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from kubernetes.client import V1ObjectMeta, V1Secret
from kubernetes.client.exceptions import ApiException
from snakemake_executor_plugin_kubernetes import Executor as PluginExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from wkflow.errors import WkflowError
from wkflow.kubernetes.checks import check, claim_uid
from wkflow.kubernetes.client import connect
from wkflow.kubernetes.ended import is_wrong_image, why_ended, why_refused
from wkflow.kubernetes.ending import Start, end, forget_start, note_start
from wkflow.kubernetes.environment import of_jobs, secrets
from wkflow.kubernetes.image import in_image, versions
from wkflow.kubernetes.manifest import LABELS, RUN_LABEL, Addition, complete, parse_pod
from wkflow.kubernetes.resources import Granted, Volume
from wkflow.kubernetes.submission import CompletedJobs, RefusedError
from wkflow.kubernetes.waiting import Waiting
from wkflow.kubernetes.watch import CONTAINER, Seen, look
from wkflow.notices import leave_notice
from wkflow.resources import Asked
from wkflow.run import Run
from wkflow.submitted import Begun, Pace, Runs, Submitted, give_up

SILENCE_MINUTES = 60.0
"""How long a cluster may not answer before the run ends."""

_REPEAT_SECONDS = 600.0
_LOOKS_BEFORE_GONE = 2
_ENDING_SECONDS = 15.0  # those that do not end by then are on lost nodes
_LOG_LINES = 400


def use(workflow: Any, run: Run, asked: Asked) -> None:
    """Let the executor know that the jobs of ``run`` are ours, after everything is checked that can be checked. For Snakemake's
    main process, before its executor is made. Raises :class:`WkflowError`."""
    if run.dir.markers in Executor.runs:  # Snakemake asks more than once
        return
    settings = workflow.executor_settings
    volumes = [Volume(volume.name, PurePosixPath(volume.path)) for volume in settings.persistent_volumes]
    parse_pod(settings.pod)
    check(run, volumes, settings.namespace, Path(workflow.main_snakefile))
    Executor.runs.add(run)
    Executor.asked[run.dir.markers] = asked


class Executor(PluginExecutor):  # type: ignore[misc] # the plugin has no types
    """``runs``: those of this Snakemake; jobs of other rules run in the same way. ``asked``: what their users want."""

    runs: ClassVar[Runs] = Runs()
    asked: ClassVar[dict[Path, Asked]] = {}

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the thread begins that looks after jobs.
        self._pace = Pace()
        self._looks_in_vain: Counter[str] = Counter()
        self._told: dict[str, float] = {}
        self._heard = time.monotonic()
        self._is_any_taken = False
        self._begun = Begun()
        self._submitting: Any = None
        super().__init__(workflow, logger)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = self.workflow.executor_settings
        self._label, self._versions = uuid.uuid4().hex, versions()
        self._api, self._prompt_api = connect(), connect(patience=0)
        self.namespace = settings.namespace or self._api.namespace
        self._waiting = Waiting(self._prompt_api, self.namespace)
        self._pod = parse_pod(settings.pod)
        self.kubeapi = self._api.core
        self.batchapi = CompletedJobs(self._api.core.api_client, self._completed)
        claims = {
            volume.name: claim_uid(self._api, self.namespace, volume.name) or "" for volume in self.persistent_volumes
        }
        for run in self.runs.values():
            note_start(run.dir, Start(self._label, self.namespace, claims))
        self._make_secret()

    # What the plugin asks of its subclass and itself, in its own words.

    def register_secret(self) -> None:
        """Called by the plugin before the clients are ours: see ``_make_secret``."""

    def unregister_secret(self) -> None:
        """Called by the plugin at the end of everything."""
        self._remove_all()

    def cancel_jobs(self, active_jobs: list[Any]) -> None:
        del active_jobs  # the label finds them, also those whose submission was under way
        self._remove_all()

    def _kubernetes_retry(self, func: Callable[[], Any]) -> Any:
        """The clients do that themselves."""
        return func()

    @property
    def tmpdir(self) -> str:
        """Relative, since it gets into a shell's line between double quotes, and pods work in the same folder."""
        return os.path.relpath(super().tmpdir)

    @property
    def next_seconds_between_status_checks(self) -> float:
        return self._pace.seconds

    def get_job_exec_prefix(self, job: Any) -> str:
        del job
        return f"cd {shlex.quote(str(Path.cwd()))}"

    def get_python_executable(self) -> str:
        """Python of the image, with our program before the module that is called: it looks whether the image is the right one.
        In place of the shell, so that signals reach it."""
        return f"exec python -m wkflow.cli.pod {shlex.quote(self._versions)}"

    def get_snakefile(self) -> str:
        return in_image(str(self.snakefile))

    def run_job(self, job: Any) -> None:
        self._submitting = job
        if ours := self.runs.find(job):
            ours.forget_attempt()
        try:
            super().run_job(job)
        except RefusedError as error:
            self._refuse(job, why_refused(self._what(job), error.status, error.said))
        except OSError as error:  # of the run directory; nobody else would notice that the job was not submitted
            self._refuse(job, str(error))

    def report_job_submission(self, job_info: Any, register_job: bool = True) -> None:
        self._is_any_taken = True
        self._pace.restart()
        super().report_job_submission(job_info, register_job=register_job)

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        self._pace.jobs = len(active_jobs)
        found = self._look() if active_jobs else {}
        for info in active_jobs:
            seen = found.get(info.external_jobid) if found is not None else None
            if found is None or self._is_at_work(info, seen):
                yield info
            elif self._has_done(info, seen):
                self._pace.restart()
                self.report_job_success(info)
                self._remove(info)
            else:
                self._fail(info, seen)

    # Submitting

    def _completed(self, body: Any) -> dict[str, Any]:
        """The Job of the plugin, with what it leaves out."""
        job = self._submitting
        content: dict[str, Any] = self._api.core.api_client.sanitize_for_serialization(body)
        ours = self.runs.find(job)
        complete(content, self._addition(ours, job) if ours else Addition(self._label, self._pod))
        return content

    def _addition(self, ours: Submitted, job: Any) -> Addition:
        asked = self.asked[ours.run.dir.markers]
        is_as_asked = asked.memory_mb is not None and job.attempt == 1
        return Addition(
            self._label,
            self._pod,
            of_jobs(ours.run),
            None if is_as_asked else f"{job.resources.mem_mb}Mi",  # MB of users are 10^6 bytes, our estimates are MiB
            job.resources.runtime * 60 if asked.runtime_minutes else None,
            str(ours),
        )

    def _make_secret(self) -> None:
        """What jobs need of the environment and others must not see; nothing if there is nothing."""
        values = {
            **self.envvars(),
            **(secrets(os.environ) if any(run.plan.remote for run in self.runs.values()) else {}),
        }
        if not values:
            return
        self.secret_envvars = {name: name for name in values}
        labels = {**LABELS, RUN_LABEL: self._label}
        secret = V1Secret(
            metadata=V1ObjectMeta(name=self.run_namespace, labels=labels), type="Opaque", string_data=values
        )
        try:
            self.kubeapi.create_namespaced_secret(self.namespace, secret)
        except ApiException as error:
            raise WorkflowError(why_refused("the Secret of the run", error.status, str(error.body))) from None

    def _refuse(self, job: Any, text: str) -> None:
        """A job could not be submitted."""
        if ours := self.runs.find(job):
            ours.note_failure(text, ours.run.dir.log("snakemake"))
        if not self._is_any_taken:  # the others will be refused, too
            self.workflow.scheduler.executor_error_callback(WorkflowError(text))
        self.report_job_error(SubmittedJobInfo(job), msg=text)

    # Watching

    def _look(self) -> dict[str, Seen] | None:
        """The Jobs by their names; None if the cluster does not answer."""
        try:
            found = look(self._prompt_api, self.namespace, self._label)
        except ApiException as error:
            self._is_silent(error)
            return None
        self._heard = time.monotonic()
        return found

    def _is_silent(self, error: ApiException) -> None:
        """Say so; end the run if that lasts too long."""
        said = (
            "does not accept the credentials (log in anew)"
            if error.status == 401
            else f"does not answer: {error.reason}"
        )
        self._tell(f"the Kubernetes cluster {said}; jobs go on, and it is asked again", key=str(error.status))
        minutes = (time.monotonic() - self._heard) / 60
        if minutes > SILENCE_MINUTES:
            text = f"The Kubernetes cluster has not answered for {minutes:.0f} minutes: {error.reason}"
            self.workflow.scheduler.executor_error_callback(WorkflowError(text))

    def _is_at_work(self, info: Any, seen: Seen | None) -> bool:
        name = info.external_jobid
        if seen is None:  # it was deleted, or was not there when the list was made
            self._looks_in_vain[name] += 1
            return self._looks_in_vain[name] < _LOOKS_BEFORE_GONE
        if seen.is_done or seen.is_failed:
            return False
        is_waiting = seen.pod is None or seen.pod.phase == "Pending"
        self._begun.look(name, self.runs.find(info.job), is_waiting=is_waiting)
        if not is_waiting:
            self._waiting.has_started(name)
            return True
        return self._may_start(info, seen)

    def _may_start(self, info: Any, seen: Seen) -> bool:
        """False if its pod never will; if that takes long, it is told why."""
        if self._waiting.is_in_vain(info.external_jobid, seen.pod):
            give_up(info.job)
            return False
        if text := self._waiting.why(info.external_jobid, seen.pod):
            self._tell(f"{self._what(info.job)} waits: {text}", key=text)
        return True

    def _has_done(self, info: Any, seen: Seen | None) -> bool:
        """What somebody has deleted is judged by what it has left."""
        return seen.is_done if seen else all(Path(str(output)).exists() for output in info.job.output)

    def _fail(self, info: Any, seen: Seen | None) -> None:
        self._pace.restart()
        job, pod = info.job, seen.pod if seen else None
        ours = self.runs.find(job)
        log = ours.run.dir.log(f"{ours.id}.pod") if ours else Path(self.log_path) / f"{info.external_jobid}.log"
        said = self._save_log(pod.name, log) if pod else ""
        given = Granted(job.resources.get("mem_mb") or 0, job.resources.get("runtime") or 0)
        text = why_ended(self._what(job), info.external_jobid, pod, said, given)
        if is_wrong_image(said):
            give_up(job)
        if ours:
            ours.settle(job, text, log)
        self.report_job_error(info, msg=f"{text}\n", aux_logs=[str(log)] if said else [])
        self._remove(info)

    def _what(self, job: Any) -> str:
        ours = self.runs.find(job)
        return str(ours) if ours else f"a job of rule {job.name}"

    def _save_log(self, pod: str, path: Path) -> str:
        try:
            said = self._prompt_api.core.read_namespaced_pod_log(
                pod, self.namespace, container=CONTAINER, tail_lines=_LOG_LINES
            )
            path.write_text(said)
        except (ApiException, OSError):
            return ""
        return str(said)

    def _tell(self, text: str, key: str) -> None:
        """To the user; the same thing again after a while only."""
        now = time.monotonic()
        if now - self._told.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return
        self._told[key] = now
        self.logger.warning(text)
        for run in self.runs.values():
            leave_notice(run.dir, text)

    # Ending

    def _remove(self, info: Any) -> None:
        """A Job that is over. What cannot be removed now is removed at the end."""
        if not self.workflow.executor_settings.omit_job_cleanup:
            with suppress(ApiException):
                self._prompt_api.batch.delete_namespaced_job(
                    info.external_jobid, self.namespace, propagation_policy="Background"
                )

    def _remove_all(self) -> None:
        keep = self.workflow.executor_settings.omit_job_cleanup
        try:
            end(self._api, self._label, self.namespace, _ENDING_SECONDS, keep_finished=keep)
            for run in self.runs.values():
                forget_start(run.dir, self._label)
        except (ApiException, WkflowError) as error:
            self._tell(
                f"what the run has in the cluster could not all be removed ({' '.join(str(error).split())}); the next start "
                f"does it, or kubectl delete jobs,pods,secrets -n {self.namespace} -l {RUN_LABEL}={self._label}",
                key="end",
            )
