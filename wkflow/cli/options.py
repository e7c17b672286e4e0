"""The options of ``wkflow downsample``, most of which ``wkflow plan`` has, too: their texts, and how their values are read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wkflow.cli.job_resources import parse_job_resources
from wkflow.config import Interpolation
from wkflow.geometry import Mag
from wkflow.levels import Level
from wkflow.modes import AccessMode, TransferMode
from wkflow.scheme import SamplingMode
from wkflow.strategy import Strategy

_CONTEXT = "WEBKNOSSOS context"
_EXECUTOR = "Executor options"
_MAGS = "Which mags"
_STORAGE = "How mags are stored"
_RUN = "The run"
_OUTPUT = "Output"


def one_of(choices: type[StrEnum]) -> str:
    """For help texts; as metavar, long lists leave no room for the names of options."""
    *most, last = choices
    return f"{', '.join(most)} or {last}"


def _mag(text: str) -> str:
    try:
        return str(Mag.parse(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


def _mags(text: str) -> str:
    return ",".join(_mag(part.strip()) for part in text.split(","))


def _job_resources(text: str) -> dict[str, Any]:
    try:
        return parse_job_resources(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


Sampling = Annotated[
    SamplingMode,
    typer.Option(
        metavar="MODE",
        help="How axes are halved. anisotropic: towards cubic voxels; isotropic: all axes alike; constant_z: x and y only.",
    ),
]
CoarsestMag = Annotated[
    str | None,
    typer.Option(
        parser=_mag,
        metavar="MAG",
        help="The mag to stop at, a number or a dash-separated string (2 or 2-2-2). "
        "Default: the first one with at most 100 voxels along x and y.",
    ),
]

Token = Annotated[
    str | None,
    typer.Option(
        envvar="WK_TOKEN",
        show_envvar=True,
        rich_help_panel=_CONTEXT,
        metavar="TOKEN",
        help="Authentication token, needed for non-public datasets on a server (see webknossos.org/auth/token).",
    ),
]
Transfer = Annotated[
    TransferMode | None,
    typer.Option(
        metavar="MODE",
        rich_help_panel=_CONTEXT,
        help=f"{one_of(TransferMode)}. Required for remote datasets, ignored for local ones.",
    ),
]
Access = Annotated[
    AccessMode | None,
    typer.Option(
        metavar="MODE",
        rich_help_panel=_CONTEXT,
        help=f"How to read remote datasets: {one_of(AccessMode)}. "
        "Default: direct_path, but proxy_path if --transfer-mode is http.",
    ),
]
MaxConnections = Annotated[
    int,
    typer.Option(
        min=1, max=256, metavar="N", rich_help_panel=_CONTEXT, help="The most requests to a server at a time."
    ),
]
OverwritePending = Annotated[
    bool,
    typer.Option(
        "--overwrite-pending",
        rich_help_panel=_CONTEXT,
        help="Take over new mags that another client has announced to the server and not finished.",
    ),
]

Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        rich_help_panel=_EXECUTOR,
        help="Worker threads in all; on a cluster, jobs in flight. Default: the usable CPUs; on a cluster 100.",
    ),
]
Distribution = Annotated[
    Strategy,
    typer.Option(metavar="STRATEGY", rich_help_panel=_EXECUTOR, help=f"Where jobs run: {one_of(Strategy)}."),
]
JobResources = Annotated[
    dict[str, Any] | None,
    typer.Option(
        parser=_job_resources,
        metavar="JSON|KEY=VALUE,...",
        rich_help_panel=_EXECUTOR,
        help='Resources of cluster jobs, as JSON or key=value. Example: \'{"mem": "10M"}\'',
    ),
]

FromMag = Annotated[
    str | None,
    typer.Option(
        parser=_mag,
        metavar="MAG",
        rich_help_panel=_MAGS,
        help="An existing mag to start from. Default: the layer's coarsest.",
    ),
]
Mags = Annotated[
    str | None,
    typer.Option(
        parser=_mags,
        metavar="MAG,...",
        rich_help_panel=_MAGS,
        help="Make exactly these mags, each from the coarsest one that divides it. At most 64x64x64 "
        "voxels become one. Example: 2-2-1,4-4-2",
    ),
]
FillGaps = Annotated[
    bool,
    typer.Option(
        "--fill-gaps", rich_help_panel=_MAGS, help="Also make the mags that are missing between existing ones."
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        rich_help_panel=_MAGS,
        help="Rebuild existing mags, too, from the finest one. They are replaced all at once, when new ones are complete.",
    ),
]
BBox = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,Z,W,H,D",
        rich_help_panel=_MAGS,
        help="Rebuild existing mags only where mag 1 was changed: X,Y,Z is the corner, W,H,D the size, in voxels of mag 1. "
        "Other files are kept.",
    ),
]
Interpolations = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[LAYER=]MODE",
        rich_help_panel=_MAGS,
        help=f"How a block becomes a voxel: {one_of(Interpolation)}; can be given several times, for single layers. "
        "By default the median for color, the mode for segmentation.",
    ),
]

ChunkShape = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,Z",
        rich_help_panel=_STORAGE,
        help="Voxels of a chunk of new mags. Default: 32,32,32; in n5 and precomputed as in the existing mag.",
    ),
]
ShardShape = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,Z",
        rich_help_panel=_STORAGE,
        help="Voxels of a file of new mags, in wkw and zarr3 only. Default: 1024,1024,1024.",
    ),
]
Compression = Annotated[
    str | None,
    typer.Option(
        metavar="CODEC",
        rich_help_panel=_STORAGE,
        help="zstd, gzip or none. Default: zstd; in n5 and precomputed as in the existing mag. wkw is always lz4.",
    ),
]
CompressionLevel = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=_STORAGE,
        help="zstd 1 to 22 (default 5), gzip 1 to 9 (6), lz4 3 to 12 (6). Higher is slower and a little smaller.",
    ),
]
OmeTranslation = Annotated[
    bool,
    typer.Option(
        "--ome-translation",
        rich_help_panel=_STORAGE,
        help="Let OME metadata say where the middle of a voxel lies, so that neuroglancer shows mags without a shift.",
    ),
]

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", rich_help_panel=_RUN, help="Show the plan and touch nothing.")]
RunDir = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        rich_help_panel=_RUN,
        help="Folder for the run's small files: plan, markers, logs. Default: in the dataset.",
    ),
]
Receipt = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        rich_help_panel=_RUN,
        help="File to write when all is done, for workflows that depend on it.",
    ),
]
IgnoreSpace = Annotated[
    bool,
    typer.Option(
        "--ignore-space", rich_help_panel=_RUN, help="Start even if the new mags seem not to fit on the disk."
    ),
]
Verify = Annotated[
    Level,
    typer.Option(
        metavar="LEVEL",
        rich_help_panel=_RUN,
        help=f"How thoroughly new mags are checked before they become part of the dataset: {one_of(Level)}.",
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option("--keep-going", "-k", rich_help_panel=_RUN, help="If a layer fails, finish the others."),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", rich_help_panel=_RUN, help="Discard an unfinished run of the dataset, then start."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", rich_help_panel=_RUN, help="Do not ask before discarding.")]

Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        rich_help_panel=_OUTPUT,
        help="Page to write when all is done: facts, pictures and times; with provenance.json beside it.",
    ),
]
Provenance = Annotated[
    bool,
    typer.Option("--provenance", rich_help_panel=_OUTPUT, help="Write provenance.json into the dataset's folder, too."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="Show errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel=_OUTPUT, help="Show Snakemake's own output.")]
