"""What is known of a dataset that was looked at, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wkflow.dataset.properties import Dataset
from wkflow.existing import ExistingMags
from wkflow.geometry import Mag
from wkflow.modes import AccessMode
from wkflow.plan import Remote

if TYPE_CHECKING:  # local datasets need no HTTP, which takes a while to be imported
    from wkflow.remote.answers import RemoteDataset
    from wkflow.remote.server import Server


@dataclass(frozen=True)
class OnServer:
    """What is known of a dataset on a server."""

    server: Server
    description: RemoteDataset
    access: AccessMode

    @property
    def url(self) -> str:
        return f"{self.server.base}/datasets/{self.description.id}"

    @property
    def remote(self) -> Remote:
        return Remote(self.server.base, self.description.id, self.description.datastore.url, self.access)


@dataclass(frozen=True)
class Opened:
    """A dataset that was looked at. ``on_server`` is None if it is local."""

    dataset: Dataset
    existing: ExistingMags
    on_server: OnServer | None = None

    def read_by(self, access: AccessMode) -> Opened:
        """The same dataset, whose voxels are read in another way."""
        if self.on_server is None or self.on_server.access is access:
            return self
        from wkflow.remote.mags import RemoteMags

        assert isinstance(self.existing, RemoteMags)
        return Opened(self.dataset, replace(self.existing, access=access), replace(self.on_server, access=access))


def addresses(dataset: Dataset) -> list[str]:
    """Paths of all mags, as the server tells them."""
    return [entry.path for layer in dataset.layers for entry in layer.mags if entry.path]


def listed_mags(dataset: Dataset, layer_name: str) -> dict[Mag, str | None]:
    """The mags of a layer with their paths."""
    return {entry.mag: entry.path for entry in dataset.layer(layer_name).mags}
