"""Whether the palettes of a side's files agree on what a number is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.text import format_count
from pix2pix_batch.train import plausible


def few_colours(path: Path) -> dict[int, bytes]:
    """The colours that a file's palette gives to the numbers it uses, where they are few."""
    try:
        with open_quietly(path) as image:
            if image.mode != "P":
                return {}
            used = image.getcolors(plausible.FEW_LEVELS)
            colours = bytes(image.getpalette("RGB") or b"")
    except Exception:  # reading has told the reason
        return {}
    numbers = [int(number) for _, number in used or ()]  # type: ignore[arg-type]
    return {number: colours[3 * number : 3 * number + 3] for number in numbers}


class Palettes:
    """Finds numbers that are another colour in another file, as of labels saved one by one."""

    def __init__(self) -> None:
        self.first: list[dict[int, bytes]] = [{}, {}]
        self.differing = [0, 0]

    def add(self, files: Sequence[dict[int, bytes]]) -> None:
        """Count the colours of a pair. ``files``: the colours of each of its files, by number."""
        for side, colours in enumerate(files):
            first = self.first[side]
            self.differing[side] += any(first.setdefault(n, c) != c for n, c in colours.items())

    def doubts(self) -> Iterator[str]:
        for side, count in enumerate(self.differing):
            if count:
                yield (
                    f"the palettes of {'AB'[side]} differ: in {format_count(count, 'file')} a "
                    "number has another colour than in those before; labels must have the same "
                    "in all"
                )
