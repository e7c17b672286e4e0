"""The executor of snakemake-executor-plugin-slurm, with another way to watch the jobs of our runs.

It is put in the place of the plugin's own one when the rules are read, so that it does not matter who has started
Snakemake. What is different:

- Jobs are named after dataset, layer and mag (:mod:`wkflow.slurm.queue`).
- The queue is asked often as long as things happen, and never more seldom than every 15 seconds.
- It is asked with ``squeue`` only. A query that fails is made again, a preempted job is given up (Slurm may have cancelled it),
  and a job that Slurm has forgotten is judged by what it has left: with the plugin each of them makes a run hang for ever.
- Why a job has failed is noted in the run directory, where the command line finds it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

from snakemake_executor_plugin_slurm import Executor as PluginExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from wkflow.run import Run
from wkflow.slurm.ended import Granted, why_ended, why_refused
from wkflow.slurm.queue import Queued, job_name, note_jobs, parse_queue, query
from wkflow.submitted import Begun, Pace, Runs

_LOOKS_BEFORE_GONE = 4
_LOG_BYTES = 20_000
_QUERY_SECONDS = 60


def use(workflow: Any, run: Run) -> None:
    """Let this executor run the jobs of ``run``. For Snakemake's main process, before its executor is made."""
    workflow.executor_plugin.executor = Executor
    Executor.runs.add(run)


class Executor(PluginExecutor):  # type: ignore[misc] # the plugin has no types
    """``runs``: those of this Snakemake, by the folder of their markers; jobs of other rules are the plugin's."""

    runs: ClassVar[Runs] = Runs()

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the thread begins that asks: it would end without a word, and the run would wait for ever.
        self._thread = threading.local()
        self._names: set[str] = set()
        self._looks_in_vain: Counter[str] = Counter()
        self._pace = Pace()
        self._is_any_taken = False
        self._begun = Begun()
        super().__init__(workflow, logger)

    @property
    def run_uuid(self) -> str:
        """What the plugin takes as the name of the job that this thread submits."""
        return getattr(self._thread, "name", None) or self._run_uuid

    @run_uuid.setter
    def run_uuid(self, name: str) -> None:
        self._run_uuid = name
        self._names.add(name)

    def run_job(self, job: Any) -> None:
        try:
            if ours := self.runs.find(job):
                note_jobs(ours.run.dir, ours.run.plan, _clusters(job))
                ours.forget_attempt()
                self._thread.name = job_name(ours.run.plan, ours.job)
                self._names.add(self._thread.name)
            super().run_job(job)
        except OSError as error:  # of the run directory; nobody else would notice that the job was not submitted
            self._report_job_error_threadsafe(SubmittedJobInfo(job), str(error))
        finally:
            self._thread.name = None

    def report_job_submission(self, job_info: Any, register_job: bool = True) -> None:
        self._is_any_taken = True
        self._pace.restart()
        super().report_job_submission(job_info, register_job=register_job)

    def report_job_error(self, job_info: Any, msg: str | None = None, **aux: Any) -> None:
        """Also called by the plugin, when it could not submit a job."""
        ours = self.runs.find(job_info.job)
        if ours and job_info.external_jobid is None:
            refusal = why_refused(str(ours), msg or "")
            ours.note_failure(refusal, ours.run.dir.log("snakemake"))
            if not self._is_any_taken:  # the others will be refused, too
                self.workflow.scheduler.executor_error_callback(WorkflowError(refusal))
        super().report_job_error(job_info, msg=msg, **aux)

    @property
    def tmpdir(self) -> str:
        """Relative, since it gets into a shell's line between double quotes, and jobs run in the same folder."""
        return os.path.relpath(super().tmpdir)

    @property
    def next_seconds_between_status_checks(self) -> float:
        return self._pace.seconds

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        self._pace.jobs = len(active_jobs)
        found = await self._queue() if active_jobs else {}
        for info in active_jobs:
            job = found.get(info.external_jobid) if found is not None else None
            if found is None or self._is_at_work(info, job):
                yield info
            elif job is None or job.state == "COMPLETED":
                self._end(info)
            else:
                self._fail(info, job)

    async def _queue(self) -> dict[str, Queued] | None:
        """The jobs by their ids; None if Slurm does not answer."""
        command = query(sorted(self._names), self._submitted_job_clusters)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            self.logger.warning(f"squeue cannot be started: {error}")
            return None
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout=_QUERY_SECONDS)
        except TimeoutError:
            process.kill()
            self.logger.warning("squeue does not answer")
            return None
        if process.returncode:
            self.logger.warning(f"squeue has failed: {err.decode(errors='replace').strip()}")
            return None
        return {job.id: job for job in parse_queue(out.decode(errors="replace"))}

    def _is_at_work(self, info: Any, job: Queued | None) -> bool:
        """Also what Slurm is going to start again by itself, if the user wants that. ``job``: None if it is not listed."""
        if job is None:
            return not self._is_gone(info)
        if job.state in ("PENDING", "RUNNING"):
            self._begun.look(job.id, self.runs.find(info.job), is_waiting=job.state == "PENDING")
        is_queued_again = job.state in ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
        return not job.is_over or (self.workflow.executor_settings.requeue and is_queued_again)

    def _is_gone(self, info: Any) -> bool:
        """Slurm forgets a job some minutes after its end. One that was submitted just now may not be listed yet."""
        self._looks_in_vain[info.external_jobid] += 1
        return self._looks_in_vain[info.external_jobid] >= _LOOKS_BEFORE_GONE

    def _end(self, info: Any) -> None:
        """Snakemake itself looks whether the job has left what it should."""
        self._pace.restart()
        if not self.workflow.executor_settings.keep_successful_logs:
            info.aux["slurm_logfile"].unlink(missing_ok=True)
        self.report_job_success(info)

    def _fail(self, info: Any, job: Queued) -> None:
        self._pace.restart()
        log = info.aux["slurm_logfile"]
        if job.state in ("NODE_FAIL", "BOOT_FAIL") and job.node:
            self._failed_nodes.add(job.node)
        resources = info.job.resources
        given = Granted(resources.get("mem_mb") or 0, resources.get("runtime") or 0)
        ours = self.runs.find(info.job)
        what = str(ours) if ours else f"a job of rule {info.job.name}"
        text = why_ended(what, job, _end_of(log), given)
        if ours:
            ours.settle(info.job, text, log)
        self.report_job_error(info, msg=f"{text}\n", aux_logs=[str(log)])


def _clusters(job: Any) -> str:
    """Those that the plugin submits the job to; "" stands for the default one."""
    return str(
        job.resources.get("cluster") or job.resources.get("clusters") or job.resources.get("slurm_cluster") or ""
    )


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
