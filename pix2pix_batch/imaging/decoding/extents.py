"""Damage that shows in how long the data of formats without checksums is.

What follows a picture, runs that go beyond it, and samples larger than the largest: programs pass
them over, and so does Pillow. Bytes that were lost or got in before leave such a trace.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np

from pix2pix_batch.imaging.decoding import icons, lzw, pcx, targa, xbm

LONGER = "damaged: its data goes on after its last row"
RUNS_BEYOND = "damaged: its runs go beyond its last row"
NO_END = "damaged: its data does not end with its last row"
TOO_LARGE = "damaged: it has samples that are larger than its largest"
UNLIKE = "damaged: its data (compression: LZW) is of more or fewer samples than it has"


def find_damage(image_format: str, data: bytes) -> str:
    """A warning where the data of a file is not as long as the picture that Pillow made of it,
    ``image_format`` by its name; else nothing."""
    find = _FINDERS.get(image_format)
    if find is None:
        return ""
    try:
        return find(data)
    except (struct.error, IndexError, ValueError):  # it ends within what is looked at
        return ""


def _describe_rest(data: bytes, end: int) -> str:
    """The warning of what stands after the picture's end."""
    return LONGER if len(data) > end else ""


def _check_bmp(data: bytes) -> str:
    """Microsoft's BITMAPINFOHEADER and its kin; 12 bytes of header are of OS/2."""
    (at, head) = struct.unpack_from("<II", data, 10)
    if head == 12:
        width, height, bits, compression = *struct.unpack_from("<HH2xH", data, 18), 0
    else:
        width, height, bits, compression = struct.unpack_from("<ii2xHI", data, 18)
    if compression in (1, 2):
        return _check_bmp_runs(data, at, width, abs(height), bits)
    end = at + (width * bits + 31) // 32 * 4 * abs(height)
    if head == 124 and data[70:74] in (b"DEBM", b"KNIL"):  # a profile, after the rows or before
        where, length = struct.unpack_from("<II", data, 126)
        end = max(end, 14 + where + length)
    return "" if _is_filled_up(data, end) else _describe_rest(data, end)


def _is_filled_up(data: bytes, end: int) -> bool:
    """Whether up to three zeros follow, which some writers fill up with, and count."""
    (stated_size,) = struct.unpack_from("<I", data, 2)
    return (
        len(data) in (stated_size, end + -end % 4) and len(data) < end + 4 and not any(data[end:])
    )


def _check_bmp_runs(data: bytes, at: int, width: int, height: int, bits: int) -> str:
    """Microsoft's "Bitmap Compression": pairs of bytes; 0 0 ends a row, 0 1 the picture."""
    room = (width * bits + 31) // 32 * 32 // bits  # some writers fill rows up in their runs too
    x = y = 0
    while at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count == 0 and value == 1:
            return "" if _is_filled_up(data, at) else _describe_rest(data, at)
        if count == 0 and value == 0:
            x, y = 0, y + 1
        elif count == 0 and value == 2:
            x, y, at = x + data[at], y + data[at + 1], at + 2
        elif count:
            x += count
        else:
            x += value
            length = (value * bits + 7) // 8
            at += length + length % 2
        if x > room or (y >= height and x):
            return RUNS_BEYOND
    return ""


_TOKEN = re.compile(rb"(?:\s|#[^\r\n]*)*(\d+)")


def _check_netpbm(data: bytes) -> str:
    """netpbm.sourceforge.net/doc/ppm.html: further pictures may follow one that is not plain."""
    kind, at = data[1:2], 2
    numbers: list[int] = []
    while len(numbers) < (2 if kind in b"14" else 3):
        token = _TOKEN.match(data, at)
        if token is None:
            return ""
        numbers.append(int(token[1]))
        at = token.end()
    width, height, largest = (*numbers, 1)[:3]
    count = width * height * (3 if kind in b"36" else 1)
    if kind in b"123":
        return _check_plain_netpbm(data[at:], kind == b"1", count)
    wide = 2 if largest > 255 else 1
    length = (width + 7) // 8 * height if kind == b"4" else count * wide
    end = at + 1 + length
    if kind != b"4" and largest not in (255, 65535):
        samples = np.frombuffer(data[at + 1 : end], ">u2" if wide == 2 else np.uint8)
        if samples.size and samples.max() > largest:
            return TOO_LARGE
    rest = data[end:].lstrip()
    return "" if re.match(rb"P[1-7]\s", rest) else _describe_rest(rest, 0)


