"""What the rules ask: paths and resources of a run. The only place where the library meets Snakemake's objects.

Rules see ids only. Paths are absolute, or relative if Snakemake runs inside of the run directory: so the command line
can take folders whose names hold braces, which Snakemake would take for wildcards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wkflow.config import Config
from wkflow.errors import UsageError, WkflowError
from wkflow.failure import explain
from wkflow.geometry import Mag
from wkflow.layer_plan import Job
from wkflow.lock import is_held
from wkflow.plan import Plan
from wkflow.remote.credentials import SHARING_TOKEN, TOKEN
from wkflow.report.places import report_places
from wkflow.resources import JobResources, Machine, cluster_resources, job_resources, machine_memory_mb
from wkflow.run import Run, continued_run, current_run
from wkflow.rundir import RunDir
from wkflow.start import begin_pace, take

JOB_CONNECTIONS = 4

_NO_RUN = Run(Plan(version=0, run="none", fingerprint="", dataset="", layers=()), RunDir(Path(".wkflow")), (), False)


@dataclass(frozen=True)
class Rules:
    """A parsed run. ``machine``: where jobs run, if that is here."""

    config: Config
    run: Run
    home: Path
    workflow: Any
    machine: Machine | None
    python: str

    @classmethod
    def of(cls, values: Mapping[str, Any], home: Path, workflow: Any) -> Rules:
        """Read the options and find the run. Ends with Snakemake's own error type, which it shows without a traceback."""
        from snakemake.exceptions import WorkflowError

        try:
            config = Config.of(values)
            python = _python(workflow)
            if not config.target and "--lint" in sys.argv:  # which needs no more than the rules
                return cls(config, _NO_RUN, home, workflow, None, python)
            run = current_run(config) if workflow.is_main_process else continued_run(config)
            rules = cls(config, run, home, workflow, _machine(workflow, run.plan), python)
            rules._check_braces()
            if run.plan.remote and "connections" not in workflow.global_resources:
                workflow.global_resources["connections"] = config.max_connections
        except WkflowError as error:
            raise WorkflowError(str(error)) from None
        return rules

    @property
    def plan(self) -> Plan:
        return self.run.plan

    @property
    def dir(self) -> RunDir:
        return self.run.dir

    @property
    def scripts(self) -> str:
        return str(self.home / "scripts")

    @property
    def config_json(self) -> str:
        """The options that differ from the defaults, with an absolute target."""
        values: dict[str, Any] = {"target": str(self.config.target_path)} if not self.config.is_remote else {}
        if self.config.is_remote:
            values = {"run_dir": self.plan.dataset}
        return self.config.model_copy(update=values).model_dump_json(exclude_defaults=True)

    @property
    def run_dir(self) -> str:
        return str(self.dir.path)

    @property
    def verify(self) -> str:
        return self.config.verify

    @property
    def receipt(self) -> str | None:
        return self.config.receipt

    @property
    def reports(self) -> list[str]:
        return [str(place) for place in report_places(self.config)]

    @property
    def plan_file(self) -> str:
        return self._path(self.dir.plan)

    def marker(self, job_id: str) -> str:
        return self._path(self.dir.marker(job_id))

    def log(self, name: str) -> str:
        return self._path(self.dir.log(name))

    def benchmark(self, job_id: str) -> str:
        return self._path(self.dir.benchmark(job_id))

    def everything(self) -> list[str]:
        """The files that a finished run has."""
        self._take()
        return [*self.reports, *([self.receipt] if self.receipt else self.published())]

    def published(self) -> list[str]:
        self._take()
        return [self._path(self.dir.published(layer.id)) for layer in self.plan.layers]

    def jobs_of(self, wildcards: Any) -> list[str]:
        """Markers of all jobs of a layer."""
        self._take()
        return [self.marker(job.id) for job in self.plan.layer(wildcards.layer).jobs()]

    def needed_to_publish(self, wildcards: Any) -> list[str]:
        """Markers of all jobs of a layer; for a server, of the mags that it has got."""
        if not self.plan.remote:
            return self.jobs_of(wildcards)
        self._take()
        layer = self.plan.layer(wildcards.layer)
        return [self._path(self.dir.transferred(layer.id, target.mag)) for target in layer.targets]

    def needed_to_transfer(self, wildcards: Any) -> list[str]:
        """Markers of the jobs that make the mag, and of the finer one's transfer. A mag that is moved away must have been read."""
        layer, mag = self.plan.layer(wildcards.layer), Mag.parse(wildcards.mag)
        jobs = [job for job in layer.jobs() if mag in job.step.targets]
        if self.config.transfer.leaves_staging:
            jobs += [job for job in layer.jobs() if mag == job.step.source]
        finer = [target.mag for target in layer.targets[: layer.targets.index(layer.target(mag))]]
        return [self.marker(job.id) for job in jobs] + [
            self._path(self.dir.transferred(layer.id, other)) for other in finer[-1:]
        ]

    @property
    def transfer_options(self) -> str:
        config = self.config
        pending = " --overwrite-pending" if config.overwrite_pending else ""
        return f"--mode {config.transfer} --access {config.access} --connections {self.connections}{pending}"

    @property
    def connections(self) -> int:
        """The most requests of one job to a server."""
        return min(JOB_CONNECTIONS, self.config.max_connections)

    def connections_of(self, wildcards: Any) -> int:
        """Those that a job needs: none if it reads what an earlier one has made."""
        job = self._job(wildcards)
        source = job.layer.source(job.step.source)
        return self.connections if source and source.is_remote else 0

    def needed_by(self, wildcards: Any) -> list[str]:
        """Markers of the jobs whose shards a job reads."""
        return [self.marker(job_id) for job_id in self.plan.needed_by(self._job(wildcards))]

    def resources(self, wildcards: Any, attempt: int = 1) -> JobResources:
        job, most_threads = self._job(wildcards), self.config.threads_per_job
        if self.machine:
            return job_resources(job, most_threads, self.machine)
        return cluster_resources(job, most_threads, self.config.asked, attempt)

    def _use_executor(self) -> None:
        """Watch jobs on clusters in our own way. Raises :class:`UsageError` for what would write a token into their logs."""
        plugin = self.workflow.executor_plugin
        if not plugin.common_settings.non_local_exec:
            return
        if self.workflow.output_settings.verbose and {TOKEN, SHARING_TOKEN} & os.environ.keys():
            raise UsageError(
                "Snakemake's own --verbose writes the environment of each job into its log, with the token in it",
                where=f"environment variables {TOKEN}, {SHARING_TOKEN}",
                hint="leave --verbose out, also in your profile",
            )
        if plugin.name == "slurm":
            if "%" in str(Path.cwd()):
                raise UsageError(
                    "Slurm takes % in the paths of logs for variables",
                    where=Path.cwd(),
                    hint="choose another folder: --run-dir",
                )
            from wkflow.slurm import executor as slurm

            slurm.use(self.workflow, self.run)
        elif plugin.name == "wkflow-kubernetes":
            from wkflow.kubernetes import executor as kubernetes

            kubernetes.use(self.workflow, self.run, self.config.asked)
        elif plugin.name == "kubernetes":
            raise UsageError(
                "this executor copies files, but jobs of wkflow work on the volume that the dataset is on",
                where="--executor kubernetes",
                hint="use the executor wkflow-kubernetes, as profiles/kubernetes does",
            )

    def _take(self) -> None:
        """Take the dataset before the first job, in the process that the run belongs to.

        This is called when Snakemake collects the jobs, before it looks for their files. Dry runs do that, too.
        `onstart` would be the place, but it is not called in a module.
        """
        from snakemake.exceptions import WorkflowError

        starts = self.workflow.executor_plugin and not self.workflow.dryrun and self.workflow.is_main_process
        try:
            if starts:
                self._use_executor()
            if starts and not is_held(Path(self.plan.dataset)):
                take(self.run, self.config)
                if not self.run.is_done:
                    begin_pace(self.run)
        except (WkflowError, OSError) as error:
            raise WorkflowError(explain(error).text) from None

    def _job(self, wildcards: Any) -> Job:
        return self.plan.job(wildcards.layer, wildcards.step, wildcards.region)

    def _path(self, path: Path) -> str:
        inside = Path.cwd() == self.dir.path
        return str(path.relative_to(self.dir.path) if inside else path)

    def _check_braces(self) -> None:
        for path in (self.plan_file, self.receipt or "", *self.reports):
            if "{" in path or "}" in path:
                raise UsageError(
                    "Snakemake takes braces in paths for wildcards",
                    where=path,
                    hint="start it with `wkflow downsample`, or choose another folder with the config key run_dir",
                )


def _machine(workflow: Any, plan: Plan) -> Machine | None:
    """Bound all local jobs together by the machine's memory, unless the user has set a bound. None on a cluster, also in the
    Snakemake that runs there for one job, so that it comes to the same resources as the one that has asked for them."""
    if workflow.resource_settings.nodes is not None or not workflow.is_main_process:
        return None
    bounds = workflow.global_resources
    if "mem_mb" not in bounds:
        bounds["mem_mb"] = machine_memory_mb()
    return Machine(workflow.cores or 1, int(bounds["mem_mb"].value), plan.jobs_at_once)


def _python(workflow: Any) -> str:
    """The interpreter that runs Snakemake; with conda or containers, the one in there."""
    return "python" if workflow.deployment_settings.deployment_method else sys.executable
