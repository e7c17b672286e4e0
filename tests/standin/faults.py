"""What goes wrong, on purpose: at which request, how often, and how."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

Act = Callable[["Answer"], "Answer | None"]


@dataclass
class Answer:
    """``content`` with ``length`` announced; ``is_cut``: the connection ends without a word after ``content``.
    ``pause``: seconds before each eighth of it."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    is_cut: bool = False
    pause: float = 0

    @property
    def announced(self) -> int:
        return len(self.content) if self.length is None else self.length


@dataclass
class Rule:
    """Requests ``first``, ``first + 1``, ... (``times`` of them, counted from 1) of a method to paths with ``pattern``.

    ``before``: it happens instead of what the server would do.
    """

    method: str
    pattern: str
    act: Act
    first: int = 1
    times: int = 1
    before: bool = True
    seen: int = 0

    def hits(self, method: str, path: str) -> bool:
        if self.method not in ("", method) or not re.search(self.pattern, path):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


class Faults:
    """Rules, in the order in which they were added."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self, method: str, pattern: str, act: Act, *, first: int = 1, times: int = 1, before: bool | None = None
    ) -> Rule:
        """``act`` gets the answer that there would be. By default it is called before the request is handled, unless it
        is one that changes an answer."""
        after = act is lose_answer or getattr(act, "after", False)
        rule = Rule(method, pattern, act, first, times, not after if before is None else before)
        self.rules.append(rule)
        return rule

    def hit(self, method: str, path: str) -> list[Rule]:
        with self._lock:
            return [rule for rule in self.rules if rule.hits(method, path)]


def status(code: int, text: str = "out of order", **headers: str) -> Act:
    return lambda _: Answer(code, text.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def body(content: bytes) -> Act:
    return lambda _: Answer(200, content)


def redirect(url: str) -> Act:
    return lambda _: Answer(302, b"", {"Location": url})


def drop(_: Answer) -> Answer:
    """The connection ends before anything is done."""
    return Answer(0, is_cut=True)


def lose_answer(_: Answer) -> Answer:
    """All is done, and then the connection ends."""
    return Answer(0, is_cut=True)


def truncate(size: int) -> Act:
    """The answer stops after some bytes."""
    return _changed(
        lambda answer: replace(answer, content=answer.content[:size], length=len(answer.content), is_cut=True)
    )


def slow(pause: float) -> Act:
    """The answer comes in eighths, each after a pause of some seconds."""
    return _changed(lambda answer: replace(answer, pause=pause))


def wrong_length(more: int) -> Act:
    """Another length is announced than comes. If it is too large, the connection ends where the content does."""
    return _changed(lambda answer: replace(answer, length=len(answer.content) + more, is_cut=True))


def _changed(change: Callable[[Answer], Answer]) -> Act:
    """Something that is done to the answer, after the request was handled."""

    def act(answer: Answer) -> Answer:
        return change(answer)

    act.after = True  # type: ignore[attr-defined]
    return act
