"""A dataset on a server, in the words of a local one: new mags are made in ``home``, a folder of this machine."""

from __future__ import annotations

import json
from pathlib import Path

from wkflow.dataset.properties import Dataset, parse_dataset
from wkflow.errors import DatasetError
from wkflow.remote.answers import RemoteDataset


def as_dataset(remote: RemoteDataset, home: Path) -> Dataset:
    """The model of the dataset. Raises ``DatasetError`` if the server cannot use it, or if its properties are not valid."""
    if remote.status is not None:
        raise DatasetError(
            f"the dataset is unusable: {remote.status}",
            where=f"dataset {remote.id}",
            hint="look at the dataset on the server, and repair it there",
        )
    text = json.dumps(remote.data_source, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        return parse_dataset(text, home)
    except DatasetError as error:
        where = str(error.where or "").replace(str(home / "datasource-properties.json"), f"dataset {remote.id}")
        raise type(error)(error.what, where=where, hint="correct the dataset on the server") from None


def folder_name(remote: RemoteDataset) -> str:
    """What the folder of a run is called: the name is shortened to what every file system and shell likes."""
    name = "".join(character if character.isalnum() or character in "._-" else "_" for character in remote.name)
    return f"wkflow-{name[:60].lstrip('.')}-{remote.id}"
