"""What is known of the formats that are rarer, and of what Pillow makes of them."""

from __future__ import annotations

import re
import struct
from itertools import islice

import numpy as np
from PIL import Image, features

from pix2pix_batch.imaging.decoding import (
    beginnings,
    bitmaps,
    icons,
    pcx,
    photoshop,
    targa,
    xbm,
)
from pix2pix_batch.imaging.decoding.tiff_samples import scale_to_eight_bits

COMMON = frozenset({
    "AVIF", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "GIF", "ICNS", "ICO", "JPEG",
    "JPEG2000", "MPO", "MSP", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF",
    "WEBP", "XBM", "XPM",
})  # fmt: skip
"""Formats, by Pillow's names, whose samples were compared with another program's. PFM files are
PPM's, and refused as floating point."""

DEPTHS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

HEAD = 1 << 16
"""Bytes of an AVIF file in which its properties stand."""

AVIF = re.compile(rb"....ftypavi[fs]", re.S)

DDS_EIGHT_BIT = frozenset((b"DXT1", b"DXT3", b"DXT5"))
GIF, HAS_COLOURS = b"GIF8", 0x80
"""How files begin, and the bit of what follows a size that tells of a table of colours."""

SUN = b"\x59\xa6\x6a\x95"


def refusal(data: bytes) -> str:
    """Why a file that Pillow might open is not read; empty where it may be."""
    if photoshop.is_photoshop(data):
        return photoshop.refusal(data)
    if data.startswith(b"SIMPLE") and re.search(rb"BITPIX\s*=\s*8\b", data[:2880]) is None:
        return "FITS with samples other than 8 bits: no defined white; scale them first"
    if data.startswith(b"\x01\xda") and data[3:4] == b"\2":
        return "SGI image of 16 bits; store it as PNG"
    if data.startswith(b"\x01\xda") and any(data[104:108]):
        return "SGI image that is dithered or a colour map; store it as PNG"
    if data.startswith(SUN) and len(data) >= 32:
        return _sun_refusal(data)
    if data.startswith(b"DDS ") and not _is_plain_dds(data):
        return "DDS texture of a kind whose colours are not known; store it as PNG"
    if data.startswith(b"/* XPM */") and not _is_plain_xpm(data):
        return "XPM with colours other than #RRGGBB; store it as PNG"
    if pcx.is_pcx(data):
        return pcx.refusal(data)
    return bitmaps.refusal(data)


def _sun_refusal(data: bytes) -> str:
    """Pillow takes the byte that is left out for the last of four, where it is the first, and
    rows of runs for as long as the picture is wide, where they are of an even length."""
    width, depth, kind = (int.from_bytes(data[at : at + 4], "big") for at in (4, 12, 20))
    if depth == 32:
        return "Sun raster of 32 bits; store it as PNG"
    if kind == 2 and (width * depth + 7) // 8 % 2:
        return "Sun raster of compressed rows of odd length; store it as PNG"
    return ""


def prepare_for_pillow(data: bytes) -> bytes:
    """The file as Pillow can read it.

    Raises :class:`ImageError`.
    """
    if photoshop.is_photoshop(data):
        return photoshop.prepare_for_pillow(data)
    data = icons.prepare_for_pillow(data)
    data = bitmaps.prepare_for_pillow(data)
    if data.startswith(GIF):
        return _drop_unused_colours(data)
    if data.lstrip().startswith((b"#", b"/*")):
        return xbm.prepare_for_pillow(data)
    return pcx.prepare_for_pillow(targa.drop_unused_table(data))


def _drop_unused_colours(data: bytes) -> bytes:
    """A GIF file whose first picture has colours of its own without those of the whole (GIF89a,
    sections 18 to 20), which Pillow takes where the picture's are grey."""
    if not data[10:11] or not data[10] & HAS_COLOURS:
        return data
    start = at = 13 + (3 << (data[10] & 7) + 1)
    while data[at : at + 1] == b"!":
        at += 2
        while length := int.from_bytes(data[at : at + 1], "little"):
            at += 1 + length
        at += 1
    if data[at : at + 1] != b"," or len(data) < at + 10 or not data[at + 9] & HAS_COLOURS:
        return data
    return data[:10] + bytes([data[10] & ~HAS_COLOURS]) + data[11:13] + data[start:]


def find_remarks(image: Image.Image, data: bytes) -> list[str]:
    """Warnings of what Pillow leaves out or makes up without a word: transparency of Photoshop's
    and Windows' bitmaps, colours of GIF that has none; and of what programs disagree about.
    ``image``: its samples not read yet."""
    has_colours = image.format != "GIF" or data[10] & HAS_COLOURS
    if not has_colours and getattr(image, "_frame_palette", False) is None:
        return ["damaged: it has no colours of its own, and is taken for grey"]
    if image.format == "PCX" and (remark := pcx.find_remark(data)):
        return [remark]
    if image.format == "AVIF" and _has_clean_aperture(data, image.size):
        return [
            "a part of it is told to be the picture (clean aperture), of which programs differ; "
            "it is taken as a whole"
        ]
    if image.format == "TGA" and (remark := targa.find_remark(data)):
        return [remark]
    lacks = False
    if image.format == "PSD":
        lacks = photoshop.lacks_transparency(image, data)
    elif image.format == "BMP" and image.mode == "RGB" and data[28:34] == b"\x10\0\3\0\0\0":
        lacks = int.from_bytes(data[14:18], "little") >= 56 and any(data[66:70])
    return ["its transparency is left out"] if lacks else []


