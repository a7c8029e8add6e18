"""A TIFF file to a picture, by who reads its kind rightly."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding import layout, tiff, tiff_damage, tiff_samples
from pix2pix_batch.imaging.decoding.decoded import Decoded, copy_info
from pix2pix_batch.imaging.decoding.opening import load_samples, open_with_pillow, require_readable
from pix2pix_batch.imaging.decoding.orientation import UPRIGHT, settle_orientation
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.metadata import tiff_pages
from pix2pix_batch.imaging.metadata import tiff_tags as tags

LOSSLESS_FRAME = b"\xff\xc3"
"""The marker of a frame of lossless JPEG (ITU T.81, table B.1)."""

RAW_MODE = "raw mode"
"""Of what Pillow says where it knows a kind of TIFF only uncompressed, as older ones do."""


def decode_tiff(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        return _decode_known_tiff(data, tolerance)
    except ImageError as error:
        # entropy-coded data has no 255 before 195 (ITU T.81, section B.1.1.5)
        if "(compression: JPEG)" not in str(error) or LOSSLESS_FRAME not in data:
            raise
        raise ImageError("TIFF with lossless JPEG in it; store it as Deflate") from error


def _decode_known_tiff(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        data = layout.reorder_directories(data)
    except ValueError as error:
        raise ImageError(f"a TIFF file that {error}; export it as TIFF or PNG") from error
    count = tiff_pages.count_in(data)
    opened = _open_tiff(data, tolerance)
    if opened is not None and (lost := layout.find_lost_tag(data)):
        raise ImageError(f"damaged: its tag that tells the {lost} has no value")
    if opened is not None and tiff.is_sparse(opened):
        opened = None
    turned, remark = settle_orientation(opened, data) if opened is not None else (None, "")
    remarks = [remark] if remark else []
    if count > 1:
        remarks.append(tiff_pages.describe_left_pages(count))
    if opened is not None and tiff.is_plain(opened):
        _load_tiff(opened, tags.COMPRESSIONS[opened.tag_v2.get(tags.COMPRESSION, 1)])
        remarks += filter(None, [tiff_damage.find_damage(opened, data)])
        return Decoded(opened, turned=turned, warnings=remarks)
    try:
        known_layout = layout.read_layout(data)
    except ValueError as error:
        raise ImageError(f"damaged: a TIFF file, but {error}") from error
    require_readable(known_layout.width, known_layout.height, tiff.refusal(known_layout), tolerance)
    remarks += tiff.find_remarks(known_layout)
    if turned is None:
        turned = known_layout.orientation if known_layout.orientation in UPRIGHT else 1
    known_layout = replace(known_layout, orientation=turned)
    image = _load_known_tiff(data, known_layout, opened)
    if opened is not None and tiff.is_read_by_pillow(known_layout):
        remarks += filter(None, [tiff_damage.find_damage(opened, data)])
    deep = (
        partial(tiff_samples.read_sixteen_bits, data, known_layout)
        if known_layout.depth > 8
        else None
    )
    return Decoded(image, turned=turned, warnings=remarks, read_deep=deep)


def _load_known_tiff(
    data: bytes, known_layout: layout.Layout, opened: TiffImageFile | None
) -> Image.Image:
    """Decode the picture, turned upright, with the library that reads its kind correctly. Raises
    :class:`ImageError`."""
    if opened is not None and tiff.is_read_by_pillow(known_layout):
        try:
            _load_tiff(opened, known_layout.compressed_by)
            return copy_info(opened, tiff_samples.correct_samples(opened, known_layout))
        except ImageError as error:  # of a kind that is new to this Pillow, or known to it in part
            if known_layout.compression not in tiff.NEWER and RAW_MODE not in str(error):
                raise
    return _turn_upright(tiff_samples.read_samples(data, known_layout), known_layout.orientation)


def _load_tiff(image: Image.Image, compressed_by: str) -> None:
    """Decode the samples with Pillow, which turns them upright. Raises :class:`ImageError`."""
    try:
        load_samples(image)
    except ImageError as error:
        if "cut short" in str(error) or RAW_MODE in str(error):
            raise
        raise ImageError(
            f"damaged: its data (compression: {compressed_by}) cannot be decoded"
        ) from error


def _open_tiff(data: bytes, tolerance: Tolerance) -> TiffImageFile | None:
    """Open the file with Pillow; ``None`` if it cannot. Raises :class:`ImageError` if it is too
    large."""
    try:
        image = open_with_pillow(data, tolerance, "TIFF")
    except ImageError as error:
        if isinstance(error.__cause__, Warning | Image.DecompressionBombError):
            raise
        return None
    if not isinstance(image, TiffImageFile):
        return None
    if not isinstance(image.info.get("icc_profile", b""), bytes):  # its tag is of another type
        image.info["icc_profile"] = layout.read_profile(data)
    return image


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned upright, with what it says of itself."""
    if orientation not in UPRIGHT:
        return image
    return copy_info(image, image.transpose(UPRIGHT[orientation]))
