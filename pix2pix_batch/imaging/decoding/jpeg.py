"""JPEG: decoded with its warnings, which Pillow does not pass on."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from pix2pix_batch.imaging.metadata.tiff import Tiff

HOLE, REFINED_HOLE = 24, 128
"""Zero bytes in a row that no encoder writes where a run of zero bits stands for coefficients that
are not zero: they would be dozens of equal ones in one block. Where coefficients are refined, up to
a thousand bits (libjpeg's MAX_CORR_BITS) may be zeros."""

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends the data of a scan."""

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
KINDS = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xCB: "lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "lossless",
    0xF7: "JPEG-LS",
}
"""By the marker of their frame (ITU-T T.81, table B.1; T.87), other than baseline, extended and
progressive JPEG."""

ARITHMETIC = (0xC9, 0xCA)
"""Frames whose data may have any number of zero bytes in a row (ITU-T T.81, table B.1)."""

CAMERA, COLOUR_SPACE, INTEROPERABILITY, UNCALIBRATED = 0x8769, 0xA001, 0xA005, 0xFFFF
"""Tags of EXIF 2.32 (sections 4.6.3 and 4.6.5), and what colours other than sRGB are called."""

AS_FAR = "damaged, and read as far as it goes"
CORRUPT, BAD_PROFILE = "Corrupt JPEG data", "bad ICC marker"
"""How libjpeg begins what it says of bytes that are not as they should be, and ends what it says of
profiles, which are looked at apart (``jerror.h``)."""

PROFILE = b"ICC_PROFILE\0"


def is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def read_plain_header(data: bytes) -> Header | None:
    """The header of a JPEG file that says no more of its picture than its size and whether it is
    grey: it has no EXIF, no profile, no further picture and nothing of Adobe's. ``None`` for all
    others, which Pillow is to read.
    """
    at, frame = 2, None
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == 0xDA:
            return frame
        if marker in (0xC0, 0xC1, 0xC2) and frame is None:
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if depth != 8 or components not in (1, 3):
                return None
            frame = Header("L" if components == 1 else "RGB", (width, height))
        elif marker not in SILENT:
            return None
        at += 2 + length
    return None


SILENT = frozenset({0xE0, 0xDB, 0xC4, 0xDD, 0xFE})
"""Markers of segments that say nothing of the picture: JFIF, whose density is not looked at, tables
of two kinds, restarts, comments (ITU-T T.81, table B.1)."""


class Header(NamedTuple):
    """What the header of a JPEG file says: ``mode`` as Pillow calls it, and ``size``, width and
    height."""

    mode: str
    size: tuple[int, int]


def decode(data: bytes, header: Header) -> tuple[np.ndarray | None, str]:
    """The samples of a JPEG file, ``uint8 (H, W, C)``, and what libjpeg warned of.

    They are ``None`` where Pillow is to decode it: the file is damaged, or not grey or RGB.
    """
    if header.mode not in ("L", "RGB", "CMYK"):
        return None, ""
    space = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[header.mode]
    try:
        pixels = simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
        return None, _classify_warning(data, space, str(error))
    if (pixels.shape[1], pixels.shape[0]) != header.size:
        return None, ""
    wrong = _find_loss(data)
    if header.mode == "CMYK":  # Pillow knows whether its inks are inverted
        return None, wrong
    return pixels, wrong


def _classify_warning(data: bytes, space: str, said: str) -> str:
    """What was said, if the file can be decoded in spite of it; else Pillow will say why not."""
    try:
        simplejpeg.decode_jpeg(data, space, strict=False)
    except ValueError:  # such as subsampled CMYK; a warning of the header is raised here too
        is_damaged = said.startswith(CORRUPT) and not said.endswith(BAD_PROFILE)
        return f"{AS_FAR}: {said}" if is_damaged else _find_loss(data)
    return f"{AS_FAR}: {said}"


def _find_loss(data: bytes) -> str:
    """A warning of what libjpeg does not warn of: data that is gone, or was never sent."""
    return _find_hole(data) or _find_missing_scan(data)


def _find_hole(data: bytes) -> str:
    """A warning of a run of zero bytes in the picture's data, as holes in copied files are."""
    if bytes(HOLE) not in data:
        return ""
    tables: dict[tuple[int, int], int] = {}
    progressive = False
    for marker, start, end in iterate_segments(data):
        if marker == 0xC4:
            tables.update(_first_symbols(data[start:end]))
        elif marker in FRAMES:
            if marker in ARITHMETIC or marker in KINDS:
                return ""
            progressive = marker not in (0xC0, 0xC1)
        elif marker == 0xDA and end - start >= 6:
            longest = _longest_run(data[start:end], tables, progressive)
            stop = MARKER.search(data, end)
            if longest and bytes(longest) in data[end : stop.start() if stop else len(data)]:
                return f"{AS_FAR}: a run of zero bytes in its data"
    return ""


def _longest_run(scan: bytes, tables: dict[tuple[int, int], int], progressive: bool) -> int:
    """Zero bytes that a scan cannot have in a row; 0 where it may have any number."""
    first_coefficient, bits = scan[-3], scan[-1]
    if progressive:
        if first_coefficient == 0:  # one bit a block
            return 0
        return REFINED_HOLE if bits >> 4 else HOLE
    # The code of nothing but zeros: a run of it is a flat area where it ends a block.
    odd = any(tables.get((1, table), 0) != 0 for table in _tables_used(scan))
    return HOLE if odd else 0


def _find_missing_scan(data: bytes) -> str:
    """A warning of a file that ends before it has all of the picture: a component without any data,
    or coefficients that were not sent, or not with all of their bits (ITU-T T.81, annex G.1)."""
    components, progressive = b"", False
    left: dict[int, np.ndarray] = {}  # for each component, the bits of each coefficient to come
    for marker, start, end in iterate_segments(data):
        if marker in FRAMES:
            if marker in KINDS or end - start < 6:
                return ""
            progressive = marker in (0xC2, 0xCA)
            components = data[start + 6 : min(start + 6 + 3 * data[start + 5], end) : 3]
            left = {}
        elif marker == 0xDA and end - start >= 6:
            names = data[start + 1 : start + 1 + 2 * data[start] : 2]
            if not progressive and set(names) >= set(components):
                return ""  # as nearly all are, whose data is not looked through then
            left = left or {name: np.full(64, 255) for name in components}
            first, last, bits = data[end - 3 : end] if progressive else (0, 63, 0)
            for name in names:
                if name in left:
                    left[name][first : last + 1] = bits & 15
    if any(bits.any() for bits in left.values()) if left else components:
        return f"{AS_FAR}: some of its scans are missing"
    return ""


def iterate_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker of each segment of the first picture, and where its content lies."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker == 0xD9:
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, min(at + 2 + length, len(data))
        at += 2 + length
        if marker == 0xDA:
            after = MARKER.search(data, at)
            if after is None:
                return
            at = after.start()


def _first_symbols(content: bytes) -> dict[tuple[int, int], int]:
    """By class (1: AC) and number of each Huffman table, the symbol of the shortest code."""
    symbols, at = {}, 0
    while at + 17 <= len(content):
        count = sum(content[at + 1 : at + 17])
        if count and at + 17 < len(content):
            symbols[content[at] >> 4, content[at] & 15] = content[at + 17]
        at += 17 + count
    return symbols


def _tables_used(content: bytes) -> list[int]:
    """The AC tables that a scan names."""
    count = content[0] if content else 0
    return [content[2 + 2 * index] & 15 for index in range(count) if 2 + 2 * index < len(content)]


def has_profile(data: bytes) -> bool:
    """Whether a colour profile, or a part of one, is there (ICC.1, annex B.4)."""
    if PROFILE not in data:
        return False
    return any(
        data.startswith(PROFILE, at) for marker, at, _ in iterate_segments(data) if marker == 0xE2
    )


def is_adobe_rgb(exif: bytes) -> bool:
    """Whether a camera says in EXIF alone that its colours are Adobe RGB: by the kind of file that
    DCF 2.0 calls optional (R03), or the colour space 2, which is no standard and written too."""
    try:
        tiff = Tiff(exif.removeprefix(b"Exif\0\0"))
        at = tiff.directory({CAMERA})[CAMERA].numbers()
        said = tiff.directory({COLOUR_SPACE, INTEROPERABILITY}, at=int(at[0]))
        space = said[COLOUR_SPACE].numbers()[0]
        if space == 2 or space != UNCALIBRATED:
            return bool(space == 2)
        at = said[INTEROPERABILITY].numbers()
        return tiff.directory({1}, at=int(at[0]))[1].data.startswith(b"R03")
    except (ValueError, KeyError, IndexError):  # broken EXIF is ignored, as viewers do
        return False


def refusal(data: bytes) -> str:
    """Why Pillow does not know what kind of JPEG it is; empty where the header does not tell."""
    for marker, start, _ in iterate_segments(data):
        if marker == 0xDA:  # what follows is the picture, or damage of it
            return ""
        if marker in KINDS:
            return f"{KINDS[marker]} JPEG, which is not read; store it as PNG or baseline JPEG"
        if marker in FRAMES and start + 6 <= len(data):
            depth, components = data[start], data[start + 5]
            if data[start + 1 : start + 3] == b"\0\0":
                return "JPEG that tells its height after its data (DNL); store it anew"
            if depth != 8:
                return f"{depth}-bit JPEG, which is not read; store it as PNG, 16-bit or 8-bit"
            if components not in (1, 3, 4):
                return f"JPEG of {components} components, whose colours are not defined"
    return ""
