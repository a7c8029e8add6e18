"""Truevision's TGA files (Truevision TGA File Format Specification, version 2.0): what they say of
their samples, and what Pillow makes of it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pix2pix_batch.imaging.decoding.tiff_samples import merge_channels

END = b"TRUEVISION-XFILE.\0"
NO_ALPHA, PREMULTIPLIED = (0, 1), 4
"""Field 24: none is there, or what is there is to be ignored; multiplied."""

INDEXED = (1, 9)
"""Field 3: the types whose samples are entries of a table of colours."""

ALPHA_BITS, INTERLEAVED = 0x0F, 0xC0
"""Field 5.6, the descriptor: how many bits are transparency; whether the rows of a picture are
stored by every second or fourth (version 1 alone)."""


def drop_unused_table(data: bytes) -> bytes:
    """A TGA file of true colours or grey without the table of colours that it may have for other
    pictures, with which Pillow does not read it."""
    known = len(data) > 18 and data[1] == 1 and data[2] in (2, 3, 10, 11)
    if not known or data[7] not in (15, 16, 24, 32) or data[16] not in (8, 16, 24, 32):
        return data
    count = int.from_bytes(data[5:7], "little") * ((data[7] + 7) // 8)
    start = 18 + data[0]
    made = data[:1] + b"\0" + data[2:3] + bytes(5) + data[8:start] + data[start + count :]
    at = _extension_of(data)
    if not at:
        return made
    return made[:-26] + (at - count).to_bytes(4, "little") + made[-22:]


def find_samples(data: bytes) -> int:
    """Where the samples begin: after the header, its text and the table of colours."""
    entries, bits = int.from_bytes(data[5:7], "little"), data[7]
    return 18 + data[0] + (entries * ((bits + 7) // 8) if data[1] else 0)


def find_remark(data: bytes) -> str:
    """A warning of what programs disagree about; empty where there is nothing."""
    if data[17] & INTERLEAVED:
        return (
            "its rows are told to be interleaved, which most programs do not heed; they are taken "
            "in the order in which they are stored"
        )
    if _bits_of_colours(data) == 16 and data[17] & ALPHA_BITS:
        return "its transparency of one bit is one that programs read either way round"
    return ""


def correct_samples(image: Image.Image, data: bytes) -> Image.Image:
    """What Pillow delivers otherwise than it is meant: transparency that is none, that colours are
    multiplied by, or that the table of colours has and the picture of Pillow's does not tell."""
    if image.mode == "P" and _bits_of_colours(data) == 32:
        image = image.convert("RGBA")
    if image.mode not in ("LA", "RGBA"):
        return image
    kind = _kind_of_alpha(data)
    if kind == PREMULTIPLIED:
        return merge_channels(image.mode[:-1] + "a", np.asarray(image))
    if kind in NO_ALPHA:
        return image.convert(image.mode[:-1])
    return image if data[17] & ALPHA_BITS else _drop_false_alpha(image, data)


def _bits_of_colours(data: bytes) -> int:
    """Of a pixel, or of an entry of the table of colours where pixels are such."""
    return data[7] if data[2] in INDEXED else data[16]


def _extension_of(data: bytes) -> int:
    """Where the extension area begins, 0 where there is none."""
    return int.from_bytes(data[-26:-22], "little") if data.endswith(END) else 0


def _kind_of_alpha(data: bytes) -> int | None:
    """Field 24 of the extension area: what the fourth samples are, if it is there."""
    at = _extension_of(data)
    return data[at + 494] if 0 < at < len(data) - 494 else None


def _drop_false_alpha(image: Image.Image, data: bytes) -> Image.Image:
    """Of a file whose header counts no bit of transparency. Many programs leave that out and
    write some in 32 bits all the same; then not all of it is 0."""
    alpha = image.getchannel("A")
    if _bits_of_colours(data) == 32 and alpha.getextrema() != (0, 0):
        return image
    return image.convert(image.mode[:-1])
