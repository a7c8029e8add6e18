"""An image file to a picture of 8 bits whose samples mean what Pillow's mode says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.errors import EMPTY, ImageError, NotToleratedError
from pix2pix_batch.imaging.decoding import (
    beginnings,
    colour_fields,
    extents,
    icons,
    jpeg,
    jpeg2000,
    layout,
    others,
    pcx,
    photoshop,
    png,
    process,
    runs,
)
from pix2pix_batch.imaging.decoding.decoded import Decoded, copy_info, warn_beyond_palette
from pix2pix_batch.imaging.decoding.jpeg_decoder import decode_jpeg, decode_jpeg2000
from pix2pix_batch.imaging.decoding.opening import HINT, load_samples, open_with_pillow
from pix2pix_batch.imaging.decoding.orientation import TURNED_BY_XMP, is_turned_by_xmp
from pix2pix_batch.imaging.decoding.png_decoder import decode_png
from pix2pix_batch.imaging.decoding.tiff_decoder import decode_tiff
from pix2pix_batch.imaging.decoding.tiff_samples import fit_sixteen_bits
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.metadata import tiff_tags as tags
from pix2pix_batch.memory_limit import explain_too_large


def decode(data: bytes, tolerance: Tolerance = USUAL) -> Decoded:
    """Decode the first picture. Raises :class:`ImageError` with the reason."""
    if not data:
        raise ImageError(EMPTY)
    process.hush_libraries()
    process.hush_warnings()
    try:
        with process.decode_concurrently():
            decoded = _decode_or_say_why(data, tolerance)
    except ImageError as error:
        if not (tolerance.lenient and str(error).startswith("damaged")):
            raise
        with process.decode_incomplete():
            decoded = _decode_or_say_why(data, tolerance)
        decoded.read_deep = None  # which would read the whole
        others_said = [said for said in decoded.warnings if not said.startswith("damaged")]
        decoded.warnings = [f"{_cause(error)}; what is there was taken", *others_said]
    if decoded.image is not None and decoded.turned is None and is_turned_by_xmp(decoded.image):
        decoded.warnings.append(TURNED_BY_XMP)
    if decoded.warnings and tolerance.strict:
        raise NotToleratedError(f"{'; '.join(decoded.warnings)}: refused by --strict")
    return decoded


def _decode_or_say_why(data: bytes, tolerance: Tolerance) -> Decoded:
    """Decode a file. Whatever a decoder raises becomes an :class:`ImageError`, because it is this
    image that failed."""
    try:
        return _decode(data, tolerance)
    except ImportError:  # a package that is missing here is not this image's fault
        raise
    except ImageError as error:
        is_known = str(error).startswith("not an image but") or "as if it were" in str(error)
        if not is_known and beginnings.is_changed_as_text(data):
            raise ImageError(beginnings.CHANGED) from error
        raise
    except MemoryError as error:
        raise ImageError(explain_too_large()) from error
    except Exception as error:  # decoders raise what they please on damaged files
        raise ImageError(f"damaged: {describe_failure(error)}") from error


def describe_failure(error: Exception) -> str:
    """What a library says, on one line, with the kind of error where that says more."""
    said = " ".join(str(error).split())
    known = isinstance(error, OSError | ValueError | SyntaxError) and said
    return said if known else ": ".join(filter(None, (type(error).__name__, said)))


def _cause(error: ImageError) -> str:
    """The reason without the advice, which has been followed."""
    return str(error).partition(HINT)[0]


def _decode(data: bytes, tolerance: Tolerance) -> Decoded:
    if layout.is_tiff(data):
        return decode_tiff(data, tolerance)
    if data.startswith(png.SIGNATURE):
        return decode_png(data, tolerance)
    if jpeg.is_jpeg(data):
        return decode_jpeg(data, tolerance)
    if jpeg2000.is_jpeg2000(data):
        return decode_jpeg2000(data, tolerance)
    if within := icons.find_png(data):
        return decode_png(within, tolerance)
    data = whole = pcx.take_first_page(data)
    if reason := others.refusal(data):
        raise ImageError(reason)
    try:
        data = others.prepare_for_pillow(data)
        image, remarks = _load_rarer(data, tolerance)
    except ImageError as error:
        reason = others.reason_of_failure(data)
        if not reason and isinstance(error.__cause__, UnidentifiedImageError):
            reason = beginnings.describe_unknown_file(data) or others.describe_unopened(data)
        if reason:
            raise ImageError(reason) from error
        raise
    if profile := colour_fields.read_profile(data):
        image.info["icc_profile"] = profile
    if image.format == "PSD":
        remarks += photoshop.find_remarks(image, data)
    remarks += filter(None, [extents.find_damage(image.format or "", whole)])
    has_profile = bool(image.info.get("icc_profile"))
    meaning = None if has_profile else colour_fields.read_meaning(image.format or "", data)
    image = copy_info(image, others.correct_samples(image, data))
    return Decoded(image, meaning=meaning, warnings=[*remarks, *warn_beyond_palette(image)])


def _load_rarer(data: bytes, tolerance: Tolerance) -> tuple[Image.Image, list[str]]:
    """A picture of a rarer format as Pillow has it, and warnings. Raises :class:`ImageError`."""
    image = open_with_pillow(data, tolerance, "SUN" if data.startswith(others.SUN) else "")
    if reason := others.unverified_reason(image):
        raise ImageError(reason)
    remarks = others.find_remarks(image, data)
    try:
        load_samples(image)
    except ImageError:
        unpacked = runs.unpack(data)
        if unpacked is None:
            raise
        image = open_with_pillow(unpacked, tolerance)
        load_samples(image)
    return image, remarks


def open_header(path: Path, tolerance: Tolerance = USUAL) -> Image.Image:
    """A file as Pillow opens it, its samples not read yet, which then may mean something else than
    :func:`decode` says. Raises :class:`ImageError`, also for kinds that :func:`decode` reads."""
    image = open_with_pillow(path, tolerance)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(tags.NEW_SUBFILE, 0):
        raise ImageError("a TIFF file whose first directory is not the picture")
    return image


def to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by its high byte, as for colour; other deep images are refused.

    Raises :class:`ImageError`.
    """
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        return copy_info(image, Image.fromarray(high.astype(np.uint8)))
    if image.mode == "I":
        high = fit_sixteen_bits(np.asarray(image)) >> 8
        return copy_info(image, Image.fromarray(high.astype(np.uint8)))
    if image.mode == "F":
        raise ImageError(
            "floating-point pixels: no defined white; scale them to 8 or 16 bits first"
        )
    return image
