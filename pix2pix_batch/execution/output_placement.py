"""Gives outputs names that no other input's output has, and keeps them from replacing inputs."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import IO

from pix2pix_batch.imaging import sidecars
from pix2pix_batch.inputs.source import InputSource
from pix2pix_batch.item import Item
from pix2pix_batch.journal.history import History
from pix2pix_batch.storage import files
from pix2pix_batch.storage.local import find_within
from pix2pix_batch.storage.name_set import HashSet
from pix2pix_batch.storage.store import store_of


class OutputNames:
    """Chooses names of outputs with regard to what earlier runs have made.

    An input whose output has another name than it would get now keeps it; one whose name an earlier
    run has given to another input's output gets its whole name, as inputs of one run do that meet.
    """

    def __init__(self, scan: InputSource, history: History) -> None:
        self._scan, self._history = scan, history
        self._are_known = history.knows_outputs
        self._given = HashSet()  # those that a whole name may meet

    def place(self, item: Item) -> Item:
        """The item with the output that it has, or that it may have now."""
        if not self._are_known:
            return item
        output = self._choose_output(item)
        stem = os.path.splitext(os.path.basename(output))[0]
        # Only such a name can be the whole name (a.png.png) of an input; the others need no memory.
        if "." in stem:
            self._given.add(self._scan.key_of(output))
        if output == item.output:
            return item
        self._scan.change_output(item, output)
        return replace(item, output=output)

    def _choose_output(self, item: Item) -> str:
        name, history = item.name, self._history
        if history.owns(name, item.output):
            return item.output
        others = list(self._scan.list_outputs(item))
        for output in others:
            if history.owns(name, output) and self._is_free(name, output):
                return output
        return next(
            (one for one in (item.output, *others) if self._is_free(name, one)), item.output
        )

    def _is_free(self, name: str, output: str) -> bool:
        return not (
            self._history.is_of_another(name, output) or self._scan.key_of(output) in self._given
        )


class InputGuard:
    """Keeps the outputs of a run from replacing any of its inputs.

    Of a list, whose inputs may lie anywhere, the rest is read as soon as an output is there that
    might be one; it lies in a temporary file meanwhile.
    """

    def __init__(self, scan: InputSource, out: str) -> None:
        """``out``: OUT's path or URL."""
        self._scan = scan
        self._items: Iterator[Item] = iter(scan)
        self._out = os.path.realpath(out) if store_of(out).is_local else ""  # none behind a URL
        self._looks_at_each = scan.names_each
        root = "" if scan.is_list or scan.is_remote else os.path.realpath(scan.root)
        is_around = bool(self._out and root) and find_within(self._out, root) is not None
        self._root = "" if is_around else root
        self._is_in_out = bool(self._out and root) and find_within(root, self._out) is not None
        self._spool: IO[bytes] | None = None
        self._inputs: set[str] = set()  # those that lie in OUT, by the keys of their paths there
        self._looked_up: tuple[tuple[str, str], str | None] = ("", ""), None

    def __iter__(self) -> Iterator[Item]:
        while (item := self.next()) is not None:
            yield item

    def next(self) -> Item | None:
        """The scan's next item; ``None`` at its end."""
        if self._spool is not None:
            try:
                # Safe: the file has no name, so it holds only what this process has put there.
                item: Item = pickle.load(self._spool)
                return item
            except EOFError:
                return None
        found = next(self._items, None)
        if found is not None:
            self._note(found)
        return found

    def push_back(self, item: Item) -> None:
        """Have :meth:`next` return the item once more; only before another was asked for."""
        self._items = chain((item,), self._items)

    def find_replaced(self, item: Item, outputs: Iterable[str]) -> bool:
        """Whether one of ``outputs``, paths in OUT, would replace an input or lie among them."""
        if not self._out:
            return False
        for output in outputs:
            path = os.path.join(self._out, output)
            if self._root:
                near = self._is_in_out or os.path.lexists(path)
                if near and self._find_within(path, self._root) is not None:
                    return True
            elif self._looks_at_each and os.path.lexists(path):
                self._read_ahead()
                inside = self._find_within(path, self._out)
                if inside is not None and self._scan.key_of(inside) in self._inputs:
                    return True
        return False

    def _read_ahead(self) -> None:
        if self._spool is not None:
            return
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the run)
        for item in self._items:
            self._note(item)
            pickle.dump(item, spool)
        spool.seek(0)
        self._spool = spool

    def _note(self, item: Item) -> None:
        if not (self._looks_at_each and self._out and files.is_on_disk(item)):
            return
        for path in (item.path, *sidecars.paths(item.path, item.sidecars)):
            inside = self._find_within(path, self._out)
            if inside is not None:
                self._inputs.add(self._scan.key_of(inside))

    def _find_within(self, path: str, directory: str) -> str | None:
        """As :func:`find_within`, of a file; quick for many of one directory in a row."""
        if os.path.islink(path):
            return find_within(path, directory)
        above, name = os.path.split(path)
        if self._looked_up[0] != (above, directory):
            self._looked_up = (above, directory), find_within(above, directory)
        inside = self._looked_up[1]
        return None if inside is None else os.path.join(inside, name)
