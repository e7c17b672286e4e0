"""Make finished mags part of the dataset, layer by layer: verify what is staged, commit it (:mod:`wkflow.commit`), remove what
is not needed any more. Each step can be repeated after a kill between any two of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from wkflow.arrays.create import remove_unfinished
from wkflow.commit import commit, missing_mags, take_back
from wkflow.dataset.properties import read_dataset
from wkflow.errors import VerificationError
from wkflow.failpoint import step
from wkflow.files import read_json, write_json
from wkflow.geometry import Mag
from wkflow.guard import guarded
from wkflow.job import do_job
from wkflow.layer_plan import LayerPlan
from wkflow.levels import Level
from wkflow.lock import check_held
from wkflow.marker import read_marker, stored_files
from wkflow.plan import Plan
from wkflow.rundir import RunDir, hidden_dir
from wkflow.snapshot import check_unchanged
from wkflow.verify import check_nothing_else, check_sizes, damaged_files


def publish(run_dir: RunDir, layer_id: str, level: Level = Level.SAMPLE) -> None:
    """Verify and publish the new mags of a layer, then write its marker.

    Raises ``VerificationError`` if the staged mags are not what the jobs wrote, ``ConflictError`` if the dataset has
    changed meanwhile such that they do not fit. Nothing has been published then.
    """
    plan = Plan.load(run_dir.plan)
    layer = plan.layer(layer_id)
    root = Path(plan.dataset)
    check_held(root)
    step("publish.begun")
    if plan.remote:  # each mag was handed over by itself
        _remove_staging(plan, layer)
        write_json(run_dir.published(layer.id), _record(plan, layer, run_dir))
        return
    if plan.staging(layer).is_dir() or missing_mags(read_dataset(root), layer):
        for target in layer.targets:
            remove_unfinished(plan.present(layer, target.mag))
        if level is not Level.NONE:
            _verify(plan, layer, run_dir, level)
        step("publish.verified")
        with guarded(hidden_dir(root)):
            check_held(root)
            commit(plan, layer, run_dir)
    files = stored_files(plan, layer, run_dir)
    check_sizes((plan.final(layer, mag) / file.path, file.size) for mag, listed in files.items() for file in listed)
    _remove_staging(plan, layer)
    write_json(run_dir.published(layer.id), _record(plan, layer, run_dir))
    run_dir.moving(layer.id).unlink(missing_ok=True)
    step("publish.marked")


def _verify(plan: Plan, layer: LayerPlan, run_dir: RunDir, level: Level) -> None:
    """Check the work of all jobs.

    What is damaged is done once more, with all that may have been made of it, and so is what was verified less than asked.
    """
    suspect: set[str] = set()
    for job in layer.jobs():
        marker = read_marker(run_dir.marker(job.id), plan)
        check_unchanged(job, marker.source)
        damage = damaged_files(plan, job, marker.files, level)
        is_suspect = bool(suspect) and not suspect.isdisjoint(plan.needed_by(job))
        if damage or is_suspect or not Level(marker.verified.level).includes(level):
            for path, _ in damage:
                path.unlink(missing_ok=True)
            take_back(plan, layer, run_dir)
            if is_suspect:
                plan.journal(job).unlink(missing_ok=True)
            do_job(run_dir, job.id, 1, level)
            before, marker = marker, read_marker(run_dir.marker(job.id), plan)
            if damage or marker.files != before.files:
                suspect.add(job.id)
        for path, problem in damaged_files(plan, job, marker.files, level) if damage else ():
            raise VerificationError(
                f"a stored file is damaged, also after it was made once more: {problem}",
                where=path,
                hint="check the disk, then run the command again",
            )
    for mag, files in stored_files(plan, layer, run_dir).items():
        check_nothing_else(layer.target(mag).layout, plan.present(layer, mag), files)


def _remove_staging(plan: Plan, layer: LayerPlan) -> None:
    if plan.staging(layer).exists():
        shutil.rmtree(plan.staging(layer))
    _remove_if_empty(plan.staging(layer).parent)
    step("publish.cleaned")


def _record(plan: Plan, layer: LayerPlan, run_dir: RunDir) -> dict[str, Any]:
    """What was published, how large it is, and how it was verified."""
    verified = [read_marker(run_dir.marker(job.id), plan).verified for job in layer.jobs()]
    return {
        "fingerprint": plan.fingerprint,
        "mags": {str(target.mag): _stored(plan, layer, run_dir, target.mag) for target in layer.targets},
        "verified": {
            "levels": sorted({job.level for job in verified}),
            "blocks": sum(job.blocks for job in verified),
            "voxels": sum(job.voxels for job in verified),
            "empty": sum(job.empty for job in verified),
            "seed": plan.fingerprint,
        },
    }


def _stored(plan: Plan, layer: LayerPlan, run_dir: RunDir, mag: Mag) -> dict[str, int]:
    if plan.remote:
        told = read_json(run_dir.transferred(layer.id, mag)) or {}
        return {"files": told["files"], "bytes": told["bytes"]}
    directory = plan.final(layer, mag)
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return  # another run's, or the dataset's own
