"""Where reports go. Nothing heavy is imported here: this is asked at each start."""

from __future__ import annotations

from pathlib import Path

from wkflow.config import Config, absolute_path
from wkflow.errors import UsageError
from wkflow.files import read_json
from wkflow.output_file import output_file
from wkflow.remote.credentials import mask
from wkflow.remote.url import parse_target

PROVENANCE = "provenance.json"


def report_place(config: Config) -> Path | None:
    """The page."""
    return absolute_path(config.report, "report") if config.report else None


def provenance_places(config: Config) -> list[Path]:
    """The facts for programs: beside the page, and in the dataset's folder. Raises ``UsageError`` if there is no such folder."""
    page = report_place(config)
    places = [page.with_name(PROVENANCE)] if page else []
    if config.provenance:
        if config.is_remote:
            raise UsageError(
                "a dataset on a server has no folder for provenance.json",
                where="provenance",
                hint="leave it out; with a report it is written beside that",
            )
        places.append(config.target_path.resolve() / PROVENANCE)
    return list(dict.fromkeys(places))


def report_places(config: Config) -> list[Path]:
    """All files that are written, the page first."""
    page = report_place(config)
    return ([page] if page else []) + provenance_places(config)


def check_report_places(config: Config) -> None:
    """What would fail when all is done, is said now. Raises ``UsageError``."""
    if page := report_place(config):
        output_file(page, "--report", makes_folders=True)
    for place in provenance_places(config):
        output_file(place, "--report" if page else "--provenance", makes_folders=True)
        _check_replaceable(place, config)


def _check_replaceable(place: Path, config: Config) -> None:
    """Of the same dataset, a later report replaces the facts of an earlier one; a dataset that was moved brings its own along."""
    if not place.exists():
        return
    found = read_json(place)
    told = found.get("dataset") if isinstance(found, dict) and "schema_version" in found else None
    if told is None:
        problem = "a file is there that was not made by wkflow, and would be replaced"
    elif _is_of_another(str(told), place, config):
        problem = f"it tells of another dataset, {told}, and would be replaced"
    else:
        return
    raise UsageError(problem, where=place, hint="choose another folder for the report, or remove the file")


def _is_of_another(told: str, place: Path, config: Config) -> bool:
    """Whether the facts in ``place`` are of another dataset than the target. Names and links are not looked up on a server."""
    if config.is_remote:
        target = parse_target(config.target_url)
        return told != str(target) if target.dataset_id else not told.startswith(f"{target.base}/")
    root = config.target_path.resolve()
    return place.parent != root and told != mask(str(root))
