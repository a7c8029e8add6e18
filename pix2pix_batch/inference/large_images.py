"""Images that do not fit in memory: when that is so, and their way to an output on a disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import ImageError, InputError, NotToleratedError
from pix2pix_batch.generators.layers import LayeredDescription
from pix2pix_batch.imaging.decoding.opening import pixel_limit
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.kinds import suffix_of
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.imaging.raster.large_pictures import require_alike
from pix2pix_batch.imaging.raster.pieces import PARTS, PieceStore
from pix2pix_batch.imaging.raster.profile import GEOTIFF
from pix2pix_batch.imaging.raster.reading import Raster, open_raster
from pix2pix_batch.imaging.raster.samples import count_pixel_bytes
from pix2pix_batch.imaging.raster.streaming import StreamedTiles, Watched, strip_memory
from pix2pix_batch.imaging.tiling import Axis
from pix2pix_batch.inference import input_reading
from pix2pix_batch.inference.carried_metadata import Metadata, add_described
from pix2pix_batch.inference.decode_ahead import CODEC_THREADS
from pix2pix_batch.inference.fitting import LARGE_TILE, plan_large_tiles
from pix2pix_batch.inference.settings import WHOLE, Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.integrity import new_digest
from pix2pix_batch.storage import common, destination, files, local

WHOLE_RASTER = 512 << 20
"""Bytes of samples, of the input once and of the output twice, that a raster has at most to be held
as a whole. Not what is free: the layout of the output's file depends on it."""

PART_ROWS = 16
"""Rows of tiles that a worker makes of an image at a time, where several do: each part but the
first makes one more, for what it shares with the part before. The same for any number of workers,
so that a run with others goes on with what is there."""

PIECE = 16 << 20
"""Bytes that are copied at once."""

WINDOWED = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
"""Suffixes of pictures that can be read window by window."""

LEAST_BYTES = 256 << 10
"""Of a picture's file that is looked at before it is decoded, to see whether it is too large: the
look takes a part of a millisecond."""


def open_large(item: Item, info: BundleInfo, settings: Settings) -> Raster | None:
    """Open an input that is to be read window by window.

    Args:
        item: The input.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The opened raster; ``None`` if the input is held as a whole, or if decoding it tells what is
        wrong.

    Raises:
        ImageError: The file cannot be opened as a raster.
    """
    found = _open_measured(item, info, settings)
    if found is None or not _fits(found, item, info, settings):
        return found
    found.close()
    return None


def _open_measured(item: Item, info: BundleInfo, settings: Settings) -> Raster | None:
    """The input, opened, where that tells whether it is held as a whole. Raises
    :class:`ImageError`."""
    if not files.is_on_disk(item) or info.labels is not None:
        return None
    raster = input_reading.is_raster(item.file_name, info, settings.bands)
    if not raster and not may_be_large_picture(item, settings.tolerance):
        return None
    bands = input_reading.split_bands(settings.bands)
    try:
        side = info.ranges.input
        return open_raster(item.path, item.file_name, side, bands, item.page, is_picture=not raster)
    except InputError as error:  # rasterio is not there
        if raster:
            raise ImageError(str(error)) from error
        return None
    except ImageError:
        if raster or not _is_huge(item, settings):
            return None
        raise


def split_rows(item: Item, info: BundleInfo, settings: Settings) -> list[Item]:
    """Cut an image that does not fit in memory into parts, for several workers to make.

    Args:
        item: The input.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        Items for the parts, from top to bottom. Empty if the image is held as a whole, has few
        rows, or is better made by one worker, which then tells what is wrong.
    """
    if not settings.writes_to_disk or item.tar or settings.fit not in ("tile", WHOLE):
        return []
    if settings.noise:  # for which the whole file is hashed each time
        return []
    # the file itself last: of pictures none is looked at, for each chunk, by the client
    if not OUTPUT_FORMATS[item.form].driver or not files.is_on_disk(item):
        return []
    if suffix_of(item.file_name) != ".vrt" and local.file_size(item.path) < LEAST_BYTES:
        return []
    try:
        found = open_large(item, info, settings)
    except ImageError:
        return []
    if found is None:
        return []
    with found:
        count = Axis.plan(found.height, _plan_tiles(info, settings)[0]).count
    begins = range(0, count, PART_ROWS)
    parts = [replace(item, rows=(at, min(at + PART_ROWS, count))) for at in begins]
    return parts if len(parts) > 1 else []


