# ruff: noqa: PTH101, PTH103, PTH123
"""What a container runtime does between the namespaces and the container's program. Run by ``container.py`` as the first
process of a new pid namespace, with what is wanted as JSON in its standard input; of the standard library only.

All mounts are made after ``chroot``, from folders that were opened before, so that no link of the image leads to the host.
"""

import ctypes
import json
import os
import signal
import sys
import warnings  # noqa: F401  os.execvpe imports it when this machine's library is out of sight

_BIND, _RECURSIVE, _REMOUNT, _READ_ONLY = 4096, 16384, 32, 1
_SET_DEATH_SIGNAL, _DROP_FROM_BOUNDING_SET = 1, 24
_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}  # of containers that are not privileged
_LIBC = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind=None, flags=0, data=None):  # type: ignore[no-untyped-def]
    """mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    if _LIBC.mount(*words, ctypes.c_ulong(flags), None if data is None else os.fsencode(data)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def folder(path, mode=None):  # type: ignore[no-untyped-def]
    """Make it, if it is not there; ``mode``: even if it is."""
    os.makedirs(path, exist_ok=True)
    if mode is not None:
        os.chmod(path, mode)
    return path


def home(user):  # type: ignore[no-untyped-def]
    """As runc finds it."""
    try:
        with open("/etc/passwd") as lines:
            return next(words[5] for words in (line.rstrip("\n").split(":") for line in lines) if words[2] == str(user))
    except (OSError, StopIteration, IndexError):
        return "/"


def make_root(wanted):  # type: ignore[no-untyped-def]
    """The image below an overlay in memory, and everything that is mounted in it. Afterwards it is this process's root."""
    top = wanted["top"]
    sources = [(os.open(source, os.O_PATH), *rest) for source, *rest in wanted["mounts"]]
    devices = os.open("/dev", os.O_PATH)
    mount("tmpfs", top, "tmpfs", 0, "mode=755")
    parts = {name: folder(f"{top}/{name}") for name in ("upper", "work", "root", "empty")}
    mount("overlay", parts["root"], "overlay", 0, f"lowerdir={wanted['image']},upperdir={top}/upper,workdir={top}/work")
    empty = []
    for number, target in enumerate(wanted["empty"]):
        path = folder(f"{parts['empty']}/{number}", 0o777)
        empty.append((os.open(path, os.O_PATH), target, False))
    os.chroot(parts["root"])
    os.chdir("/")
    mount("proc", folder("/proc"), "proc")
    mount(f"/proc/self/fd/{devices}", folder("/dev"), None, _BIND | _RECURSIVE)
    mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777,size=64m")
    folder("/tmp", 0o1777)
    for descriptor, target, is_read_only in sorted(sources + empty, key=lambda one: len(one[1].split("/"))):
        mount(f"/proc/self/fd/{descriptor}", folder(target), None, _BIND)
        if is_read_only:
            mount(None, target, None, _BIND | _REMOUNT | _READ_ONLY)
        os.close(descriptor)
    os.close(devices)


def become(wanted):  # type: ignore[no-untyped-def]
    """The user, with what a container's user may. Death with the parent is asked for last: a new user forgets it."""
    if not wanted["is_privileged"]:
        for number in set(range(64)) - _CAPABILITIES:
            _LIBC.prctl(_DROP_FROM_BOUNDING_SET, number, 0, 0, 0)
    os.setgroups(wanted["groups"])
    os.setgid(wanted["group"])
    os.setuid(wanted["user"])
    _LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def main():  # type: ignore[no-untyped-def]
    wanted = json.load(sys.stdin)
    complaint = os.open(wanted["complaint"], os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.umask(0o022)
        make_root(wanted)
        hostname = os.fsencode(wanted["hostname"])
        _LIBC.sethostname(hostname, len(hostname))
        os.chdir(folder(wanted["folder"]))
        become(wanted)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python has other ones
        os.execvpe(wanted["command"][0], wanted["command"], {"HOME": home(wanted["user"]), **wanted["environment"]})
    except OSError as error:
        os.write(complaint, f'exec: "{wanted["command"][0]}": {error.strerror}'.encode())
        sys.exit(128)


main()
