"""The options of a run, as one model.

The JSON schema, ``config/config.yaml``, the table in ``config/README.md`` and the help of the command line are made from
it (:mod:`wkflow.config_pages`). Nothing secret belongs here: a config is written to disk, shown in logs and handed to
jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wkflow.arrays.layout import Packing
from wkflow.config_errors import Named, config_key, usage_error
from wkflow.config_values import MagText, MagTexts, Names, Page, Region, Shape
from wkflow.errors import UsageError
from wkflow.geometry import Box, Mag
from wkflow.kernels import Kernel
from wkflow.levels import Level
from wkflow.modes import TRANSFER_MODES, AccessMode, TransferMode
from wkflow.remote.url import is_remote, without_secret
from wkflow.resources import Asked
from wkflow.scheme import SamplingMode, Wanted


class Interpolation(StrEnum):
    """How a block of voxels becomes one; ``default`` follows the layer's category."""

    DEFAULT = "default"
    MEDIAN = "median"
    MODE = "mode"
    MAX = "max"
    MIN = "min"
    NEAREST = "nearest"
    MEAN = "mean"

    def kernel(self, category: str) -> Kernel:
        """The kernel for a layer of ``category`` (``color`` or ``segmentation``)."""
        if self is Interpolation.DEFAULT:
            return Kernel.MODE if category == "segmentation" else Kernel.MEDIAN
        return Kernel(self.value)


_EXCLUDING = (("mags", "coarsest_mag"), ("mags", "fill_gaps"), ("from_mag", "fill_gaps"))
"""Keys of which one at most can be given."""


