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
    in_flight: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(thread_count()) as pool:
        try:
            for item in items:
                in_flight.append(pool.submit(function, item))
                if len(in_flight) > ahead:
                    yield in_flight.popleft().result()
            while in_flight:
                yield in_flight.popleft().result()
        finally:
            for future in in_flight:
                future.cancel()
