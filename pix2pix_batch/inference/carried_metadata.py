"""What an output keeps of its input beside the picture. ``docs/metadata.md`` says what and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import sidecars
from pix2pix_batch.imaging.decoding import jpeg2000
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.metadata import descriptions, exif, georeference, pam
from pix2pix_batch.imaging.metadata.georeference import GeoTiff, Turn
from pix2pix_batch.imaging.metadata.tiff import Fields
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item

GML_LOST = (
    "where it lies is told in GML alone (GMLJP2), which is not kept; a world file beside it is, "
    "and GeoJP2, as GDAL writes them"
)


@dataclass(frozen=True)
class Metadata:
    """What one input's file says that its output keeps.

    ``exif``: a block for the formats that hold one; ``fields``: for TIFF outputs; ``turn``: how
    the picture was turned; ``ground``: the georeference of a GeoTIFF or GeoJP2 input; ``xmp``: a
    packet; ``iptc``: its records; ``remark``: a warning of what is not kept and might be missed.
    """

    exif: bytes = b""
    fields: Fields = field(default_factory=dict)
    turn: Turn = field(default_factory=Turn)
    ground: GeoTiff | None = None
    xmp: bytes = b""
    iptc: bytes = b""
    remark: str = ""


def collect(data: bytes, picture: Picture, settings: Settings) -> Metadata:
    """What is kept of the input file ``data``, which was decoded to ``picture``."""
    if not (settings.georeference or settings.keep_exif):
        return Metadata()
    height, width = picture.pixels.shape[:2]
    turn = Turn(picture.orientation, width, height)
    if turn.sideways:
        turn = Turn(picture.orientation, height, width)
    tiff = exif.parse(data)  # the file itself, where it is a TIFF file
    told = tiff or exif.parse(picture.exif)
    kept: Fields = {}
    if settings.keep_exif and told is not None:
        kept = exif.select_fields(told, sideways=turn.sideways)
    place = tiff or exif.parse(jpeg2000.read_geotiff(data))
    ground = GeoTiff(place) if settings.georeference and place is not None else None
    xmp, iptc = descriptions.read_descriptions(data) if settings.keep_exif else (b"", b"")
    fields = {
        **kept,
        **(ground.select_fields(turn) if ground else {}),
        **descriptions.tiff_fields(iptc),
    }
    is_picture = settings.georeference and picture.profile is None  # a raster keeps its own
    is_lost = is_picture and jpeg2000.has_gml_alone(data)
    return Metadata(exif.block(kept), fields, turn, ground, xmp, iptc, GML_LOST if is_lost else "")


@dataclass(frozen=True)
class Sidecar:
    """A file beside an output: its path in OUT, its bytes, and when what it was made of was
    modified, in nanoseconds; ``None`` where that is not known."""

    name: str
    data: bytes
    time: int | None


def list_sidecar_outputs(item: Item, kept: Metadata, output: str) -> Iterator[Sidecar]:
    """The files beside ``output``: those beside the input, and those that say what a GeoTIFF says
    where the output is no TIFF file. Raises :class:`ImageError`."""
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
    if transform is not None and not pam.places(auxiliary):
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
        return georeference.turned_world(data, turn) if turn else data
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