class Config(BaseModel):
    """Everything that can be asked of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str | None = Field(
        default=None,
        description="Path of a local WEBKNOSSOS dataset, or URL of a dataset on a WEBKNOSSOS server. Relative paths count "
        "from Snakemake's working directory. Tokens do not belong here but into the environment variable WK_TOKEN.",
        examples=["/path/to/dataset", "https://webknossos.org/datasets/Organization_X/my_dataset"],
    )
    transfer_mode: TransferMode | None = Field(
        default=None,
        description="How new mags get to the server: copy, move+symlink, symlink or http. Required for datasets on a server, "
        "ignored for local ones.",
    )
    access_mode: AccessMode | None = Field(
        default=None,
        description="How voxels are read from a server: direct_path, zarr_streaming or proxy_path. Without it direct_path, but "
        "proxy_path if the transfer mode is http. Ignored for local datasets.",
    )
    max_connections: int = Field(
        default=8,
        ge=1,
        le=256,
        description="The most requests to a server at the same time, of all jobs together.",
    )
    overwrite_pending: bool = Field(
        default=False,
        description="Take over new mags that another client has announced to the server and not finished.",
    )
    sampling_mode: SamplingMode = Field(
        default=SamplingMode.ANISOTROPIC,
        description="How axes are halved. anisotropic: towards cubic voxels; isotropic: all axes alike; constant_z: x and y only.",
    )
    layer_names: Names | None = Field(
        default=None,
        min_length=1,
        description="Names of the layers to downsample; without it, all layers.",
        examples=[["color"]],
    )
    coarsest_mag: MagText | None = Field(
        default=None,
        description="The mag to stop at, a number or a dash-separated triple of powers of two; "
        "without it, the first mag with at most 100 voxels along x and y.",
        examples=["16", "16-16-4"],
    )
    from_mag: MagText | None = Field(
        default=None,
        description="An existing mag to start from; without it, the coarsest existing mag of the layer.",
        examples=["1"],
    )
    mags: MagTexts | None = Field(
        default=None,
        min_length=1,
        description="Exactly these mags are made, each from the coarsest mag that divides it, at most 64x64x64 voxels of which "
        "can become one; in place of sampling_mode and coarsest_mag. Those that exist are kept.",
        examples=[["2-2-1", "4-4-2"]],
    )
    fill_gaps: bool = Field(
        default=False,
        description="Start from the finest mag of each layer, so that mags that are missing between existing ones are made, too.",
    )
    overwrite: bool = Field(
        default=False,
        description="Rebuild existing mags, too, from the finest mag or from_mag. The old ones are replaced when all new ones of "
        "the layer are complete and verified. Each start does that again. For local datasets.",
    )
    bbox: Region | None = Field(
        default=None,
        description="Where mag 1 was changed: x, y, z, width, height, depth in its voxels. Existing mags are rebuilt there, and "
        "files elsewhere are kept; otherwise as with overwrite.",
        examples=[[1024, 2048, 0, 300, 300, 50]],
    )
    interpolation_mode: Interpolation = Field(
        default=Interpolation.DEFAULT,
        description="How a block becomes one voxel. default: the median for color layers, the most frequent value (mode) "
        "for segmentations.",
    )
    interpolation_modes: dict[str, Interpolation] = Field(
        default_factory=dict,
        description="Other interpolation modes for some layers, by their names.",
        examples=[{"cells": "mode"}],
    )
    chunk_shape: Shape | None = Field(
        default=None,
        description="Voxels x, y, z of a chunk of new mags; without it 32, 32, 32, in n5 and precomputed as in the existing mag. "
        "Powers of two in wkw, zarr and zarr3.",
        examples=[[64, 64, 64]],
    )
    shard_shape: Shape | None = Field(
        default=None,
        description="Voxels x, y, z of a file of new mags in wkw (a cube) and zarr3, powers of two; other formats have no shards. "
        "Without it 1024, 1024, 1024, or what the environment variable WK_DEFAULT_CHUNKS_PER_SHARD gives.",
        examples=[[512, 512, 512]],
    )
    compression: Literal["zstd", "gzip", "none", "lz4"] | None = Field(
        default=None,
        description="How chunks of new mags are compressed; without it zstd, in n5 as in the existing mag. wkw knows lz4 only, and "
        "precomputed keeps the encoding of the existing mag.",
    )
    compression_level: int | None = Field(
        default=None,
        ge=0,
        le=22,
        description="Compression level: zstd 1 to 22 (default 5), gzip 1 to 9 (6), lz4 3 to 12 (6). Higher is slower and a little "
        "smaller.",
    )
    ome_translation: bool = Field(
        default=False,
        description="Let the OME metadata of zarr and zarr3 layers say where the middle of a voxel lies (translation), so that "
        "viewers such as neuroglancer show coarser mags without a shift. webknossos writes none. For local datasets.",
    )
    threads_per_job: int = Field(
        default=8,
        ge=1,
        le=256,
        description="The most threads that one job uses; Snakemake's --cores bounds all jobs together.",
    )
    job_voxels: int | None = Field(
        default=None,
        ge=1,
        description="How many voxels of a new mag one job makes, rounded up to doubled shards; without it, 1024^3. A run that is "
        "continued keeps the jobs that it has begun with.",
    )
    jobs_per_mag: int | None = Field(
        default=None,
        ge=1,
        description="The most jobs that one mag is cut into; without it, as many as job_voxels gives. A run has at most 1500 jobs, "
        "unless it has more layers than that.",
    )
    job_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads of each job on a cluster; without it, as many as its size is worth, up to threads_per_job.",
    )
    job_memory_mb: int | None = Field(
        default=None,
        ge=1,
        description="Memory of each job on a cluster, in MB, at its first attempt; without it, an estimate. After a failure a "
        "job gets twice as much, and not less than the estimate.",
    )
    job_memory_per_thread_mb: int | None = Field(
        default=None,
        ge=1,
        description="Like job_memory_mb, for each thread of a job.",
    )
    job_minutes: int | None = Field(
        default=None,
        ge=1,
        description="Time limit of each job on a cluster, in minutes, at its first attempt; without it, a generous estimate. "
        "It grows as the memory does.",
    )
    verify: Level = Field(
        default=Level.SAMPLE,
        description="How thoroughly new mags are checked before they become part of the dataset. none: not at all; index: all "
        "files with their sizes, indexes and some checksums; sample: also blocks of each shard, computed once more; full: also "
        "every voxel.",
    )
    ignore_space: bool = Field(
        default=False,
        description="Start even if there seems to be too little room on the disk for the new mags.",
    )
    run_dir: str | None = Field(
        default=None,
        description="Folder for the run's small files (plan, markers, logs); without it, .wkflow/<run> in the dataset. For a "
        "dataset on a server also for new mags on their way; without it, ./wkflow-<name>-<id>.",
        examples=["/scratch/me/run"],
    )
    receipt: str | None = Field(
        default=None,
        description="A file that is written when everything is done and verified, for workflows that depend on this one.",
        examples=["results/downsampled.json"],
    )
    report: Page | None = Field(
        default=None,
        description="A page (HTML) that is written when everything is done: what was made of what, how fast, and pictures. "
        "The same facts for programs, provenance.json, are written beside it.",
        examples=["results/report.html"],
    )
    provenance: bool = Field(
        default=False,
        description="Write provenance.json into the dataset's folder, too. For local datasets.",
    )

    @classmethod
    def of(cls, values: Mapping[str, Any], named: Named = config_key) -> Config:
        """Check ``values``, as read from YAML. Raises :class:`UsageError` that names the key and the accepted values, also for
        options that exclude each other."""
        try:
            config = cls.model_validate(dict(values))
        except ValidationError as error:
            raise usage_error(error, named, cls.model_fields) from None
        for pair in _EXCLUDING:
            if all(getattr(config, key) for key in pair):
                one, other = map(named, pair)
                raise UsageError(
                    f"{one} and {other} exclude each other", where=f"{one}, {other}", hint="leave one of them out"
                )
        if config.is_remote and (replacing := [key for key in ("overwrite", "bbox") if getattr(config, key)]):
            where = named(replacing[0])
            raise UsageError("mags on a server cannot be replaced", where=where, hint="delete them there first")
        return config

    @property
    def is_remote(self) -> bool:
        return self.target is not None and is_remote(self.target)

    @property
    def transfer(self) -> TransferMode:
        """How new mags get to the server. Raises :class:`UsageError` if that is not said."""
        if self.transfer_mode is None:
            modes = "; ".join(f"{mode} (needs {needs})" for mode, needs in TRANSFER_MODES.items())
            raise UsageError(
                "--transfer-mode is required for remote datasets.",
                where="--transfer-mode",
                hint=f"choose one of: {modes}",
            )
        return self.transfer_mode

    @property
    def access(self) -> AccessMode:
        return self.access_mode or AccessMode.default(self.transfer)

    @property
    def asked(self) -> Asked:
        """What is wanted for jobs on a cluster."""
        return Asked(self.job_threads, self.job_memory_mb, self.job_memory_per_thread_mb, self.job_minutes)

    @property
    def target_url(self) -> str:
        """The dataset's URL on a server. Raises :class:`UsageError` if there is a token in it."""
        assert self.target is not None
        if without_secret(self.target)[1]:
            raise UsageError(
                "a token does not belong into a config, which is written to disk",
                where="config key target",
                hint="take it out of the URL, and set the environment variable WKFLOW_SHARING_TOKEN",
            )
        return self.target

    @property
    def target_path(self) -> Path:
        """The dataset's directory, absolute. Raises :class:`UsageError` if there is no target or it is no local path."""
        if not self.target:
            raise UsageError(
                "no dataset is given",
                where="config key target",
                hint="set it: snakemake --configfile my.yaml with a line `target: /path/to/dataset`, "
                "or snakemake --config target=/path/to/dataset",
            )
        return local_target(self.target)

    @property
    def wanted(self) -> Wanted:
        """Which mags to make."""
        return Wanted(
            coarsest=None if self.coarsest_mag is None else Mag.parse(self.coarsest_mag),
            from_mag=None if self.from_mag is None else Mag.parse(self.from_mag),
            fill_gaps=self.fill_gaps,
            overwrite=self.overwrite or self.bbox is not None,
            ladder=tuple(map(Mag.parse, self.mags or ())),
        )

    @property
    def changed(self) -> Box | None:
        """Where mag 1 was changed, in its voxels; None: everywhere."""
        return None if self.bbox is None else Box.of_shape(self.bbox[:3], self.bbox[3:])

    @property
    def packing(self) -> Packing:
        """How new mags are stored."""
        return Packing(self.chunk_shape, self.shard_shape, self.compression, self.compression_level)

    def kernel(self, layer_name: str, category: str) -> Kernel:
        """How voxels of a layer are downsampled."""
        return self.interpolation_modes.get(layer_name, self.interpolation_mode).kernel(category)


def local_target(text: str) -> Path:
    """The absolute path that ``text`` names. Raises :class:`UsageError` for URLs."""
    scheme, separator, _ = text.partition("://")
    if is_remote(text):
        raise UsageError(
            "this is for local datasets only",
            where=f"TARGET {without_secret(text)[0]}",
            hint="give the path of a local dataset",
        )
    if separator and scheme.isalnum():
        raise UsageError(
            f"{scheme}:// is not a place that wkflow can downsample",
            where=f"TARGET {text}",
            hint="give the path of a local dataset",
        )
    if "\0" in text:
        raise UsageError("a path cannot contain a NUL character", where="TARGET")
    return absolute_path(text, f"TARGET {text}")


def absolute_path(text: str | Path, where: str) -> Path:
    """A path of the user, ``~`` filled in. ``where`` names the option for errors."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~name of a user that does not exist
        raise UsageError(str(error), where=where, hint="write the whole path") from None
