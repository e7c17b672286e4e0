"""The container image of ``envs/Containerfile``, made without a container engine: a slim Debian, in which ``envs/image.sh`` runs.

Debian and the libraries are kept below ``/var/lib/wkflow-kubernetes`` as long as what they are made of is the same. As root.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path("/var/lib/wkflow-kubernetes")
CONTAINERFILE = ROOT / "envs/Containerfile"
_SCRIPT = ROOT / "envs/image.sh"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,ca-certificates"
_KEPT_SECONDS = 24 * 3600
_PROJECT = (
    *(
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Snakefile",
        "workflow",
        "scripts",
        "profiles",
        "config",
        "envs",
        "wkflow",
    ),
    "snakemake_executor_plugin_wkflow_kubernetes",
)


def image_root() -> Path:
    """The folder of the image's files, with ``.image.json``: what the Containerfile says of environment, user and folder."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        debian = _kept("debian", [_SUITE, _PACKAGES], _make_debian)
        facts = [
            debian.name,
            (ROOT / "requirements.lock").read_text(),
            (ROOT / "pyproject.toml").read_text(),
            _SCRIPT.read_text(),
        ]
        libraries = _kept("libraries", facts, lambda folder: _add_libraries(debian, folder))
        project = [libraries.name, *_contents(ROOT / name for name in _PROJECT)]
        return _kept("image", project, lambda folder: _add_project(libraries, folder))


def settings() -> dict[str, object]:
    """ENV, USER and WORKDIR of the last stage of the Containerfile."""
    environment, found = {}, {}
    for line in CONTAINERFILE.read_text().rpartition("\nFROM ")[2].splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            name, _, value = rest.partition("=")
            environment[name] = value
        elif word in ("USER", "WORKDIR"):
            found[word] = rest
    return {"Env": environment, "User": found["USER"], "WorkingDir": found["WORKDIR"]}


def _kept(name: str, facts: Iterable[str], make: Callable[[Path], None]) -> Path:
    """A folder that is made once for the same facts. Others of its name go after a while: they may be in use."""
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:12]
    folder, beside = KEPT / f"{name}-{digest}", KEPT / f"{name}.new"
    if not folder.exists():
        shutil.rmtree(beside, ignore_errors=True)
        make(beside)
        for old in KEPT.glob(f"{name}-*"):
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old)
        beside.rename(folder)
    return folder


def _make_debian(folder: Path) -> None:
    if not shutil.which("debootstrap", path="/usr/sbin:/usr/bin"):
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "debootstrap")
    _run("/usr/sbin/debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(folder), *_mirror())


def _mirror() -> list[str]:
    """Where this machine gets its packages, if it is a Debian."""
    said = _run("apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(CODENAME)")
    sites = [line.split()[0] for line in said.splitlines() if line.split()[1:] == ["Debian", _SUITE]]
    return sites[:1]


def _add_libraries(debian: Path, folder: Path) -> None:
    _run("cp", "-al", str(debian), str(folder))
    given = folder / "build"
    given.mkdir()
    for path in (_SCRIPT, ROOT / "requirements.lock", ROOT / "pyproject.toml"):
        shutil.copy(path, given)
    _run_in(folder, "/build/image.sh", "libraries", "/build")


def _add_project(libraries: Path, folder: Path) -> None:
    _run("cp", "-al", str(libraries), str(folder))
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    _run(*wheel, str(folder / "build"), str(ROOT))
    (made,) = (folder / "build").glob("*.whl")
    _run_in(folder, "/build/image.sh", "wkflow", f"/build/{made.name}")
    shutil.rmtree(folder / "build")
    (folder / ".image.json").write_text(json.dumps(settings()))


def _run_in(root: Path, *command: str) -> None:
    """As in a container that is being built: with this machine's network, and its way to the package index."""
    script = " && ".join(
        f"mkdir -p {shlex.quote(str(root) + path)} && mount --rbind {path} {shlex.quote(str(root) + path)}"
        for path in ("/proc", "/dev", *filter(os.path.isdir, _pip_folders()))
    )
    files = [
        path
        for path in ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
        if Path(path).is_file()
    ]
    for path in files:
        script += f" && touch {root}{path} && mount --bind {os.path.realpath(path)} {root}{path}"
    environment = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    _run(
        *(
            "/usr/bin/unshare",
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-ec",
            f'{script} && exec chroot "$@"',
            "chroot",
        ),
        *(str(root), *command),
        environment=environment | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
    )


def _pip_folders() -> list[str]:
    """Configuration and wheels that pip is told of."""
    return ["/etc/xdg/pip", *[word for word in os.environ.get("PIP_FIND_LINKS", "").split() if word.startswith("/")]]


def _contents(paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"{file.relative_to(ROOT)}={hashlib.sha256(file.read_bytes()).hexdigest()}"


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    print(image_root())