def reckon_memory(items: Sequence[Item], info: BundleInfo, settings: Settings) -> int:
    """Reckon the memory that a worker takes for rasters, beside its engine: for one row of tiles of
    the widest that is read window by window, or for the samples of those that are held as a whole.

    Args:
        items: The first inputs of the job.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        Bytes; 0 if none of the items is a raster.
    """
    most = 0
    ahead = min(len(items), CODEC_THREADS + 1)
    for item in items:
        try:
            found = _open_measured(item, info, settings)
        except ImageError:  # whoever converts it says why
            continue
        if found is None:
            continue
        with found:
            if _fits(found, item, info, settings):
                most = max(most, _held_memory(found, info, ahead))
            else:
                size = _plan_tiles(info, settings)[0]
                most = max(most, strip_memory(found.width, size, *info.ranges))
    return most


def _held_memory(raster: Raster, info: BundleInfo, ahead: int) -> int:
    """Bytes of samples of a raster that is held as a whole, and of as many ``ahead`` of it as are
    decoded meanwhile: of each the input, and while it is read once more, with its bands apart; the
    output as it is made, and of the one before it as it is written, with its bands apart and
    encoded."""
    made = count_pixel_bytes(info.ranges.output)
    return raster.height * raster.width * ((ahead + 1) * raster.pixel_bytes + 4 * made)


def _plan_tiles(info: BundleInfo, settings: Settings) -> tuple[int, int | None]:
    """As :func:`pix2pix_batch.inference.fitting.plan_large_tiles`, also of fits other than
    ``whole``."""
    if settings.fit != WHOLE:
        return settings.size, None
    assert isinstance(info.architecture, LayeredDescription)
    return plan_large_tiles(info.architecture)


def may_be_large_picture(item: Item, tolerance: Tolerance) -> bool:
    """Whether a picture is of a kind that can be read window by window, and Pillow does not see
    that it is small enough, so that rasterio need not be imported."""
    if suffix_of(item.file_name) not in WINDOWED or local.file_size(item.path) < LEAST_BYTES:
        return False
    size = input_reading.read_size(item)
    return size is None or size[0] * size[1] > pixel_limit(tolerance)


def _fits(found: Raster, item: Item, info: BundleInfo, settings: Settings) -> bool:
    """Whether it is held as a whole."""
    pixels = found.height * found.width
    if not input_reading.is_raster(item.file_name, info, settings.bands):
        return pixels <= pixel_limit(settings.tolerance)
    made = count_pixel_bytes(info.ranges.output)
    return pixels * (found.pixel_bytes + 2 * made) <= WHOLE_RASTER


def _is_huge(item: Item, settings: Settings) -> bool:
    """Whether a picture cannot be decoded as a whole by its file's size alone."""
    return local.file_size(item.path) > common.LARGEST


def read_probe(item: Item, info: BundleInfo, settings: Settings) -> Picture:
    """Read an input as it is decoded, or a window of its middle if it does not fit in memory.

    The arguments are those of :func:`open_large`.

    Returns:
        The picture or its middle.

    Raises:
        ImageError: The file cannot be read or decoded.
    """
    large = open_large(item, info, settings)
    if large is None:
        return input_reading.read_item(item, info, settings)
    with large:
        return _read_middle(large)


def _read_middle(raster: Raster) -> Picture:
    height, width = (min(side, LARGE_TILE) for side in (raster.height, raster.width))
    top, left = (raster.height - height) // 2, (raster.width - width) // 2
    return Picture(raster.read(top, left, height, width)[0])


