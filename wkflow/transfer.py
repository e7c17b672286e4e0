"""Hand a new mag over to a server: the only act that changes a dataset there.

::

    check what was made -> announce -> send -> finish -> look -> read back -> marker

Each step can be repeated. What was announced is written down before it is, so that the next start goes on with it; and
whether a mag is part of the dataset is found out by looking, since an answer may be lost. The dataset's properties are
never written: a new mag does not change the layer's bounding box, and everything else is not ours.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from wkflow.announced import Announced, content_digest
from wkflow.arrays.create import METADATA_NAMES
from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError, DeniedError, RemoteError, UsageError, VerificationError, WkflowError
from wkflow.failpoint import step
from wkflow.files import write_json
from wkflow.geometry import Mag
from wkflow.job import forget_dependents
from wkflow.levels import Level
from wkflow.lock import check_held
from wkflow.marker import Marker, read_marker
from wkflow.modes import AccessMode, TransferMode
from wkflow.on_server import open_on_server
from wkflow.opened import OnServer, Opened, addresses, axis_order, listed_mags
from wkflow.plan import Job, LayerPlan, Plan, Remote
from wkflow.read_back import read_back
from wkflow.remote import storage
from wkflow.remote.answers import NewMag
from wkflow.remote.copy import copy_directory, remove_copy
from wkflow.remote.copy_s3 import copy_to_s3
from wkflow.remote.links import link, move_and_link
from wkflow.remote.upload import upload, uploadable_files
from wkflow.rundir import RunDir
from wkflow.verify import check_nothing_else, damaged_files, verify_job

Report = Callable[[int], None]

_LOOKS = 10
_WRITE_SECONDS = 0.5
_PENDING = "already pending"
_UNKNOWN_UPLOAD = "Could not find running upload"


@dataclass(frozen=True)
class How:
    """The options of a transfer."""

    mode: TransferMode
    access: AccessMode
    level: Level = Level.SAMPLE
    connections: int = 4
    overwrite_pending: bool = False


@dataclass(frozen=True)
class _Transfer:
    """One mag on its way."""

    plan: Plan
    layer: LayerPlan
    mag: Mag
    run_dir: RunDir
    how: How

    @property
    def remote(self) -> Remote:
        assert self.plan.remote is not None
        return self.plan.remote

    @property
    def staged(self) -> Path:
        return self.plan.present(self.layer, self.mag)

    @property
    def record(self) -> Path:
        return self.run_dir.transfer(self.layer.id, self.mag)

    @property
    def new_mag(self) -> NewMag:
        layout = self.layer.target(self.mag).layout
        channel = layout.channel_index if "c" in layout.axes else None
        return NewMag(self.layer.name, self.mag, axis_order(layout.axes), channel)

    def jobs(self) -> list[Job]:
        return [job for job in self.layer.jobs() if self.mag in job.step.targets]

    def open(self) -> tuple[Opened, OnServer]:
        """The dataset as it is now. Raises ``ConflictError`` if the mag does not fit to it any more."""
        url = f"{self.remote.base}/datasets/{self.remote.dataset_id}"
        opened = open_on_server(url, self.how.access, self.plan.dataset, self.how.connections)
        assert opened.on_server is not None
        current = opened.dataset.layer(self.layer.name)
        if (current.box, current.category) != (self.layer.box, self.layer.category):
            raise ConflictError(
                "the layer's bounding box or category was changed on the server while its mags were being made",
                where=f"{url}, layer {self.layer.name!r}",
                hint="undo the change and run the command again, or start anew: wkflow downsample --restart",
            )
        return opened, opened.on_server


def transfer(run_dir: RunDir, layer_id: str, mag: Mag, how: How) -> None:
    """Make a finished mag part of the dataset on the server, then write its marker. Raises ``VerificationError`` if it is
    not what the jobs wrote, ``ConflictError`` if somebody else has made that mag, ``RemoteError`` if the server fails."""
    plan = Plan.load(run_dir.plan)
    check_held(Path(plan.dataset))
    this = _Transfer(plan, plan.layer(layer_id), mag, run_dir, how)
    step("transfer.begun")
    opened, at = this.open()
    announced = Announced.read(this.record)
    _end_move(this, opened, announced)
    files = _checked_files(this)
    if mag in listed_mags(opened.dataset, this.layer.name):
        _check_ours(this, opened, announced, files)
    else:
        announced = _send(this, at, announced, opened, files, _Progress(this, files).add)
        step("transfer.sent")
        _finish(this, at, announced)
    step("transfer.finished")
    checked = read_back(_listed(this), this.layer, mag, this.staged, files, how.level, plan.fingerprint)
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


class _Progress:
    """Tells the display how many bytes are there."""

    def __init__(self, this: _Transfer, files: list[StoredFile]) -> None:
        self._path = this.run_dir.progress(f"{this.layer.id}.{this.mag}.transferred")
        metadata = this.staged / METADATA_NAMES[this.layer.target(this.mag).layout.data_format]
        self._total = sum(file.size for file in files) + metadata.stat().st_size
        self._done = 0
        self._lock = Lock()
        self._written = 0.0
        self.add(0)

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if time.monotonic() - self._written > _WRITE_SECONDS or self._done >= self._total:
                self._written = time.monotonic()
                write_json(self._path, {"bytes": self._done, "total": self._total})


def _end_move(this: _Transfer, opened: Opened, announced: Announced | None) -> None:
    """A mag that was moved away, but not linked yet, is to be found again before it is looked at."""
    if announced is None or this.plan.staged(this.layer, this.mag).exists():
        return
    if announced.mode is TransferMode.SYMLINK:
        _kept(this)
    elif announced.mode is TransferMode.MOVE_AND_SYMLINK and announced.place:
        move_and_link(this.plan.staged(this.layer, this.mag), _local_place(this, announced.place, opened))


def _checked_files(this: _Transfer) -> list[StoredFile]:
    """The files of the mag, which are still as the jobs wrote them. What is not is made anew by the next start."""
    files: list[StoredFile] = []
    for job in this.jobs():
        marker = read_marker(this.run_dir.marker(job.id), this.plan)
        files += marker.files.get(this.mag, ())
        if this.how.level is not Level.NONE and not this.staged.is_symlink():  # then it is the server's already
            _check_job(this, job, marker)
    check_nothing_else(this.layer.target(this.mag).layout, this.staged, files)
    return files


def _check_job(this: _Transfer, job: Job, marker: Marker) -> None:
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


def _check_ours(this: _Transfer, opened: Opened, announced: Announced | None, files: Sequence[StoredFile]) -> None:
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


def _send(
    this: _Transfer,
    at: OnServer,
    earlier: Announced | None,
    opened: Opened,
    files: Sequence[StoredFile],
    report: Report,
) -> Announced:
    """Announce the mag and bring it to its place."""
    content = content_digest(files)
    is_known = earlier is not None
    if earlier is not None and (earlier.mode, earlier.content) != (this.how.mode, content):
        _drop(earlier)
        earlier = None
    announced = earlier or Announced(this.how.mode, content)
    with _pending_explained(this):
        if this.how.mode is TransferMode.HTTP:
            announced = _upload(this, at, announced, report, is_known=is_known)
        else:
            announced = _announce_path(this, at, announced, is_known=is_known)
            _bring(this, announced, opened, report)
    announced = replace(announced, sent=True)
    announced.write(this.record)
    return announced


def _drop(announced: Announced) -> None:
    """Remove what was copied already of a mag that is announced in another way now."""
    if announced.mode is TransferMode.COPY and announced.place.startswith("/"):
        remove_copy(Path(announced.place))


def _upload(this: _Transfer, at: OnServer, announced: Announced, report: Report, *, is_known: bool) -> Announced:
    files = uploadable_files(this.staged)
    is_resumed = bool(announced.upload_id)
    announced = announced if is_resumed else replace(announced, upload_id=_new_upload_id())
    announced.write(this.record)
    step("transfer.noted")
    at.server.reserve_upload(
        this.remote.datastore,
        this.remote.dataset_id,
        this.new_mag,
        announced.upload_id,
        files=len(files),
        size=sum(file.size for file in files),
        overwrite_pending=this.how.overwrite_pending or is_known,
    )
    step("transfer.announced")
    upload(
        at.server,
        this.remote.datastore,
        announced.upload_id,
        this.staged,
        report,
        connections=this.how.connections,
        resumed=is_resumed,
    )
    return announced


def _announce_path(this: _Transfer, at: OnServer, announced: Announced, *, is_known: bool) -> Announced:
    if not announced.place:
        announced.write(this.record)
        step("transfer.noted")
        place = at.server.reserve_path(
            this.remote.dataset_id, this.new_mag, overwrite_pending=this.how.overwrite_pending or is_known
        )
        announced = replace(announced, place=place)
        announced.write(this.record)
        step("transfer.announced")
    return announced


def _bring(this: _Transfer, announced: Announced, opened: Opened, report: Report) -> None:
    existing = addresses(opened.dataset)
    if announced.place.lower().startswith("s3://"):
        if this.how.mode is not TransferMode.COPY:
            _announce_anew(this)
            raise UsageError(
                f"the server keeps its data in S3, where {this.how.mode} is not possible",
                where=announced.place,
                hint="use --transfer-mode copy or http",
            )
        address = storage.reserved_address(announced.place, this.mag, existing)
        copy_to_s3(this.staged, address, report, this.how.connections)
        return
    target = _local_place(this, announced.place, opened)
    if this.how.mode is TransferMode.COPY:
        copy_directory(this.staged, target, report)
    elif this.how.mode is TransferMode.MOVE_AND_SYMLINK:
        move_and_link(this.plan.staged(this.layer, this.mag), target)
    else:
        link(_kept(this), target)


def _local_place(this: _Transfer, place: str, opened: Opened) -> Path:
    """The place that the server has named, which is here and may be used. Else it is asked for another one next time."""
    existing = addresses(opened.dataset)
    try:
        target = storage.reserved_path(place, this.mag, Path(this.plan.dataset), existing)
        storage.check_shared(target, existing)
        storage.check_writable(target)
    except WkflowError:
        _announce_anew(this)
        raise
    return target


def _announce_anew(this: _Transfer) -> None:
    """Next time, ask for another place or upload. What is pending at the server is still known to be ours."""
    if announced := Announced.read(this.record):
        replace(announced, upload_id="", place="", sent=False).write(this.record)


def _kept(this: _Transfer) -> Path:
    """Where the mag stays when it is only linked: a place that is easily found, out of the run's own folders."""
    final = this.plan.final(this.layer, this.mag)
    move_and_link(this.plan.staged(this.layer, this.mag), final)
    step("transfer.kept")
    return final


