"""What pods get of the environment of the process that starts a run: nothing but what is named here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from wkflow.owner import OWNER_VARIABLE
from wkflow.remote.credentials import SHARING_TOKEN, TOKEN
from wkflow.run import Run

_SECRETS = re.compile(
    rf"{TOKEN}|{SHARING_TOKEN}|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|ENDPOINT_URL|REGION|DEFAULT_REGION)(_\w+)?"
    r"|WKFLOW_(HTTP|S3)_\w+",
    re.ASCII,
)


def secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """What jobs on datasets of a server need: tokens, keys, and how servers are asked."""
    return {name: value for name, value in environ.items() if value and _SECRETS.fullmatch(name)}


def of_jobs(run: Run) -> dict[str, str]:
    """Not secret: by whom the dataset is held, and where compiled kernels lie, so that only the first job compiles them."""
    owner = os.environ.get(OWNER_VARIABLE)
    kernels = Path(run.dir.path) / ".snakemake" / "kernels"
    return {"NUMBA_CACHE_DIR": str(kernels), **({OWNER_VARIABLE: owner} if owner else {})}
