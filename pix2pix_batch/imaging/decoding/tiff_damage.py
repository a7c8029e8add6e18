"""Damage in TIFF's strips and tiles that libtiff, by which Pillow and GDAL read, passes over.

It takes data that goes on beyond the rows for a writer's habit, and has then not come to the
checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import count

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.imaging.decoding import libtiff, lzw
from pix2pix_batch.imaging.decoding.checksums import is_whole_zlib
from pix2pix_batch.imaging.decoding.tiff_samples import has_imagecodecs
from pix2pix_batch.imaging.metadata import tiff_tags as tags

DEFLATE = (8, 32946)
LZW, PACKBITS = 5, 32773
COUNTED = {LZW: "LZW", PACKBITS: "PackBits"}
HEARD = (2, 3, 4, 6, 7, 32771)
"""Faxes and JPEG, of whose faults libtiff tells."""

WRONG_CHECKSUM = "damaged: wrong checksum of its data (compression: Deflate), or none"
"""Also of data that does not come to an end: damaged codes often make samples without one."""


def find_damage(image: TiffImageFile, data: bytes) -> str:
    """A warning where blocks of the file ``data``, which Pillow has opened, are not what was
    written; else nothing."""
    compression = image.tag_v2.get(tags.COMPRESSION, 1)
    if compression in HEARD and libtiff.has_faulty_blocks(data):
        return f"damaged: faults in its data (compression: {tags.COMPRESSIONS[compression]})"
    if image.tag_v2.get(tags.FILL_ORDER, 1) != 1:
        return ""
    if (
        compression in DEFLATE
        and not _has_right_checksums(image, data)
        and not all(is_whole_zlib([block]) for block in _iterate_blocks(image, data))
    ):
        return WRONG_CHECKSUM
    if compression in COUNTED and _holds_more(image, data, compression):
        return describe_surplus(compression)
    return ""


def _has_right_checksums(image: TiffImageFile, data: bytes) -> bool:
    """Whether the samples of each strip are known to be those that its checksum is of: of the
    usual kinds, without unpacking the strips again."""
    told = image.tag_v2
    predictor = told.get(tags.PREDICTOR, 1)
    plain = set(told.get(tags.BITS, ())) == {8} and image.mode in ("L", "RGB")
    # The checksum is of the samples as the file has them, and Pillow has turned those by now.
    if not plain or told.get(tags.ORIENTATION, 1) != 1 or predictor not in (1, 2):
        return False
    samples = np.asarray(image)
    if predictor == 2:  # each but the first of a row is what it differs by from the one before
        samples = np.concatenate([samples[:, :1], samples[:, 1:] - samples[:, :-1]], axis=1)
    rows = told.get(tags.ROWS_PER_STRIP, image.height)
    return all(
        zlib.adler32(samples[top : top + rows].tobytes()) == int.from_bytes(block[-4:], "big")
        for top, block in zip(count(0, rows), _iterate_blocks(image, data), strict=False)
    )


def _iterate_blocks(image: TiffImageFile, data: bytes) -> Iterator[bytes]:
    """The bytes of each strip or tile."""
    told = image.tag_v2
    for places, lengths in tags.BLOCKS:
        blocks = zip(told.get(places, ()), told.get(lengths, ()), strict=False)
        yield from (data[at : at + length] for at, length in blocks)


def describe_surplus(compression: int) -> str:
    """The warning of a block that :func:`exceeds` is true of."""
    return f"damaged: its data (compression: {COUNTED[compression]}) is of more samples than it has"


def exceeds(block: bytes, compression: int, own: int, most: int) -> bool:
    """Find out whether a strip or tile unpacks to more samples than it has.

    Args:
        block: The compressed bytes.
        compression: One of :data:`COUNTED`.
        own: Bytes of its samples.
        most: Bytes of a full strip or tile, which the last strip may have too.
    """
    # One more than a full block, so that more shows without unpacking all of it: it may be a bomb.
    count = _count_unpacked if compression == PACKBITS else _count_lzw
    unpacked = count(block, most + 1)
    return unpacked > own and unpacked != most


def _holds_more(image: TiffImageFile, data: bytes, compression: int) -> bool:
    told = image.tag_v2
    # as the file has them, for Pillow has turned the image by now
    width, lines = told.get(tags.TILE_WIDTH) or told[tags.WIDTH], told[tags.HEIGHT]
    rows = min(told.get(tags.ROWS_PER_STRIP, lines), lines)
    height = told.get(tags.TILE_HEIGHT) or rows
    bits = told.get(tags.BITS, (1,))
    samples = 1 if told.get(tags.PLANAR, 1) == 2 else told.get(tags.SAMPLES, 1)
    row, last = (width * bits[0] * samples + 7) // 8, lines % height or height
    for number, block in enumerate(_iterate_blocks(image, data), 1):
        is_last = tags.TILE_HEIGHT not in told and number % -(-lines // height) == 0
        own, most = row * (last if is_last else height), row * height
        if exceeds(block, compression, own, most):
            return True
    return False


def _count_unpacked(data: bytes, most: int) -> int:
    """How many bytes the runs are, counted until ``most`` are there (TIFF 6.0, section 9)."""
    at = count = 0
    while at < len(data) - 1 and count < most:
        head = data[at]
        if head < 128:
            count += head + 1
            at += head + 2
        else:
            count += 257 - head if head > 128 else 0
            at += 2 if head > 128 else 1
    return count


def _count_lzw(data: bytes, most: int) -> int:
    """How many bytes the codes are, ``most`` or more where there are more."""
    if not has_imagecodecs():
        return lzw.count_samples(data, 8, is_tiff=True)
    import imagecodecs

    try:
        return len(imagecodecs.lzw_decode(data, out=most))
    except imagecodecs.LzwError:
        return most
