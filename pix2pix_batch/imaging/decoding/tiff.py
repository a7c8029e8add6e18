"""TIFF: which of its many kinds of samples are read, by whom, and what they mean.

Only what ``tests/pix2pix_batch/decoding/test_tiff_kinds.py`` has read in every combination is
taken from Pillow; else :mod:`tifffile` reads the samples; the rest is refused by name.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.layout import (
    ASSOCIATED,
    BITS,
    BLACK_IS_ZERO,
    CIELAB,
    CMYK,
    COLOURS,
    COMPRESSION,
    EXTRA,
    FILL_ORDER,
    FLOAT,
    FORMAT,
    ICCLAB,
    OPAQUE,
    PALETTE,
    PHOTOMETRIC,
    PLANAR,
    REFERENCE,
    RGB,
    SIGNED,
    STRIP_BYTES,
    STRIP_OFFSETS,
    TILE_BYTES,
    TILE_OFFSETS,
    UNSIGNED,
    VOLUME,
    WHITE_IS_ZERO,
    YCBCR,
    Layout,
)

GREY = (WHITE_IS_ZERO, BLACK_IS_ZERO)
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

EXTRA_INSTALL = "pip install 'pix2pix-batch[formats]'"


def refusal(layout: Layout) -> str:
    """Why what the tags say is not read; empty where it is."""
    return _undefined_reason(layout) or _unreadable_reason(layout)


def _undefined_reason(layout: Layout) -> str:
    """Why the samples have no colour that is known."""
    photometric = layout.photometric
    if FLOAT in layout.formats:
        return "floating-point pixels: no defined white; scale them to 8 or 16 bits first"
    if photometric is None:
        return "does not say what its samples mean (no photometric interpretation); add the tag"
    if photometric not in COLOURS:
        return f"its samples are {layout.interpretation}; convert them to RGB or grey first"
    if layout.samples < COLOURS[photometric]:
        return f"{layout.samples} samples a pixel are too few for {layout.interpretation}"
    if len(set(layout.bits)) != 1 or len(layout.bits) != layout.samples:
        return f"samples of different depths ({layout.bits}); convert them to one first"
    if set(layout.formats) == {SIGNED} and (layout.depth, layout.samples) == (32, 1):
        pass  # integers as programs write them: taken where they fit into 16 bits
    elif set(layout.formats) != {UNSIGNED}:
        return "signed or untyped samples: no defined black and white; make them unsigned first"
    if photometric in GREY and OPAQUE in layout.extra and not layout.untold:
        return (
            f"{layout.samples} samples a pixel, of which only the first is known to be grey; "
            "choose the bands to show, and store them as RGB or grey"
        )
    if photometric in GREY and layout.untold:
        return f"{layout.samples} samples a pixel, and only one is told to be grey"
    if photometric == CMYK and (layout.ink_set != 1 or layout.alpha is not None):
        return "inks other than CMYK, or CMYK with transparency; convert it to RGB first"
    if photometric in (CIELAB, ICCLAB) and layout.alpha is not None:
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
    known_colours = layout.photometric in (*GREY, RGB, CMYK, YCBCR)
    if pictured and not (known_colours and layout.depth in (8, 12, 16)):
        return f"{layout.interpretation} compressed as {layout.compressed_by}; store it as Deflate"
    if layout.photometric == YCBCR and layout.compression not in (OLD_JPEG, JPEG):
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
    colours = COLOURS[layout.photometric or 0]
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
    tags = image.tag_v2
    kind = (tags.get(PHOTOMETRIC), tags.get(BITS))
    return (
        kind in ((RGB, (8, 8, 8)), (BLACK_IS_ZERO, (8,)))
        and set(tags.get(FORMAT, (UNSIGNED,))) == {UNSIGNED}
        and not any(tag in tags for tag in (EXTRA, REFERENCE, VOLUME))
        and (tags.get(PLANAR, 1), tags.get(FILL_ORDER, 1)) == (1, 1)
        and tags.get(COMPRESSION, 1) in USUAL
    )


def is_sparse(image: TiffImageFile) -> bool:
    """Whether parts of the picture are not there, and mean zero or what GDAL_NODATA says, as GDAL
    writes them (SPARSE_OK). Raises :class:`ImageError` where that is damage."""
    compressed = image.tag_v2.get(COMPRESSION, NONE) != NONE
    return any(
        _lacks_blocks(image.tag_v2.get(places, ()), image.tag_v2.get(lengths, ()), compressed)
        for places, lengths in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES))
    )


def _lacks_blocks(places: Sequence[int], lengths: Sequence[int], needed: bool = True) -> bool:
    """Whether a strip or tile is not there: it has neither a place nor bytes.

    Raises :class:`ImageError` where one has only one of them. ``needed``: the length is; Pillow
    reads what is not compressed without.
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
    if photometric == YCBCR:
        return not layout.extra and layout.compression != NONE
    if photometric in GREY and layout.samples == 1:
        return _grey_by_pillow(layout)
    if photometric == PALETTE:
        return plain and depth in (1, 2, 4, 8)
    if photometric == RGB and depth in (8, 16):
        return _colours_by_pillow(layout)
    if photometric == CMYK and depth in (8, 16):
        return plain and (layout.little or depth == 8 or layout.compression == NONE)
    if photometric in GREY:
        return photometric == BLACK_IS_ZERO and depth == 8 and not layout.planar
    return photometric == CIELAB and plain and depth == 8


