"""The metadata that an output keeps of its input. ``docs/metadata.md`` says what is kept and
why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import pages, sidecars
from pix2pix_batch.imaging.decoding import jpeg2000
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.metadata import descriptions, exif, georeference, pam
from pix2pix_batch.imaging.metadata.descriptions import IPTC_TAG
from pix2pix_batch.imaging.metadata.georeference import GeoTiff, Turn
from pix2pix_batch.imaging.metadata.tiff import Fields, xmp_field
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.imaging.raster.profile import GEOTIFF, RasterExtras
from pix2pix_batch.imaging.raster.writing import GDAL_TEXTS
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item

GML_LOST = (
    "where it lies is told in GML alone (GMLJP2), which is not kept; a world file beside it is, "
    "and GeoJP2, as GDAL writes them"
)


Place = Callable[[str, bytes], None]
"""Puts an output's bytes where they belong, by its name."""


@dataclass(frozen=True)
class Metadata:
    """The metadata in an input's file that its output keeps.

    ``exif``: a block for the formats that hold one; ``fields``: for TIFF outputs; ``described``:
    of these what EXIF and IPTC say; ``turn``: how
    the picture was turned; ``ground``: the georeference of a GeoTIFF or GeoJP2 input; ``xmp``: a
    packet; ``iptc``: its records; ``remark``: a warning of what is not kept and might be missed.
    """

    exif: bytes = b""
    fields: Fields = field(default_factory=dict)
    described: Fields = field(default_factory=dict)
    turn: Turn = field(default_factory=Turn)
    ground: GeoTiff | None = None
    xmp: bytes = b""
    iptc: bytes = b""
    remark: str = ""


def collect(data: bytes, picture: Picture, settings: Settings) -> Metadata:
    """Collect the metadata to keep of an input.

    Args:
        data: The bytes of the input file.
        picture: What was decoded from them.
        settings: The job's, which say what is kept.

    Returns:
        What is kept; empty if nothing is wanted.
    """
    if not (settings.georeference or settings.keep_exif):
        return Metadata()
    height, width = picture.pixels.shape[:2]
    turn = Turn(picture.orientation, width, height)
    if turn.sideways:
        turn = Turn(picture.orientation, height, width)
    tiff = exif.parse(data)  # the file itself, where it is a TIFF file
    block = picture.exif
    if settings.keep_exif and picture.profile is not None and tiff is None:
        block = descriptions.read_exif(data)
    told = tiff or exif.parse(block)
    kept: Fields = {}
    if settings.keep_exif and told is not None:
        kept = exif.select_fields(told, sideways=turn.sideways)
    place = tiff or exif.parse(jpeg2000.read_geotiff(data))
    ground = GeoTiff(place) if settings.georeference and place is not None else None
    xmp, iptc = descriptions.read_descriptions(data) if settings.keep_exif else (b"", b"")
    described = {**kept, **descriptions.tiff_fields(iptc)}
    fields = {**described, **(ground.select_fields(turn) if ground else {})}
    is_picture = settings.georeference and picture.profile is None  # a raster keeps its own
    is_lost = is_picture and jpeg2000.has_gml_alone(data)
    return Metadata(
        exif.block(kept), fields, described, turn, ground, xmp, iptc, GML_LOST if is_lost else ""
    )


def collect_described(item: Item, settings: Settings) -> Metadata:
    """Collect EXIF, XMP and IPTC of an input on a disk that is not read as a whole. There is none
    if it is not a TIFF file."""
    if not settings.keep_exif:
        return Metadata()
    try:
        with pages.open_tiff(item.path, item.page) as tiff:
            if tiff is None:
                return Metadata()
            xmp, iptc = descriptions.read_tiff_descriptions(tiff)
            described = {**exif.select_fields(tiff), **descriptions.tiff_fields(iptc)}
    except (OSError, ValueError):  # the raster itself was opened by others
        return Metadata()
    return Metadata(described=described, xmp=xmp, iptc=iptc)


def add_described(extras: RasterExtras, kept: Metadata, xmp: bytes) -> RasterExtras:
    """Add descriptive metadata to what the writer of rasters is told.

    Args:
        extras: What the writer is told otherwise.
        kept: The input's metadata.
        xmp: An XMP packet in place of the input's; empty to keep that.

    Returns:
        The extras with the metadata.
    """
    return replace(extras, described={**kept.described, **xmp_field(xmp or kept.xmp)})


def describe_lost(kept: Metadata, form: str) -> str:
    """What an output in a format cannot keep that has no place for it, as a warning."""
    names = {"EXIF": kept.described.keys() - {IPTC_TAG}, "XMP": kept.xmp, "IPTC": kept.iptc}
    made, driver = OUTPUT_FORMATS[form], OUTPUT_FORMATS[form].driver
    if driver and driver != GEOTIFF:
        names = {"EXIF": names["EXIF"] - GDAL_TEXTS.keys(), "XMP": b"", "IPTC": kept.iptc}
    elif made.holds_metadata:
        names = {"EXIF": {}, "XMP": b"", "IPTC": b"" if made.holds_iptc else kept.iptc}
    lost = [name for name, found in names.items() if found]
    if not lost:
        return ""
    part = "some of its EXIF" if driver and lost[0] == "EXIF" else f"its {lost[0]}"
    what = " and ".join([part, *lost[1:]]) if len(lost) < 3 else f"{part}, XMP and IPTC"
    are, them = ("is", "it") if len(lost) == 1 else ("are", "them")
    return f"{what} {are} not kept: {form} has no place for {them}"


