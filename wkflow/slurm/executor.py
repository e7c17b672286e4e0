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
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from snakemake_executor_plugin_slurm import Executor as PluginExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from wkflow.failure import described
from wkflow.files import read_json, write_json
from wkflow.run import Run
from wkflow.slurm.ended import Granted, why_ended, why_refused
from wkflow.slurm.queue import Queued, job_name, note_jobs, parse_queue, query

SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 15.0
"""Between two queries."""

_JOBS_PER_SECOND = 25  # in flight, for which a second more passes
_LOOKS_BEFORE_GONE = 4
_LOG_BYTES = 20_000
_QUERY_SECONDS = 60


def use(workflow: Any, run: Run) -> None:
    """Let this executor run the jobs of ``run``. For Snakemake's main process, before its executor is made."""
    workflow.executor_plugin.executor = Executor
    Executor.runs[run.dir.markers] = run


class Executor(PluginExecutor):  # type: ignore[misc] # the plugin has no types
    """``runs``: those of this Snakemake, by the folder of their markers; jobs of other rules are the plugin's."""

    runs: ClassVar[dict[Path, Run]] = {}

    def __init__(self, workflow: Any, logger: Any) -> None:
        # Before the thread begins that asks: it would end without a word, and the run would wait for ever.
        self._thread = threading.local()
        self._names: set[str] = set()
        self._looks_in_vain: Counter[str] = Counter()
        self._changed = time.monotonic()
        self._watched = 0
        self._is_any_taken = False
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
            if ours := self._ours(job):
                run, job_id = ours
                note_jobs(run.dir, run.plan, _clusters(job))
                run.dir.error(job_id).unlink(missing_ok=True)  # of an earlier attempt
                self._thread.name = job_name(run.plan, run.plan.job_of(job_id))
                self._names.add(self._thread.name)
            super().run_job(job)
        except OSError as error:  # of the run directory; nobody else would notice that the job was not submitted
            self._report_job_error_threadsafe(SubmittedJobInfo(job), str(error))
        finally:
            self._thread.name = None

    def report_job_submission(self, job_info: Any, register_job: bool = True) -> None:
        self._is_any_taken = True
        self._changed = time.monotonic()
        super().report_job_submission(job_info, register_job=register_job)

    def report_job_error(self, job_info: Any, msg: str | None = None, **aux: Any) -> None:
        """Also called by the plugin, when it could not submit a job."""
        ours = self._ours(job_info.job)
        if ours and job_info.external_jobid is None:
            run, job_id = ours
            refusal = why_refused(described(run.dir, job_id), msg or "")
            _note(run, job_id, refusal, run.dir.log("snakemake"))
            if not self._is_any_taken:  # the others will be refused, too
                self.workflow.scheduler.executor_error_callback(WorkflowError(refusal))
        super().report_job_error(job_info, msg=msg, **aux)

    @property
    def tmpdir(self) -> str:
        """Relative, since it gets into a shell's line between double quotes, and jobs run in the same folder."""
        return os.path.relpath(super().tmpdir)

    @property
    def next_seconds_between_status_checks(self) -> float:
        """Longer the longer nothing has happened, and the more jobs there are: then something always happens."""
        quiet = time.monotonic() - self._changed
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS + self._watched / _JOBS_PER_SECOND, quiet / 4))

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        self._watched = len(active_jobs)
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
        is_queued_again = job.state in ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
        return not job.is_over or (self.workflow.executor_settings.requeue and is_queued_again)

    def _is_gone(self, info: Any) -> bool:
        """Slurm forgets a job some minutes after its end. One that was submitted just now may not be listed yet."""
        self._looks_in_vain[info.external_jobid] += 1
        return self._looks_in_vain[info.external_jobid] >= _LOOKS_BEFORE_GONE

    def _end(self, info: Any) -> None:
        """Snakemake itself looks whether the job has left what it should."""
        self._changed = time.monotonic()
        if not self.workflow.executor_settings.keep_successful_logs:
            info.aux["slurm_logfile"].unlink(missing_ok=True)
        self.report_job_success(info)

    def _fail(self, info: Any, job: Queued) -> None:
        self._changed = time.monotonic()
        log = info.aux["slurm_logfile"]
        if job.state in ("NODE_FAIL", "BOOT_FAIL") and job.node:
            self._failed_nodes.add(job.node)
        resources = info.job.resources
        given = Granted(resources.get("mem_mb") or 0, resources.get("runtime") or 0)
        ours = self._ours(info.job)
        what = described(ours[0].dir, ours[1]) if ours else f"a job of rule {info.job.name}"
        text = why_ended(what, job, _end_of(log), given)
        if ours:
            run, job_id = ours
            note = read_json(run.dir.error(job_id))  # what the job itself has said
            if note is None:
                _note(run, job_id, text, log)
            elif note.get("permanent"):
                info.job.attempt = info.job.restart_times + 1  # so that it is not tried again
        self.report_job_error(info, msg=f"{text}\n", aux_logs=[str(log)])

    def _ours(self, job: Any) -> tuple[Run, str] | None:
        """The run and the id of a region job of ours."""
        if job.is_group() or len(job.output) != 1:
            return None
        marker = Path(str(job.output[0])).absolute()
        run = self.runs.get(marker.parent)
        if run is None or set(job.wildcards_dict) != {"layer", "step", "region"}:
            return None
        return run, marker.name.removesuffix(".json")


def _clusters(job: Any) -> str:
    """Those that the plugin submits the job to; "" stands for the default one."""
    return str(
        job.resources.get("cluster") or job.resources.get("clusters") or job.resources.get("slurm_cluster") or ""
    )


def _note(run: Run, job_id: str, text: str, log: Path) -> None:
    with suppress(OSError):  # there may be no room for it
        write_json(run.dir.error(job_id), {"error": text, "log": str(log)})


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
