"""JPEG 2000: what its boxes and its codestream say of the samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.opening import describe_lacking_colour
from pix2pix_batch.imaging.decoding.tiff_samples import (
    EXTRA_INSTALL,
    has_imagecodecs,
    merge_channels,
    scale_to_eight_bits,
)

BOX = b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"
STREAM = b"\xff\x4f\xff\x51"

GEOTIFF = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
"""What a box with a georeference begins with (OGC 08-085r8, GeoJP2)."""

GML_LABEL = 32
"""Bytes of a box in which its label stands, ``gml.data`` of one with GML."""

GREY, SRGB, SYCC, CMYK = 17, 16, 18, 12
SPACES = {0: "black and white", 14: "CIE L*a*b*", 15: "black and white", 19: "e-sRGB"}
"""Enumerated colour spaces: ITU-T T.800, table I.10; T.801, table M.25."""

HALVED = (((1, 1), (2, 2), (2, 2)), ((1, 1), (2, 1), (2, 1)))
"""Samplings of chroma that OpenJPEG makes RGB of: 4:2:0 and 4:2:2."""

PREMULTIPLIED, UNSPECIFIED = 2, 65535
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


# The fields of a JPEG 2000 file's headers.
@dataclass
class Stream:
    """What a JPEG 2000 file says of its samples.

    Attributes:
        depths: Bits of each component.
        signed: Whether any component has a sign.
        steps: Of each component, how many pixels across and down one of its samples covers.
        even: Whether the picture begins and ends where such samples do.
        at: The offset of the codestream.
        space: The enumerated colour space, if there is one.
        kinds: What each channel is, by its number (0: a colour), if the file says it.
        in_order: Whether no channel stands for another one's colour.
        palette: The depth of each column of the palette, with the sign in bit 7 as the file has it.
        colours: The samples of the palette, row by row.
        columns: What each channel is made of: the component, 1 for the palette, and its column.
        lacking: A colour that pixels have and the palette lacks, as far as they were read.
    """

    depths: tuple[int, ...] = ()
    signed: bool = False
    steps: tuple[tuple[int, int], ...] = ()
    even: bool = True
    at: int = 0
    width: int = 0
    height: int = 0
    space: int | None = None
    profile: bytes = b""
    palette: tuple[int, ...] = ()
    colours: bytes = b""
    columns: tuple[tuple[int, int, int], ...] = ()
    lacking: int | None = None
    kinds: tuple[int, ...] = ()
    in_order: bool = True

    @property
    def is_subsampled(self) -> bool:
        """Whether a component has fewer samples than the picture pixels, as chroma may have."""
        return any(step != (1, 1) for step in self.steps)

    @property
    def channels(self) -> int:
        """How many there are: the columns of the palette, else the components."""
        return len(self.palette) or len(self.depths)


def is_jpeg2000(data: bytes) -> bool:
    return data.startswith((BOX, STREAM))


def read_stream(data: bytes) -> Stream:
    """Read what a file says of its samples. Raises :class:`ValueError` if it has no codestream with
    a size."""
    stream = Stream()
    if data.startswith(STREAM):
        return _read_size(stream, data, 0)
    for kind, start, end in _iterate_boxes(data, 0, len(data)):
        if kind == b"jp2h":
            for inner, at, stop in _iterate_boxes(data, start, end):
                _note_box(stream, inner, data[at:stop])
        elif kind == b"jp2c":
            return _read_size(stream, data, start)
    raise ValueError("no codestream")


def _read_size(stream: Stream, data: bytes, at: int) -> Stream:
    try:
        left, top, first_x, first_y, *tiles = struct.unpack_from(">8I", data, at + 8)
        (count,) = struct.unpack_from(">H", data, at + 40)
        parts = [struct.unpack_from(">BBB", data, at + 42 + 3 * index) for index in range(count)]
    except struct.error as error:
        raise ValueError("a codestream cut short") from error
    if not count:
        raise ValueError("no components")
    stream.at, stream.width, stream.height = at, left - first_x, top - first_y
    stream.depths = tuple((size & 0x7F) + 1 for size, _, _ in parts)
    stream.signed = any(size & 0x80 for size, _, _ in parts)
    stream.steps = tuple((across, down) for _, across, down in parts)
    if not all(min(steps) for steps in stream.steps):
        raise ValueError("a component without samples")
    across, down = (left, first_x, *tiles[::2]), (top, first_y, *tiles[1::2])
    stream.even = all(
        _is_even(places, step)
        for steps in stream.steps
        for places, step in zip((across, down), steps, strict=True)
    )
    return stream


def _is_even(places: tuple[int, ...], step: int) -> bool:
    """Whether the picture and its tiles begin and end where samples do that are for ``step``
    pixels. ``places``: its end and beginning, a tile's length and the first one's beginning."""
    end, start, length, first = places
    tiled = first + length < end
    return not (end % step or start % step or (tiled and (length % step or first % step)))


def _note_box(stream: Stream, kind: bytes, body: bytes) -> None:
    if kind == b"colr" and len(body) >= 3 and stream.space is None and not stream.profile:
        if body[0] == 1 and len(body) >= 7:
            (stream.space,) = struct.unpack_from(">I", body, 3)
        elif body[0] in (2, 3):
            stream.profile = body[3:]
    elif kind == b"pclr" and len(body) >= 3:
        stream.palette = tuple(body[3 : 3 + body[2]])
        stream.colours = body[3 + body[2] :][: int.from_bytes(body[:2], "big") * body[2]]
    elif kind == b"cmap":
        stream.columns = tuple(struct.iter_unpack(">HBB", body[: len(body) // 4 * 4]))
    elif kind == b"cdef" and len(body) >= 2:
        count = min(struct.unpack_from(">H", body)[0], (len(body) - 2) // 6)
        channels = sorted(struct.unpack_from(">HHH", body, 2 + 6 * index) for index in range(count))
        stream.kinds = tuple(kind for _, kind, _ in channels)
        stream.in_order = all(
            to == number + 1 for number, kind, to in channels if kind == 0 and to != 0
        )


def _iterate_boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box, and where its content lies."""
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1 and at + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        stop = end if length == 0 else at + length
        if stop < at + head or stop > end:
            if kind == b"jp2c":  # cut short: what is there of it
                yield kind, at + head, end
            return
        yield kind, at + head, stop
        at = stop


