"""Large pictures, which are read window by window: those that come out as if read as a whole."""

from __future__ import annotations

from pix2pix_batch.errors import NotToleratedError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.metadata import exif
from pix2pix_batch.imaging.metadata.tiff_tags import ASSOCIATED, EXTRA, PHOTOMETRIC
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.gdal_raster import describe_unlike
from pix2pix_batch.imaging.raster.reading import Raster, open_raster
from pix2pix_batch.value_ranges import ValueRange

ALIKE = frozenset({1, 2, 5, 6})
"""TIFF's PhotometricInterpretation of pictures whose samples are the same however they are read:
grey, RGB, and what GDAL converts as Pillow does, CMYK and YCbCr. Not white as 0, nor L*a*b*."""


def open_large_picture(path: str, side: ValueRange, bands: tuple[str, ...], page: int) -> Raster:
    """Open a picture of a training pair. The arguments are those of
    :func:`pix2pix_batch.imaging.raster.reading.open_raster`.

    Raises:
        ImageError: It cannot be read, or would be another picture than if it were read as a whole.
    """
    raster = open_raster(path, path, side, bands, page, is_told=False, is_picture=True)
    try:
        require_alike(raster, path, page, takes_alpha=side.channels == 4)
    except BaseException:
        raster.close()
        raise
    return raster


def require_alike(raster: Raster, path: str, page: int, takes_alpha: bool) -> None:
    """Refuse a picture of which reading it as a whole would make another one: turn it, convert its
    colours or divide them by their alpha.

    Args:
        raster: The picture, opened.
        path: Its file.
        page: The page of it, from 1; 0 for the first of any file.
        takes_alpha: Whether its fourth band is one of the model's.

    Raises:
        ImageError: It is such a picture.
    """
    height, width = raster.height, raster.width
    with library.explain_errors("read"), pages.open_tiff(path, page) as tiff:
        if tiff is None:
            return
        if (orientation := exif.read_orientation(tiff)) != 1:
            what = f"is not upright (its orientation is {orientation})"
            raise NotToleratedError(describe_unlike(height, width, what, "upright"))
        fields = tiff.directory({EXTRA, PHOTOMETRIC})
    extra, colours = fields.get(EXTRA), fields.get(PHOTOMETRIC)
    if colours is not None and not ALIKE.issuperset(colours.numbers()):
        kind = ", ".join(f"{number:g}" for number in colours.numbers())
        what = f"stores colours in another way (PhotometricInterpretation {kind})"
        raise NotToleratedError(describe_unlike(height, width, what, "as grey or RGB"))
    if takes_alpha and extra is not None and extra.numbers() == (ASSOCIATED,):
        raise NotToleratedError(
            describe_unlike(height, width, "has premultiplied colours", "with plain ones")
        )
