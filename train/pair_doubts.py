"""Why images may be no pairs, or not as meant, by what they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pix2pix_batch.errors import ImageError
from pix2pix_batch.train import plausible, threads
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.sampling import spread_indices
from pix2pix_batch.train.survey import Layout


def find_doubts(
    layout: Layout,
    listed: Sequence[Pair],
    channels: tuple[int, int] = (3, 3),
    reader: Reader | None = None,
    describe_remedies: Callable[[], Mapping[int, str]] = dict,
) -> list[str]:
    """Find out, by what some images show, whether they may be no pairs, or other ones than is
    meant.

    Args:
        layout: The layout that the data seems to have.
        listed: Pairs whose headers are sound.
        channels: With how many channels A and B are read.
        reader: Reads the files.
        describe_remedies: As of :meth:`plausible.Evidence.doubts`.

    Returns:
        Reasons to doubt, for people.
    """
    reader, reasons = reader or Reader(), []
    if layout == "side-by-side" and listed and not any(is_wide(pair, reader) for pair in listed):
        reasons.append(NOT_WIDE)
    evidence = EvidenceBySplit(layout == "side-by-side")
    splits: dict[str, list[Pair]] = {}
    for pair in listed:
        splits.setdefault(pair.split, []).append(pair)
    chosen = [
        own[i] for own in splits.values() for i in spread_indices(len(own), plausible.COMPARED)
    ]
    compared = threads.map_ahead(lambda pair: _compare_pair(pair, channels, reader), chosen)
    for pair, comparison in zip(chosen, compared, strict=True):
        if comparison is not None:
            evidence.add(pair.split, comparison)
    return reasons + evidence.doubts(describe_remedies)


class EvidenceBySplit:
    """What the pairs of all splits show, and those of each, since one may be wrong as a whole
    without showing among the others."""

    def __init__(self, side_by_side: bool) -> None:
        self._side_by_side = side_by_side
        self._all = plausible.Evidence(side_by_side)
        self._splits: dict[str, plausible.Evidence] = {}

    def add(self, split: str, comparison: plausible.PairComparison) -> None:
        self._all.add(comparison)
        own = self._splits.setdefault(split, plausible.Evidence(self._side_by_side))
        own.add(comparison)

    def doubts(self, describe_remedies: Callable[[], Mapping[int, str]] = dict) -> list[str]:
        """As :meth:`plausible.Evidence.doubts` of all; where there are none, those of a split."""
        if found := self._all.doubts(describe_remedies):
            return found
        return [
            f"{split}: {doubt}"
            for split, own in self._splits.items()
            if plausible.FEWEST_COMPARED <= own.number < self._all.number
            for doubt in own.doubts(describe_remedies, has_panels=False)
        ]


NOT_WIDE = (
    "no image is wider than high; are these really A and B side by side? If not, give the "
    "directory that holds A/ and B/"
)


def is_wide(pair: Pair, reader: Reader) -> bool:
    """The usual shapes side by side are wider than high."""
    try:
        width, height = reader.size(pair.a)
    except ImageError:
        return False
    return width > height


def _compare_pair(
    pair: Pair, channels: tuple[int, int], reader: Reader
) -> plausible.PairComparison | None:
    try:
        return plausible.compare_sides(*reader.pair(pair, channels), pair.b is None)
    except ImageError:  # training, or dataset check, names it
        return None
