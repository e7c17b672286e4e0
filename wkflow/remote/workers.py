"""Threads that do named tasks, the urgent ones first.

They are daemons: a download that nobody waits for must not keep a process from ending, as those of ``concurrent.futures`` do.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from itertools import count
from queue import PriorityQueue
from threading import Lock, Thread


class Urgency(IntEnum):
    NOW = 0
    LATER = 1


class Workers:
    """At most ``most`` threads, started when there is work. A name stands for one task until a thread has taken that."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._queue: PriorityQueue[tuple[float, int, str]] = PriorityQueue()
        self._numbers = count()
        self._tasks: dict[str, Callable[[], None]] = {}
        self._threads: list[Thread] = []

    def add(self, name: str, urgency: Urgency, task: Callable[[], None]) -> None:
        """Have a task done, which must not raise."""
        with self._lock:
            self._tasks[name] = task
            if len(self._threads) < self._most:
                thread = Thread(target=self._work, name="remote", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put((urgency, next(self._numbers), name))

    def hurry(self, name: str) -> None:
        """The task is urgent now, unless it was taken already."""
        if name in self._tasks:
            self._queue.put((Urgency.NOW, next(self._numbers), name))

    def close(self) -> None:
        """No task is begun any more; threads end after what they do now."""
        with self._lock:
            self._tasks.clear()
        for _ in self._threads:
            self._queue.put((float("inf"), next(self._numbers), ""))

    def _work(self) -> None:
        while name := self._queue.get()[2]:
            with self._lock:
                task = self._tasks.pop(name, None)
            if task:  # or it was in the queue twice
                task()
