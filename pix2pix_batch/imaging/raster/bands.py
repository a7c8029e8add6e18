"""Which of a file's bands are a model's."""

from __future__ import annotations

from collections.abc import Sequence

from pix2pix_batch.errors import ImageError
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange, find_name, is_band_number


def choose_bands(
    names: Sequence[str],
    count: int,
    own: Sequence[int] | None,
    side: ValueRange,
    asked: Sequence[str],
) -> list[int]:
    """Choose the bands of a file that are the model's.

    They are those that the user asked for; else those with the names of the model's bands, in its
    order, in whatever letter case if that leaves no choice; else all bands, if their number is the
    model's.

    Args:
        names: The names of the file's bands, empty for those without.
        count: The number of the file's bands.
        own: The indices of the bands that are no transparency; ``None`` if that is not known.
        side: What the model's inputs mean.
        asked: Names or numbers of ``--bands``; empty if there are none. What is a number of one of
            the file's bands is taken for that, whatever bands are called.

    Returns:
        The bands' numbers, from 1.

    Raises:
        ImageError: No rule applies, or a band that was asked for is not there.
    """
    for word in asked or side.names:
        if asked and is_band_number(word, count):
            continue
        if word and (several := list(names).count(word)) > 1:
            raise ImageError(
                f"has {several} bands that are called {word}; choose them by number with --bands"
            )
    if asked:
        if len(asked) != side.channels:
            raise ImageError(describe_other_number(asked, side))
        return [_find_band(word, names, count) for word in asked]
    wanted = [find_name(name, names) for name in side.names]
    known = [index for index in wanted if index is not None]
    if len(known) == len(set(known)) == side.channels:
        return [index + 1 for index in known]
    for indices in (range(count), own or ()):
        if len(indices) == side.channels:
            return [index + 1 for index in indices]
    told = _list_names(names)
    takes = f"{side.channels}{_list_names(side.names)}"
    lacking = [name for name, index in zip(side.names, wanted, strict=True) if index is None]
    absent = f", of which {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not there"
    raise ImageError(
        f"has {format_count(count, 'band')}{told}, and the model takes {takes}"
        f"{absent if told and all(lacking) and lacking else ''}; choose them with --bands"
    )


def describe_other_number(asked: Sequence[str], side: ValueRange) -> str:
    """Say that ``--bands`` names more or fewer bands than the model has."""
    names = _list_names(side.names)
    return (
        f"--bands names {format_count(len(asked), 'band')}, and the model takes "
        f"{side.channels}{names}"
    )


def describe_other_names(
    names: Sequence[str], chosen: Sequence[int], wanted: Sequence[str], is_asked: bool
) -> str:
    """Say that bands are called otherwise than those of the model that they are taken for.

    A user who chooses bands may call a band otherwise, but hardly another one that the model or
    the file has by that name.

    Args:
        names: The names of the file's bands, empty for those without.
        chosen: The numbers of the bands that are taken, from 1.
        wanted: The names of the model's bands.
        is_asked: Whether the user has chosen them.

    Returns:
        A warning; empty if there is nothing to say.
    """
    own = [names[number - 1] for number in chosen]
    pairs = [
        (name, other) for name, other in zip(own, wanted, strict=True)
        if other and name.casefold() != other.casefold()
    ]  # fmt: skip
    if is_asked:
        pairs = [
            (name, other) for name, other in pairs
            if name and (find_name(name, wanted) is not None or find_name(other, names) is not None)
        ]  # fmt: skip
    if not pairs or not any(own):
        return ""
    if is_asked:
        listed = ", ".join(f"{name} for the model's {other}" for name, other in pairs)
        return f"--bands takes {listed}: are they the right way round?"
    shown = [", ".join(name or "?" for name in some) for some in (own, wanted)]
    return (
        f"its bands are called {shown[0]}, and the model's {shown[1]}: they were taken in their "
        "order (see --bands)"
    )


def describe_other_numbers(names: Sequence[str], asked: Sequence[str]) -> str:
    """Say that numbers of ``asked`` are the names of other bands.

    Args:
        names: The names of the file's bands, empty for those without.
        asked: Names or numbers of ``--bands``.

    Returns:
        A warning; empty if there is nothing to say.
    """
    numbers = [word for word in asked if is_band_number(word, len(names))]
    known = ((word, find_name(word, names)) for word in numbers)
    others = [
        f"the band called {word} is number {index + 1}" for word, index in known
        if index is not None and index + 1 != int(word)
    ]  # fmt: skip
    return f"--bands counts {', '.join(numbers)}, but {', '.join(others)}" if others else ""


def _find_band(word: str, names: Sequence[str], count: int) -> int:
    if is_band_number(word, count):
        return int(word)
    index = find_name(word, names)
    if index is not None:
        return index + 1
    raise ImageError(
        f"has no band {word!r}: it has {format_count(count, 'band')}{_list_names(names)}"
    )


def _list_names(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    more = ", ..." if len(known) > 16 else ""
    return f" ({', '.join(known[:16])}{more})" if known else ""
