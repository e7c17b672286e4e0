"""Work of several threads, its results in the order of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[Work], Result], work: Iterable[Work], *, ahead: int
) -> Iterator[tuple[Work, Result]]:
    """Each piece of work with its result, at most ``ahead`` of them begun and not yet taken.

    Raises what ``function`` raises; what was not begun by then is not begun any more.
    """
    window: deque[tuple[Work, Future[Result]]] = deque()
    try:
        for piece in work:
            window.append((piece, pool.submit(function, piece)))
            if len(window) >= ahead:
                first, future = window.popleft()
                yield first, future.result()
        while window:
            first, future = window.popleft()
            yield first, future.result()
    finally:
        for _, future in window:
            future.cancel()
