"""Compile functions with numba, once per machine: the code is kept in a directory of our own.

numba's cache is one index file per function, with one data file per signature and CPU. Files are replaced atomically,
but two processes that add different entries to one index at the same time may both choose the same data file, and then
the index of one leads to the code of the other, for another dtype or CPU. So no two entries may ever share an index:

- each function is compiled for one signature, under a name of its own;
- the directory is named after the CPU, the versions of numba and llvmlite, and the source of this package (numba itself
  would look at one file only). What is found there under a name is always the right code.

Files of the cache are pickles. Directories that others may write to are not used.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import binding
from numba import types

Compiled = Callable[..., None]

_log = logging.getLogger(__name__)
_config: Any = numba.config


def compile_cached(function: Callable[..., None], name: str, dtype: np.dtype[Any], integers: int) -> Compiled:
    """Compile ``function(source, out, *integers)`` for C-contiguous, aligned [z, y, x] arrays, or load the code.

    ``name`` has to differ from all names that were given to other functions or dtypes. ``source`` may be read-only.
    """
    function.__qualname__ = function.__name__ = name
    element = numba.from_dtype(dtype)
    source = types.Array(element, 3, "C", readonly=True)
    out = types.Array(element, 3, "C")
    signature = types.void(source, out, *[types.int64] * integers)
    directory = cache_directory()
    if directory is not None:
        try:
            with _numba_cache_dir(directory):
                return _compile(function, signature, cache=True)
        except Exception as error:  # a full disk, a damaged file: whatever a cache may raise must not stop a job
            _log.warning(
                "%s is compiled anew, since the cache %s fails (removing it may help): %s", name, directory, error
            )
    return _compile(function, signature, cache=False)


def _compile(function: Callable[..., None], signature: Any, *, cache: bool) -> Compiled:
    compiled: Compiled = numba.njit(signature, nogil=True, error_model="numpy", cache=cache)(function)
    return compiled


@contextmanager
def _numba_cache_dir(directory: Path) -> Iterator[None]:
    """Let numba use ``directory``. Not by the environment, since jobs on other machines would inherit it."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        _config.CACHE_DIR = before


@functools.cache
def cache_directory() -> Path | None:
    """Where machine code is kept, or None if nothing can be written.

    That is below ``NUMBA_CACHE_DIR`` if the user has set it, else below ``$XDG_CACHE_HOME/wkflow/numba`` (by default
    ``~/.cache/wkflow/numba``), else a directory of the user in the directory for temporary files.
    """
    return next(filter(_is_usable, _candidates(_code_version())), None)


def _candidates(version: str) -> Iterator[Path]:
    if _config.CACHE_DIR:  # NUMBA_CACHE_DIR, as numba has read it
        yield Path(_config.CACHE_DIR).absolute() / version
    with suppress(RuntimeError):  # no home directory
        xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
        yield (xdg if xdg.is_absolute() else Path.home() / ".cache") / "wkflow" / "numba" / version
    yield Path(tempfile.gettempdir()) / f"wkflow-numba-{os.getuid()}-{version}"


def _code_version() -> str:
    """A name that differs whenever code compiled from this package may differ."""
    digest = sha256()
    cpu = (_config.CPU_NAME, _config.CPU_FEATURES)  # None unless the user has set them
    host = (binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten())
    facts = (numba.__version__, llvmlite.__version__, *cpu, *host)
    for fact in facts:
        digest.update(f"{fact}\0".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _is_usable(directory: Path) -> bool:
    """Whether we can write to ``directory``, which is made if needed, and nobody else can."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.lstat()  # of a symbolic link itself: somebody may have put it there
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0")
    except OSError:
        return False
    return True
