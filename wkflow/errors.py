"""Everything that can go wrong, as one tree.

Each error says **what** is wrong, **where** (file, layer, mag, option), and **what to do**. They subclass the builtin
that fits, so that callers without knowledge of wkflow can catch them, too::

    WkflowError
    +-- UsageError          (ValueError)         the command or config asks for something impossible; exit code 2
    +-- DatasetError        (ValueError)         the dataset's metadata are wrong or not supported
    |   +-- DatasetNotFoundError (FileNotFoundError)  exit code 2
    |   +-- LayerNotFoundError   (LookupError)        exit code 2
    |   +-- SchemeError          (ValueError)    no valid list of mags leads from here to there
    |       +-- AskedMagsError               because of the mags that were asked for; exit code 2
    +-- ArrayError          (OSError)            voxels cannot be read or written
    |   +-- CorruptChunkError                    a stored chunk cannot be decoded
    +-- RemoteError         (OSError)            a server cannot be reached, or does not do what is asked
    |   +-- DeniedError          (PermissionError)  it wants another token, or the right is missing
    +-- SpaceError          (OSError)            there is not enough disk space
    +-- ConflictError       (RuntimeError)       something else changed or holds what we need
    |   +-- HeldError                            another process works on the dataset
    +-- VerificationError   (RuntimeError)       what was written is not what was meant
    +-- PipelineError       (RuntimeError)       a job of the pipeline failed
"""

from __future__ import annotations

import errno
import unicodedata

_INVISIBLE = ("Cc", "Cs", "Zl", "Zp")
_ROOM = "make room"
_GOES_ON = "run the same command again, it goes on where it stopped"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "get write permission",
    errno.EPERM: "get write permission",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "check the disk",
}


def message(what: str, *, where: object = None, hint: str | None = None) -> str:
    """How users see an error."""
    lines = [what]
    if where:
        lines.append(f"  where: {where}")
    if hint:
        lines.append(f"  what to do: {hint}")
    return "\n".join(map(_visible, lines))


def _visible(text: str) -> str:
    """Names from a dataset must not move the cursor or forge lines; line ends of ``what`` are ours."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in _INVISIBLE else ascii(c)[1:-1] for c in text)


def disk_hint(error: OSError) -> str | None:
    """What to do if a run cannot write, by an error of the operating system that is no mistake of ours; None if that is not
    known."""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{remedy} and {_GOES_ON}" if remedy else None


def file_hint(error: OSError) -> str | None:
    """The same if a command fails that may only have read, and cannot go on."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "get permission to read it, or to write there"
    return _REMEDIES.get(error.errno or 0)


class WkflowError(Exception):
    """Base of all errors that a user can do something about.

    ``what`` is one sentence; ``where`` names a file, layer or option; ``hint`` says what to do.
    """

    exit_code = 1
    permanent = False
    """Whether doing the same again, as schedulers do with failed jobs, is useless."""

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        return message(self.what, where=self.where, hint=self.hint)


class UsageError(WkflowError, ValueError):
    """An option or a config key has a value that cannot be used."""

    exit_code = 2
    permanent = True


class DatasetError(WkflowError, ValueError):
    """The dataset's metadata are damaged, contradictory or not supported."""

    permanent = True


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """There is no dataset at the target."""

    exit_code = 2


class LayerNotFoundError(DatasetError, LookupError):
    """The dataset has no layer of that name."""

    exit_code = 2


class SchemeError(DatasetError):
    """No valid list of mags leads from the existing mags to the coarsest one."""


class AskedMagsError(SchemeError):
    """The mags that were asked for cannot be made of those that are there."""

    exit_code = 2


class ArrayError(WkflowError, OSError):
    """Voxels or array metadata cannot be read or written."""


class CorruptChunkError(ArrayError):
    """A stored chunk or shard cannot be decoded."""

    permanent = True


class RemoteError(WkflowError, OSError):
    """A server cannot be reached, gives no sense, or does not do what is asked. ``status``: of its answer, if there was one."""

    def __init__(
        self, what: str, *, where: object = None, hint: str | None = None, status: int | None = None, body: str = ""
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.body = body


class DeniedError(RemoteError, PermissionError):
    """The server wants a (or another) token, or its user has not the right."""

    permanent = True


class SpaceError(WkflowError, OSError):
    """The disk has less room than what is to be written."""


class ConflictError(WkflowError, RuntimeError):
    """Another run, another tool or an earlier state stands in the way."""

    permanent = True


class HeldError(ConflictError):
    """Another process works on the dataset."""


class VerificationError(WkflowError, RuntimeError):
    """What lies on disk is not what this run has written."""


class PipelineError(WkflowError, RuntimeError):
    """A job of the pipeline failed."""
