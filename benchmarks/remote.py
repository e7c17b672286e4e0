"""A dataset on a server: how long it takes, what goes over the network, and in how many requests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from data import COLOR, LABELS, stored_bytes
from datasets import DatasetSpec, Storage, make_dataset
from measure import Usage, in_turns, middle, run
from setting import ORACLE, Setting
from standin import EDITOR, Server
from table import Goal, Result, Row, at_least, at_most

TEXT = """Two layers of 256^3 voxels in files of 64^3, on a stand-in server on this machine (`tests/standin`), which
takes processor time from both programs; medians. *Received*: bytes of answers, and as a multiple of the stored source.
*Sent*: bytes of requests, and as a multiple of the new mags as they are stored. With `copy` and `direct_path` voxels do
not pass the server. wkflow reads new mags back (up to 64 MiB of each), the released client does not look at them."""

SHARD = 64
LAYERS = (COLOR, LABELS)
WAYS = (("http", "proxy_path"), ("copy", "direct_path"))
GIGAVOXEL = 10**9


@dataclass(frozen=True)
class Sent:
    """One run: what its program took, requests and bytes of their bodies as the server counts them; bytes of the new mags."""

    usage: Usage
    requests: int
    received: int
    sent: int
    new: int


class Programs:
    """Both programs, each time with a dataset of its own on the server."""

    def __init__(self, setting: Setting, original: Path, server: Server) -> None:
        self._setting = setting
        self._original = original
        self._server = server
        self._numbers = count()

    def ours(self, transfer: str, access: str) -> Sent:
        return self._run([sys.executable, "-m", "wkflow"], transfer, access, "--run-dir", self._setting.work / "home")

    def released(self, transfer: str, access: str) -> Sent:
        return self._run([ORACLE], transfer, access)

    def _run(self, program: list[object], transfer: str, access: str, *options: object) -> Sent:
        server = self._server
        dataset_id = server.add(self._original, f"{self._original.name}-{next(self._numbers)}")
        shutil.rmtree(self._setting.work / "home", ignore_errors=True)
        server.requests.clear()
        modes = ("--transfer-mode", transfer, "--access-mode", access)
        usage = run(
            [*program, "downsample", *modes, *options, server.target(dataset_id)],
            cwd=self._setting.work,
            environment={"WK_DEFAULT_CHUNKS_PER_SHARD": str(SHARD // 32), "WK_TOKEN": EDITOR},
        )
        sent, received = server.requests.bytes()
        new = sum(_size(Path(entry["path"])) for entry in server.dataset(dataset_id).mags() if max(entry["mag"]) > 1)
        assert new, "nothing came to the server"
        shutil.rmtree(server.dataset(dataset_id).folder)
        return Sent(usage, len(server.requests.all), received, sent, new)


def measure(setting: Setting) -> Result:
    edge = setting.edge(256)
    rows: list[Row] = []
    goals: list[Goal] = []
    for data_format in ("zarr3", "wkw"):
        original = _made(setting.data / f"{data_format}-{edge}-files-{SHARD}", edge, data_format)
        source = sum(stored_bytes(original, layer.name) for layer in LAYERS)
        with Server(setting.work / "storage") as server:
            programs = Programs(setting, original, server)
            for transfer, access in WAYS:
                named: dict[str, Callable[[], Sent]] = {"wkflow": partial(programs.ours, transfer, access)}
                if setting.oracle != "none":
                    named["webknossos"] = partial(programs.released, transfer, access)
                results = in_turns(named, setting.repeat)
                way = f"{data_format}-{edge}, {transfer} and {access}"
                voxels = len(LAYERS) * edge**3
                rows += [_row(way, name, source, voxels, runs) for name, runs in results.items()]
                goals += _goals(way, source, results, over_network=transfer == "http")
        shutil.rmtree(setting.work / "storage")
    return Result(TEXT, rows, goals)


def _made(path: Path, edge: int, data_format: Any) -> Path:
    """The dataset, made unless it is there."""
    storage = Storage(data_format, shard=(SHARD,) * 3)
    layers = tuple(replace(layer, size=(edge,) * 3, storage=storage) for layer in LAYERS)
    return path if path.exists() else make_dataset(DatasetSpec(layers), path)


def _row(way: str, name: str, source: int, voxels: int, runs: list[Sent]) -> Row:
    usage, last = middle([one.usage for one in runs]), runs[-1]
    return {
        "dataset and modes": way,
        "program": name,
        "s": usage.wall,
        "CPU s": usage.cpu,
        "GiB": usage.peak / 2**30,
        "requests": last.requests,
        "per gigavoxel": last.requests * GIGAVOXEL / voxels,
        "received, MiB": last.received / 2**20,
        "times the source": last.received / source,
        "sent, MiB": last.sent / 2**20,
        "times the new mags": last.sent / last.new,
    }


def _goals(way: str, source: int, results: dict[str, list[Sent]], *, over_network: bool) -> list[Goal]:
    ours = results["wkflow"][-1]
    goals = []
    if over_network:
        least = source + ours.new  # which are read back
        goals.append(at_most(f"{way}: received, of the source and the new mags", ours.received / least, 1.05))
        goals.append(at_most(f"{way}: sent, of the new mags", ours.sent / ours.new, 1.05))
    if released := results.get("webknossos"):
        faster = middle([one.usage for one in released]).wall / middle([one.usage for one in results["wkflow"]]).wall
        goals.append(at_least(f"{way}: times faster than webknossos", faster, 1))
    return goals


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
