"""Work on many files at once, in order, a bounded number in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pix2pix_batch.cores import cores

MOST = 8
"""Threads at most: each holds some decoded images, and a disk serves no more at once well."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    return max(2, min(MOST, cores()))


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items in threads, a little ahead of what is taken, and return the results
    in order.

    ``items`` is iterated in the caller's thread. An error is raised where its result is due, and
    nothing new begins after it.
    """
    ahead = 2 * thread_count()
    flying: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(thread_count()) as pool:
        try:
            for item in items:
                flying.append(pool.submit(function, item))
                if len(flying) > ahead:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()
