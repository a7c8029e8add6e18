"""What files of the rarer formats say of their colours, by a profile or without one, and Pillow
leaves out."""

from __future__ import annotations

import struct

from pix2pix_batch.imaging.decoding.primaries import Cicp, Gamma

HEAD = 1 << 16
"""Bytes of a file in which its properties stand."""

GIF_PROFILE = b"!\xff\x0bICCRGBG1012"

BITMAP_V4, BITMAP_V5 = 108, 124
"""Lengths of Microsoft's BITMAPV4HEADER and BITMAPV5HEADER."""

CALIBRATED = bytes(4)
"""LCS_CALIBRATED_RGB, of a bitmap's field bV4CSType: endpoints and gamma count."""


def read_profile(data: bytes) -> bytes:
    """The colour profile of GIF (ICC's "Embedding ICC profiles in GIF files") and BMP (Microsoft's
    BITMAPV5HEADER), which Pillow leaves out."""
    if data.startswith(b"GIF8"):
        at = data.find(GIF_PROFILE, 0, HEAD)
        return _sub_blocks(data, at + len(GIF_PROFILE)) if at >= 0 else b""
    if _is_bitmap(data, BITMAP_V5) and data[70:74] == b"DEBM":
        at, length = (int.from_bytes(data[i : i + 4], "little") for i in (126, 130))
        return data[14 + at : 14 + at + length]
    return b""


def _sub_blocks(data: bytes, at: int) -> bytes:
    parts = []
    while at < len(data) and (length := data[at]):
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts)


def read_meaning(form: str, data: bytes) -> Cicp | Gamma | None:
    """What the colours are of a file without a profile; ``None`` for sRGB, or where it says
    nothing. QOI's byte for linear light says nothing: Pillow, for one, writes it for all files.

    ``form``: Pillow's name of the format.
    """
    if form == "AVIF":
        return _read_code_points(data)
    if form == "BMP" and (_is_bitmap(data, BITMAP_V4) or _is_bitmap(data, BITMAP_V5)):
        return _read_calibration(data)
    return None


def _is_bitmap(data: bytes, header: int) -> bool:
    return data.startswith(b"BM") and data[14:18] == struct.pack("<I", header)


def _read_calibration(data: bytes) -> Gamma | None:
    """Of a Windows bitmap: the light of its primaries (CIEXYZTRIPLE, by 2**30), which is white
    together, and the exponents that make light of its samples (by 2**16).

    ``None`` where the header leaves them at nothing, as many programs do, or has an exponent for
    each channel.
    """
    values = struct.unpack_from("<9i3I", data, 74)
    light, exponents = [values[at : at + 3] for at in (0, 3, 6)], values[9:]
    white = tuple(map(sum, zip(*light, strict=True)))
    if data[70:74] != CALIBRATED or len(set(exponents)) > 1 or not exponents[0]:
        return None
    if any(sum(colour) <= 0 for colour in light):
        return None
    points = (colour[axis] / sum(colour) for colour in (white, *light) for axis in (0, 1))
    return Gamma(65536 / exponents[0], tuple(points))


def _read_code_points(data: bytes) -> Cicp | None:
    """What an AVIF file's colours are (ISO/IEC 14496-12, section 12.1.5).

    libavif has turned them into RGB of the full range by then.
    """
    at = data.find(b"colrnclx", 0, HEAD)
    if at < 0 or at + 14 > len(data):
        return None
    primaries, transfer = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (8, 10))
    return Cicp(primaries, transfer, 0, 1)
