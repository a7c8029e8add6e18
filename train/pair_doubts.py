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
    if layout == "side-by-side" and not any(is_wide(pair, reader) for pair in listed):
        reasons.append(NOT_WIDE)
    evidence = plausible.Evidence(layout == "side-by-side")
    chosen = [listed[i] for i in spread_indices(len(listed), plausible.COMPARED)]
    compared = threads.map_ahead(lambda pair: _compare_pair(pair, channels, reader), chosen)
    for comparison in filter(None, compared):
        evidence.add(comparison)
    return reasons + evidence.doubts(describe_remedies)


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
