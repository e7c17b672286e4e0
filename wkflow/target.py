"""The dataset that a run is for: a folder of this machine, or a dataset on a server.

New mags for a server are made in a **home**, a folder of this machine that looks like a local dataset to everything else:
it has the lock, the record of the run, and staged mags.
"""

from __future__ import annotations

from pathlib import Path

from wkflow.config import Config, absolute_path
from wkflow.dataset.properties import read_dataset
from wkflow.existing import LocalMags
from wkflow.opened import Opened
from wkflow.remote.url import parse_target


def open_target(config: Config) -> Opened:
    """Look at the dataset's metadata. Raises errors of the target, the server, the metadata."""
    if not config.is_remote:
        dataset = read_dataset(config.target_path)
        return Opened(dataset, LocalMags(dataset))
    from wkflow.on_server import open_on_server

    _ = config.transfer  # without it nothing can be done
    return open_on_server(config.target_url, config.access, config.run_dir, config.max_connections)


def known_home(config: Config) -> Path | None:
    """The dataset, or the folder of a run for a server as far as it can be found without asking the server."""
    if not config.is_remote:
        return config.target_path.resolve()
    if config.run_dir:
        return absolute_path(config.run_dir, "run_dir").resolve()
    dataset_id = parse_target(config.target_url).dataset_id
    found = sorted(Path.cwd().glob(f"wkflow-*-{dataset_id}")) if dataset_id else []
    return found[0] if len(found) == 1 else None
