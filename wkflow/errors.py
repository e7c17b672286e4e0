"""Everything that can go wrong, as one tree.

Each error says **what** is wrong, **where** (file, layer, mag, option), and **what to do**. They subclass the builtin
that fits, so that callers without knowledge of wkflow can catch them, too::

    WkflowError
    +-- UsageError          (ValueError)         the command or config asks for something impossible; exit code 2
    +-- DatasetError        (ValueError)         the dataset's metadata are wrong or not supported
    |   +-- DatasetNotFoundError (FileNotFoundError)
    |   +-- LayerNotFoundError   (LookupError)
    |   +-- SchemeError          (ValueError)    no valid list of mags leads from here to there
    +-- ArrayError          (OSError)            voxels cannot be read or written
    +-- ConflictError       (RuntimeError)       something else changed or holds what we need
    +-- VerificationError   (RuntimeError)       what was written is not what was meant
    +-- PipelineError       (RuntimeError)       a job of the pipeline failed
"""

from __future__ import annotations


class WkflowError(Exception):
    """Base of all errors that a user can do something about.

    ``what`` is one sentence; ``where`` names a file, layer or option; ``hint`` says what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        return "\n".join(lines)


class UsageError(WkflowError, ValueError):
    """An option or a config key has a value that cannot be used."""

    exit_code = 2


class DatasetError(WkflowError, ValueError):
    """The dataset's metadata are damaged, contradictory or not supported."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """There is no dataset at the target."""


class LayerNotFoundError(DatasetError, LookupError):
    """The dataset has no layer of that name."""


class SchemeError(DatasetError):
    """No valid list of mags leads from the existing mags to the coarsest one."""


class ArrayError(WkflowError, OSError):
    """Voxels or array metadata cannot be read or written."""


class ConflictError(WkflowError, RuntimeError):
    """Another run, another tool or an earlier state stands in the way."""


class VerificationError(WkflowError, RuntimeError):
    """What lies on disk is not what this run has written."""


class PipelineError(WkflowError, RuntimeError):
    """A job of the pipeline failed."""
