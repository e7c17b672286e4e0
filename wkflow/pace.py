"""How long a run will still take, by what it has done since it was started. Work of an earlier start does not count."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wkflow.files import read_json, write_json
from wkflow.rundir import RunDir

_LEAST_SECONDS, _LEAST_PART = 2.0, 0.01
"""Of a run, before anything can be told."""

_SHORTEST = 1.0  # seconds: ending and verifying jobs takes a while, too


@dataclass(frozen=True)
class Pace:
    """``began``: seconds of the clock (of this machine's, since 1970); ``work``: that was done by then."""

    began: float
    work: int

    @classmethod
    def begin(cls, run_dir: RunDir, work: int) -> Pace:
        """From now on. It is written down for those who look from outside."""
        pace = cls(time.time(), work)
        write_json(run_dir.begun, {"began": round(pace.began, 3), "work": pace.work})
        return pace

    @classmethod
    def known(cls, run_dir: RunDir) -> Pace | None:
        """That of the latest start; None if there is no record of it."""
        content = read_json(run_dir.begun)
        try:
            return cls(float(content["began"]), int(content["work"]))  # type: ignore[index]
        except (KeyError, TypeError, ValueError):
            return None

    def remaining(self, done: int, total: int, now: float | None = None) -> float | None:
        """Seconds; None as long as that cannot be told, or if only ends of jobs are left, of which nothing is known."""
        elapsed = (time.time() if now is None else now) - self.began
        since = done - self.work
        if elapsed < _LEAST_SECONDS or since <= 0 or since < _LEAST_PART * (total - self.work) or done >= total:
            return None
        return max(_SHORTEST, (total - done) * elapsed / since)
