"""Icons and cursors of Windows: their best picture, with the transparency that its mask has.

Microsoft's "Icons" and "BITMAPINFOHEADER". Pillow takes the first of several depths of one size,
no masks of cursors, and of 32 bits none at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pix2pix_batch.imaging.decoding import bitmaps, png

STARTS = (b"\0\0\1\0", b"\0\0\2\0")
ICNS = b"icns"
JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
PLAIN = {b"is32": 16, b"il32": 32, b"ih32": 48, b"it32": 128}
"""Codes of pictures of macOS' icons that are neither PNG nor JPEG 2000, and how wide these are."""
RAW, BY_MASKS = 0, 3
"""The compressions of bitmaps that are none (BI_RGB, BI_BITFIELDS)."""


class Bitmap(NamedTuple):
    """A bitmap of an icon. ``pixels``, ``mask``: where its rows begin, from the bottom; ``end``:
    where those of its mask end, within or beyond ``body``."""

    body: bytes
    width: int
    height: int
    bits: int
    pixels: int
    mask: int
    end: int


def prepare_for_pillow(data: bytes) -> bytes:
    """An icon of the best picture alone: the largest, and of that the deepest. Its mask is where
    Pillow looks for it, and in its alpha where it has 32 bits, all of whose alpha is 0."""
    if not data.startswith(STARTS):
        return data
    best = _find_best(data)
    if best is None:
        return data
    if best.startswith(png.SIGNATURE):
        return _wrap(best, 32)
    bitmap = _read_bitmap(best)
    if bitmap is None:
        return data
    body = best[: bitmap.end].ljust(bitmap.end, b"\0")  # a mask that is not there hides nothing
    if bitmap.bits == 32:
        body = _apply_mask(bitmap, body)
    return _wrap(bitmaps.add_colour(body), bitmap.bits)


def goes_on(data: bytes) -> bool:
    """Whether something follows an icon's pictures, or the rows and the mask of the bitmap that is
    the best of them."""
    (count,) = struct.unpack_from("<H", data, 4)
    entries = (struct.unpack_from("<8xII", data, at) for at in range(6, 6 + 16 * count, 16))
    if len(data) > max(size + start for size, start in entries):
        return True
    best = _find_best(data)
    bitmap = _read_bitmap(best) if best and not best.startswith(png.SIGNATURE) else None
    return bitmap is not None and any(bitmap.body[bitmap.end :])


def find_png(data: bytes) -> bytes | None:
    """The PNG file that is an icon's best picture, of Windows or of macOS; ``None`` where that is
    none. Pillow reads it without most of what is checked in PNG files."""
    if data.startswith(STARTS):
        best = _find_best(data)
        return best if best and best.startswith(png.SIGNATURE) else None
    if not data.startswith(ICNS):
        return None
    pictures = list(_iterate_icns(data))
    if any(body.startswith(JPEG_2000) for _, body in pictures):
        return None
    sized = [(struct.unpack_from(">I", body, 16)[0], body) for _, body in pictures
             if body.startswith(png.SIGNATURE) and len(body) >= 24]  # fmt: skip
    if not sized:
        return None
    widest, within = max(sized, key=lambda picture: picture[0])
    return within if widest >= max(PLAIN.get(code, 0) for code, _ in pictures) else None


def _iterate_icns(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The pictures of a macOS icon: their codes and bytes."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at + 4)
        if length < 8:
            return
        yield data[at : at + 4], data[at + 8 : at + length]
        at += length


def _find_best(data: bytes) -> bytes | None:
    """The bytes of the best picture; ``None`` where the directory is not of an icon's pictures, or
    one is cut short, of which Pillow is to say why."""
    (count,) = struct.unpack_from("<H", data.ljust(6, b"\0"), 4)
    best, rank = None, (0, 0)
    for at in range(6, 6 + 16 * count, 16):
        if at + 16 > len(data):
            return None
        width, height, size, start = struct.unpack_from("<BB6xII", data, at)
        body = data[start : start + size]
        if start < 6 + 16 * count or len(body) < max(size, 40):
            return None
        bits = 32 if body.startswith(png.SIGNATURE) else struct.unpack_from("<H", body, 14)[0]
        this = ((width or 256) * (height or 256), bits)
        if this > rank:
            best, rank = body, this
    return best


def _read_bitmap(body: bytes) -> Bitmap | None:
    """``None`` where it is of another kind than icons are, or cut short."""
    head, width, height, bits, compression = struct.unpack_from("<Iii2xHI", body)
    (used,) = struct.unpack_from("<I", body, 32)
    if head < 40 or width <= 0 or height <= 0 or compression not in (RAW, BY_MASKS):
        return None
    height //= 2  # that of the pixels and of the mask
    colours = (used or 1 << bits) if bits <= 8 else used
    masks = 12 if compression == BY_MASKS and head == 40 else 0
    pixels = head + masks + 4 * colours
    mask = pixels + (width * bits + 31) // 32 * 4 * height
    end = mask + (width + 31) // 32 * 4 * height
    if mask > len(body):
        return None
    return Bitmap(body, width, height, bits, pixels, mask, end)


def _apply_mask(bitmap: Bitmap, body: bytes) -> bytes:
    """The bytes of a bitmap of 32 bits, with the mask for alpha where all of that is 0."""
    samples = np.frombuffer(body[bitmap.pixels : bitmap.mask], np.uint8).reshape(-1, 4)
    if samples[:, 3].any():
        return body
    rows = np.frombuffer(body[bitmap.mask : bitmap.end], np.uint8).reshape(bitmap.height, -1)
    hidden = np.unpackbits(rows, axis=1)[:, : bitmap.width].ravel()
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    masked = np.concatenate([samples[:, :3], alpha[:, None]], axis=1).tobytes()
    return body[: bitmap.pixels] + masked + body[bitmap.mask :]


def _wrap(body: bytes, bits: int) -> bytes:
    """An icon of one picture."""
    if body.startswith(png.SIGNATURE):
        width, height = struct.unpack_from(">II", body, 16)
    else:
        width, height = struct.unpack_from("<ii", body, 4)
        height //= 2
    size = [side if side < 256 else 0 for side in (width, height)]
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, *size, 0, 0, 1, bits, len(body), 22) + body
