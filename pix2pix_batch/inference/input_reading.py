"""An input's file to what the model takes: pictures of 8 bits, images of labels, rasters."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import ImageError, InputError, NotToleratedError
from pix2pix_batch.imaging import images, kinds, pages
from pix2pix_batch.imaging.decoding.opening import pixel_limit
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.label_images import read_labels
from pix2pix_batch.imaging.metadata.tiff import Fields
from pix2pix_batch.imaging.metadata.tiff_pages import select_page
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.imaging.raster.profile import RasterExtras, RasterProfile
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.memory_limit import explain_too_large
from pix2pix_batch.storage import files, local

NO_DATA = "holds no data: every pixel is its value for none, or masked"
"""Why a raster is not converted."""


def is_raster(name: str, info: BundleInfo, bands: str | None) -> bool:
    """Say whether a file is read as a raster.

    Args:
        name: The file's name.
        info: The bundle's metadata.
        bands: The bands that the user asked for; ``None`` if there are none.

    Returns:
        Whether it is; else it is read as a picture or as an image of labels.
    """
    if info.labels is not None:
        return False
    suffix = os.path.splitext(name)[1].lower()
    return suffix in kinds.RASTERS or bool(bands) or not info.ranges.input.is_picture


def takes_rasters(info: BundleInfo, bands: str | None) -> bool:
    """Whether files that are no pictures are inputs for the bundle, whatever they are called."""
    return is_raster("", info, bands)


def split_bands(bands: str | None) -> tuple[str, ...]:
    """The words of ``--bands``."""
    return tuple(word.strip() for word in (bands or "").split(",") if word.strip())


def require_bands(info: BundleInfo, bands: str | None) -> None:
    """Raises :class:`InputError` where the bands asked for cannot be the bundle's, whatever the
    files."""
    from pix2pix_batch.imaging.raster.bands import describe_other_number

    if bands is None:
        return
    if info.labels is not None:
        raise InputError(f"--bands is for rasters; {info.name} takes images of labels")
    words = split_bands(bands)
    if not words:
        raise InputError("--bands names none; give numbers or names, such as 4,3,2")
    if len(words) != info.ranges.input.channels:
        raise InputError(describe_other_number(words, info.ranges.input))
    if any(word.isdecimal() and not int(word) for word in words):
        raise InputError(f"--bands {bands}: bands are counted from 1")


def read_picture(data: bytes, info: BundleInfo, tolerance: Tolerance = USUAL) -> Picture:
    """Decode an image file for a bundle's generator.

    Args:
        data: The bytes of the file.
        info: The bundle's metadata.
        tolerance: What is made of damaged files.

    Returns:
        The picture, upright, with the generator's channels.

    Raises:
        ImageError: It cannot be decoded, or is not tolerated.
    """
    if info.labels is not None:
        return read_labels(data, info.labels, tolerance)
    return images.read(data, info.architecture.in_channels, tolerance)


def read_item(item: Item, info: BundleInfo, settings: Settings) -> Picture:
    """Read and decode an item as a whole.

    Args:
        item: The input.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The picture, as the model takes it.

    Raises:
        ImageError: The file cannot be read or decoded.
    """
    data, _ = read_file(item, info, settings)
    return decode_item(item, select_own_page(item, data), info, settings)


def read_file(item: Item, info: BundleInfo, settings: Settings) -> tuple[bytes, str]:
    """Read an item's file.

    A raster on a disk is read from there when it is decoded. Its bytes are left out here unless
    something else needs them: noise, metadata, or a georeference for a format without one.

    Args:
        item: The input.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The file's bytes, which may be empty as above, and its stamp.

    Raises:
        ImageError: The file cannot be read.
    """
    if not (is_raster(item.file_name, info, settings.bands) and files.is_on_disk(item)):
        return files.read(item)
    tells_place = settings.georeference and not OUTPUT_FORMATS[item.form].holds_rasters
    if settings.noise or settings.keep_exif or settings.inspect or tells_place:
        return files.read(item)
    try:
        local.open_regular(item.path).close()
    except (OSError, ValueError) as error:
        raise local.unreadable(item.path, error) from error
    return b"", item.stamp or files.stamp_of(item.path)


def select_own_page(item: Item, data: bytes) -> bytes:
    """The item's file ``data``, as :func:`read_file` returns it, with no other page than the
    item's own. Raises :class:`ImageError`."""
    return select_page(data, item.page) if item.page and data else data


def read_size(item: Item) -> tuple[int, int] | None:
    """Height and width of a picture as its header has them; ``None`` where that cannot be read,
    for whatever reason."""
    if item.page:
        return pages.read_size(item.path, item.page)
    return images.read_size(item.path)


def decode_item(item: Item, data: bytes, info: BundleInfo, settings: Settings) -> Picture:
    """Decode an item.

    Args:
        item: The input.
        data: Its file, as :func:`select_own_page` returns it.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The picture, as the model takes it.

    Raises:
        ImageError: It cannot be decoded, or holds no data.
    """
    if not is_raster(item.file_name, info, settings.bands):
        return read_picture(data, info, settings.tolerance)
    return _read_raster(item.path if files.is_on_disk(item) else data, item, info, settings)