@dataclass(frozen=True)
class Sidecar:
    """A file beside an output: its path in OUT, its bytes, and when what it was made of was
    modified, in nanoseconds; ``None`` where that is not known."""

    name: str
    data: bytes
    time: int | None


def list_sidecar_outputs(item: Item, kept: Metadata, output: str) -> Iterator[Sidecar]:
    """List the files beside an output: those beside the input, and those that say what a GeoTIFF
    says if the output is no TIFF file.

    Args:
        item: The input, with the names of its sidecars.
        kept: The input's metadata.
        output: The output's path in OUT.

    Yields:
        The files, with their contents.

    Raises:
        ImageError: A file beside the input cannot be read, or cannot be turned with the picture.
    """
    image = os.path.basename(item.path)
    form = OUTPUT_FORMATS[item.form]
    ground = None if form.holds_georeference else kept.ground
    epsg, transform = (ground.epsg, ground.affine(kept.turn)) if ground else (None, None)
    auxiliary, dated = b"", None
    worlds: dict[str, Sidecar] = {}
    for name, path in zip(item.sidecars, sidecars.paths(item.path, item.sidecars), strict=True):
        data, time = sidecars.read(path, f"the file {name} beside it")
        called = sidecars.output_name(name, image, output)
        if name.endswith(sidecars.AUXILIARY):
            auxiliary, dated = pam.turn_upright(data, kept.turn), time
        elif sidecars.is_world(name):
            worlds[called] = Sidecar(called, _turn_world_file(name, data, kept.turn), time)
        else:
            yield Sidecar(called, data, time)
    if transform is not None and not pam.says_place(auxiliary):
        called = sidecars.world_name(output)  # the file itself goes before what is beside it
        worlds[called] = Sidecar(called, georeference.world(transform), modification_time(item))
    yield from worlds.values()
    if transform is None and not form.has_world_files:
        told = (georeference.parse_world_file(world.data) for world in worlds.values())
        transform = next(filter(None, told), None)
    if auxiliary := pam.add_georeference(auxiliary, epsg, transform):
        yield Sidecar(output + sidecars.AUXILIARY, auxiliary, dated or modification_time(item))


def _turn_world_file(name: str, data: bytes, turn: Turn) -> bytes:
    """The world file of the upright picture."""
    try:
        return georeference.turn_world_file(data, turn) if turn else data
    except ValueError as error:
        raise ImageError(
            f"the file {name} beside it cannot be turned with it ({error}); {sidecars.REMEDY}"
        ) from error


def modification_time(item: Item) -> int | None:
    """When the input was last modified, in nanoseconds; ``None`` where that is not known."""
    try:
        return os.stat(item.path).st_mtime_ns
    except OSError:  # a URL, or gone by now
        return None


def date(path: Path, time: int | None) -> None:
    """Give the file at ``path`` a modification time in nanoseconds. Raises :class:`ImageError`."""
    if time is None:
        return
    try:
        os.utime(path, ns=(time, time))
    except OSError as error:
        raise ImageError(
            f"its output's time cannot be set ({error.strerror}); leave out --keep-times"
        ) from error


def place_output(
    item: Item, kept: Metadata, data: bytes, place: Place, settings: Settings
) -> tuple[str, ...]:
    """Write the files that go beside an output, then the output itself.

    Args:
        item: The input, which names the output.
        kept: The input's metadata.
        data: The bytes of the output file.
        place: Writes a file into OUT, by its path there.
        settings: The job's.

    Returns:
        The paths in OUT of the files beside the output.

    Raises:
        ImageError: A file beside the input cannot be used, or a time cannot be set.
    """
    # Before the output: where that is there, what goes with it is too.
    sidecar_paths = place_sidecars(item, kept, place, settings)
    place(item.output, data)
    if settings.keep_times:
        time = modification_time(item)
        date(Path(settings.out) / item.output, time)
    return sidecar_paths


def place_sidecars(item: Item, kept: Metadata, place: Place, settings: Settings) -> tuple[str, ...]:
    """Write the files that go beside an output.

    Args:
        item: The input, which names the output.
        kept: The input's metadata.
        place: Writes a file into OUT, by its path there.
        settings: The job's.

    Returns:
        The paths in OUT of the files; none in a dataset, whose images have no files beside them.

    Raises:
        ImageError: A file beside the input cannot be used, or a time cannot be set.
    """
    in_dataset = item.variant is not None  # which has no files beside its images
    if in_dataset or (not item.sidecars and kept.ground is None):
        return ()
    out = Path(settings.out)
    sidecar_paths = []
    for sidecar in list_sidecar_outputs(item, kept, item.output):
        place(sidecar.name, sidecar.data)
        sidecar_paths.append(sidecar.name)
        if settings.keep_times:
            date(out / sidecar.name, sidecar.time)
    return tuple(sidecar_paths)
