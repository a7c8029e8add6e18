"""The samples of TIFF files to pictures: corrected from Pillow's, or read by tifffile."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.layout import Layout
from pix2pix_batch.imaging.decoding.tiff import (
    GREY,
    JPEG,
    NONE,
    OLD_JPEG,
    PACKBITS,
    PICTURES,
    WEBP,
    lacks_blocks,
)
from pix2pix_batch.imaging.metadata import tiff_tags as tags
from pix2pix_batch.text import format_count

EXTRA_INSTALL = "pip install 'pix2pix-batch[formats]'"


def correct_samples(image: Image.Image, layout: Layout) -> Image.Image:
    """What Pillow delivers, where its samples are right and their scale is not."""
    # Older programs wrote entries of 8 bits, of which Pillow takes the high byte: all black.
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
    bands = "" if layout.extra in ((), (2,)) or layout.compression == WEBP else _name_extra(layout)
    if lossy and (layout.photometric not in (*GREY, tags.RGB) or bands):
        raise ImageError(
            f"{layout.depth}-bit {layout.interpretation}{bands} compressed as "
            f"{layout.compressed_by}; store it as Deflate"
        )
    image = _to_image(_read_with_tifffile(data, layout), layout)
    if layout.profile:
        image.info["icc_profile"] = layout.profile
    return image


def _name_extra(layout: Layout) -> str:
    if layout.extra == (tags.ASSOCIATED,):
        return " with premultiplied alpha,"
    return f" with {format_count(len(layout.extra), 'band')} beside its colours,"


def read_sixteen_bits(data: bytes, layout: Layout) -> np.ndarray | None:
    """Grey or RGB of more than 8 bits, ``uint16 (H, W, C)`` of which 65535 is the largest value,
    turned upright; ``None`` of others, or where imagecodecs is needed and not there, or colours are
    multiplied by alpha.

    Raises :class:`ImageError`.
    """
    packed = layout.compression not in (NONE, PACKBITS) or layout.depth != 16
    multiplied = layout.alpha is not None and layout.extra[layout.alpha] == tags.ASSOCIATED
    if layout.photometric not in (*GREY, tags.RGB) or multiplied:
        return None
    if packed and not has_imagecodecs():
        return None
    samples = _read_with_tifffile(data, layout)[:, :, : tags.COLOURS[layout.photometric]]
    largest = min((1 << layout.depth) - 1, 0xFFFF)  # those of 32 bits fit into 16
    # In 32 bits, since the product does not fit into 16.
    wide = (samples.astype(np.uint32) * 0xFFFF // largest).astype(np.uint16)
    if layout.photometric == tags.WHITE_IS_ZERO:
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
            # Raises for damage; tifffile itself fills what is missing with zeros.
            lacks_blocks(page.dataoffsets, page.databytecounts)
            # One thread: its own would take cores from the workers beside.
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
    colours = tags.COLOURS[photometric]
    if layout.photometric == tags.PALETTE:
        eight = _apply_palette(samples[:, :, 0], layout)
    elif layout.photometric in (tags.CIELAB, tags.ICCLAB):
        return _lab(samples, layout)
    else:
        eight = scale_to_eight_bits(samples[:, :, :colours], layout.depth)
    if layout.photometric == tags.WHITE_IS_ZERO:
        eight = 255 - eight
    if layout.alpha is None:
        named = {tags.CMYK: "CMYK", tags.YCBCR: "YCbCr"}
        return merge_channels(named.get(photometric, _mode(eight)), eight)
    alpha = scale_to_eight_bits(samples[:, :, colours + layout.alpha], layout.depth)
    mode = _mode(eight) + "A"
    if layout.extra[layout.alpha] == tags.ASSOCIATED:
        mode = mode[:-1] + "a"
    return merge_channels(mode, np.dstack([eight, alpha]))


def _mode(colours: np.ndarray) -> str:
    return "L" if colours.shape[2] == 1 else "RGB"


def merge_channels(mode: str, samples: np.ndarray) -> Image.Image:
    height, width = samples.shape[:2]
    samples = np.ascontiguousarray(samples)
    return Image.frombytes(mode, (width, height), samples.tobytes(), "raw", mode)


def _grey(eight: np.ndarray, layout: Layout) -> Image.Image:
    return Image.fromarray(255 - eight if layout.photometric == tags.WHITE_IS_ZERO else eight)


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
    if layout.photometric == tags.CIELAB:
        wide[:, :, 1:] ^= 1 << (layout.depth - 1)
    if layout.depth == 16:  # rounded: a level is more here than it is of RGB
        wide = np.minimum((wide + 128) >> 8, 255)
    eight = wide.astype(np.uint8)
    bands = [Image.fromarray(np.ascontiguousarray(eight[:, :, band])) for band in range(3)]
    return Image.merge("LAB", bands)