def _grey_by_pillow(layout: Layout) -> bool:
    if layout.depth in (1, 2, 4, 8):
        return True
    if layout.reversed_bits:
        return False
    if layout.depth == 12:
        return layout.little and layout.photometric == BLACK_IS_ZERO and layout.compression == NONE
    if layout.depth == 16:
        return layout.little or layout.photometric == BLACK_IS_ZERO
    return layout.little and layout.photometric == BLACK_IS_ZERO


def _colours_by_pillow(layout: Layout) -> bool:
    if layout.reversed_bits:
        return False
    if layout.planar:
        return not layout.extra and (layout.compression != NONE or layout.depth == 8)
    known = ((), (0,), (1,), (2,), (999,)) if layout.depth == 8 else ((), (0,), (1,), (2,))
    return layout.extra in known


def correct_samples(image: Image.Image, layout: Layout) -> Image.Image:
    """What Pillow delivers, where its samples are right and their scale is not."""
    if image.mode in ("P", "PA") and layout.colour_map and max(layout.colour_map) < 256:
        entries = np.asarray(layout.colour_map, np.uint8).reshape(3, -1).T
        image.putpalette(np.ascontiguousarray(entries).tobytes())
    if layout.depth in (12, 16) and image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        return _grey(scale_to_eight_bits(values, layout.depth), layout)
    return image


def read_samples(data: bytes, layout: Layout) -> Image.Image:
    """Read the samples with tifffile. Raises :class:`ImageError`, naming what it would take."""
    lossy = layout.compression in PICTURES or layout.compression in (OLD_JPEG, JPEG)
    if lossy and (layout.photometric not in (*GREY, RGB) or layout.extra not in ((), (2,))):
        raise ImageError(
            f"{layout.interpretation} compressed as {layout.compressed_by}; store it as Deflate"
        )
    image = _to_image(_read_with_tifffile(data, layout), layout)
    if layout.profile:
        image.info["icc_profile"] = layout.profile
    return image


