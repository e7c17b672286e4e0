"""The same work on many items by a few threads, until the first error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """Results in the order in which they come. No more than ``threads`` items are taken at a time; behind the first error
    none is begun, those that were are waited for, then it is raised."""
    with ThreadPoolExecutor(threads) as pool:
        running: set[Future[_Result]] = set()
        for item in items:
            running.add(pool.submit(work, item))
            if len(running) == threads:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
