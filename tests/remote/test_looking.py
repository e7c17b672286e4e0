"""Commands that only look, and reports, of datasets on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import EDITOR

from remote.remotely import Remote, clean_environment, served

NEW = {"color": [[2, 2, 2], [4, 4, 4]], "seg": [[2, 2, 2], [4, 4, 4]]}


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with served(tmp_path) as one:
        yield one


def look(remote: Remote, command: str, *options: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "wkflow", command, *map(str, options), remote.target]
    environment = clean_environment({"WK_TOKEN": EDITOR})
    return subprocess.run(
        arguments, cwd=remote.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_report_has_facts_and_pictures_of_the_mags_on_the_server(remote: Remote) -> None:
    page, facts = remote.folder / "report.html", remote.folder / "provenance.json"
    remote.done("--report", page)
    text, told = page.read_text(), json.loads(facts.read_text())
    assert told["dataset"] == f"{remote.server.url}/datasets/{remote.dataset_id}"
    assert {layer["name"]: [mag["mag"] for mag in layer["mags"]] for layer in told["layers"]} == NEW
    assert text.count("<img ") == 2 * 3 * 3  # layers, mags with the first one, directions
    assert EDITOR not in text + facts.read_text()


def test_facts_of_another_dataset_are_not_overwritten(remote: Remote) -> None:
    facts = remote.folder / "provenance.json"
    remote.done("--report", remote.folder / "report.html")
    remote.done("--report", remote.folder / "again.html")
    told = json.loads(facts.read_text())
    for other in ("/data/cortex", told["dataset"].replace(remote.dataset_id, "0" * 24)):
        facts.write_text(json.dumps({**told, "dataset": other}))
        refused = remote.run("--report", remote.folder / "report.html")
        assert refused.returncode == 2
        assert f"it tells of another dataset, {other}" in refused.stderr


def test_a_plan_and_the_state_of_a_run(remote: Remote) -> None:
    planned = look(remote, "plan", "--transfer-mode", "http", "--coarsest-mag", "4", "--json")
    assert planned.returncode == 0, planned.stderr
    mags = [(mag["layer"], mag["mag"]) for mag in json.loads(planned.stdout)["mags"]]
    assert sorted(mags) == [(layer, mag) for layer, new in NEW.items() for mag in new]
    assert not list(remote.folder.iterdir())
    remote.done()
    state = look(remote, "status")
    assert state.returncode == 0, state.stderr
    assert "done" in state.stdout


def test_the_mags_of_a_dataset_are_listed(remote: Remote) -> None:
    remote.done()
    shown = look(remote, "info", "--json")
    assert shown.returncode == 0, shown.stderr
    layers = json.loads(shown.stdout)["layers"]
    assert {layer["name"]: [mag["mag"] for mag in layer["mags"]] for layer in layers} == {
        layer: [[1, 1, 1], *new] for layer, new in NEW.items()
    }
