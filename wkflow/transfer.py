"""Hand a new mag over to a server: the only act that changes a dataset there.

::

    check what was made -> announce -> send -> finish -> look -> read back -> marker

Each step can be repeated. What was announced is written down before it is, so that the next start goes on with it; and
whether a mag is part of the dataset is found out by looking, since an answer may be lost. The dataset's properties are
never written: a new mag does not change the layer's bounding box, and everything else is not ours.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from wkflow.announced import Announced, content_digest
from wkflow.arrays.create import remove_unfinished
from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError, DeniedError, RemoteError, VerificationError
from wkflow.failpoint import step
from wkflow.files import write_json
from wkflow.geometry import Mag
from wkflow.handover import Handover, How, Progress
from wkflow.job import forget_dependents
from wkflow.layer_plan import Job
from wkflow.levels import Level
from wkflow.lock import check_held
from wkflow.marker import Marker, read_marker
from wkflow.opened import OnServer, Opened, listed_mags
from wkflow.plan import Plan
from wkflow.read_back import read_back
from wkflow.rundir import RunDir
from wkflow.sending import announce_anew, end_move, send
from wkflow.verify import check_nothing_else, damaged_files, verify_job

_LOOKS = 10
_UNKNOWN_UPLOAD = "Could not find running upload"


def transfer(run_dir: RunDir, layer_id: str, mag: Mag, how: How) -> None:
    """Make a finished mag part of the dataset on the server, then write its marker. Raises ``VerificationError`` if it is
    not what the jobs wrote, ``ConflictError`` if somebody else has made that mag, ``RemoteError`` if the server fails."""
    plan = Plan.load(run_dir.plan)
    check_held(Path(plan.dataset))
    this = Handover(plan, plan.layer(layer_id), mag, run_dir, how)
    step("transfer.begun")
    opened, at = this.open()
    announced = Announced.read(this.record)
    end_move(this, opened, announced)
    files = _checked_files(this)
    if mag in listed_mags(opened.dataset, this.layer.name):
        _check_ours(this, opened, announced, files)
    else:
        announced = send(this, at, announced, opened, files, Progress(this, files).add)
        step("transfer.sent")
        _finish(this, at, announced, opened)
    step("transfer.finished")
    checked = read_back(_listed(this, at), this.layer, mag, this.staged, files, how.level, plan.fingerprint)
    write_json(
        run_dir.transferred(layer_id, mag),
        {
            "fingerprint": plan.fingerprint,
            "mode": str(how.mode),
            "files": len(files),
            "bytes": sum(file.size for file in files),
            "read_back": checked,
        },
    )
    step("transfer.marked")


def _checked_files(this: Handover) -> list[StoredFile]:
    """The files of the mag, which are still as the jobs wrote them. What is not is made anew by the next start."""
    files: list[StoredFile] = []
    if not this.staged.is_symlink():
        remove_unfinished(this.staged)
    for job in this.jobs():
        marker = read_marker(this.run_dir.marker(job.id), this.plan)
        files += marker.files.get(this.mag, ())
        if this.how.level is not Level.NONE and not this.staged.is_symlink():  # then it is the server's already
            _check_job(this, job, marker)
    check_nothing_else(this.layer.target(this.mag).layout, this.staged, files)
    return files


def _check_job(this: Handover, job: Job, marker: Marker) -> None:
    mine = {this.mag: marker.files.get(this.mag, ())}
    damage = damaged_files(this.plan, job, mine, this.how.level)
    if damage:
        for path, _ in damage:
            path.unlink(missing_ok=True)
        forget_dependents(this.plan, job, this.run_dir)
        this.run_dir.marker(job.id).unlink(missing_ok=True)
        raise VerificationError(
            f"a stored file is damaged: {damage[0][1]}",
            where=damage[0][0],
            hint="check the disk, then run the command again: the file is made anew",
        )
    if not Level(marker.verified.level).includes(this.how.level):
        verify_job(this.plan, job, marker.files, this.how.level, 1)


def _check_ours(this: Handover, opened: Opened, announced: Announced | None, files: Sequence[StoredFile]) -> None:
    """The mag is part of the dataset already: it must be the one that an earlier start of this run has sent."""
    path = listed_mags(opened.dataset, this.layer.name)[this.mag] or ""
    is_ours = (
        announced is not None
        and announced.sent
        and announced.content == content_digest(files)
        and (not announced.place or announced.place.rstrip("/") == path.rstrip("/"))
    )
    if not is_ours:
        raise ConflictError(
            f"mag {this.mag} was added by somebody else while it was being made",
            where=f"{this.remote.base}/datasets/{this.remote.dataset_id}, layer {this.layer.name!r}",
            hint="keep that one, and start anew for the others: wkflow downsample --restart; or remove it on the server",
        )


def _finish(this: Handover, at: OnServer, announced: Announced, opened: Opened) -> None:
    try:
        if announced.upload_id:
            at.server.finish_upload(this.remote.datastore, announced.upload_id)
        else:
            at.server.finish_path(this.remote.dataset_id, this.new_mag(opened))
    except RemoteError as error:
        if isinstance(error, DeniedError) or this.is_listed(at):
            if isinstance(error, DeniedError):
                raise
            return  # the answer was lost, not the mag
        if _UNKNOWN_UPLOAD in error.body:  # the server has forgotten it: the next start sends it anew
            announce_anew(this)
        raise


def _listed(this: Handover, at: OnServer) -> Opened:
    """The dataset, of which the mag is a part now."""
    for look in range(_LOOKS):
        opened, _ = this.open(at)
        if this.mag in listed_mags(opened.dataset, this.layer.name):
            return opened
        time.sleep(min(5.0, 0.2 * 2**look))
    this.record.unlink(missing_ok=True)
    raise VerificationError(
        f"the server has taken mag {this.mag}, but does not list it",
        where=f"{this.remote.base}/datasets/{this.remote.dataset_id}, layer {this.layer.name!r}",
        hint="somebody else may have announced the same mag; run the command again to send it once more",
    )
