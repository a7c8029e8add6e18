"""Pages of TIFF files as items of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs.naming import Naming
from pix2pix_batch.item import Item
from pix2pix_batch.storage import files

FAR_THREADS = 16
"""Files of stores that are looked into at once: most of that time is waiting for an answer."""

AHEAD = 4 * FAR_THREADS
"""Items that wait for those before them at most."""


def split_into_pages(items: Iterable[Item], naming: Naming) -> Iterator[Item]:
    """The items in order, each page of a file of several as one of its own. Only TIFF files are
    opened, and of these no more is read than tells their pages."""
    for item, count in _count_pages(items):
        if count < 2:
            yield item
            continue
        for number in range(1, count + 1):
            name = pages.name_page(item.name, number, item.path)
            mark = name.removeprefix(item.name)
            output = naming.name_page(item.output, mark)
            yield replace(item, name=name, output=output, page=number)


def _count_pages(items: Iterable[Item]) -> Iterator[tuple[Item, int]]:
    """Each item with the number of its pages; 0 of what has none of its own. Those of stores are
    looked into some way ahead."""
    ahead: deque[tuple[Item, Future[int] | None]] = deque()
    with ThreadPoolExecutor(FAR_THREADS, "pages") as pool:  # which starts no thread before it must
        for item in items:
            # Threads pay where an answer is waited for; a local file is looked into sooner than
            # handed over.
            far = not files.is_on_disk(item) and _is_looked_into(item)
            ahead.append((item, pool.submit(pages.count_pages, item.path) if far else None))
            while ahead and (len(ahead) > AHEAD or _is_ready(ahead[0][1])):
                yield _take(*ahead.popleft())
        while ahead:
            yield _take(*ahead.popleft())


def _is_looked_into(item: Item) -> bool:
    return not (item.page or item.tar or item.refusal) and pages.may_have_pages(item.name)


def _is_ready(coming: Future[int] | None) -> bool:
    return coming is None or coming.done()


def _take(item: Item, coming: Future[int] | None) -> tuple[Item, int]:
    if coming is not None:
        return item, coming.result()
    return item, pages.count_pages(item.path) if _is_looked_into(item) else 0