def read_sixteen_bits(data: bytes, layout: Layout) -> np.ndarray | None:
    """Grey or RGB of more than 8 bits, ``uint16 (H, W, C)`` of which 65535 is the largest value,
    turned upright; ``None`` of others, or where imagecodecs is needed and not there, or colours are
    multiplied by alpha.

    Raises :class:`ImageError`.
    """
    packed = layout.compression not in (NONE, PACKBITS) or layout.depth != 16
    multiplied = layout.alpha is not None and layout.extra[layout.alpha] == ASSOCIATED
    if layout.photometric not in (*GREY, RGB) or multiplied:
        return None
    if packed and not has_imagecodecs():
        return None
    samples = _read_with_tifffile(data, layout)[:, :, : COLOURS[layout.photometric]]
    largest = min((1 << layout.depth) - 1, 0xFFFF)  # those of 32 bits fit into 16
    wide = (samples.astype(np.uint32) * 0xFFFF // largest).astype(np.uint16)
    if layout.photometric == WHITE_IS_ZERO:
        wide = 0xFFFF - wide
    return TURNS.get(layout.orientation, np.asarray)(wide)


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: partial(np.rot90, k=2),
    4: np.flipud,
    5: lambda samples: samples.swapaxes(0, 1),
    6: partial(np.rot90, k=-1),
    7: lambda samples: np.rot90(samples, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What turns samples of each orientation upright."""


def _read_with_tifffile(data: bytes, layout: Layout) -> np.ndarray:
    """The samples, ``(H, W, C)``. Raises :class:`ImageError`."""
    import tifffile

    if layout.compression not in (NONE, PACKBITS) and not has_imagecodecs():
        raise ImageError(_missing_codec(layout))
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            _lacks_blocks(page.dataoffsets, page.databytecounts)
            samples = page.asarray(maxworkers=1)
            axes = page.axes
    except (MemoryError, ImageError):
        raise
    except Exception as error:
        raise ImageError(_failure(error, layout)) from error
    if layout.samples > 1 and axes.startswith("S"):
        samples = np.moveaxis(samples, 0, -1)
    shape = (layout.height, layout.width, layout.samples)
    if samples.size != np.prod(shape):
        raise ImageError(f"damaged: {samples.shape} samples instead of {shape}")
    return np.asarray(samples.reshape(shape))


def has_imagecodecs() -> bool:
    """What tifffile has in its place takes no bound on what comes out, and unpacks few depths."""
    return importlib.util.find_spec("imagecodecs") is not None


def _missing_codec(layout: Layout) -> str:
    compressed = layout.compression != NONE
    return (
        f"{layout.depth}-bit {layout.interpretation}"
        + (f" compressed as {layout.compressed_by}" if compressed else "")
        + f" needs the extra 'formats' ({EXTRA_INSTALL})"
    )


def _failure(error: Exception, layout: Layout) -> str:
    if not has_imagecodecs():
        return _missing_codec(layout)
    said = " ".join(str(error).split()) or type(error).__name__
    return f"damaged: its data (compression: {layout.compressed_by}) cannot be decoded: {said}"


def _to_image(samples: np.ndarray, layout: Layout) -> Image.Image:
    """8-bit samples with Pillow's name for what they mean."""
    if layout.depth == 32:
        return Image.fromarray(fit_sixteen_bits(samples[:, :, 0]))
    photometric = layout.photometric or 0
    colours = COLOURS[photometric]
    if layout.photometric == PALETTE:
        eight = _apply_palette(samples[:, :, 0], layout)
    elif layout.photometric in (CIELAB, ICCLAB):
        return _lab(samples, layout)
    else:
        eight = scale_to_eight_bits(samples[:, :, :colours], layout.depth)
    if layout.photometric == WHITE_IS_ZERO:
        eight = 255 - eight
    if layout.alpha is None:
        return merge_channels({CMYK: "CMYK", YCBCR: "YCbCr"}.get(photometric, _mode(eight)), eight)
    alpha = scale_to_eight_bits(samples[:, :, colours + layout.alpha], layout.depth)
    mode = _mode(eight) + "A"
    if layout.extra[layout.alpha] == ASSOCIATED:
        mode = mode[:-1] + "a"
    return merge_channels(mode, np.dstack([eight, alpha]))


def _mode(colours: np.ndarray) -> str:
    return "L" if colours.shape[2] == 1 else "RGB"


def merge_channels(mode: str, samples: np.ndarray) -> Image.Image:
    height, width = samples.shape[:2]
    samples = np.ascontiguousarray(samples)
    return Image.frombytes(mode, (width, height), samples.tobytes(), "raw", mode)


def _grey(eight: np.ndarray, layout: Layout) -> Image.Image:
    return Image.fromarray(255 - eight if layout.photometric == WHITE_IS_ZERO else eight)


def scale_to_eight_bits(values: np.ndarray, depth: int) -> np.ndarray:
    """White is the largest value; 16 bits by their high byte, as Pillow does for colours."""
    if depth == 8:
        return values.astype(np.uint8)
    if depth == 16:
        return (values >> 8).astype(np.uint8)
    largest = (1 << depth) - 1
    return ((values.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)


def fit_sixteen_bits(values: np.ndarray) -> np.ndarray:
    """32-bit integers that fit into 16 bits, and not into 8, which they may then mean. Raises
    :class:`ImageError`."""
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("32-bit integer pixels beyond 16 bits: no defined white; scale them first")
    if 0 < values.max() <= 0xFF:
        raise ImageError(
            f"32-bit integer pixels up to {values.max()}: no defined white, 255 or 65535; store "
            "them as 8 or 16 bits"
        )
    return values.astype(np.uint16)


def _apply_palette(indices: np.ndarray, layout: Layout) -> np.ndarray:
    table = np.asarray(layout.colour_map, np.uint16)
    if table.size != 3 << layout.depth:
        raise ImageError(f"damaged: a palette of {table.size // 3} entries")
    if table.max() >= 256:  # older programs wrote 8-bit entries
        table >>= 8
    return table.reshape(3, -1).T.astype(np.uint8)[indices]


def _lab(samples: np.ndarray, layout: Layout) -> Image.Image:
    """L*a*b* as Pillow holds it: a* and b* with 128 for zero (TIFF 6.0 has them signed)."""
    if layout.depth not in (8, 16):
        raise ImageError(f"{layout.depth}-bit L*a*b*; convert it to RGB first")
    wide = samples[:, :, :3].astype(np.uint32)
    if layout.photometric == CIELAB:
        wide[:, :, 1:] ^= 1 << (layout.depth - 1)
    if layout.depth == 16:  # rounded: a level is more here than it is of RGB
        wide = np.minimum((wide + 128) >> 8, 255)
    eight = wide.astype(np.uint8)
    bands = [Image.fromarray(np.ascontiguousarray(eight[:, :, band])) for band in range(3)]
    return Image.merge("LAB", bands)