def _check_plain_netpbm(data: bytes, is_bits: bool, count: int) -> str:
    written = re.sub(rb"#[^\r\n]*", b"", data)
    samples = re.findall(rb"\S" if is_bits else rb"\S+", written)
    return LONGER if len(samples) > count else ""


def _check_targa(data: bytes) -> str:
    """Truevision TGA 2.0: what may follow the picture is told by a footer at the end."""
    width, height, depth = struct.unpack_from("<HHB", data, 12)
    start = at = targa.find_samples(data)
    if depth < 8:  # of no kind that the specification has
        return ""
    size, left = (depth + 7) // 8, width * height
    if data[2] & 8:
        while left > 0:
            count = (data[at] & 127) + 1
            at += 1 + (size if data[at] & 128 else size * count)
            left -= count
    else:
        at += size * left
        left = 0
    if left:
        return RUNS_BEYOND
    if not data.endswith(b"TRUEVISION-XFILE.\0"):
        return _describe_rest(data, at)
    extension, developer = struct.unpack_from("<II", data, len(data) - 26)
    places = [len(data) - 26, extension, developer]
    if extension:
        tables = struct.unpack_from("<III", data, extension + 482)
        places += [place for place in tables if place != start]  # POV-Ray's: the rows themselves
    first = min(place for place in places if place)
    return LONGER if any(data[at:first]) or at > first else ""


def _check_pcx(data: bytes) -> str:
    """ZSoft's manual: a table of colours, where there is one, is the last 769 bytes. Where samples
    are lacking before it, Pillow takes it for such; raises :class:`ImageError` then."""
    count, row, _ = pcx.measure(data)
    ends_with_table = data[3] == 8 and data[-769:-768] == b"\x0c"
    body = data[pcx.HEADER : len(data) - 769 if ends_with_table else None]
    needed = count * row
    if data[2] == 0:
        return _describe_rest(body, needed)
    ends = _end_pcx_runs(np.frombuffer(body, np.uint8))
    last = int(np.searchsorted(ends[1], needed))
    if last == len(ends[0]):
        pcx.require_samples(data, int(ends[1][-1]) if last else 0)
        return ""
    return RUNS_BEYOND if ends[1][last] > needed else _describe_rest(body, int(ends[0][last]))


