"""``wkflow preview``: pictures of a dataset's mags, as one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wkflow.cli.opening import open_any
from wkflow.cli.parameters import Layers, Target, Token, check_nothing_behind
from wkflow.errors import ArrayError
from wkflow.existing import ExistingMags
from wkflow.files import replace_file
from wkflow.modes import AccessMode
from wkflow.opened import Opened
from wkflow.output_file import output_file


def preview(
    context: typer.Context,
    target: Target,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.png", help="The image to write.")] = Path(
        "preview.png"
    ),
    layer_name: Layers = None,
    token: Token = None,
    access_mode: Annotated[
        AccessMode | None,
        typer.Option(
            metavar="MODE",
            help="How to read remote datasets: direct_path, zarr_streaming or proxy_path. "
            "Default: zarr_streaming, which reads the least, and proxy_path for what cannot be streamed.",
        ),
    ] = None,
) -> None:
    """Draw slices through the middle of each mag, in xy, xz and yz, all at the same physical scale.

    Little is read, however large a dataset is: where a slice would be too much, only its middle is shown.
    """
    check_nothing_behind(context)
    _ = token  # it is in the environment: see wkflow.cli.secret
    place = output_file(output, "--output", endings=(".png",))
    from wkflow.preview.pictures import layer_pictures  # images are needed by nothing else
    from wkflow.preview.sheet import png

    opened = open_any(target, access_mode or AccessMode.ZARR_STREAMING)
    layers = opened.dataset.chosen(layer_name)
    pictures = list(layer_pictures(opened.dataset, layers, ways(opened, access_mode)))
    mags = [mag for picture in pictures for mag in picture.mags]
    if not any(mag.panels for mag in mags):
        problem = next((note for mag in mags for note in mag.notes), "there are no mags")
        raise ArrayError(f"nothing can be shown: {problem}", where=target)
    replace_file(place, png(pictures))
    typer.echo(f"{place}: {len(pictures)} layer(s), {len(mags)} mag(s)")


def ways(opened: Opened, access: AccessMode | None) -> list[ExistingMags]:
    """How to find arrays. On a server, what cannot be streamed is read from its files, unless one way is asked for."""
    if opened.on_server is None or access is not None:
        return [opened.existing]
    return [opened.read_by(mode).existing for mode in (AccessMode.ZARR_STREAMING, AccessMode.PROXY_PATH)]
