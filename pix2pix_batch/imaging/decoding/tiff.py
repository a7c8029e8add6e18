"""TIFF: which of its many kinds of samples are read, by whom, and what they mean.

Only what ``tests/pix2pix_batch/decoding/test_tiff_kinds.py`` has read in every combination is
taken from Pillow; else :mod:`tifffile` reads the samples; the rest is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.layout import Layout
from pix2pix_batch.imaging.metadata import tiff_tags as tags

GREY = (tags.WHITE_IS_ZERO, tags.BLACK_IS_ZERO)
NONE, OLD_JPEG, JPEG, PACKBITS = 1, 6, 7, 32773
FAX = (2, 3, 4, 32771)
BY_LIBTIFF = frozenset((*FAX, 5, OLD_JPEG, JPEG, 8, 32773, 32946, 34925, 50000))
"""Compressions that Pillow's libtiff decodes."""

NEWER = frozenset((34925, 50000))
"""Those of them that the libtiff of older Pillows lacks: LZMA, Zstandard."""

USUAL = (BY_LIBTIFF - NEWER) | {NONE}

BY_TIFFFILE = frozenset((NONE, 5, 8, 32773, 32946, 34925, 50000, 34887))
"""Compressions without loss that tifffile decodes, most of them only with imagecodecs."""

WEBP = 50001
PICTURES = frozenset((WEBP, 33005, 34712, 34933, 50002, 52546))
"""Compressions that are image formats of their own: WebP, JPEG 2000, PNG, JPEG XL."""

SWAPPED = PICTURES - {WEBP}
"""Those of them that also have samples of 16 bits."""

BT601 = (0.299, 0.587, 0.114)
"""What is taken for the luma of red, green and blue (TIFF 6.0, section 21: the default)."""


def refusal(layout: Layout) -> str:
    """Why what the tags say is not read; empty where it is."""
    return _undefined_reason(layout) or _unreadable_reason(layout)


def _undefined_reason(layout: Layout) -> str:
    """Why the samples have no colour that is known."""
    photometric = layout.photometric
    if tags.FLOAT in layout.formats:
        return "floating-point pixels: no defined white; scale them to 8 or 16 bits first"
    if photometric is None:
        return "does not say what its samples mean (no photometric interpretation); add the tag"
    if photometric not in tags.COLOURS:
        return f"its samples are {layout.interpretation}; convert them to RGB or grey first"
    if layout.samples < tags.COLOURS[photometric]:
        return f"{layout.samples} samples a pixel are too few for {layout.interpretation}"
    if len(set(layout.bits)) != 1 or len(layout.bits) != layout.samples:
        return f"samples of different depths ({layout.bits}); convert them to one first"
    if set(layout.formats) == {tags.SIGNED} and (layout.depth, layout.samples) == (32, 1):
        pass  # integers as programs write them: taken where they fit into 16 bits
    elif set(layout.formats) != {tags.UNSIGNED}:
        return "signed or untyped samples: no defined black and white; make them unsigned first"
    if photometric in GREY and tags.OPAQUE in layout.extra and not layout.untold:
        return (
            f"{layout.samples} samples a pixel, of which only the first is known to be grey; "
            "choose the bands to show, and store them as RGB or grey"
        )
    if photometric in GREY and layout.untold:
        return f"{layout.samples} samples a pixel, and only one is told to be grey"
    if photometric == tags.CMYK and (layout.ink_set != 1 or layout.alpha is not None):
        return "inks other than CMYK, or CMYK with transparency; convert it to RGB first"
    if photometric in (tags.CIELAB, tags.ICCLAB) and layout.alpha is not None:
        return "L*a*b* with transparency; convert it to RGB first"
    if layout.depth > 16 and (layout.samples > 1 or layout.depth != 32):
        return f"{layout.depth}-bit samples: no defined white; scale them to 8 or 16 bits first"
    return ""


def _unreadable_reason(layout: Layout) -> str:
    if layout.planes > 1:
        return f"a volume of {layout.planes} planes; store each as a picture of its own"
    known = BY_LIBTIFF | BY_TIFFFILE | PICTURES
    if layout.compression not in known:
        return f"TIFF compressed as {layout.compressed_by}, which is not read; store it as Deflate"
    if layout.planar and layout.compression == WEBP:  # which has no grey
        return "planes that are each compressed as WebP; store it as Deflate"
    if not layout.little and (8 < layout.depth < 16 or layout.compression in SWAPPED):
        # tifffile 2026.3 writes the bytes of these the other way than ImageMagick, and than it
        # reads them
        return (
            f"{layout.depth}-bit samples compressed as {layout.compressed_by} in a big-endian "
            "file, which programs write in different ways; store it as little-endian"
        )
    pictured = layout.compression in (OLD_JPEG, JPEG, *PICTURES)
    known_colours = layout.photometric in (*GREY, tags.RGB, tags.CMYK, tags.YCBCR)
    if pictured and not (known_colours and layout.depth in (8, 12, 16)):
        return (
            f"{layout.depth}-bit {layout.interpretation} compressed as {layout.compressed_by}; "
            "store it as Deflate"
        )
    if layout.photometric == tags.YCBCR and layout.compression not in (OLD_JPEG, JPEG):
        plain = layout.subsampling == (1, 1) and not layout.planar and not layout.extra
        usual = layout.reference in ((), (0, 255, 128, 255, 128, 255))
        if layout.coefficients and not np.allclose(layout.coefficients, BT601, atol=1e-3):
            return "YCbCr by other coefficients than BT.601's; convert it to RGB first"
        if not (plain and usual and layout.depth == 8 and layout.compression == NONE):
            return f"YCbCr compressed as {layout.compressed_by}; convert it to RGB first"
    return ""


