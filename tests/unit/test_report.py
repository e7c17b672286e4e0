"""What a report tells: times from benchmarks and progress files, facts from markers, drawings from numbers."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import runs
from datasets import DatasetSpec, LayerSpec, make_dataset

from wkflow.config import Config
from wkflow.dataset.properties import Layer, read_dataset
from wkflow.errors import UsageError
from wkflow.existing import LocalMags
from wkflow.geometry import Mag
from wkflow.preview.planes import PLANES, Window
from wkflow.preview.slices import Slices
from wkflow.report.charts import bars, steps
from wkflow.report.facts import Facts, gather
from wkflow.report.histograms import Bar, Samples
from wkflow.report.measured import JobTime, busy_seconds, job_times, moments
from wkflow.report.page import _seconds
from wkflow.report.places import check_report_places, provenance_places, report_places
from wkflow.report.provenance import provenance
from wkflow.run import Run
from wkflow.versions import note_versions, noted_versions, versions

SPEC = DatasetSpec((LayerSpec(size=(70, 60, 50)), LayerSpec("cells", "segmentation", "uint32", size=(70, 60, 50))))
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_dataset(SPEC, tmp_path / "dataset")


@pytest.fixture
def run(path: Path) -> Run:
    return runs.downsample(path)


def facts(run: Run, **options: object) -> Facts:
    path = run.plan.dataset
    return gather(run.plan, run.dir, Config.of({"target": path, **options}), read_dataset(Path(path)))


def benchmark(run: Run, job_id: str, seconds: object, ended: float, peak: object = 100.0) -> None:
    path = run.dir.benchmark(job_id)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:01\t{peak}\t1\t1\t1\t1\t1\t1\t1.5\n")
    os.utime(path, (ended, ended))


class TestMeasured:
    def test_benchmarks_and_progress_files_tell_of_each_job(self, run: Run) -> None:
        job = next(run.plan.jobs())
        benchmark(run, job.id, 12.5, 1000)
        (time, *_) = job_times(run.plan, run.dir)
        assert (time.job.id, time.seconds, time.ended, time.cpu_seconds) == (job.id, 12.5, 1000.0, 1.5)
        told = json.loads(run.dir.progress(job.id).read_text())
        assert time.peak_mb == told["peak_mb"]
        run.dir.progress(job.id).unlink()
        assert job_times(run.plan, run.dir)[0].peak_mb == 100.0

    def test_the_last_attempt_counts(self, run: Run) -> None:
        job = next(run.plan.jobs())
        benchmark(run, job.id, "1", 1000)
        with run.dir.benchmark(job.id).open("a") as file:
            file.write("7\t0:00:07\t1\t1\t1\t1\t1\t1\t1\t1\n")
        assert job_times(run.plan, run.dir)[0].seconds == 7

    @pytest.mark.parametrize(
        "content", ["", "s\n", "\0", "s\tmax_rss\nNA\tNA\n", "s\nnan\n", "s\n-1\n", "s\n1e999\n", "{}"]
    )
    def test_what_makes_no_sense_is_not_known(self, run: Run, content: str) -> None:
        job = next(run.plan.jobs())
        run.dir.progress(job.id).write_text('{"seconds": "x", "peak_mb": [], "voxels": 3}')
        benchmark(run, job.id, 1, 1000)
        run.dir.benchmark(job.id).write_text(content)
        (time, *_) = job_times(run.plan, run.dir)
        assert (time.seconds, time.peak_mb, time.cpu_seconds) == (None, None, None)

    def test_a_link_in_place_of_a_benchmark_is_not_followed(self, run: Run, tmp_path: Path) -> None:
        job = next(run.plan.jobs())
        (tmp_path / "elsewhere").write_text(f"{HEADER}5\t\t\t\t\t\t\t\t\t\n")
        run.dir.benchmark(job.id).parent.mkdir(exist_ok=True)
        run.dir.benchmark(job.id).symlink_to(tmp_path / "elsewhere")
        run.dir.progress(job.id).unlink()
        assert job_times(run.plan, run.dir)[0].seconds is None

    def test_mags_of_one_job_share_its_time_by_their_voxels(self, run: Run) -> None:
        job = next(job for job in run.plan.jobs() if len(job.step.targets) > 1)
        time = JobTime(job, 10.0, 1.0, None, None)
        parts = [time.seconds_of(mag) for mag in job.step.targets]
        assert None not in parts
        assert sum(part or 0 for part in parts) == pytest.approx(10)
        assert parts == sorted(parts, key=lambda part: part or 0, reverse=True)

    def test_jobs_at_the_same_time_add_up_and_pauses_are_left_out(self, run: Run) -> None:
        job = next(run.plan.jobs())
        # 0 to 10, 5 to 15, a pause, 100 to 110
        times = [JobTime(job, 10.0, end, mb, None) for end, mb in ((1010.0, 100), (1015.0, 50), (1110.0, 10))]
        rate = times[0].voxels / 10
        course = moments(times)
        assert [(moment.start, moment.jobs, moment.memory_mb) for moment in course] == [
            (0, 1, 100),
            (5, 2, 150),
            (10, 1, 50),
            (15, 1, 10),
            (25, 0, 0),
        ]
        assert [moment.voxels_per_second for moment in course] == pytest.approx([rate, 2 * rate, rate, rate, 0])
        assert busy_seconds(times) == 25

    def test_without_times_there_is_no_course(self, run: Run) -> None:
        times = [JobTime(job, 1.0, None, None, None) for job in run.plan.jobs()]
        assert moments(times) == []
        assert busy_seconds(times) is None
        assert busy_seconds([]) is None


class TestFacts:
    def test_markers_tell_what_is_stored_and_how_it_was_verified(self, run: Run, path: Path) -> None:
        color, cells = facts(run).layers
        stored = [file.stat().st_size for file in (path / "color/2").rglob("*") if file.is_file()]
        first = color.mags[0]
        assert (first.mag, first.source, first.shape) == (Mag(2, 2, 2), Mag(1, 1, 1), (35, 30, 25))
        assert (first.stored_bytes, first.files, first.raw_bytes) == (sum(stored), len(stored), 35 * 30 * 25)
        assert cells.mags[0].raw_bytes == 4 * 35 * 30 * 25
        assert first.compression == first.raw_bytes / sum(stored)
        assert color.verified is not None
        assert color.verified.levels == ("sample",)
        assert color.verified.blocks > 0
        assert (color.kernel, cells.kernel) == ("median", "mode")

    def test_seconds_and_rates_of_mags_come_from_their_jobs(self, run: Run) -> None:
        for job in run.plan.jobs():
            benchmark(run, job.id, 2.0, 1000)
        mag = facts(run).layers[0].mags[0]
        assert mag.jobs == len(
            [job for job in run.plan.jobs() if job.layer.id == "l0" and Mag(2, 2, 2) in job.step.targets]
        )
        assert mag.seconds
        assert mag.voxels_per_second == mag.voxels / mag.seconds
        assert facts(run).busy_seconds == 2.0

    @pytest.mark.parametrize("record", [[], {}, {"mags": 3}, {"mags": {"2": {"bytes": -1}}, "verified": {"levels": 7}}])
    def test_damaged_records_are_unknown_facts(self, run: Run, record: object) -> None:
        run.dir.published("l0").write_text(json.dumps(record))
        layer = facts(run).layers[0]
        assert (layer.mags[0].stored_bytes, layer.mags[0].compression, layer.verified) == (None, None, None)
        assert facts(run).stored_bytes is None

    def test_secrets_in_paths_are_masked(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WK_TOKEN", "secret-token")
        told = facts(run, run_dir="/scratch/secret-token/run")
        assert told.options == {"run_dir": "/scratch/***/run"}
        source = replace(told.layers[0].sources[0], address="https://user:pw@store/1?token=abc")
        text = json.dumps(provenance(replace(told, layers=(replace(told.layers[0], sources=(source,)),))))
        assert "pw" not in text
        assert "abc" not in text

    def test_versions_of_all_starts_are_kept_once_each(self, run: Run) -> None:
        earlier = {"wkflow": "0.0.1"}
        run.dir.versions.write_text(json.dumps([earlier]))
        for _ in range(2):
            note_versions(run.dir)
        assert noted_versions(run.dir) == [earlier, versions()]
        assert facts(run).versions == (earlier, versions())


class TestPlaces:
    def config(self, path: Path, **options: object) -> Config:
        return Config.of({"target": str(path), **options})

    def test_facts_lie_beside_the_page_and_in_the_dataset_if_asked_for(
        self, run: Run, path: Path, tmp_path: Path
    ) -> None:
        page, beside, inside = tmp_path / "r.html", tmp_path / "provenance.json", path / "provenance.json"
        assert report_places(self.config(path)) == []
        assert report_places(self.config(path, report=str(page))) == [page, beside]
        assert provenance_places(self.config(path, provenance=True)) == [inside]
        both = self.config(path, report=str(path / "r.html"), provenance=True)
        assert report_places(both) == [path / "r.html", inside]

    @pytest.mark.parametrize("place", ["", "color/1/zarr.json/r.html", "provenance.json"])
    def test_what_cannot_be_written_is_said(self, run: Run, path: Path, place: str) -> None:
        with pytest.raises(UsageError):
            check_report_places(self.config(path, report=str(path / place)))


class TestHistograms:
    def samples(self, path: Path, layer: int, *values: np.ndarray) -> tuple[Samples, Layer]:
        """Coarsest first, as they are read."""
        dataset = read_dataset(path)
        samples, of = Samples(), dataset.layers[layer]
        for number, each in enumerate(values):
            mag = Mag(*[2 ** (len(values) - 1 - number)] * 3)
            samples.look(of, Slices(mag, Window(of.box, is_whole=True), {PLANES[0]: each}, {}))
        return samples, of

    def test_mags_of_a_color_layer_share_their_bins(self, path: Path) -> None:
        rng = np.random.default_rng(0)
        samples, layer = self.samples(path, 0, rng.normal(0, 1, (1, 50, 50)), rng.normal(0, 9, (1, 100, 100)))
        fine, coarse = samples.histograms(layer)
        assert (str(fine.mag), str(coarse.mag)) == ("1", "2")
        assert [(bar.low, bar.high) for bar in fine.bars] == [(bar.low, bar.high) for bar in coarse.bars]
        assert sum(bar.share for bar in fine.bars) == pytest.approx(1, abs=0.01)
        assert max(bar.share for bar in coarse.bars) > max(bar.share for bar in fine.bars)

    def test_bytes_have_bins_from_black_to_white(self, path: Path) -> None:
        samples, layer = self.samples(path, 0, np.full((1, 9, 9), 255, np.uint8))
        (histogram,) = samples.histograms(layer)
        assert (histogram.bars[0].low, histogram.bars[-1].high, histogram.bars[-1].share) == (0, 256, 1)

    def test_labels_are_those_of_the_finest_mag_without_the_background(self, path: Path) -> None:
        fine = np.array([0, 0, 5, 5, 5, 7, 7, 9]).reshape(1, 2, 4)
        samples, layer = self.samples(path, 1, np.array([5, 0, 9, 9]).reshape(1, 2, 2), fine)
        one, two = samples.histograms(layer)
        assert [(bar.low, bar.share) for bar in one.bars] == [(5, 0.375), (7, 0.25), (9, 0.125)]
        assert [(bar.low, bar.share) for bar in two.bars] == [(5, 0.25), (7, 0.0), (9, 0.5)]
        assert (one.background, two.background) == (0.25, 0.25)
        assert one.bars[0].colour == two.bars[0].colour

    @pytest.mark.parametrize("values", [[np.nan, np.inf], [3.0, 3.0]])
    def test_values_without_a_range_have_none(self, path: Path, values: list[float]) -> None:
        samples, layer = self.samples(path, 0, np.array(values).reshape(1, 1, -1))
        assert samples.histograms(layer) == []

    @pytest.mark.filterwarnings("error")
    def test_huge_values_have_bins_too(self, path: Path) -> None:
        samples, layer = self.samples(path, 0, np.array([-1.7e308, 0.0, 1.7e308]).reshape(1, 1, 3))
        assert sum(bar.share for bar in samples.histograms(layer)[0].bars) == pytest.approx(1 / 3)

    def test_few_values_are_kept_of_many(self, path: Path) -> None:
        samples, layer = self.samples(path, 0, np.zeros((1, 1000, 1000), np.uint8))
        assert samples.histograms(layer)[0].values <= 65_536

    def test_real_slices_are_counted(self, path: Path) -> None:
        from wkflow.preview.pictures import layer_pictures

        dataset = read_dataset(path)
        samples = Samples()
        list(layer_pictures(dataset, dataset.layers, [LocalMags(dataset)], look=samples.look))
        assert [len(samples.histograms(layer)) for layer in dataset.layers] == [1, 1]


class TestCharts:
    def test_bars_and_steps_are_svg_of_numbers_only(self) -> None:
        drawn = bars([Bar(0, 1, 0.5), Bar(1, 2, 0.25, (1, 2, 3))], 0.5, 'a "<b>" & c')
        svg = ET.fromstring(drawn)
        heights = [rect.get("height") for rect in svg]
        assert heights == ["120.00", "60.00"]
        assert svg[1].get("fill") == "rgb(1, 2, 3)"
        assert svg.get("aria-label") == 'a "<b>" & c'

    def test_steps_hold_their_value_until_the_next(self) -> None:
        svg = ET.fromstring(steps([(0, 1), (5, 2), (10, 0)], "rate"))
        assert svg[0].get("d") == "M0 120H0.00V60.00H300.00V0.00H600.00V120.00V120Z"

    @pytest.mark.parametrize("values", [[(0.0, 0.0)], [(0.0, 0.0), (5.0, 0.0)]])
    def test_nothing_is_drawn_as_nothing(self, values: list[tuple[float, float]]) -> None:
        assert len(ET.fromstring(steps(values, "rate"))) == 0
        assert [rect.get("height") for rect in ET.fromstring(bars([Bar(0, 1, 0.0)], 0.0, "none"))] == ["0.00"]

    def test_times_are_written_as_people_do(self) -> None:
        assert [_seconds(value) for value in (None, 0.04, 59.96, 150, 7260)] == [
            "",
            "0.0 s",
            "60.0 s",
            "2 min 30 s",
            "2 h 1 min",
        ]
