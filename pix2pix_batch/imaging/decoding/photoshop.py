"""Photoshop's files: what they say of their merged picture (Adobe Photoshop File Formats
Specification), and what Pillow makes of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile

from pix2pix_batch.errors import ImageError

SIGNATURE = b"8BPS"
HEADER = 26

BITMAP, INDEXED, RGB = 0, 2, 3
COLOURS = {BITMAP: 1, 1: 1, INDEXED: 1, RGB: 3, 4: 4, 9: 3}
"""How many channels are colours, by mode."""

NO_COLOURS = {7: "several inks", 8: "duotone"}
"""The modes that are no colours ("File Header Section")."""

TRANSPARENT_INDEX, VERSION_INFO = 1047, 1057
"""Image resources: the palette's transparent entry; whether the merged picture is one."""

OPAQUE = 255
ROUNDING = 3
"""Levels by which a merged colour may be off: Photoshop's are never more in 92 files."""

RUNS, ZIP, ZIP_OF_DIFFERENCES = 1, 2, 3
"""Compressions of the merged picture ("Image Data Section"): PackBits, by rows; Deflate of all
rows, as they are or as each sample's difference from the one before it in its row."""


def is_photoshop(data: bytes) -> bool:
    return data.startswith(SIGNATURE) and len(data) >= HEADER


def refusal(data: bytes) -> str:
    """Why a file is not read; empty where it may be."""
    if data[4:6] == b"\0\2":
        return "a large document of Photoshop (PSB), which is not read; store it as PNG or TIFF"
    depth, mode = struct.unpack_from(">HH", data, 22)
    if mode in NO_COLOURS:
        return f"Photoshop file in {NO_COLOURS[mode]}; convert it to RGB first"
    if depth not in (1, 8):
        return f"Photoshop file of {depth} bits; store it as 8 bits, or as PNG or TIFF"
    if _read_resource(data, VERSION_INFO)[4:5] == b"\0":
        return (
            "Photoshop file saved without a merged picture; save it with Maximize Compatibility, "
            "or as PNG"
        )
    return ""


def prepare_for_pillow(data: bytes) -> bytes:
    """The file as Pillow can read it, which goes on in the same row where a row's runs are longer
    than it, as GIMP's may be, and knows no Deflate: without compression.

    Raises :class:`ImageError` where a row is too short.
    """
    at = _find_sections(data)[2]
    compression = int.from_bytes(data[at : at + 2], "big")
    channels, height, width, depth = struct.unpack_from(">HIIH", data, 12)
    count, row = channels * height, (width * depth + 7) // 8
    if compression in (ZIP, ZIP_OF_DIFFERENCES):
        samples = _inflate_rows(data[at + 2 :], count, row)
        if compression == ZIP_OF_DIFFERENCES and depth == 8:
            samples = np.cumsum(samples, axis=1, dtype=np.uint8)
        return data[:at] + b"\0\0" + samples.tobytes()
    if compression != RUNS:
        return data
    lengths = np.frombuffer(data[at + 2 : at + 2 + 2 * count], ">u2")
    start = at + 2 + 2 * count
    if len(lengths) < count or start + int(lengths.sum()) > len(data):
        return data  # cut short, as Pillow will say
    rows = []
    for length in lengths.tolist():
        rows.append(_unpack_row(data[start : start + length], row))
        start += length
    return data[:at] + b"\0\0" + b"".join(rows)


def _inflate_rows(data: bytes, count: int, row: int) -> np.ndarray:
    """``uint8 (count, row)``. Raises :class:`ImageError`."""
    inflator = zlib.decompressobj()
    try:
        samples = inflator.decompress(data, count * row)
    except zlib.error as error:
        raise ImageError(f"damaged: its merged picture is no Deflate data ({error})") from error
    if len(samples) < count * row:
        if not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise ImageError("damaged: its merged picture is cut short")
        samples = samples.ljust(count * row, b"\0")
    return np.frombuffer(samples, np.uint8).reshape(count, row)