def read_geotiff(data: bytes) -> bytes:
    """The TIFF file of one pixel that says where the picture lies (GeoJP2); empty if none does."""
    if data.startswith(BOX):
        for kind, start, end in _iterate_boxes(data, 0, len(data)):
            if kind == b"uuid" and data.startswith(GEOTIFF, start):
                return data[start + len(GEOTIFF) : end]
    return b""


def has_gml_alone(data: bytes) -> bool:
    """Whether the file says where the picture lies in GML (OGC 08-085r8, GMLJP2), and not as
    :func:`read_geotiff` reads it."""
    if not data.startswith(BOX) or read_geotiff(data):
        return False
    return any(
        kind == b"asoc" and b"gml.data" in data[start : start + GML_LABEL]
        for kind, start, _ in _iterate_boxes(data, 0, len(data))
    )


def refusal(stream: Stream) -> str:
    """Why what the file says is not read; empty where it is."""
    if stream.signed:
        return "signed samples: no defined black and white; make them unsigned first"
    if stream.space in SPACES:
        return f"JPEG 2000 in {SPACES[stream.space]}; convert it to RGB or grey first"
    if stream.space not in (None, GREY, SRGB, SYCC, CMYK):
        return f"JPEG 2000 in colour space {stream.space}; convert it to RGB or grey first"
    if len(set(stream.depths)) != 1:
        return f"samples of different depths ({stream.depths}); convert them to one first"
    if stream.depths[0] > 16:
        return f"{stream.depths[0]}-bit samples: scale them to 8 or 16 bits first"
    if len(stream.depths) not in MODES:
        return f"JPEG 2000 of {len(stream.depths)} components; store it as RGB or grey"
    if stream.palette and (reason := _palette_refusal(stream)):
        return reason
    if stream.space == GREY and stream.channels > 2:
        count = stream.channels
        return f"JPEG 2000 of {count} components that are told to be grey; store it as RGB"
    if not stream.in_order:
        return "JPEG 2000 with its channels in another order than RGB; store it as RGB"
    if stream.space == CMYK and (len(stream.depths) != 4 or stream.depths[0] != 8):
        return "JPEG 2000 in CMYK with other than 4 samples of 8 bits; convert it to RGB first"
    if stream.depths[0] > 8 and (stream.is_subsampled or stream.space == SYCC):
        return "JPEG 2000 in YCbCr of more than 8 bits; convert it to RGB first"
    if stream.is_subsampled and not (stream.even or stream.steps in HALVED):
        return (
            "JPEG 2000 with fewer samples than pixels, other than chroma of 4:2:0 or 4:2:2; "
            "convert it to RGB first"
        )
    if stream.is_subsampled and stream.space != SYCC and stream.steps[-1][0] == 1:
        return "JPEG 2000 with fewer samples of some components; convert it to RGB first"
    return ""


