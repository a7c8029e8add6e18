"""How many samples codes of LZW are of, without decoding them: what damage changes most often.

GIF89a, appendix F; TIFF 6.0, section 13. The n-th code after a clear code adds an entry, which is
what that code is of and one sample more. So how wide a code is follows from its number alone, and
how much it is of from the number of the code that its entry was made of.
"""

from __future__ import annotations

from functools import cache

import numpy as np

WIDEST = 12
AT_ONCE = 1 << 14
"""Codes that are looked at together; after a clear code 4096 suffice for most writers."""


@cache
def _read_widths(root: int, is_tiff: bool) -> np.ndarray:
    """The widths of the codes after a clear code, until they are of the widest."""
    first = (1 << root) + 2
    entries = first + np.maximum(np.arange(1 << WIDEST) - 1, 0) + is_tiff
    widths = np.floor(np.log2(entries)).astype(np.int64) + 1
    return np.clip(widths, root + 1, WIDEST)


def count_samples(data: bytes, root: int, *, is_tiff: bool) -> int:
    """Count the samples that LZW codes stand for, without decoding them.

    Args:
        data: The codes. They count up to the one that ends them, or to the end of the data.
        root: Bits of a sample.
        is_tiff: Whether the codes are TIFF's, which begin with their highest bit and get wider one
            code earlier than GIF's.

    Returns:
        The number of samples; -1 if a code has no meaning.
    """
    padded = np.frombuffer(data + bytes(4), np.uint8).astype(np.uint32)
    if is_tiff:
        words = padded[:-3] << 16 | padded[1:-2] << 8 | padded[2:-1]
    else:
        words = padded[:-3] | padded[1:-2] << 8 | padded[2:-1] << 16
    at, total, end = 0, 0, 8 * len(data)
    while True:
        count, at, is_over = _count_segment(words, at, end, root, is_tiff)
        if count < 0:
            return -1
        total += count
        if is_over:
            return total


def _count_segment(
    words: np.ndarray, at: int, end: int, root: int, is_tiff: bool
) -> tuple[int, int, bool]:
    """Samples of the codes from the bit ``at`` up to the next clear code; where the code after it
    begins; and whether that is the end. ``words``: three bytes from each on."""
    clear = 1 << root
    codes = np.empty(0, np.int64)
    widths = _read_widths(root, is_tiff)
    while True:
        starts = at + np.concatenate([[0], np.cumsum(widths)])
        fitting = int(np.searchsorted(starts[1:], end, "right"))
        starts, widths, after = starts[:fitting], widths[:fitting], int(starts[fitting])
        shift = 24 - (starts & 7) - widths if is_tiff else starts & 7
        values = (words[starts >> 3].astype(np.int64) >> shift) & ((1 << widths) - 1)
        marks = np.flatnonzero((values == clear) | (values == clear + 1))
        if marks.size:
            mark = int(marks[0])
            codes = np.concatenate([codes, values[:mark]])
            at = int(starts[mark] + widths[mark])
            return _sum_lengths(codes, clear), at, bool(values[mark] == clear + 1)
        codes = np.concatenate([codes, values])
        if after + WIDEST > end:
            return _sum_lengths(codes, clear), end, True
        at, widths = after, np.full(AT_ONCE, WIDEST)


def _sum_lengths(codes: np.ndarray, clear: int) -> int:
    """How many samples the codes after a clear code are of; -1 where one is of an entry that is
    not there yet."""
    links = np.maximum(codes - (clear + 2), -1)  # the number of the code; -1: a sample itself
    number = np.arange(len(codes))
    if len(codes) and (codes[0] >= clear or (links >= number).any()):
        return -1
    linked = np.flatnonzero(links >= 0)
    lengths = np.zeros(len(codes), np.int64)  # how far each code's link leads
    lengths[linked] = 1
    while linked.size:
        lengths[linked] += lengths[links[linked]]
        links[linked] = links[links[linked]]
        linked = linked[links[linked] >= 0]
    return len(codes) + int(lengths.sum())
