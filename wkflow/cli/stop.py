"""Signals that end a command."""

from __future__ import annotations

import signal


class Stopped(BaseException):
    """A signal has ended the command; ``exit_code`` as shells have it."""

    def __init__(self, number: int, then: str = "run the same command again to go on from here") -> None:
        what = "interrupted" if number == signal.SIGINT else "terminated"
        super().__init__(f"{what}; {then}")
        self.number = number
        self.exit_code = 128 + number
