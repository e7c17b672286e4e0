"""What users see: in a pipe, in a terminal, when they ask for less or more, and when a job fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from datasets import DatasetSpec, LayerSpec, make_dataset

import wkflow as library
from workflow.commands import mags, results, tree, wkflow, wkflow_in_terminal

SIZE = (90, 70, 50)
NOISE = ("SNAKEMAKE", "Building DAG", "localrule", "Complete log", "profile", "Traceback")
OPTIONS = (
    *("--sampling-mode", "--layer-name", "--coarsest-mag", "--token", "--transfer-mode", "--access-mode", "--jobs"),
    *("--distribution-strategy", "--job-resources", "--help", "--dry-run", "--from-mag", "--interpolation-mode"),
    *("--run-dir", "--receipt", "--restart", "--yes", "--quiet", "--verbose"),
)


@pytest.fixture
def one_layer(tmp_path: Path) -> Path:
    return make_dataset(DatasetSpec((LayerSpec("[red]x", size=SIZE),)), tmp_path / "[bold]dataset")


def test_a_pipe_gets_a_line_per_layer_and_mag_and_a_summary(dataset: Path) -> None:
    done = wkflow("downsample", dataset)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, summary = done.stdout.splitlines()
    assert sorted(lines) == [
        "cells  1 -> 2: 0.04 MVx done",
        "cells  2 -> 4: 0.01 MVx done",
        "color  1 -> 2: 0.04 MVx done",
        "color  2 -> 4: 0.01 MVx done",
    ]
    pattern = r"done: 4 mag\(s\), 0\.09 MVx in \d+\.\d s \([\d.]+ MVx/s\), [1-9]\d* MiB at most in one job"
    assert re.fullmatch(pattern, summary)


def test_a_terminal_gets_bars_that_end_at_100_percent_and_a_summary(one_layer: Path) -> None:
    code, output = wkflow_in_terminal("downsample", one_layer)
    assert code == 0, output
    assert not any(word in output for word in NOISE)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", output)
    for bar in (r"\[red\]x  1 -> 2 \r*━+\r* 100%", r"\[red\]x  2 -> 4 \r*━+\r* 100%"):
        assert re.search(bar, plain), plain
    assert "  0%" in plain
    assert re.search(r"done: 2 mag\(s\), [^\r]* at most in one job\r\n$", plain)
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")  # the cursor is shown again


def test_quiet_prints_nothing(one_layer: Path) -> None:
    done = wkflow("downsample", "--quiet", one_layer)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again = wkflow("downsample", "--quiet", one_layer)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_verbose_shows_snakemake_s_output_and_arguments_behind_two_dashes_reach_it(one_layer: Path) -> None:
    done = wkflow("downsample", "--verbose", one_layer, "--", "--keep-going", "--printshellcmds")
    assert done.returncode == 0, done.stderr
    assert "Building DAG of jobs" in done.stderr
    assert "scripts/downsample.py --run-dir" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("done: 2 mag(s)")
    assert mags(one_layer) == [[1, 1, 1], [2, 2, 2], [4, 4, 4]]
    shown = wkflow("downsample", one_layer, "--", "--summary")
    assert "markers/l0.published.json" in shown.stdout
    assert "done:" not in shown.stdout


def test_a_dry_run_behind_two_dashes_is_snakemake_s_and_leaves_no_trace(one_layer: Path) -> None:
    before = tree(one_layer)
    done = wkflow("downsample", one_layer, "--", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^downsample +1$", done.stdout, re.MULTILINE)
    assert "This was a dry-run" in done.stdout
    assert tree(one_layer) == before
    assert not (one_layer / ".wkflow").exists()


def test_wrong_arguments_behind_two_dashes_are_told_and_leave_no_trace(one_layer: Path) -> None:
    before = tree(one_layer)
    done = wkflow("downsample", one_layer, "--", "--no-such-option")
    assert done.returncode == 2
    assert "Snakemake does not take these arguments: unrecognized arguments: --no-such-option\n" in done.stderr
    assert tree(one_layer) == before
    assert not (one_layer / ".wkflow").exists()
    assert wkflow("downsample", "--dry-run", "--coarsest-mag", "2", one_layer).returncode == 0


def test_version() -> None:
    done = wkflow("--version")
    assert (done.returncode, done.stdout) == (0, f"wkflow {library.__version__}\n")


def test_help_lists_all_options() -> None:
    done = wkflow("downsample", "--help")
    assert done.returncode == 0
    assert [option for option in OPTIONS if not re.search(rf"{option}\b", done.stdout)] == []


COMMANDS = ("", "downsample", "plan", "status", "info", "preview", "verify", "clean")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_type_beside_flags(command: str) -> None:
    shown = wkflow(*command.split(), "--help").stdout
    assert "--help" in shown
    assert not re.search(r"<bool>|bool(ean)?\b", shown, re.IGNORECASE)


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")


@pytest.mark.parametrize("arguments", [("info", "/nowhere"), ("info", "--help")], ids=["error", "help"])
def test_colours_are_shown_in_a_terminal_or_if_asked_for(arguments: tuple[str, ...]) -> None:
    """docs/environment.md"""
    assert COLOUR.search(wkflow_in_terminal(*arguments)[1])
    assert not COLOUR.search(wkflow_in_terminal(*arguments, environment={"NO_COLOR": "1"})[1])
    pipe, forced = wkflow(*arguments), wkflow(*arguments, environment={"FORCE_COLOR": "1"})
    assert "\x1b" not in pipe.stdout + pipe.stderr
    assert COLOUR.search(forced.stdout + forced.stderr)


def test_tables_in_a_terminal_are_as_wide_as_columns_says(one_layer: Path) -> None:
    widths = {}
    for columns in ("60", "200"):
        _, output = wkflow_in_terminal("info", one_layer, environment={"COLUMNS": columns, "NO_COLOR": "1"})
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
        widths[columns] = max(len(line.rstrip()) for line in plain.splitlines()[1:])
    assert widths["60"] <= 60 < widths["200"]


def test_dry_run_shows_the_plan_and_touches_nothing(one_layer: Path) -> None:
    before = tree(one_layer)
    done = wkflow("downsample", "--dry-run", "--jobs", "1", one_layer)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, needs, takes, end = (re.split(r"  +", line.strip()) for line in done.stdout.splitlines())
    assert head[:8] == ["layer", "from", "new mag", "voxel size", "shape", "chunk", "file", "jobs"]
    assert head[8:] == ["reads", "writes", "memory", "work"]
    assert [row[:8] for row in rows] == [
        ["[red]x", "1", "2", "2x2x2", "45x35x25", "32^3", "64^3", "1"],
        ["[red]x", "2", "4", "4x4x4", "23x18x13", "32^3", "64^3", "same"],
    ]
    assert all(re.fullmatch(r"\d+\.\d [kM]B", cell) for row in rows for cell in row[8:11])
    assert re.fullmatch(r"writes about [\d.]+ kB, takes about \d\.\d s", takes[0])
    assert re.fullmatch(rf"needs about [\d.]+ kB on {re.escape(str(one_layer))}\S*, [\d.]+ .B free", needs[0])
    assert end == ["1 job(s), 0 of them done, on 1 core(s); nothing was touched"]
    assert tree(one_layer) == before
    assert not (one_layer / ".wkflow").exists()


def test_a_failed_job_is_told_with_its_log_and_dry_run_knows_what_is_left(dataset: Path) -> None:
    chunk = max((dataset / "cells" / "1" / "c").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    content = chunk.read_bytes()
    chunk.write_bytes(content[:40])
    failed = wkflow("downsample", dataset, "--keep-going")
    assert failed.returncode == 1
    assert failed.stderr.count("Error: ") == 1
    assert "cells" in failed.stderr
    assert not any(word in failed.stderr + failed.stdout for word in NOISE)
    assert "error:" in _log(failed.stderr).read_text()
    assert (len(mags(dataset, "color")), len(mags(dataset, "cells"))) == (3, 1)

    chunk.write_bytes(content)
    before = tree(dataset)
    shown = wkflow("downsample", "--dry-run", dataset)
    assert "2 job(s), 1 of them done" in shown.stdout
    assert tree(dataset) == before
    repaired = wkflow("downsample", dataset)
    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert len(mags(dataset, "cells")) == 3
    assert not any(name.endswith(".tmp") for name in results(dataset))


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link=x]"])
def test_names_in_brackets_are_shown_as_they_are(one_layer: Path, name: str) -> None:
    done = wkflow("downsample", "--dry-run", "--layer-name", name, one_layer)
    assert done.returncode == 2
    assert f"'{name}'" in done.stderr
    assert "'[red]x'" in done.stderr
    assert str(one_layer) in done.stderr


def _log(message: str) -> Path:
    """The file that an error message names."""
    found = re.search(r"log: (.*)", message)
    assert found, message
    return Path(found[1])