def _palette_refusal(stream: Stream) -> str:
    """T.800, sections I.5.3.4 and I.5.3.5: what OpenJPEG reads of palettes is read; files without
    the box that maps them (cmap) or with an odd one are shown by each program in its own way."""
    if len(stream.depths) != 1 or len(stream.palette) not in MODES or set(stream.palette) != {7}:
        return "JPEG 2000 with a palette of other than 8 bits; store it as RGB"
    if stream.columns != tuple((0, 1, column) for column in range(len(stream.palette))):
        return "JPEG 2000 whose palette is not mapped to channels in its order; store it as RGB"
    if not stream.colours or len(stream.colours) % len(stream.palette):
        return "damaged: its palette is cut short"
    if stream.space not in (None, GREY, SRGB) or stream.is_subsampled:
        return "JPEG 2000 with a palette of other colours than RGB; store it as RGB"
    return ""


def prepare_for_pillow(data: bytes, stream: Stream) -> bytes:
    """What Pillow is given: of grey the bare codestream, for it takes JP2's word on the depth
    wrongly, and of pictures with a palette, whose indices it shifts to 8 bits before it looks them
    up, and whose transparency it drops."""
    deep_grey = len(stream.depths) == 1 and stream.depths[0] > 8
    return data[stream.at :] if deep_grey or stream.palette else data


def is_read_by_pillow(stream: Stream) -> bool:
    """Pillow rounds deeper colours up beyond white, which then is black, and takes a row of chroma
    to have no more samples than fit wholly into a tile."""
    return (stream.depths[0] <= 8 or len(stream.depths) == 1) and stream.even


def correct_samples(image: Image.Image, stream: Stream) -> Image.Image:
    """Pillow shifts samples to 8 or 16 bits, where white then is not quite white.

    Raises :class:`ImageError`.
    """
    depth = stream.depths[0]
    if stream.palette:
        held = 16 if image.mode.startswith("I;16") else 8
        return _apply_palette(np.asarray(image) >> (held - depth), stream)
    if (stream.space == CMYK) != (image.mode == "CMYK"):  # as before Pillow 11.1
        raise ImageError("JPEG 2000 in CMYK, which this Pillow takes for RGB; convert it first")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16) >> (16 - depth)
        return Image.fromarray(scale_to_eight_bits(values, depth))
    if depth < 8 and image.mode in MODES.values():
        largest = (1 << depth) - 1
        steps = [min(value >> (8 - depth), largest) for value in range(256)]
        table = [(value * 255 + largest // 2) // largest for value in steps]
        return image.point(table * len(image.getbands()))
    return image


def _apply_palette(indices: np.ndarray, stream: Stream) -> Image.Image:
    """``indices``: ``(H, W)``. Colours that the palette lacks are black, of which
    :func:`find_remarks` speaks."""
    largest = int(indices.max())
    colours = np.frombuffer(stream.colours, np.uint8).reshape(-1, len(stream.palette))
    stream.lacking = largest if largest >= len(colours) else None
    table = np.pad(colours, ((0, max(0, largest + 1 - len(colours))), (0, 0)))
    return merge_channels(MODES[len(stream.palette)], table[indices])


def read_samples(data: bytes, stream: Stream) -> Image.Image:
    """Read the samples with imagecodecs. Raises :class:`ImageError`."""
    if not has_imagecodecs():
        kind = "with chroma of a size of its own" if stream.is_subsampled else "in colour"
        raise ImageError(
            f"{stream.depths[0]}-bit JPEG 2000 {kind} needs the extra 'formats' ({EXTRA_INSTALL})"
        )
    import imagecodecs

    try:
        samples = imagecodecs.jpeg2k_decode(data[stream.at :], numthreads=1)
    except MemoryError:
        raise
    except Exception as error:
        raise ImageError(f"damaged: {error}") from error
    if samples.shape != (stream.height, stream.width, len(stream.depths)):
        raise ImageError(f"damaged: {samples.shape} samples")
    return merge_channels(MODES[samples.shape[2]], scale_to_eight_bits(samples, stream.depths[0]))


def find_remarks(image: Image.Image, stream: Stream) -> list[str]:
    """Warnings of colours that the palette lacks, and of transparency that the file does not call
    so: programs that leave the box of channels out mean that, those of satellite pictures
    infrared."""
    remarks = []
    if stream.lacking is not None:
        count = len(stream.colours) // len(stream.palette)
        remarks.append(describe_lacking_colour(stream.lacking, count))
    if not stream.kinds and image.mode in ("LA", "RGBA"):
        remarks.append("its last component is taken for transparency, which the file does not say")
    return remarks


def apply_meaning(image: Image.Image, stream: Stream) -> Image.Image:
    """Drop channels that are no transparency, and take in the profile."""
    last = stream.kinds[-1] if len(stream.kinds) == stream.channels else None
    if image.mode in ("LA", "RGBA") and last == UNSPECIFIED:
        image = image.convert(image.mode[:-1])
    elif image.mode in ("LA", "RGBA") and last == PREMULTIPLIED:
        bands = np.asarray(image)
        image = merge_channels(image.mode[:-1] + "a", bands)
    if stream.profile:
        image.info["icc_profile"] = stream.profile
    return image