def _finish(this: _Transfer, at: OnServer, announced: Announced) -> None:
    try:
        if announced.upload_id:
            at.server.finish_upload(this.remote.datastore, announced.upload_id)
        else:
            at.server.finish_path(this.remote.dataset_id, this.new_mag)
    except RemoteError as error:
        if isinstance(error, DeniedError) or _is_listed(this):
            if isinstance(error, DeniedError):
                raise
            return  # the answer was lost, not the mag
        if _UNKNOWN_UPLOAD in error.body:  # the server has forgotten it: the next start sends it anew
            _announce_anew(this)
        raise


def _listed(this: _Transfer) -> Opened:
    """The dataset, of which the mag is a part now."""
    for look in range(_LOOKS):
        opened, _ = this.open()
        if this.mag in listed_mags(opened.dataset, this.layer.name):
            return opened
        time.sleep(min(5.0, 0.2 * 2**look))
    this.record.unlink(missing_ok=True)
    raise VerificationError(
        f"the server has taken mag {this.mag}, but does not list it",
        where=f"{this.remote.base}/datasets/{this.remote.dataset_id}, layer {this.layer.name!r}",
        hint="somebody else may have announced the same mag; run the command again to send it once more",
    )


def _is_listed(this: _Transfer) -> bool:
    opened, _ = this.open()
    return this.mag in listed_mags(opened.dataset, this.layer.name)


def _new_upload_id() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}__{secrets.token_hex(16)}"


@contextmanager
def _pending_explained(this: _Transfer) -> Iterator[None]:
    """Say what to do if the server knows of an unfinished mag of somebody else."""
    try:
        yield
    except RemoteError as error:
        if _PENDING not in error.body:
            raise
        this.record.unlink(missing_ok=True)
        raise ConflictError(
            f"somebody else has announced mag {this.mag} to the server and not finished it",
            where=error.where,
            hint="wait for them; or, if it was a run that has died, take over with --overwrite-pending",
        ) from None
