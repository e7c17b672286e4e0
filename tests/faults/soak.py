"""Kill runs for as long as you like, and report what became of them: ``python tests/faults/soak.py --kills 1000``.

Each run is killed one to four times, at named steps and at any time, and has to end with the bytes of an undisturbed one.
The report is a table for Markdown on stdout; the exit code is 1 if a run has diverged.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from faults.kills import FORMATS, Laboratory, Outcome, kill_at_some_time, two_layers  # noqa: E402
from faults.programs import Kill, Programs  # noqa: E402
from faults.report import table  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=120, help="stop after this time, however many kills that were")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begin = time.monotonic()
    rows: list[list[Any]] = []
    runs = diverged = 0
    with tempfile.TemporaryDirectory(prefix="wkflow-soak-") as folder:
        for outcome in _outcomes(Path(folder), random.Random(arguments.seed)):
            runs += 1
            rows += outcome.rows
            if outcome.problems:
                diverged += 1
                print(f"DIVERGED: {outcome.kills}: {outcome.problems}", file=sys.stderr, flush=True)
            if len(rows) >= arguments.kills or time.monotonic() - begin > arguments.minutes * 60:
                break
    print(_report(rows, runs, diverged, time.monotonic() - begin, arguments.seed))
    return 1 if diverged else 0


def _outcomes(folder: Path, rng: random.Random) -> Iterator[Outcome]:
    """Runs of all formats in turn, without end."""
    with ExitStack() as stack:
        laboratories = []
        for name, chunks_per_shard in FORMATS.items():
            (folder / name).mkdir()
            programs = stack.enter_context(Programs(folder / name, {"WK_DEFAULT_CHUNKS_PER_SHARD": chunks_per_shard}))
            laboratories.append(Laboratory(two_layers(name), programs, folder / name))
        while True:
            for laboratory in laboratories:
                yield laboratory.experiment(_kills(laboratory, rng))


def _kills(laboratory: Laboratory, rng: random.Random) -> list[Kill]:
    """One to four, in the order in which a run comes to their programs."""
    programs = sorted(rng.choices(laboratory.programs, k=rng.randint(1, 4)), key=laboratory.programs.index)
    return [_kill(laboratory, program, rng) for program in programs]


def _kill(laboratory: Laboratory, program: str, rng: random.Random) -> Kill:
    how = rng.random()
    if how < 0.15:
        return kill_at_some_time(laboratory, None, rng)
    if how < 0.4:
        return kill_at_some_time(laboratory, program, rng)
    step = rng.choice(sorted(laboratory.steps_of(program)))
    return Kill(program, step, rng.randint(1, laboratory.steps_of(program)[step]))


def _report(rows: list[list[Any]], runs: int, diverged: int, seconds: float, seed: int) -> str:
    again = sum(row[2] + row[3] for row in rows)
    return "\n".join(
        [
            f"{len(rows)} kills of {runs} runs (seed {seed}) in {seconds:.0f} s: {diverged} runs diverged; "
            f"{again / max(1, len(rows)):.2f} shards were written again per kill.",
            "",
            table(sorted(rows)),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
