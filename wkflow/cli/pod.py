"""What pods run: ``python -m wkflow.cli.pod VERSIONS -m snakemake ARGUMENTS``: Snakemake, in an image of the right versions."""

from __future__ import annotations

import sys

from wkflow.cli.snakemake import hide_what_is_not_local, run
from wkflow.kubernetes.image import arguments_here, versions


def main() -> None:
    expected, _, _, *arguments = sys.argv[1:]
    if expected != versions():
        sys.exit(
            "error: the container image has other versions than the host that has submitted this job\n"
            f"  where: image: {versions()}; host: {expected}\n"
            "  what to do: build the image anew from the same version of wkflow (envs/Containerfile), or install that one here"
        )
    hide_what_is_not_local()
    run(arguments_here(arguments))


if __name__ == "__main__":
    main()
