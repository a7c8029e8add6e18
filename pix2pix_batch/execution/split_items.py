"""Images that several workers make together, before one of them puts the output together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pix2pix_batch.item import Item

Split = Callable[[Item], list[Item]]
"""The parts of an item; none of most."""


class SplitItems:
    """Keeps which parts of which items are not made yet."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._incomplete: dict[str, tuple[Item, int]] = {}
        """Whole items, and how many parts they lack."""
        self._joined: set[str] = set()

    def take(self, item: Item) -> list[Item]:
        """The parts to make before ``item``; none where they are made, or it has none."""
        if item.rows is not None or item.name in self._joined:
            return []
        if parts := self._split(item):
            self._incomplete[item.name] = item, len(parts)
        return parts

    def finish(self, part: Item) -> Item | None:
        """The item whose last part this was. Whatever became of a part: who makes the whole makes
        what is lacking, and finds out what is wrong."""
        item, count = self._incomplete.pop(part.name)
        if count > 1:
            self._incomplete[part.name] = item, count - 1
            return None
        self._joined.add(item.name)
        return item

    def restore(self, ahead: deque[Item]) -> deque[Item]:
        """What is ahead of a run that ends now, with whole items in place of their parts."""
        whole = [item for item, _ in self._incomplete.values()]
        self._incomplete.clear()
        return deque([*whole, *(item for item in ahead if item.rows is None)])
