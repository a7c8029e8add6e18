"""Runs that Pillow takes for damage, unpacked: the file without compression.

TGA's and PCX's that go on in the next row, SGI's rows without an end, and of BMP those that leave
pixels out.
"""

from __future__ import annotations

import struct

from pix2pix_batch.imaging.decoding import pcx, targa


class _CutShort(Exception):
    """The data ends before the picture, or is not that of its rows."""


def unpack(data: bytes) -> bytes | None:
    """The file as one that Pillow reads; ``None`` where it is of another kind, or cut short."""
    try:
        if data.startswith(b"\x01\xda\x01\x01"):
            return _unpack_sgi(data)
        if data.startswith(b"BM") and data[30:31] == b"\1" and data[28:29] == b"\x08":
            return _unpack_bmp(data)
        if pcx.is_pcx(data):
            return pcx.unpack(data)
        if len(data) > 18 and data[1] in (0, 1) and data[2] in (9, 10, 11):
            return _unpack_targa(data)
    except (_CutShort, struct.error):
        return None
    return None


def _unpack_targa(data: bytes) -> bytes:
    """Truevision TGA 2.0, "Run-length encoding": packets of a bit and a count, of pixels."""
    width, height, depth = struct.unpack_from("<HHB", data, 12)
    size = (depth + 7) // 8
    start = at = targa.find_samples(data)
    parts, left = [], width * height
    while left > 0:
        if at >= len(data):
            raise _CutShort
        count, is_run = (data[at] & 127) + 1, data[at] & 128
        length = size if is_run else size * count
        pixels = data[at + 1 : at + 1 + length]
        if len(pixels) < length:
            raise _CutShort
        parts.append(pixels * count if is_run else pixels)
        left -= count
        at += 1 + length
    body = b"".join(parts)[: size * width * height]
    return data[:2] + bytes([data[2] & 7]) + data[3:start] + body


def _unpack_sgi(data: bytes) -> bytes:
    """The SGI Image File Format, version 1.00: rows by a table of their places; a count of zero
    ends one, which some programs leave out."""
    width, height, channels = struct.unpack_from(">HHH", data, 6)
    count = height * channels
    tables = struct.unpack_from(f">{2 * count}I", data, 512)
    rows = []
    for at, length in zip(tables[:count], tables[count:], strict=True):
        if at < 512 + 8 * count or at + length > len(data):
            raise _CutShort
        rows.append(_unpack_sgi_row(data[at : at + length], width))
    return data[:2] + b"\0" + data[3:512] + b"".join(rows)


def _unpack_sgi_row(data: bytes, width: int) -> bytes:
    """``data``: of the row alone, whose runs must make it as long as the picture is wide."""
    row, at = bytearray(), 0
    while len(row) < width:
        if at + 1 >= len(data) or not data[at] & 127:
            raise _CutShort
        count, is_copied = data[at] & 127, data[at] & 128
        row += data[at + 1 : at + 1 + count] if is_copied else data[at + 1 : at + 2] * count
        at += 1 + (count if is_copied else 1)
    if len(row) > width or not len(data) - 1 <= at <= len(data):
        raise _CutShort
    return bytes(row)


def _unpack_bmp(data: bytes) -> bytes:
    """Microsoft's "Bitmap Compression", of 8 bits: what is skipped or comes after its end has the
    first colour."""
    (at,) = struct.unpack_from("<I", data, 10)
    width, height = struct.unpack_from("<ii", data, 18)
    stride = (width + 3) // 4 * 4
    if width <= 0 or height <= 0 or stride * height > 1000 * len(data):
        raise _CutShort
    head, rows, x, y = data[:at], bytearray(stride * height), 0, 0
    while True:
        if at + 1 >= len(data):
            raise _CutShort
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            run = data[at - 1 : at] * count
        elif value == 0:
            x, y, run = 0, y + 1, b""
        elif value == 1:
            break
        elif value == 2:
            across, up = struct.unpack_from("BB", data, at)
            x, y, run, at = x + across, y + up, b"", at + 2
        else:
            run = data[at : at + value]
            at += value + value % 2
        if run and y < height:
            run = run[: max(width - x, 0)]
            rows[y * stride + x : y * stride + x + len(run)] = run
        x += len(run)
    return head[:30] + b"\0" + head[31:34] + struct.pack("<I", len(rows)) + head[38:] + bytes(rows)
