"""A JPEG or JPEG 2000 file to a picture."""

from __future__ import annotations

from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding import jpeg, jpeg2000, others
from pix2pix_batch.imaging.decoding.decoded import Decoded, copy_info
from pix2pix_batch.imaging.decoding.opening import (
    load_samples,
    open_with_pillow,
    pixel_limit,
    require_readable,
)
from pix2pix_batch.imaging.decoding.primaries import ADOBE_RGB
from pix2pix_batch.imaging.decoding.tiff_samples import has_imagecodecs
from pix2pix_batch.imaging.decoding.tolerance import Tolerance


def decode_jpeg(data: bytes, tolerance: Tolerance) -> Decoded:
    header = jpeg.read_plain_header(data)
    if header is not None and header.size[0] * header.size[1] <= pixel_limit(tolerance):
        pixels, warning = jpeg.decode(data, header)
        if pixels is not None:
            return Decoded(None, pixels, turned=1, warnings=[warning] if warning else [])
    try:
        image = open_with_pillow(data, tolerance)
    except ImageError as error:
        if "not an image" in str(error) and (reason := jpeg.refusal(data)):
            raise ImageError(reason) from error
        raise
    if image.format not in ("JPEG", "MPO"):
        raise ImageError(
            others.unverified_reason(image) or "a JPEG file that Pillow takes for another"
        )
    pixels, warning = jpeg.decode(data, jpeg.Header(image.mode, image.size))
    remarks = [warning] if warning else []
    lacks_profile = not image.info.get("icc_profile")
    if lacks_profile and jpeg.has_profile(data):
        remarks.append("its colour profile is left out: parts of it are missing")
    elif lacks_profile and image.mode == "RGB" and jpeg.is_adobe_rgb(image.info.get("exif", b"")):
        image.info["icc_profile"] = ADOBE_RGB.profile()
    if pixels is None:
        try:
            load_samples(image)
        except ImageError as error:
            if reason := jpeg.refusal(data):
                raise ImageError(reason) from error
            raise
    return Decoded(image, pixels=pixels, warnings=remarks)


def decode_jpeg2000(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        stream = jpeg2000.read_stream(data)
    except ValueError as error:
        raise ImageError(f"damaged: a JPEG 2000 file, but {error}") from error
    require_readable(stream.width, stream.height, jpeg2000.refusal(stream), tolerance)
    if jpeg2000.is_read_by_pillow(stream):
        image = _load_jpeg2000(data, stream, tolerance)
    else:
        image = jpeg2000.read_samples(data, stream)
    return Decoded(
        jpeg2000.apply_meaning(image, stream), warnings=jpeg2000.find_remarks(image, stream)
    )


def _load_jpeg2000(data: bytes, stream: jpeg2000.Stream, tolerance: Tolerance) -> Image.Image:
    """Decode with Pillow, which takes some files of halved chroma for damaged. Raises
    :class:`ImageError`."""
    image = open_with_pillow(jpeg2000.prepare_for_pillow(data, stream), tolerance, "JPEG2000")
    try:
        load_samples(image)
    except ImageError:
        if stream.steps not in jpeg2000.HALVED or not has_imagecodecs():
            raise
        return jpeg2000.read_samples(data, stream)
    return copy_info(image, jpeg2000.correct_samples(image, stream))
