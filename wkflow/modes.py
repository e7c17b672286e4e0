"""How a dataset on a server is read, and how new mags get there."""

from __future__ import annotations

from enum import StrEnum


class TransferMode(StrEnum):
    """How a remote dataset's mags get to the server."""

    COPY = "copy"
    MOVE_AND_SYMLINK = "move+symlink"
    SYMLINK = "symlink"
    HTTP = "http"

    @property
    def needs_path(self) -> bool:
        """Whether the storage of the server must be reachable from here, by the path that the server names."""
        return self is not TransferMode.HTTP

    @property
    def leaves_staging(self) -> bool:
        """Whether the mag's directory is not where it was made afterwards: so whoever reads it there must be done."""
        return self in (TransferMode.MOVE_AND_SYMLINK, TransferMode.SYMLINK)


class AccessMode(StrEnum):
    """How a remote dataset's voxels are read."""

    DIRECT_PATH = "direct_path"
    ZARR_STREAMING = "zarr_streaming"
    PROXY_PATH = "proxy_path"

    @classmethod
    def default(cls, transfer: TransferMode) -> AccessMode:
        return cls.PROXY_PATH if transfer is TransferMode.HTTP else cls.DIRECT_PATH


TRANSFER_MODES = {
    TransferMode.COPY: "the storage of the server, mounted here by the same path, or an S3 bucket",
    TransferMode.MOVE_AND_SYMLINK: "the storage, and a run directory on the same file system",
    TransferMode.SYMLINK: "the storage; the run directory becomes part of the dataset and must stay",
    TransferMode.HTTP: "nothing but the URL, uploads through the server",
}
"""What each mode needs, in words."""
