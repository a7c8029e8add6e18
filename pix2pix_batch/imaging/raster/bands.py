"""Which of a file's bands are a model's."""

from __future__ import annotations

from collections.abc import Sequence

from pix2pix_batch.errors import ImageError
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange


def choose_bands(
    names: Sequence[str],
    count: int,
    own: Sequence[int] | None,
    side: ValueRange,
    asked: Sequence[str],
) -> list[int]:
    """Choose the bands of a file that are the model's.

    They are those that the user asked for; else those with the names of the model's bands, in its
    order; else all bands, if their number is the model's.

    Args:
        names: The names of the file's bands, empty for those without.
        count: The number of the file's bands.
        own: The indices of the bands that are no transparency; ``None`` if that is not known.
        side: What the model's inputs mean.
        asked: Names or numbers of ``--bands``; empty if there are none.

    Returns:
        The bands' numbers, from 1.

    Raises:
        ImageError: No rule applies, or a band that was asked for is not there.
    """
    if asked:
        if len(asked) != side.channels:
            raise ImageError(
                f"--bands names {format_count(len(asked), 'band')}, and the model takes "
                f"{side.channels}"
            )
        return [_find_band(word, names, count) for word in asked]
    wanted = side.names
    if all(wanted) and set(wanted) <= set(names):
        return [names.index(name) + 1 for name in wanted]
    for indices in (range(count), own or ()):
        if len(indices) == side.channels:
            return [index + 1 for index in indices]
    raise ImageError(
        f"has {format_count(count, 'band')}{_list_names(names)}, and the model takes "
        f"{side.channels}{_list_names(wanted)}; choose them with --bands"
    )


def _find_band(word: str, names: Sequence[str], count: int) -> int:
    if word in names and word:
        return names.index(word) + 1
    if word.isascii() and word.isdigit() and 1 <= int(word) <= count:
        return int(word)
    raise ImageError(
        f"has no band {word!r}: it has {format_count(count, 'band')}{_list_names(names)}"
    )


def _list_names(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    more = ", ..." if len(known) > 16 else ""
    return f" ({', '.join(known[:16])}{more})" if known else ""
