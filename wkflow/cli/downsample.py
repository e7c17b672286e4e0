"""``wkflow downsample``: options -> config -> Snakemake."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from wkflow import leftovers
from wkflow.cli import dry_run, launch, options
from wkflow.cli.discard import discard
from wkflow.cli.job_resources import parse_job_resources
from wkflow.cli.parameters import Layers, Target
from wkflow.cli.refused import possible_run
from wkflow.config import Config, Interpolation, absolute_path, local_target
from wkflow.errors import UsageError
from wkflow.levels import Level
from wkflow.lock import hold
from wkflow.output_file import output_file
from wkflow.remote.url import is_remote
from wkflow.report.places import check_report_places
from wkflow.scheme import SamplingMode
from wkflow.strategy import KUBERNETES, Execution, Strategy, execution
from wkflow.target import open_target

_PATHS = ("run_dir", "receipt", "report")
_NO_RUN = re.compile(
    r"--(dry|dag|rulegraph|filegraph|d3dag|summary|detailed-s|list|lint|unlock|help|version)|-[npqkFrR]*[nhvlDS][npqkFrR]*$"
)
"""Arguments of Snakemake with which it only shows something, also if they are shortened or joined."""
_OPTIONS = {"target": "TARGET", "layer_names": "--layer-name", "interpolation_modes": "--interpolation-mode"}
"""Keys of the config that are called otherwise on the command line."""


def _interpolation(texts: list[str]) -> tuple[Interpolation, dict[str, Interpolation]]:
    """``MODE`` is for all layers, ``LAYER=MODE`` for one."""
    everywhere, of_layers = Interpolation.DEFAULT, {}
    for text in texts:
        layer, is_of_layer, mode = text.rpartition("=")
        if mode not in list(Interpolation):
            raise UsageError(
                f"{mode!r} is not one of {options.one_of(Interpolation)}",
                where=f"--interpolation-mode {text}",
                hint="write MODE, or LAYER=MODE for one layer",
            )
        if is_of_layer:
            of_layers[layer] = Interpolation(mode)
        else:
            everywhere = Interpolation(mode)
    return everywhere, of_layers


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
    sampling_mode: options.Sampling = SamplingMode.ANISOTROPIC,
    layer_name: Layers = None,
    coarsest_mag: options.CoarsestMag = None,
    token: options.Token = None,
    transfer_mode: options.Transfer = None,
    access_mode: options.Access = None,
    max_connections: options.MaxConnections = 8,
    overwrite_pending: options.OverwritePending = False,
    jobs: options.Jobs = None,
    distribution_strategy: options.Distribution = Strategy.MULTIPROCESSING,
    job_resources: options.JobResources = None,
    dry_run_: options.DryRun = False,
    from_mag: options.FromMag = None,
    mags: options.Mags = None,
    fill_gaps: options.FillGaps = False,
    overwrite: options.Overwrite = False,
    bbox: options.BBox = None,
    interpolation_mode: options.Interpolations = None,
    chunk_shape: options.ChunkShape = None,
    shard_shape: options.ShardShape = None,
    compression: options.Compression = None,
    compression_level: options.CompressionLevel = None,
    ome_translation: options.OmeTranslation = False,
    run_dir: options.RunDir = None,
    receipt: options.Receipt = None,
    report: options.Report = None,
    provenance: options.Provenance = False,
    ignore_space: options.IgnoreSpace = False,
    verify: options.Verify = Level.SAMPLE,
    keep_going: options.KeepGoing = False,
    restart: options.Restart = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Create coarser magnifications of a WEBKNOSSOS dataset.

    Everything after -- is handed on to Snakemake.
    """
    config, how = asked(locals())
    if restart:
        _check_runs(context.obj or [])
    if config.receipt:
        output_file(config.receipt, "--receipt", makes_folders=True)
    check_report_places(config)
    if restart and discard_unfinished(config, yes=yes, dry_run=dry_run_, quiet=quiet) and dry_run_:
        typer.echo("then the run starts anew; nothing was touched")
        return
    _ = token  # it is in the environment: see wkflow.cli.secret
    possible = possible_run(config, keep_going=keep_going, to_look=dry_run_)
    with possible.told():
        if dry_run_:
            dry_run.show(possible.run, possible.config, how)
        else:
            how.check(possible.run)
            output = launch.Output(quiet=quiet, verbose=verbose)
            launch.run_pipeline(possible.run, possible.config, how, output, context.obj or [])


def _check_runs(extra: Sequence[str]) -> None:
    """Nothing is deleted for a run that is not to be."""
    if no_run := [argument for argument in extra if _NO_RUN.match(argument)]:
        raise UsageError(
            f"--restart deletes an unfinished run, but {no_run[0]} asks Snakemake not to run",
            where=f"-- {' '.join(extra)}",
            hint="to see what would be done, write --restart --dry-run, without --",
        )


def asked(given: Mapping[str, Any]) -> tuple[Config, Execution]:
    """What the options of the command say, by the names of its parameters. Raises :class:`UsageError`."""
    how = execution(
        given["distribution_strategy"],
        given["jobs"],
        given["job_resources"],
        keep_going=given["keep_going"],
        common=_common_resources(),
    )
    target, layers, mags = given["target"], given["layer_name"], given["mags"]
    everywhere, of_layers = _interpolation(given["interpolation_mode"] or [])
    values = {
        "target": target if is_remote(target) else str(local_target(target)),
        "layer_names": tuple(layers) if layers else None,
        "mags": tuple(mags.split(",")) if mags else None,
        "interpolation_mode": everywhere,
        "interpolation_modes": of_layers,
        **{name: str(absolute_path(given[name], f"--{name.replace('_', '-')}")) for name in _PATHS if given[name]},
    }
    others = {
        name: value
        for name, value in given.items()
        if value is not None and name in Config.model_fields and name not in _PATHS
    }

    def named(key: str) -> str:
        return "--jobs, --job-resources" if key in how.options else _OPTIONS.get(key, f"--{key.replace('_', '-')}")

    return Config.of({**how.options, **others, **values}, named), how


def discard_unfinished(config: Config, *, yes: bool, dry_run: bool, quiet: bool) -> bool:
    """Delete what the dataset's unfinished run has made. Returns whether there was something to delete."""
    dataset = open_target(config).dataset
    places = leftovers.of_unfinished(dataset)
    if places:
        if not dry_run:
            hold(dataset.root)
        discard(dataset, places, "--restart", yes=yes, dry_run=dry_run, quiet=quiet)
    return bool(places)