def _has_clean_aperture(data: bytes, size: tuple[int, int]) -> bool:
    """Whether a file of boxes tells of a part as the picture (ISO/IEC 14496-12, section 12.1.4)."""
    at = data.find(b"\0\0\0\x28clap", 0, HEAD)
    if at < 0 or at + 40 > len(data):
        return False
    across, below_across, down, below_down = struct.unpack_from(">4I", data, at + 8)
    width, height = size
    return (across, down) != (width * below_across, height * below_down)


def _is_plain_dds(data: bytes) -> bool:
    """Microsoft's "DDS_PIXELFORMAT": block compression of 8-bit colours, or RGB by masks."""
    flags, code = int.from_bytes(data[80:84], "little"), data[84:88]
    if flags & 0x4:
        return code in DDS_EIGHT_BIT
    return bool(flags & 0x40) and int.from_bytes(data[88:92], "little") in (24, 32)


def _is_plain_xpm(data: bytes) -> bool:
    """Whether all colours are told by numbers. XPM Manual, chapter 2: after width, height, the
    number of colours and how many characters a pixel has, each colour is a string of its pixel and
    of pairs of a key and a value."""
    strings = (found[1] for found in re.finditer(rb'"([^"]*)"', data))
    values = next(strings, b"").split()
    if len(values) < 4 or not all(value.isdigit() for value in values[2:4]):
        return True  # which Pillow says is none
    count, characters = int(values[2]), int(values[3])
    for colour in islice(strings, count):
        pairs = colour[characters:].split()
        for key, value in zip(pairs[::2], pairs[1::2], strict=False):
            if key == b"c" and not re.fullmatch(rb"None|#[0-9A-Fa-f]{6}", value):
                return False
    return True


def unverified_reason(image: Image.Image) -> str:
    """Why what Pillow opened is not taken; empty where it is."""
    if image.format not in COMMON:
        return (
            f"{image.format} files are not read, for what their samples mean was not verified; "
            "store it as PNG"
        )
    if image.format not in ("PNG", "PPM", "TIFF", "JPEG2000") and image.mode in DEPTHS[2:]:
        return f"16-bit {image.format}; store it as PNG"
    return ""


def correct_samples(image: Image.Image, data: bytes) -> Image.Image:
    """What Pillow delivers otherwise than it is meant.

    Bits of which a set one is black, which Pillow takes for white: X's bitmaps, whose set bits
    are the foreground. Of TGA and ICO files, what is no transparency. Of GIF, what a first picture
    smaller than the whole leaves empty, which is transparent.
    """
    if image.format == "PSD":
        return photoshop.correct_samples(image, data)
    if image.format in ("ICO", "CUR") and image.mode == "RGBA":
        nothing = image.getchannel("A").getextrema() == (0, 0)  # as Windows has it
        return image.convert("RGB") if nothing else image
    if image.format == "TGA":
        return targa.correct_samples(image, data)
    if image.format == "GIF" and "transparency" not in image.info:
        return _around_first_frame(image)
    if image.format == "XBM" and image.mode == "1":
        return Image.fromarray(~np.asarray(image))
    if image.mode == "I" and image.format == "PPM":  # scaled to 16 bits by Pillow
        return Image.fromarray(scale_to_eight_bits(np.asarray(image).astype(np.uint16), 16))
    return image


def _around_first_frame(image: Image.Image) -> Image.Image:
    extent = getattr(image, "dispose_extent", None) or (0, 0, *image.size)
    if tuple(extent) == (0, 0, *image.size):
        return image
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, tuple(extent))
    image = image.convert("RGB")
    image.putalpha(alpha)
    return image


def reason_of_failure(data: bytes) -> str:
    """What a file is that Pillow could not read, by how it begins; empty where it is not known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        whole = 8 + int.from_bytes(data[4:8], "little")
        return f"damaged: cut short ({len(data)} of {whole} bytes)" if len(data) < whole else ""
    if AVIF.match(data) and "avif" in features.modules and features.check("avif"):
        return ""  # it is one, and Pillow says what is wrong with it, or does not know
    return beginnings.describe_file(data)


def describe_unopened(data: bytes) -> str:
    """What a file of a known format is that Pillow does not take for one; empty for others."""
    if AVIF.match(data):
        return "damaged, or AVIF of a kind or size that Pillow does not read; store it as PNG"
    return ""
