"""Which way up a picture is: what EXIF, XMP and TIFF's own tag say, in one order."""

from __future__ import annotations

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.imaging.decoding import layout
from pix2pix_batch.imaging.metadata import tiff_tags as tags

TURNED_BY_XMP = (
    "turned upright as its XMP says; it has no EXIF orientation, so that programs differ"
)

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright."""


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) to 8."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(orientation) if orientation in UPRIGHT else 1
    except Exception:  # SyntaxError, struct.error and more: broken EXIF is ignored, as viewers do
        return 1


def is_turned_by_xmp(image: Image.Image) -> bool:
    """Whether its orientation is not EXIF's: Pillow takes XMP's where EXIF has none."""
    if orientation_of(image) == 1:
        return False
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
    except Exception:  # as in orientation_of
        return True
    return ExifTags.Base.Orientation not in exif


def settle_orientation(image: TiffImageFile, data: bytes) -> tuple[int, str]:
    """Find out by which orientation Pillow turns the opened TIFF file when it loads it, and a
    warning about that.

    Pillow takes the tag in its own types alone, where libtiff takes integers of any type; so it is
    told the value. If there is no tag, it takes XMP's.
    """
    tag = image.tag_v2.get(tags.ORIENTATION)
    if tag is None:
        turned = orientation_of(image) if image.info.get("xmp") else 1
        return turned, TURNED_BY_XMP if turned != 1 else ""
    if not isinstance(tag, int):
        tag = image.getexif()[tags.ORIENTATION] = layout.read_orientation(data)
    return tag if tag in UPRIGHT else 1, ""