def find_remarks(layout: Layout) -> list[str]:
    """A warning of bands that are left out: many programs take one that is not told to be
    transparency (an extra sample of kind 0) for that, those of satellite pictures mean infrared."""
    colours = tags.COLOURS[layout.photometric or 0]
    left = [
        str(colours + index + 1)
        for index in range(layout.samples - colours)
        if index != layout.alpha
    ]
    if not left:
        return []
    if len(left) == 1:
        return [f"its band {left[0]} is not told to be a colour or transparency, and is left out"]
    return [
        f"its bands {', '.join(left)} are not told to be colours or transparency, and are left out"
    ]


def is_plain(image: TiffImageFile) -> bool:
    """Whether the file that Pillow has opened is grey or RGB of 8 bits and nothing else."""
    told = image.tag_v2
    kind = (told.get(tags.PHOTOMETRIC), told.get(tags.BITS))
    return (
        kind in ((tags.RGB, (8, 8, 8)), (tags.BLACK_IS_ZERO, (8,)))
        and set(told.get(tags.FORMAT, (tags.UNSIGNED,))) == {tags.UNSIGNED}
        and not any(tag in told for tag in (tags.EXTRA, tags.REFERENCE, tags.VOLUME))
        and (told.get(tags.PLANAR, 1), told.get(tags.FILL_ORDER, 1)) == (1, 1)
        and told.get(tags.COMPRESSION, 1) in USUAL
    )


def is_sparse(image: TiffImageFile) -> bool:
    """Whether parts of the picture are not there, and mean zero or what GDAL_NODATA says, as GDAL
    writes them (SPARSE_OK). Raises :class:`ImageError` where that is damage."""
    compressed = image.tag_v2.get(tags.COMPRESSION, NONE) != NONE
    return any(
        lacks_blocks(image.tag_v2.get(places, ()), image.tag_v2.get(lengths, ()), compressed)
        for places, lengths in tags.BLOCKS
    )


def lacks_blocks(places: Sequence[int], lengths: Sequence[int], needed: bool = True) -> bool:
    """Find out whether a strip or tile is left out of a file: it has neither an offset nor a
    length.

    Args:
        places: The offset of each strip or tile.
        lengths: The length of each in bytes.
        needed: Whether a length must be there. Pillow reads data that is not compressed without.

    Raises:
        ImageError: One has an offset and no length, or the reverse.
    """
    blocks = set(zip(places, lengths, strict=False))
    if any(length and not place for place, length in blocks):
        raise ImageError("damaged: the place of a strip or tile is lost")
    if needed and len(places) > 1 and any(place and not length for place, length in blocks):
        raise ImageError("damaged: the length of a strip or tile is lost")
    return (0, 0) in blocks


def is_read_by_pillow(layout: Layout) -> bool:
    """Whether Pillow is known to deliver these samples as they are meant."""
    if layout.compression not in BY_LIBTIFF | {NONE}:
        return False
    plain = not layout.extra and not layout.planar
    depth, photometric = layout.depth, layout.photometric
    if layout.compression in (OLD_JPEG, JPEG) and depth != 8:
        return False
    if photometric == tags.YCBCR:
        return not layout.extra and layout.compression != NONE
    if photometric in GREY and layout.samples == 1:
        return _grey_by_pillow(layout)
    if photometric == tags.PALETTE:
        return plain and depth in (1, 2, 4, 8)
    if photometric == tags.RGB and depth in (8, 16):
        return _colours_by_pillow(layout)
    if photometric == tags.CMYK and depth in (8, 16):
        return plain and (layout.little or depth == 8 or layout.compression == NONE)
    if photometric in GREY:
        return photometric == tags.BLACK_IS_ZERO and depth == 8 and not layout.planar
    return photometric == tags.CIELAB and plain and depth == 8


def _grey_by_pillow(layout: Layout) -> bool:
    if layout.depth in (1, 2, 4, 8):
        return True
    if layout.reversed_bits:
        return False
    plain = layout.photometric == tags.BLACK_IS_ZERO
    if layout.depth == 12:
        return layout.little and plain and layout.compression == NONE
    return (layout.little or plain) if layout.depth == 16 else (layout.little and plain)


def _colours_by_pillow(layout: Layout) -> bool:
    if layout.reversed_bits:
        return False
    if layout.planar:
        return not layout.extra and (layout.compression != NONE or layout.depth == 8)
    known = ((), (0,), (1,), (2,), (999,)) if layout.depth == 8 else ((), (0,), (1,), (2,))
    return layout.extra in known
