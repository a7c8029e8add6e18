"""What is known of the formats that are rarer, and of what Pillow makes of them."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from pix2pix_batch.decoding.primaries import Cicp
from pix2pix_batch.decoding.tiff import eight_bits

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

DDS_EIGHT_BIT = frozenset((b"DXT1", b"DXT3", b"DXT5"))
PHOTOSHOP = {7: "several inks", 8: "duotone"}
"""Adobe Photoshop File Formats Specification, "File Header": the modes that are no colours."""


def refusal(data: bytes) -> str:
    """Why a file that Pillow might open is not read; empty where it may be."""
    if data.startswith(b"8BPS") and len(data) >= 26:
        return _of_photoshop(data)
    if data.startswith(b"SIMPLE") and re.search(rb"BITPIX\s*=\s*8\b", data[:2880]) is None:
        return "FITS with samples other than 8 bits: no defined white; scale them first"
    if data.startswith(b"\x01\xda") and data[3:4] == b"\2":
        return "SGI image of 16 bits; store it as PNG"
    if data.startswith(b"DDS ") and not _is_plain_dds(data):
        return "DDS texture of a kind whose colours are not known; store it as PNG"
    if data.startswith(b"/* XPM */") and not _is_plain_xpm(data):
        return "XPM with colours other than #RRGGBB; store it as PNG"
    return ""


def _of_photoshop(data: bytes) -> str:
    depth, mode = int.from_bytes(data[22:24], "big"), int.from_bytes(data[24:26], "big")
    if mode in PHOTOSHOP:
        return f"Photoshop file in {PHOTOSHOP[mode]}; convert it to RGB first"
    if depth not in (1, 8):
        return f"Photoshop file of {depth} bits; store it as 8 bits, or as PNG or TIFF"
    return ""


def _is_plain_dds(data: bytes) -> bool:
    """Microsoft's "DDS_PIXELFORMAT": block compression of 8-bit colours, or RGB by masks."""
    flags, code = int.from_bytes(data[80:84], "little"), data[84:88]
    if flags & 0x4:
        return code in DDS_EIGHT_BIT
    return bool(flags & 0x40) and int.from_bytes(data[88:92], "little") in (24, 32)


def _is_plain_xpm(data: bytes) -> bool:
    colours = re.findall(rb"\bc\s+(\S+?)\s*[\"\t ]", data)
    return all(re.fullmatch(rb"None|#[0-9A-Fa-f]{6}", colour) for colour in colours)


def unverified(image: Image.Image) -> str:
    """Why what Pillow opened is not taken; empty where it is."""
    if image.format not in COMMON:
        return (
            f"{image.format} files are not read, for what their samples mean was not verified; "
            "store it as PNG"
        )
    if image.format not in ("PNG", "PPM", "TIFF", "JPEG2000") and image.mode in DEPTHS[2:]:
        return f"16-bit {image.format}; store it as PNG"
    return ""


def corrected(image: Image.Image) -> Image.Image:
    """Bits of which a set one is black, which Pillow takes for white: X's bitmaps, whose set bits
    are the foreground, and Photoshop's."""
    if image.format in ("XBM", "PSD") and image.mode == "1":
        return Image.fromarray(~np.asarray(image))
    if image.mode == "I" and image.format == "PPM":  # scaled to 16 bits by Pillow
        return Image.fromarray(eight_bits(np.asarray(image).astype(np.uint16), 16))
    return image


def code_points(data: bytes) -> Cicp | None:
    """What an AVIF file's colours are (ISO/IEC 14496-12, section 12.1.5), where it has no profile.

    libavif has turned them into RGB of the full range by then.
    """
    at = data.find(b"colrnclx", 0, HEAD)
    if at < 0 or at + 14 > len(data):
        return None
    primaries, transfer = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (8, 10))
    return Cicp(primaries, transfer, 0, 1)