def _end_pcx_runs(body: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run ends, in the file and in the picture. A byte of 192 or more counts the next,
    whatever that is: of several in a row every other one counts."""
    counts = body >= 192
    number = np.arange(len(body))
    before = np.maximum.accumulate(np.where(counts, -1, number))  # the last that does not count
    is_head = counts & ((number - before) % 2 == 1)
    is_value = np.concatenate([[False], is_head[:-1]])
    repeats = np.concatenate([[1], body[:-1] & 63]) if len(body) else body
    made = np.where(is_head, 0, np.where(is_value, repeats, 1)).astype(np.int64)
    is_data = ~is_head
    return number[is_data] + 1, np.cumsum(made)[is_data]


def _check_sgi(data: bytes) -> str:
    """The SGI Image File Format, version 1.00."""
    width, height, channels = struct.unpack_from(">HHH", data, 6)
    dimensions = struct.unpack_from(">H", data, 4)[0]
    height, channels = height if dimensions > 1 else 1, channels if dimensions > 2 else 1
    if data[2] == 0:
        return _describe_rest(data, 512 + width * height * channels * data[3])
    count = height * channels
    tables = struct.unpack_from(f">{2 * count}I", data, 512)
    return _describe_rest(data, max(map(sum, zip(tables[:count], tables[count:], strict=True))))


def _check_sun(data: bytes) -> str:
    """Sun's rasterfile(5): 128 begins a run, of one byte more than the next says; 128 0 is 128."""
    width, height, depth, _, kind, _, table = struct.unpack_from(">7I", data, 4)
    needed = (width * depth + 15) // 16 * 2 * height
    at = 32 + table
    if kind != 2:
        return _describe_rest(data, at + needed)
    unpacked = 0
    for run in re.finditer(rb"\x80\0|\x80([^\0])[\0-\xff]|[^\x80]+", data[at:]):
        if run[1]:
            unpacked += run[1][0] + 1
        elif run[0] == b"\x80\0":
            unpacked += 1
        else:
            unpacked += len(run[0])
        if unpacked >= needed:
            beyond = unpacked - needed
            if run[1]:
                return RUNS_BEYOND if beyond else _describe_rest(data, at + run.end())
            return _describe_rest(data, at + run.end() - beyond)
    return ""


def _check_gif(data: bytes) -> str:
    """GIF89a: the first picture's codes make as many samples as it has, and no more."""
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: its label, and blocks up to an empty one
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    if data[at] != 0x2C:
        return ""
    width, height, flags = struct.unpack_from("<HHB", data, at + 5)
    at += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    root, parts = data[at], []
    at += 1
    while length := data[at]:
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    count = lzw.count_samples(b"".join(parts), root, is_tiff=False)
    return UNLIKE if count != width * height else ""


_QOI_CODES = re.compile(rb"\xfe...|\xff....|[\x80-\xbf].|([\xc0-\xfd])|[\0-\x7f]", re.S)
"""The Quite OK Image Format, version 1.0: a code is a pixel, or a run of up to 62."""

_QOI_END = bytes(7) + b"\1"


def _check_qoi(data: bytes) -> str:
    """After the codes of as many pixels as the picture has stands the mark of the end."""
    width, height = struct.unpack_from(">II", data, 4)
    left, end = width * height, 14
    for code in _QOI_CODES.finditer(data, 14):
        left -= (code[1][0] & 63) + 1 if code[1] else 1
        if left <= 0:
            end = code.end()
            break
    if left or not data.startswith(_QOI_END, end):
        return NO_END
    return _describe_rest(data, end + len(_QOI_END))


def _check_dds(data: bytes) -> str:
    """Microsoft's "DDS_HEADER": smaller pictures of the same may follow, the sides of a cube, and
    the slices of a volume."""
    height, width, _, slices, levels = struct.unpack_from("<5I", data, 12)
    flags, code, bits = struct.unpack_from("<I4sI", data, 80)
    (caps,) = struct.unpack_from("<I", data, 112)
    sides = (caps & 0xFC00).bit_count() or 1
    end = 128
    for level in range(max(1, levels)):
        across, down = max(1, width >> level), max(1, height >> level)
        if flags & 0x4:
            size = (across + 3) // 4 * ((down + 3) // 4) * (8 if code == b"DXT1" else 16)
        else:
            size = (across * bits + 31) // 32 * 4 * down  # some writers fill rows up
        end += sides * size * (max(1, slices >> level) if caps & 0x200000 else 1)
    return _describe_rest(data, end)


def _check_icon(data: bytes) -> str:
    return LONGER if icons.goes_on(data) else ""


def _check_webp(data: bytes) -> str:
    """RFC 9649, section 2.4: the file's length, and whole pairs of bytes."""
    (length,) = struct.unpack_from("<I", data, 4)
    return _describe_rest(data, 8 + length + length % 2)


def _check_xbm(data: bytes) -> str:
    """Of X bitmaps, numbers that are none, or more of them than the picture has."""
    bitmap = xbm.parse(data)
    if bitmap is None:
        return "damaged: not all of its data are numbers of a byte"
    return LONGER if len(bitmap.values) > bitmap.length else ""


_FINDERS: dict[str, Callable[[bytes], str]] = {
    "BMP": _check_bmp,
    "CUR": _check_icon,
    "DDS": _check_dds,
    "GIF": _check_gif,
    "ICO": _check_icon,
    "PCX": _check_pcx,
    "PPM": _check_netpbm,
    "QOI": _check_qoi,
    "SGI": _check_sgi,
    "SUN": _check_sun,
    "TGA": _check_targa,
    "WEBP": _check_webp,
    "XBM": _check_xbm,
}
"""By Pillow's name of the format."""
