"""Announce a new mag to a server, and bring it there: as an upload, as a copy, by moving it, or as a link."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from wkflow.announced import Announced, content_digest
from wkflow.arrays.storage import StoredFile
from wkflow.errors import ConflictError, RemoteError, WkflowError
from wkflow.failpoint import step
from wkflow.handover import Handover
from wkflow.modes import TransferMode
from wkflow.opened import OnServer, Opened, addresses
from wkflow.remote import storage
from wkflow.remote.copy import copy_directory, remove_copy
from wkflow.remote.copy_s3 import copy_to_s3
from wkflow.remote.links import link, move_and_link
from wkflow.remote.upload import upload, uploadable_files

Report = Callable[[int], None]

_PENDING = "already pending"


def send(
    this: Handover,
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
    with _others_explained(this, at):
        if this.how.mode is TransferMode.HTTP:
            announced = _upload(this, at, announced, opened, report, is_known=is_known)
        else:
            announced = _announce_path(this, at, announced, opened, is_known=is_known)
            _bring(this, announced, opened, report)
    announced = replace(announced, sent=True)
    announced.write(this.record)
    return announced


def _drop(announced: Announced) -> None:
    """Remove what was copied already of a mag that is announced in another way now."""
    if announced.mode is TransferMode.COPY and announced.place.startswith("/"):
        remove_copy(Path(announced.place))


def _upload(
    this: Handover, at: OnServer, announced: Announced, opened: Opened, report: Report, *, is_known: bool
) -> Announced:
    files = uploadable_files(this.staged)
    is_resumed = bool(announced.upload_id)
    announced = announced if is_resumed else replace(announced, upload_id=_new_upload_id())
    announced.write(this.record)
    step("transfer.noted")
    at.server.reserve_upload(
        this.remote.datastore,
        this.remote.dataset_id,
        this.new_mag(opened),
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


def _announce_path(this: Handover, at: OnServer, announced: Announced, opened: Opened, *, is_known: bool) -> Announced:
    if not announced.place:
        announced.write(this.record)
        step("transfer.noted")
        place = at.server.reserve_path(
            this.remote.dataset_id, this.new_mag(opened), overwrite_pending=this.how.overwrite_pending or is_known
        )
        announced = replace(announced, place=place)
        announced.write(this.record)
        step("transfer.announced")
    return announced


def _bring(this: Handover, announced: Announced, opened: Opened, report: Report) -> None:
    existing = addresses(opened.dataset)
    if announced.place.lower().startswith("s3://"):
        if this.how.mode is not TransferMode.COPY:
            announce_anew(this)
            raise storage.no_links(this.how.mode, announced.place)
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


def _local_place(this: Handover, place: str, opened: Opened) -> Path:
    """The place that the server has named, which is here and may be used. Else it is asked for another one next time."""
    existing = addresses(opened.dataset)
    try:
        target = storage.reserved_path(place, this.mag, Path(this.plan.dataset), existing)
        storage.check_shared(target, existing)
        storage.check_writable(target)
    except WkflowError:
        announce_anew(this)
        raise
    return target


def announce_anew(this: Handover) -> None:
    """Next time, ask for another place or upload. What is pending at the server is still known to be ours."""
    if announced := Announced.read(this.record):
        replace(announced, upload_id="", place="", sent=False).write(this.record)


def _kept(this: Handover) -> Path:
    """Where the mag stays when it is only linked: a place that is easily found, out of the run's own folders."""
    final = this.plan.final(this.layer, this.mag)
    move_and_link(this.plan.staged(this.layer, this.mag), final)
    step("transfer.kept")
    return final


def end_move(this: Handover, opened: Opened, announced: Announced | None) -> None:
    """A mag that was moved away, but not linked yet, is to be found again before it is looked at."""
    if announced is None or this.plan.staged(this.layer, this.mag).exists():
        return
    if announced.mode is TransferMode.SYMLINK:
        _kept(this)
    elif announced.mode is TransferMode.MOVE_AND_SYMLINK and announced.place:
        move_and_link(this.plan.staged(this.layer, this.mag), _local_place(this, announced.place, opened))


def _new_upload_id() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}__{secrets.token_hex(16)}"


@contextmanager
def _others_explained(this: Handover, at: OnServer) -> Iterator[None]:
    """Say what to do if the server has got that mag, or the announcement of it, from somebody else meanwhile."""
    try:
        yield
    except RemoteError as error:
        is_added = isinstance(error.status, int) and 400 <= error.status < 500 and this.is_listed(at)
        if _PENDING not in error.body and not is_added:
            raise
        this.record.unlink(missing_ok=True)
        if is_added:
            raise ConflictError(
                f"mag {this.mag} was added by somebody else while it was being made",
                where=error.where,
                hint="keep that one, and start anew for the others: wkflow downsample --restart; or remove it on the server",
            ) from None
        raise ConflictError(
            f"somebody else has announced mag {this.mag} to the server and not finished it",
            where=error.where,
            hint="wait for them; or, if it was a run that has died, take over with --overwrite-pending",
        ) from None
