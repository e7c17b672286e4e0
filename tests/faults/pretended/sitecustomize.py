"""For every Python process that has this folder in PYTHONPATH: a disk with a size, without any privilege.

``WKFLOW_TEST_DISK`` names a folder; beside it, in a file that is called like it with ``.size`` behind, are the bytes that
it may hold.
"""

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from faults.failing_files import Failing, failing

FOLDER = Path(os.environ["WKFLOW_TEST_DISK"])


def free() -> int:
    used = 0
    for place, _, names in os.walk(FOLDER):
        for name in names:
            try:
                used += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - pathlib may be patched
            except FileNotFoundError:
                continue
    return int(Path(f"{FOLDER}.size").read_text()) - used


class Full(Failing):
    """What takes room fails if there is none."""

    def step(self, operation: str, path: object = None) -> None:
        if operation in ("mkdir", "open", "write", "flush", "close") and free() <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([] if path is None else [str(path)]))


_statvfs = os.statvfs


def statvfs(path: object) -> os.statvfs_result:
    told = list(_statvfs(path))
    if str(path).startswith(str(FOLDER)):
        told[1:5] = 1, 10**9, max(0, free()), max(0, free())  # f_frsize, f_blocks, f_bfree, f_bavail
    return os.statvfs_result(told)


os.statvfs = statvfs
patches = ExitStack()  # it is never closed
patches.enter_context(failing(Full(FOLDER)))
