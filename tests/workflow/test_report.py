"""``--report`` and ``--provenance``: what was done, told when it is done, and again whenever that is asked for."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import DatasetSpec, LayerSpec, make_dataset
from remote.remotely import served
from standin import EDITOR

from workflow.commands import mags, results, snakemake, tree, wkflow

HOSTILE = "<script>alert(1)<img src=x onerror=alert(1)>{{ 7*7 }}"


def test_the_page_and_its_facts_tell_what_was_made(dataset: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = wkflow("downsample", dataset, "--report", page, "--coarsest-mag", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"report: {page}"
    html = page.read_text()
    assert html.count("<img ") == html.count('src="data:image/png;base64,') == 2 * 2 * 3
    assert "2 coarser mags" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts["dataset"] == str(dataset)
    assert facts["options"] == {"coarsest_mag": "2"}
    assert {"wkflow", "python", "snakemake", "tensorstore", "numpy", "numba"} <= facts["versions"][0].keys()
    color, cells = facts["layers"]
    assert (color["interpolation"], cells["interpolation"]) == ("median", "mode")
    (source,), (mag,) = color["sources"], color["mags"]
    assert (source["mag"], source["address"]) == ([1, 1, 1], str(dataset / "color/1"))
    assert len(source["metadata_sha256"]) == 64
    assert (mag["mag"], mag["from"], mag["shape"]) == ([2, 2, 2], [1, 1, 1], [45, 35, 25])
    assert mag["voxels"] == mag["bytes_uncompressed"] == 45 * 35 * 25
    stored = [path.stat().st_size for path in (dataset / "color/2").rglob("*") if path.is_file()]
    assert (mag["bytes"], mag["files"]) == (sum(stored), len(stored))
    assert color["verified"]["levels"] == ["sample"]
    assert color["verified"]["voxels"] > 0
    times = facts["times"]["layers"]["cells"]["2"]
    assert times["job_seconds"] > 0
    assert times["peak_memory_mib"] > 10
    assert facts["times"]["published"] >= facts["times"]["planned"]


def test_a_finished_run_can_be_reported_again_without_doing_anything(dataset: Path, tmp_path: Path) -> None:
    assert wkflow("downsample", dataset).returncode == 0
    before = tree(dataset)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        done = wkflow("downsample", dataset, "--report", tmp_path / name / "report.html")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("nothing to do")
    assert tree(dataset) == before
    for file in ("report.html", "provenance.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_same_done_again_differs_in_times_only(dataset: Path, tmp_path: Path) -> None:
    dataset.rename(tmp_path / "original")
    facts = []
    for _ in range(2):
        shutil.rmtree(dataset, ignore_errors=True)
        shutil.copytree(tmp_path / "original", dataset)
        assert wkflow("downsample", dataset, "--provenance").returncode == 0
        facts.append(json.loads((dataset / "provenance.json").read_text()))
    times = [fact.pop("times") for fact in facts]
    assert facts[0] == facts[1]
    assert times[0] != times[1]


def test_a_run_that_was_interrupted_is_told_as_a_whole(dataset: Path, tmp_path: Path) -> None:
    stopped = wkflow("downsample", dataset, "--", "--until", "downsample")
    assert stopped.returncode == 0, stopped.stderr
    assert len(mags(dataset)) == 1
    page = tmp_path / "report.html"
    assert wkflow("downsample", dataset, "--report", page).returncode == 0
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert [mag["mag"] for mag in facts["layers"][0]["mags"]] == [[2, 2, 2], [4, 4, 4]]
    assert facts["times"]["layers"]["color"]["2"]["job_seconds"] > 0


def test_what_is_not_known_of_an_earlier_run_is_left_out(dataset: Path, tmp_path: Path) -> None:
    assert wkflow("downsample", dataset).returncode == 0
    (run_dir,) = (path.parent for path in dataset.glob(".wkflow/*/plan.json"))
    shutil.rmtree(run_dir / "benchmarks")
    shutil.rmtree(run_dir / "progress")
    (run_dir / "versions.json").write_text("[[], {}, 7]")
    done = wkflow("downsample", dataset, "--report", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "provenance.json").read_text())
    assert facts["times"]["seconds"] is None
    assert facts["times"]["layers"]["color"]["2"]["job_seconds"] is None
    assert "Throughput and memory" not in (tmp_path / "report.html").read_text()


def test_a_dataset_in_which_nothing_had_to_be_made_is_shown(dataset: Path, tmp_path: Path) -> None:
    done = wkflow("downsample", dataset, "--coarsest-mag", "1", "--report", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "report.html").read_text()
    assert "No mags had to be made" in html
    assert html.count("<img ") == 6
    assert json.loads((tmp_path / "provenance.json").read_text())["layers"] == []


def test_of_a_run_whose_record_was_replaced_the_chosen_layers_are_shown(dataset: Path, tmp_path: Path) -> None:
    for layer in ("color", "cells"):
        assert wkflow("downsample", dataset, "--layer-name", layer).returncode == 0
    done = wkflow("downsample", dataset, "--layer-name", "color", "--report", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "report.html").read_text()
    assert "Layer color" in html
    assert "Layer cells" not in html


def test_facts_of_another_dataset_and_other_files_are_not_overwritten(dataset: Path, tmp_path: Path) -> None:
    other = make_dataset(DatasetSpec((LayerSpec(),)), tmp_path / "other")
    for name in ("first.html", "second.html"):  # of the same dataset
        assert wkflow("downsample", "-q", dataset, "--report", tmp_path / name).returncode == 0
    refused = wkflow("downsample", other, "--report", tmp_path / "other.html")
    assert refused.returncode == 2
    assert f"it tells of another dataset, {dataset}, and would be replaced" in refused.stderr
    (tmp_path / "provenance.json").write_text('{"mine": 1}')
    refused = wkflow("downsample", "-n", dataset, "--report", tmp_path / "first.html")
    assert (refused.returncode, "not made by wkflow" in refused.stderr) == (2, True)
    assert (tmp_path / "provenance.json").read_text() == '{"mine": 1}'


def test_a_dataset_that_was_moved_keeps_its_facts_up_to_date(dataset: Path, tmp_path: Path) -> None:
    assert wkflow("downsample", "-q", dataset, "--provenance", "--coarsest-mag", 2).returncode == 0
    moved = dataset.rename(tmp_path / "moved")
    done = wkflow("downsample", "-q", moved, "--provenance")
    assert done.returncode == 0, done.stderr
    assert json.loads((moved / "provenance.json").read_text())["dataset"] == str(moved)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec(HOSTILE), LayerSpec("{x} it's $(touch x)"))), tmp_path / "<b>set")
    done = wkflow("downsample", dataset, "--report", tmp_path / "{report}.html", "--provenance")
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "{report}.html").read_text()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;img src=x onerror=alert(1)&gt;{{ 7*7 }}" in html
    assert json.loads((dataset / "provenance.json").read_text())["layers"][0]["name"] == HOSTILE


@pytest.mark.parametrize("place", ["a folder", "file/report.html", "provenance.json"])
def test_a_place_that_will_not_do_is_said_before_anything_is_done(dataset: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "file").touch()
    before = tree(tmp_path)
    done = wkflow("downsample", dataset, "--report", tmp_path / place)
    assert done.returncode == 2
    assert "what to do" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(tmp_path) == before


def test_a_layer_called_like_the_file_keeps_its_folder(tmp_path: Path) -> None:
    dataset = make_dataset(DatasetSpec((LayerSpec("provenance.json"),)), tmp_path / "dataset")
    done = wkflow("downsample", dataset, "--provenance")
    assert done.returncode == 2
    assert "cannot be written there" in done.stderr


class TestPlainSnakemake:
    @pytest.fixture
    def options(self, dataset: Path, tmp_path: Path) -> list[object]:
        page = tmp_path / "results" / "report.html"
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump({"target": str(dataset), "report": str(page), "provenance": True}))
        return ["--configfile", path]

    def test_a_rule_makes_the_same_and_a_second_run_has_nothing_to_do(
        self, dataset: Path, tmp_path: Path, options: list[object]
    ) -> None:
        done = snakemake(*options, "--cores", 2)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "results/report.html").read_text().count("<img ") == 2 * 3 * 3
        beside = (tmp_path / "results/provenance.json").read_text()
        assert beside == (dataset / "provenance.json").read_text()
        assert "Nothing to be done" in snakemake(*options).stderr
        again = wkflow("downsample", dataset, "--report", tmp_path / "results/report.html")
        assert again.returncode == 0, again.stderr
        assert json.loads((tmp_path / "results/provenance.json").read_text()) == json.loads(beside)

    def test_snakemake_s_own_report_holds_the_page(self, tmp_path: Path, options: list[object]) -> None:
        assert snakemake(*options).returncode == 0
        made = snakemake(*options, "--report", tmp_path / "snakemake.html")
        assert made.returncode == 0, made.stderr
        text = (tmp_path / "snakemake.html").read_text()
        assert "report.html" in text
        assert "how fast, and what it looks like" in text

    def test_lost_benchmarks_are_no_reason_to_do_jobs_again(self, dataset: Path, options: list[object]) -> None:
        assert snakemake(*options).returncode == 0
        before = results(dataset)
        (benchmarks,) = dataset.glob(".wkflow/*/benchmarks")
        assert len(list(benchmarks.iterdir())) == 2
        shutil.rmtree(benchmarks)
        assert "Nothing to be done" in snakemake(*options).stderr
        assert results(dataset) == before

    def test_only_provenance(self, dataset: Path) -> None:
        assert snakemake("--config", f"target={dataset}", "provenance=true", "--cores", 1).returncode == 0
        assert json.loads((dataset / "provenance.json").read_text())["schema_version"] == 1


class TestServer:
    def test_pictures_come_from_the_server_and_no_token_is_told(self, tmp_path: Path) -> None:
        page = tmp_path / "report.html"
        with served(tmp_path) as remote:
            remote.done("--report", page)
            first = page.read_text()
            again = remote.run("--report", page)
            assert again.returncode == 0, again.stderr
            assert page.read_text() == first
            address = f"{remote.server.url}/datasets/{remote.dataset_id}"
        assert first.count("<img ") == 2 * 3 * 3
        facts = json.loads((tmp_path / "provenance.json").read_text())
        assert facts["dataset"] == address
        assert facts["options"]["transfer_mode"] == "http"
        assert all(source["address"].startswith("http://127.0.0.1:") for source in sources(facts))
        for path in (page, tmp_path / "provenance.json", *files(remote.home)):
            assert EDITOR.encode() not in path.read_bytes()

    def test_there_is_no_folder_for_provenance(self, tmp_path: Path) -> None:
        with served(tmp_path) as remote:
            done = remote.run("--provenance")
        assert done.returncode == 2
        assert "has no folder" in done.stderr


def sources(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [source for layer in facts["layers"] for source in layer["sources"]]


def files(folder: Path) -> list[Path]:
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