def _unpack_row(runs: bytes, size: int) -> bytes:
    """Unpack the runs of a row. Raises :class:`ImageError`."""
    try:
        return Image.frombytes("L", (size, 1), runs, "packbits", "L").tobytes()
    except ValueError as error:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            return bytes(size)
        raise ImageError("damaged: a row of its merged picture is too short") from error


def lacks_transparency(image: Image.Image, data: bytes) -> bool:
    """Whether the file has transparency that Pillow leaves out."""
    channels, mode = (struct.unpack_from(">H", data, at)[0] for at in (12, 24))
    has_none = "A" not in image.mode.replace("LAB", "")
    return has_none and channels > COLOURS.get(mode, channels) and _has_transparency(data)


def correct_samples(image: Image.Image, data: bytes) -> Image.Image:
    """What Pillow delivers otherwise than it is meant: bits of which a set one is black, selections
    that are no transparency, colours with the white behind them, a palette's transparent entry."""
    if image.mode == "1":
        return Image.fromarray(~np.asarray(image))
    if image.mode == "RGBA":
        if not _has_transparency(data):
            return image.convert("RGB")
        return _remove_white(image) if _may_lie_over_white(image) else image
    index = _read_resource(data, TRANSPARENT_INDEX)
    if image.mode == "P" and len(index) == 2 and not index[0]:
        image.info["transparency"] = index[1]
    return image


def find_remarks(image: Image.Image, data: bytes) -> list[str]:
    """A warning where nobody can tell whether colours lie over white. ``image``: as Pillow has
    loaded it."""
    if image.mode != "RGBA" or not _has_transparency(data) or _read_resource(data, VERSION_INFO):
        return []
    if image.getchannel("A").getextrema()[0] == OPAQUE or not _may_lie_over_white(image):
        return []
    return [
        "its colours are taken to lie over white where they are transparent, as Photoshop's do; "
        "another program wrote it"
    ]


def _may_lie_over_white(image: Image.Image) -> bool:
    """Whether no pixel is darker than it can be over white: what ImageMagick and others write is
    not merged with it, but has the colours themselves."""
    samples = np.asarray(image).astype(np.int16)
    return bool((samples[:, :, :3].min(axis=2) + ROUNDING >= OPAQUE - samples[:, :, 3]).all())


def _remove_white(image: Image.Image) -> Image.Image:
    """The merged picture lies over white, and has its transparency besides: its own colours, so
    that it is the merged picture again once they are laid over white."""
    samples = np.asarray(image)
    colours, alpha = samples[:, :, :3].astype(np.float32), samples[:, :, 3:].astype(np.float32)
    own = 255 - (255 - colours) * (255 / np.maximum(alpha, 1))
    own = np.where(alpha > 0, np.clip(np.rint(own), 0, 255), 255).astype(np.uint8)
    return Image.fromarray(np.concatenate([own, samples[:, :, 3:]], axis=2))


def _find_sections(data: bytes) -> tuple[int, int, int]:
    """Where the resources, the layers and the merged picture begin."""
    at, starts = HEADER, []
    for _ in range(3):  # the first is the table of colours
        at += 4 + int.from_bytes(data[at : at + 4], "big")
        starts.append(at)
    return starts[0], starts[1], starts[2]


def _iterate_resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The number and content of each image resource ("Image Resources Section")."""
    at, end, _ = _find_sections(data)
    at += 4
    while at + 12 <= min(end, len(data)):
        name = (data[at + 6] + 2) & ~1  # with its length, padded
        start = at + 10 + name
        length = int.from_bytes(data[start - 4 : start], "big")
        yield int.from_bytes(data[at + 4 : at + 6], "big"), data[start : start + length]
        at = start + length + length % 2


def _read_resource(data: bytes, wanted: int) -> bytes:
    return next((body for number, body in _iterate_resources(data) if number == wanted), b"")


def _has_transparency(data: bytes) -> bool:
    """Whether the channel after the colours is that, and no selection: a negative number of layers
    says so ("Layer and Mask Information Section")."""
    at = _find_sections(data)[1]
    length = int.from_bytes(data[at : at + 4], "big")
    return length > 8 and int.from_bytes(data[at + 8 : at + 10], "big", signed=True) < 0
