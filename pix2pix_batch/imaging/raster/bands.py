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
    """The numbers, from 1, of the bands that are the model's. ``names``: of the file's bands;
    ``own``: the indices of those that are no transparency; ``asked``: by the user.

    Those asked for; else those that have the names of the model's, in its order; else all, where
    they are as many. Raises :class:`ImageError`.
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
    for found in (range(count), own or ()):
        if len(found) == side.channels:
            return [index + 1 for index in found]
    told = _list_names(names)
    takes = f"{side.channels}{_list_names(wanted)}"
    raise ImageError(
        f"has {format_count(count, 'band')}{told}, and the model takes {takes}; choose them with "
        "--bands"
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
