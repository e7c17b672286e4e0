"""Examples at the end of each command's help."""

from __future__ import annotations

from collections.abc import Mapping

URL = "https://webknossos.org/datasets/Organization_X/my_dataset"

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "downsample": (
        ("all layers, until a mag has at most 100 voxels along x and y", "/path/to/dataset"),
        ("look first", "--dry-run /path/to/dataset"),
        ("one layer, up to mag 16", "--layer-name color --coarsest-mag 16 /path/to/dataset"),
        ("mag 1 was edited: rebuild the other mags", "--overwrite /path/to/dataset"),
        ("with a page that shows what was done", "--report report.html /path/to/dataset"),
        ("a dataset on a server; the token is in WK_TOKEN", f"--transfer-mode http {URL}"),
        ("on a cluster", "--distribution-strategy slurm --job-resources mem=4G /path/to/dataset"),
    ),
    "plan": (
        ("what would be made", "/path/to/dataset"),
        ("as a drawing", "--dag plan.svg /path/to/dataset"),
        ("for programs", "--json --coarsest-mag 32 /path/to/dataset"),
    ),
    "status": (("is it still at work?", "/path/to/dataset"), ("for programs", "--json /path/to/dataset")),
    "info": (("which mags are there?", "/path/to/dataset"), ("on a server", URL)),
    "preview": (
        ("slices of all mags as an image", "-o preview.png /path/to/dataset"),
        ("one layer of a dataset on a server", f"--layer-name color {URL}"),
    ),
    "verify": (
        ("a few blocks of each mag", "/path/to/dataset"),
        ("every voxel, with a report", "--full --report report.json /path/to/dataset"),
    ),
    "clean": (("what would go?", "--dry-run /path/to/dataset"), ("without being asked", "--yes /path/to/dataset")),
}
"""For each command what one may want, and the arguments for that."""


def examples(command: str) -> str:
    """For the end of the help."""
    lines = (
        f"  {purpose}{'' if purpose.endswith('?') else ':'}\n    wkflow {command} {arguments}"
        for purpose, arguments in EXAMPLES[command]
    )
    return "\n".join(["Examples", *lines])