def make_tiles(
    raster: Raster, item: Item, stamp: str, info: BundleInfo, settings: Settings
) -> StreamedTiles:
    """Cut an image that does not fit in memory into tiles, and find what is done of them.

    Args:
        raster: The input, opened.
        item: The input.
        stamp: Its stamp, which is a part of what names the finished pieces.
        info: The bundle's metadata.
        settings: The job's.

    Returns:
        The tiles, with the pieces of them that are done.

    Raises:
        ImageError: Such an image cannot be converted with these settings.
        OutputError: The pieces cannot be kept in OUT.
    """
    told = f"of {raster.width:,}x{raster.height:,} pixels is too large to be held in memory"
    if item.variant is not None:
        raise ImageError(f"an image {told}, which synthesize does; cut it into smaller ones")
    if not OUTPUT_FORMATS[item.form].driver:
        raise ImageError(f"an image {told}, and {item.form} is written as a whole; use --format "
                         "tiff or cog")  # fmt: skip
    if not settings.writes_to_disk:
        raise ImageError(f"an image {told}; convert it into a directory on a disk")
    if settings.fit not in ("tile", WHOLE):
        raise ImageError(f"an image {told}; use --fit tile")
    if not input_reading.is_raster(item.file_name, info, settings.bands):
        require_alike(raster, item.path, item.page, info.architecture.in_channels == 4)
    size, part = _plan_tiles(info, settings)
    strict = settings.tolerance.strict
    store = PieceStore(parts_directory(settings.out) / _name_parts(item, stamp, settings))
    try:
        return StreamedTiles(raster, size, store, part=part, some=item.rows, strict=strict)
    except NotToleratedError:
        if item.rows is None:  # else others may be at work on theirs
            store.remove()
        raise


def parts_directory(out: str | os.PathLike[str]) -> Path:
    """Where what is done of large images is kept until they are done."""
    return Path(out) / common.DIRECTORY / PARTS


def _name_parts(item: Item, stamp: str, settings: Settings) -> str:
    """Made of all that the output's values depend on."""
    s = settings
    told = (
        item.name, stamp, s.fingerprint, s.fit, s.size, s.device, s.backend, s.precision,
        s.noise and (s.seed, s.noise_rate, s.noise_blocks, s.input_noise), item.variant, s.bands,
    )  # fmt: skip
    # A changed input or another setting has another name, so pieces of before are never mixed in.
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def hash_content(path: str) -> bytes:
    """SHA-256 of a file. Raises :class:`ImageError`."""
    found = hashlib.sha256()
    for piece in files.pieces(path):
        found.update(piece)
    return found.digest()


def write_output(
    tiles: StreamedTiles,
    item: Item,
    kept: Metadata,
    info: BundleInfo,
    settings: Settings,
    watched: Watched,
) -> str:
    """Make the output from its pieces, put it into its place, and remove the pieces.

    Args:
        tiles: The tiles, all of them done.
        item: The input, which names the output.
        kept: The input's metadata.
        info: The bundle's metadata.
        settings: The job's.
        watched: Makes what each step is done under.

    Returns:
        The output's hash, as the journal has it.

    Raises:
        ImageError: The output cannot be made.
        OutputError: OUT takes no more.
    """
    extras = input_reading.make_extras(tiles.raster.profile, item.form, info, settings)
    assert extras is not None
    extras = add_described(extras, kept, settings.origin)
    driver = OUTPUT_FORMATS[item.form].driver or GEOTIFF
    made = tiles.store.directory / "output.tif"
    try:
        has_data = tiles.assemble(made, driver, extras, watched)
        if not has_data and input_reading.is_raster(item.file_name, info, settings.bands):
            tiles.store.remove()
            raise ImageError(input_reading.NO_DATA)
        # Before it is copied into OUT, where it would pass for done.
        require_whole(made)
        digest = new_digest()
        with destination.open_output(settings.out, item.output) as file, made.open("rb") as source:
            while piece := source.read(PIECE):
                with watched():
                    digest.update(piece)
                    file.write(piece)
    except OSError as error:
        raise common.explain_output_error(settings.out, error) from error
    except ImageError:
        common.require_room(settings.out)
        raise
    finally:
        made.unlink(missing_ok=True)
    tiles.store.remove()
    return digest.hexdigest()


def require_whole(path: Path) -> None:
    """See that a GeoTIFF has all its blocks: GDAL may say nothing of a disk that was full. Raises
    :class:`ImageError`."""
    import tifffile

    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                assert isinstance(page, tifffile.TiffPage | tifffile.TiffFrame)
                ends = zip(page.dataoffsets, page.databytecounts, strict=True)
                if any(not count or offset + count > size for offset, count in ends):
                    raise ImageError("its output was cut short as it was written")
    except ImageError:
        raise
    except Exception as error:  # tifffile raises what it pleases
        raise ImageError("its output was cut short as it was written") from error
