"""Write what was asked for when a run is done: the page, and the facts as JSON."""

from __future__ import annotations

from collections.abc import Collection

from wkflow.config import Config
from wkflow.existing import ExistingMags
from wkflow.files import replace_file, write_json
from wkflow.modes import AccessMode
from wkflow.opened import Opened
from wkflow.preview.pictures import layer_pictures
from wkflow.report.facts import Facts, gather
from wkflow.report.histograms import Samples
from wkflow.report.page import page
from wkflow.report.places import provenance_places, report_place
from wkflow.report.provenance import provenance
from wkflow.run import Run
from wkflow.target import open_target


def write_reports(run: Run, config: Config) -> None:
    """Raises errors of the target, and ``OSError`` if a file cannot be written."""
    opened = open_target(config)
    url = opened.on_server.url if opened.on_server else None
    facts = gather(run.plan, run.dir, config, opened.dataset, url)
    if place := report_place(config):
        chosen = {layer.name for layer in facts.layers} or set(config.layer_names or ())
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, _page(facts, opened, chosen).encode())
    for place in provenance_places(config):
        write_json(place, provenance(facts))


def _page(facts: Facts, opened: Opened, chosen: Collection[str]) -> str:
    """With pictures of the chosen layers, or of all if there are none: those that got new mags, else those that were asked for."""
    layers = [layer for layer in opened.dataset.layers if layer.name in chosen or not chosen]
    samples = Samples()
    pictures = list(layer_pictures(opened.dataset, layers, _ways(opened), look=samples.look))
    return page(facts, pictures, {layer.name: samples.histograms(layer) for layer in layers})


def _ways(opened: Opened) -> list[ExistingMags]:
    """New mags for a server are not here any more: they are read from there, in the way that reads the least."""
    if opened.on_server is None:
        return [opened.existing]
    modes = [AccessMode.ZARR_STREAMING, AccessMode.PROXY_PATH]
    if opened.on_server.access is AccessMode.DIRECT_PATH:
        modes.insert(0, AccessMode.DIRECT_PATH)
    return [opened.read_by(mode).existing for mode in modes]
