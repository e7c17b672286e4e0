"""``wkflow downsample``: options -> config -> Snakemake."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wkflow import leftovers
from wkflow.cli import dry_run, launch
from wkflow.cli.discard import discard
from wkflow.cli.job_resources import parse_job_resources
from wkflow.cli.parameters import Layers, Target
from wkflow.config import Config, Interpolation, absolute_path, local_target
from wkflow.errors import UsageError
from wkflow.geometry import Mag
from wkflow.levels import Level
from wkflow.lock import hold
from wkflow.modes import AccessMode, TransferMode
from wkflow.remote.url import is_remote
from wkflow.run import current_run
from wkflow.scheme import SamplingMode
from wkflow.strategy import KUBERNETES, Execution, Strategy, execution
from wkflow.target import open_target

_CONTEXT = "WEBKNOSSOS context"
_EXECUTOR = "Executor options"
_MAGS = "Which mags"
_STORAGE = "How mags are stored"
_RUN = "The run"
_OUTPUT = "Output"
_PATHS = ("run_dir", "receipt", "report")


def _one_of(choices: type[StrEnum]) -> str:
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


def _interpolation(texts: list[str]) -> tuple[Interpolation, dict[str, Interpolation]]:
    """``MODE`` is for all layers, ``LAYER=MODE`` for one."""
    everywhere, of_layers = Interpolation.DEFAULT, {}
    for text in texts:
        layer, is_of_layer, mode = text.rpartition("=")
        if mode not in list(Interpolation):
            raise UsageError(
                f"{mode!r} is not one of {_one_of(Interpolation)}",
                where=f"--interpolation-mode {text}",
                hint="write MODE, or LAYER=MODE for one layer",
            )
        if is_of_layer:
            of_layers[layer] = Interpolation(mode)
        else:
            everywhere = Interpolation(mode)
    return everywhere, of_layers


def _job_resources(text: str) -> dict[str, Any]:
    try:
        return parse_job_resources(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text}: {error}") from None


def _common_resources() -> dict[str, Any] | None:
    text = os.environ.get(KUBERNETES, "").strip()
    try:
        return parse_job_resources(text) if text else None
    except ValueError as error:
        raise UsageError(
            str(error), where=f"environment variable {KUBERNETES}", hint="correct it, or unset it"
        ) from None


def downsample(  # noqa: PLR0913 the options of the command
    context: typer.Context,
    target: Target,
    sampling_mode: Annotated[
        SamplingMode,
        typer.Option(
            metavar="MODE",
            help=f"How axes are halved: each by its own resolution, all alike, or x and y only ({_one_of(SamplingMode)}).",
        ),
    ] = SamplingMode.ANISOTROPIC,
    layer_name: Layers = None,
    coarsest_mag: Annotated[
        str | None,
        typer.Option(
            parser=_mag,
            metavar="MAG",
            help="The mag to stop at, a number or a dash-separated string (2 or 2-2-2). "
            "Default: the first one with at most 100 voxels along x and y.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="WK_TOKEN",
            show_envvar=True,
            rich_help_panel=_CONTEXT,
            metavar="TOKEN",
            help="Authentication token, needed for non-public datasets on a server (see webknossos.org/auth/token).",
        ),
    ] = None,
    transfer_mode: Annotated[
        TransferMode | None,
        typer.Option(
            metavar="MODE",
            rich_help_panel=_CONTEXT,
            help=f"{_one_of(TransferMode)}. Required for remote datasets, ignored for local ones.",
        ),
    ] = None,
    access_mode: Annotated[
        AccessMode | None,
        typer.Option(
            metavar="MODE",
            rich_help_panel=_CONTEXT,
            help=f"How to read remote datasets: {_one_of(AccessMode)}. "
            "Default: direct_path, but proxy_path if --transfer-mode is http.",
        ),
    ] = None,
    max_connections: Annotated[
        int,
        typer.Option(
            min=1, max=256, metavar="N", rich_help_panel=_CONTEXT, help="The most requests to a server at a time."
        ),
    ] = 8,
    overwrite_pending: Annotated[
        bool,
        typer.Option(
            "--overwrite-pending",
            rich_help_panel=_CONTEXT,
            help="Take over new mags that another client has announced to the server and not finished.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=_EXECUTOR,
            help="Worker threads in all; on a cluster, jobs in flight. Default: the usable CPUs; on a cluster 100.",
        ),
    ] = None,
    distribution_strategy: Annotated[
        Strategy,
        typer.Option(metavar="STRATEGY", rich_help_panel=_EXECUTOR, help=f"Where jobs run: {_one_of(Strategy)}."),
    ] = Strategy.MULTIPROCESSING,
    job_resources: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=_job_resources,
            metavar="JSON|KEY=VALUE,...",
            rich_help_panel=_EXECUTOR,
            help='Resources of cluster jobs, as JSON or key=value. Example: \'{"mem": "10M"}\'',
        ),
    ] = None,
    dry_run_: Annotated[
        bool, typer.Option("--dry-run", "-n", rich_help_panel=_RUN, help="Show the plan and touch nothing.")
    ] = False,
    from_mag: Annotated[
        str | None,
        typer.Option(
            parser=_mag,
            metavar="MAG",
            rich_help_panel=_MAGS,
            help="An existing mag to start from. Default: the layer's coarsest.",
        ),
    ] = None,
    mags: Annotated[
        str | None,
        typer.Option(
            parser=_mags,
            metavar="MAG,...",
            rich_help_panel=_MAGS,
            help="Make exactly these mags, each from the coarsest one that divides it. Example: 2-2-1,4-4-2",
        ),
    ] = None,
    fill_gaps: Annotated[
        bool,
        typer.Option(
            "--fill-gaps", rich_help_panel=_MAGS, help="Also make the mags that are missing between existing ones."
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            rich_help_panel=_MAGS,
            help="Make existing mags anew, too, from the finest one. They are replaced all at once, when new ones are complete.",
        ),
    ] = False,
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z,W,H,D",
            rich_help_panel=_MAGS,
            help="Make existing mags anew where mag 1 was changed: corner and shape in voxels of mag 1. Other files are kept.",
        ),
    ] = None,
    interpolation_mode: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LAYER=]MODE",
            rich_help_panel=_MAGS,
            help=f"How a block becomes a voxel: {_one_of(Interpolation)}; can be given several times, for single layers. "
            "By default the median for color, the mode for segmentation.",
        ),
    ] = None,
    chunk_shape: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z", rich_help_panel=_STORAGE, help="Voxels of a chunk of new mags. Default: 32,32,32."
        ),
    ] = None,
    shard_shape: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,Z", rich_help_panel=_STORAGE, help="Voxels of a file of new mags. Default: 1024,1024,1024."
        ),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option(
            metavar="CODEC", rich_help_panel=_STORAGE, help="zstd, gzip or none. Default: zstd; wkw is always lz4."
        ),
    ] = None,
    compression_level: Annotated[
        int | None,
        typer.Option(
            metavar="N", rich_help_panel=_STORAGE, help="zstd 1 to 22 (default 5), gzip 1 to 9 (6), lz4 3 to 12 (6)."
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", rich_help_panel=_RUN, help="Folder for plan, markers and logs. Default: in the dataset."
        ),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=_RUN,
            help="File to write when all is done, for workflows that depend on it.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            rich_help_panel=_OUTPUT,
            help="Page to write when all is done: facts, pictures and times; with provenance.json beside it.",
        ),
    ] = None,
    provenance: Annotated[
        bool,
        typer.Option(
            "--provenance", rich_help_panel=_OUTPUT, help="Write provenance.json into the dataset's folder, too."
        ),
    ] = False,
    ignore_space: Annotated[
        bool,
        typer.Option(
            "--ignore-space", rich_help_panel=_RUN, help="Start even if the new mags seem not to fit on the disk."
        ),
    ] = False,
    verify: Annotated[
        Level,
        typer.Option(
            metavar="LEVEL",
            rich_help_panel=_RUN,
            help=f"How thoroughly results are verified before they are published: {_one_of(Level)}.",
        ),
    ] = Level.SAMPLE,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", "-k", rich_help_panel=_RUN, help="If a layer fails, finish the others."),
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", rich_help_panel=_RUN, help="Discard an unfinished run of the dataset, then start."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", rich_help_panel=_RUN, help="Do not ask before discarding.")] = (
        False
    ),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="Show errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", rich_help_panel=_OUTPUT, help="Show Snakemake's own output.")
    ] = False,
) -> None:
    """Create coarser magnifications of a WEBKNOSSOS dataset.

    Everything after -- is handed on to Snakemake.
    """
    config, how = asked(locals())
    if restart and discard_unfinished(config, yes=yes, dry_run=dry_run_, quiet=quiet) and dry_run_:
        typer.echo("then the run starts anew; nothing was touched")
        return
    run = current_run(config)
    if dry_run_:
        dry_run.show(run, config, how)
        return
    how.check(run)
    _ = token  # it is in the environment: see wkflow.cli.secret
    launch.run_pipeline(run, config, how, launch.Output(quiet=quiet, verbose=verbose), context.obj or [])


def asked(options: Mapping[str, Any]) -> tuple[Config, Execution]:
    """What the options of the command say, by the names of its parameters. Raises :class:`UsageError`."""
    how = execution(
        options["distribution_strategy"],
        options["jobs"],
        options["job_resources"],
        keep_going=options["keep_going"],
        common=_common_resources(),
    )
    target, layers, mags = options["target"], options["layer_name"], options["mags"]
    everywhere, of_layers = _interpolation(options["interpolation_mode"] or [])
    values = {
        "target": target if is_remote(target) else str(local_target(target)),
        "layer_names": tuple(layers) if layers else None,
        "mags": tuple(mags.split(",")) if mags else None,
        "interpolation_mode": everywhere,
        "interpolation_modes": of_layers,
        **{name: str(absolute_path(options[name], f"--{name.replace('_', '-')}")) for name in _PATHS if options[name]},
    }
    given = {name: value for name, value in options.items() if value is not None}
    others = {name: value for name, value in given.items() if name in Config.model_fields and name not in _PATHS}
    return Config.of({**how.options, **others, **values}), how


def discard_unfinished(config: Config, *, yes: bool, dry_run: bool, quiet: bool) -> bool:
    """Delete what the dataset's unfinished run has made. Returns whether there was something to delete."""
    dataset = open_target(config).dataset
    places = leftovers.of_unfinished(dataset)
    if places:
        if not dry_run:
            hold(dataset.root)
        discard(dataset, places, "--restart", yes=yes, dry_run=dry_run, quiet=quiet)
    return bool(places)