def _read_raster(place: str | bytes, item: Item, info: BundleInfo, settings: Settings) -> Picture:
    from pix2pix_batch.imaging.raster.reading import open_raster

    side, bands = info.ranges.input, split_bands(settings.bands)
    try:
        page = item.page if isinstance(place, str) else 0  # else it is selected already
        with open_raster(place, item.file_name, side, bands, page) as raster:
            if isinstance(place, bytes):
                require_few_pixels(raster.height, raster.width, settings)
            pixels, valid = raster.read(0, 0, raster.height, raster.width)
            warnings, profile = tuple(raster.warnings), raster.profile
    except InputError as error:  # of a library that is not there
        raise ImageError(str(error)) from error
    except MemoryError as error:
        raise ImageError(explain_too_large()) from error
    if valid is not None and not valid.any():
        raise ImageError(NO_DATA)
    if warnings and settings.tolerance.strict:
        raise NotToleratedError(f"{'; '.join(warnings)}: refused by --strict")
    alpha = None if valid is None else valid.astype(np.uint8) * 255
    return Picture(pixels, alpha, warnings=warnings, profile=profile)


def require_few_pixels(height: int, width: int, settings: Settings) -> None:
    """Refuse an image that is too large to be read as a whole.

    Args:
        height: Its height in pixels.
        width: Its width in pixels.
        settings: The job's, with ``--max-pixels``.

    Raises:
        ImageError: It has more pixels than that.
    """
    most = pixel_limit(settings.tolerance)
    if height * width > most:
        raise ImageError(
            f"has {width:,}x{height:,} pixels, more than the {most:,} that are read as a whole; "
            "use --max-pixels for such ones"
        )


def require_form(form: str, info: BundleInfo) -> None:
    """Raises :class:`ImageError` where the format does not hold what the bundle makes."""
    side = info.ranges.output
    if side.is_picture or OUTPUT_FORMATS[form].holds_rasters:
        return
    able = [name for name, one in OUTPUT_FORMATS.items() if one.holds_rasters]
    raise ImageError(
        f"the model makes {side.channels} x {side.dtype}, which {form} does not hold; use "
        f"--format {', '.join(able[:-1])} or {able[-1]}"
    )


def place_of(fields: Fields, has_gaps: bool) -> RasterProfile:
    """Where a picture lies, by the ``fields`` that its output as TIFF would have."""
    from pix2pix_batch.imaging.raster.gdal_raster import read_place

    pixel = np.zeros((1, 1, 1), np.uint8)
    return read_place(images.write(Picture(pixel), "tiff", fields=fields), has_gaps)


def require_format(info: BundleInfo, form: str, creation: Sequence[str]) -> None:
    """See before long work that outputs can be written.

    Args:
        info: The bundle's metadata.
        form: The format of the outputs; may be ``same``.
        creation: Options of GDAL's drivers, each ``NAME=VALUE``.

    Raises:
        InputError: The format cannot hold the outputs, or an option is refused.
    """
    from pix2pix_batch.imaging.raster import creation_check, library
    from pix2pix_batch.imaging.raster.creation import parse_creation_options

    options = parse_creation_options(creation)
    if form == "same":
        if options:
            raise InputError("--creation-option is for --format tiff or cog, not for same")
        return
    try:
        require_form(form, info)
    except ImageError as error:
        raise InputError(str(error)) from error
    made, side = OUTPUT_FORMATS[form], info.ranges.output
    if options and not made.driver:
        raise InputError(f"--creation-option is for --format tiff or cog; {form} has none")
    if made.driver and (options or made.only_rasters or not side.is_picture):
        library.rasterio()
        creation_check.require_creation_options(made.driver, options, side)


def choose_source_form(info: BundleInfo, form: str) -> str:
    """In which format copies of inputs are written. ``form``: that of the outputs."""
    if "input" not in info.raster_sides:
        return "png"
    return "npy" if form == "npy" else "tiff"


def make_source_extras(
    profile: RasterProfile | None, form: str, info: BundleInfo, settings: Settings
) -> RasterExtras | None:
    """Make what the writer is told for a copy of the input.

    The copy has the input's value for no data. An array cannot say which value that is, and has the
    bundle's.

    Args:
        profile: Of the input, if it was read as a raster.
        form: The format of the copy.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The extras; ``None`` if the format holds no rasters.
    """
    made = OUTPUT_FORMATS[form]
    if not made.holds_rasters:
        return None
    profile, side = profile or RasterProfile(), info.ranges.input
    choices = (profile.nodata, side.nodata) if made.driver else (side.nodata, profile.nodata)
    return RasterExtras(
        profile if settings.georeference else profile.without_place(),
        nodata=next((value for value in choices if value is not None), None),
        names=side.names,
        limits=tuple(side.limits_of(band) for band in side.bands),
        is_copy=True,
    )


def make_extras(
    profile: RasterProfile | None, form: str, info: BundleInfo, settings: Settings
) -> RasterExtras | None:
    """Make what the writer is told if an output is written as a raster.

    The arguments are those of :func:`make_source_extras`; ``form`` is the output's.

    Returns:
        The extras; ``None`` if the output is written as a picture.
    """
    made, side = OUTPUT_FORMATS[form], info.ranges.output
    if not made.holds_rasters:
        return None
    is_picture = profile is None and side.is_picture
    if is_picture and not (settings.creation_option or made.only_rasters):
        return None
    from pix2pix_batch.imaging.raster.creation import parse_creation_options

    profile = profile or RasterProfile()
    return RasterExtras(
        profile if settings.georeference else profile.without_place(),
        is_picture,
        parse_creation_options(settings.creation_option) if made.driver else (),
        side.nodata,
        side.names,
        tuple(side.limits_of(band) for band in side.bands),
    )
