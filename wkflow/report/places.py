"""Where reports go. Nothing heavy is imported here: this is asked at each start."""

from __future__ import annotations

import os
from pathlib import Path

from wkflow.config import Config, absolute_path
from wkflow.errors import UsageError
from wkflow.plan import Plan

PROVENANCE = "provenance.json"


def report_place(config: Config) -> Path | None:
    """The page."""
    return absolute_path(config.report, "report") if config.report else None


def provenance_places(config: Config, plan: Plan) -> list[Path]:
    """The facts for programs: beside the page, and in the dataset's folder. Raises ``UsageError`` if there is no such folder."""
    page = report_place(config)
    places = [page.with_name(PROVENANCE)] if page else []
    if config.provenance:
        if plan.remote or config.is_remote:
            raise UsageError(
                "a dataset on a server has no folder for provenance.json",
                where="provenance",
                hint="leave it out; with a report it is written beside that",
            )
        places.append(config.target_path.resolve() / PROVENANCE)
    return list(dict.fromkeys(places))


def report_places(config: Config, plan: Plan) -> list[Path]:
    """All files that are written, the page first."""
    page = report_place(config)
    return ([page] if page else []) + provenance_places(config, plan)


def check_report_places(config: Config, plan: Plan) -> None:
    """What would fail when all is done, is said now. Raises ``UsageError``."""
    for place in report_places(config, plan):
        parent = next(path for path in place.parents if path.exists())
        if place.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise UsageError(
                "the report cannot be written there", where=place, hint="choose another place for the report"
            )
        if place == report_place(config) and place.name == PROVENANCE:
            raise UsageError(
                "the report is a page, and provenance.json is written beside it",
                where=place,
                hint="call it report.html",
            )
