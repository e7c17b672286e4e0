"""One new mag on its way to a server: what is known of it, and how far it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from wkflow.arrays.metadata import METADATA_NAMES
from wkflow.arrays.storage import StoredFile
from wkflow.dataset.axes import DEFAULT_ORDER
from wkflow.errors import ConflictError
from wkflow.files import write_json
from wkflow.geometry import Mag
from wkflow.layer_plan import Job, LayerPlan
from wkflow.levels import Level
from wkflow.modes import AccessMode, TransferMode
from wkflow.on_server import open_on_server
from wkflow.opened import OnServer, Opened, listed_mags
from wkflow.plan import Plan, Remote
from wkflow.remote.answers import NewMag
from wkflow.rundir import RunDir

_WRITE_SECONDS = 0.5


@dataclass(frozen=True)
class How:
    """The options of a transfer."""

    mode: TransferMode
    access: AccessMode
    level: Level = Level.SAMPLE
    connections: int = 4
    overwrite_pending: bool = False


@dataclass(frozen=True)
class Handover:
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

    def new_mag(self, opened: Opened) -> NewMag:
        """The mag for the server. Its ``axisOrder`` is that of the layer's first mag, or the dataset could not be opened."""
        layout, layer = self.layer.target(self.mag).layout, opened.dataset.layer(self.layer.name)
        channel = layout.channel_index if "c" in layout.axes else None
        return NewMag(self.layer.name, self.mag, dict(layer.axis_order or DEFAULT_ORDER), channel)

    def jobs(self) -> list[Job]:
        return [job for job in self.layer.jobs() if self.mag in job.step.targets]

    def open(self, at: OnServer | None = None) -> tuple[Opened, OnServer]:
        """The dataset as it is now; ``at``: the server that was found already. Raises ``ConflictError`` if the mag does not fit
        to it any more."""
        url = f"{self.remote.base}/datasets/{self.remote.dataset_id}"
        server = at.server if at else None
        opened = open_on_server(url, self.how.access, self.plan.dataset, self.how.connections, server)
        assert opened.on_server is not None
        current = opened.dataset.layer(self.layer.name)
        if (current.box, current.category) != (self.layer.box, self.layer.category):
            raise ConflictError(
                "the layer's bounding box or category was changed on the server while its mags were being made",
                where=f"{url}, layer {self.layer.name!r}",
                hint="undo the change and run the command again, or start anew: wkflow downsample --restart",
            )
        return opened, opened.on_server

    def is_listed(self, at: OnServer) -> bool:
        """Whether the mag is part of the dataset now."""
        opened, _ = self.open(at)
        return self.mag in listed_mags(opened.dataset, self.layer.name)


class Progress:
    """Tells the display how many bytes are there."""

    def __init__(self, this: Handover, files: list[StoredFile]) -> None:
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
