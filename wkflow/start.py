"""What happens once when a run really starts, before its first job, in the process that the run belongs to."""

from __future__ import annotations

from pathlib import Path

from wkflow.commit import take_back
from wkflow.config import Config
from wkflow.errors import ConflictError, VerificationError
from wkflow.job import forget_dependents
from wkflow.kubernetes import ending
from wkflow.layer_plan import Job, LayerPlan
from wkflow.lock import hold
from wkflow.marker import read_marker
from wkflow.pace import Pace
from wkflow.places import check_no_links
from wkflow.progress import Watch
from wkflow.run import Run, dataset_state
from wkflow.rundir import RunDir, hidden_dir
from wkflow.slurm import queue
from wkflow.snapshot import check_unchanged
from wkflow.space import check_space
from wkflow.target import open_target
from wkflow.verify import check_sizes


def take(run: Run, config: Config) -> None:
    """Take the dataset for this run, and look at what an earlier start of it has left.

    Raises ``HeldError`` if another process works on the dataset, ``ConflictError`` if the dataset or a source that was
    read already has changed, ``SpaceError`` if there is too little room.
    """
    if not run.plan.layers or run.is_done:
        return
    root = Path(run.plan.dataset)
    if not config.ignore_space:
        check_space(run.plan, run.dir)
    if run.plan.remote:
        root.mkdir(parents=True, exist_ok=True)
    hold(root)
    end_jobs(run.dir)
    if dataset_state(open_target(config).dataset) != run.state:
        raise ConflictError(
            "another run or program has changed the dataset just now", where=root, hint="run the command again"
        )
    if run.stored:
        for layer in run.plan.layers if not run.plan.remote else ():  # mags that a server has may be links to there
            check_no_links(run.plan.staging(layer))
        for layer in run.plan.layers:
            if not run.dir.published(layer.id).is_file():
                _look_through(run, layer)
    _remove_temporary(run)


def begin_pace(run: Run) -> Pace:
    """Note what is done already, so that it can be told how long the rest takes."""
    for job in run.plan.jobs() if run.stored else ():
        if not run.dir.marker(job.id).is_file():  # or it would seem to be at work
            run.dir.progress(job.id).unlink(missing_ok=True)
    watch = Watch(run.plan, run.dir)
    watch.look()
    return Pace.begin(run.dir, watch.work()[0])


def end_jobs(run_dir: RunDir, patience: float | None = None) -> list[str]:
    """End what earlier starts of the run have left in the queues of clusters, and say so. Raises ``HeldError`` if it does not
    end within ``patience`` seconds, or if that cannot be found out."""
    in_slurm = queue.end_jobs(run_dir, patience or queue.ENDING_SECONDS)
    in_kubernetes = ending.end_jobs(run_dir, patience or ending.ENDING_SECONDS)
    said = [f"cancelled {in_slurm} job(s) in Slurm's queue"] if in_slurm else []
    return said + ([f"removed {in_kubernetes} Job(s) and pod(s) from the Kubernetes cluster"] if in_kubernetes else [])


def _remove_temporary(run: Run) -> None:
    """Files that were being written when an earlier start was cut off. Nobody writes them any more: we hold the lock."""
    if not run.stored and run.dir.path.parent != hidden_dir(Path(run.plan.dataset)):
        return  # a folder of the user's, in which nothing is ours yet
    for folder in (
        hidden_dir(Path(run.plan.dataset)),
        run.dir.path,
        run.dir.markers,
        run.dir.path / "progress",
        run.dir.errors,
    ):
        for path in folder.glob(".*.tmp"):
            path.unlink(missing_ok=True)


def _look_through(run: Run, layer: LayerPlan) -> None:
    """What has been done for a layer, and is still there."""
    for job in layer.jobs():
        _look_at(run, job)
    if not all(run.dir.marker(job.id).is_file() for job in layer.jobs()):
        take_back(run.plan, layer, run.dir)


def _look_at(run: Run, job: Job) -> None:
    """A job whose shards are not there any more has to be done again: its marker goes."""
    path = run.dir.marker(job.id)
    if not path.exists():
        return
    try:
        marker = read_marker(path, run.plan)
        check_unchanged(job, marker.source)
        for mag, files in marker.files.items():
            if run.dir.transfer(job.layer.id, mag).is_file() and not run.plan.staged(job.layer, mag).exists():
                continue  # it was being moved away: its transfer will find it
            directory = run.plan.present(job.layer, mag)
            check_sizes((directory / file.path, file.size) for file in files)
    except VerificationError:
        path.unlink()
        forget_dependents(run.plan, job, run.dir)
