"""What is known of the formats that are rarer, and of what Pillow makes of them."""

from __future__ import annotations

import re
import struct
from itertools import takewhile

import numpy as np
from PIL import Image, features

from pix2pix_batch.imaging.decoding import beginnings, icons, photoshop
from pix2pix_batch.imaging.decoding.primaries import Cicp
from pix2pix_batch.imaging.decoding.tiff_samples import merge_channels, scale_to_eight_bits

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
GIF_PROFILE = b"!\xff\x0bICCRGBG1012"

DDS_EIGHT_BIT = frozenset((b"DXT1", b"DXT3", b"DXT5"))
DCX = b"\xb1\x68\xde\x3a"
TARGA_END = b"TRUEVISION-XFILE.\0"
NO_ALPHA, PREMULTIPLIED = (0, 1), 4
"""Truevision TGA 2.0, field 24: none is there, or what is there is to be ignored; multiplied."""

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
    if data[:1] == b"\n" and len(data) >= 128 and data[1] <= 5 and data[2] <= 1:
        return _pcx_refusal(data)
    return ""


def _pcx_refusal(data: bytes) -> str:
    """ZSoft's manual: a table of colours of 8 bits is the last 769 bytes, after a 12; byte 68 is 2
    where the samples are grey. Pillow takes them for that where no table is there."""
    bits, planes, colours = data[3], data[65], data[68]
    if bits == 8 and planes == 4:
        return "PCX of four planes (with transparency), which is not read; store it as PNG"
    if bits == 8 and planes == 1 and colours != 2 and data[-769:-768] != b"\x0c":
        return "damaged: its colours are not the last 769 bytes: cut short, or something follows"
    return ""


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
    """The file as Pillow can read it, which takes the samples of all PCX files for runs.

    Raises :class:`ImageError`.
    """
    if photoshop.is_photoshop(data):
        return photoshop.prepare_for_pillow(data)
    data = icons.prepare_for_pillow(data)
    data = _drop_unused_table(data)
    if data[:1] != b"\n" or data[2:3] != b"\0" or len(data) < 128:
        return data
    top, bottom, row = (int.from_bytes(data[at : at + 2], "little") for at in (6, 10, 66))
    end = 128 + (bottom - top + 1) * data[65] * row
    runs = re.sub(rb"[\xc0-\xff]", lambda value: b"\xc1" + value[0], data[128:end])
    return data[:2] + b"\1" + data[3:128] + runs + data[end:]


def take_first_page(data: bytes) -> bytes:
    """Take the first of several PCX files in one (DCX), whose table of colours Pillow looks for in
    the last."""
    if not data.startswith(DCX):
        return data
    places = struct.unpack_from("<1024I", data[:4100].ljust(4100, b"\0"), 4)
    starts = list(takewhile(bool, places))  # up to the first that is 0
    later = [place for place in starts if place > starts[0]]
    return data[starts[0] : min(later, default=len(data))] if starts else data


def _drop_unused_table(data: bytes) -> bytes:
    """A TGA file of true colours or grey without the table of colours that it may have for other
    pictures, with which Pillow does not read it."""
    known = len(data) > 18 and data[1] == 1 and data[2] in (2, 3, 10, 11)
    if not known or data[7] not in (15, 16, 24, 32) or data[16] not in (8, 16, 24, 32):
        return data
    count = int.from_bytes(data[5:7], "little") * ((data[7] + 7) // 8)
    start = 18 + data[0]
    bare = data[:1] + b"\0" + data[2:3] + bytes(5) + data[8:start] + data[start + count :]
    at = _extension_of(data)
    if not at:
        return bare
    return bare[:-26] + (at - count).to_bytes(4, "little") + bare[-22:]


def find_remarks(image: Image.Image, data: bytes) -> list[str]:
    """Warnings of what Pillow leaves out or makes up without a word: transparency of Photoshop's
    and Windows' bitmaps, colours of GIF that has none; and of what programs disagree about.
    ``image``: its samples not read yet."""
    has_colours = image.format != "GIF" or data[10] & 0x80
    if not has_colours and getattr(image, "_frame_palette", False) is None:
        return ["damaged: it has no colours of its own, and is taken for grey"]
    if image.format == "PCX" and (remark := _find_pcx_remark(data)):
        return [remark]
    if image.format == "AVIF" and _has_clean_aperture(data, image.size):
        return [
            "a part of it is told to be the picture (clean aperture), of which programs differ; "
            "it is taken as a whole"
        ]
    if image.format == "TGA" and data[16] == 16 and data[17] & 15:
        return ["its transparency of one bit is one that programs read either way round"]
    lacks = False
    if image.format == "PSD":
        lacks = photoshop.lacks_transparency(image, data)
    elif image.format == "BMP" and image.mode == "RGB" and data[28:34] == b"\x10\0\3\0\0\0":
        lacks = int.from_bytes(data[14:18], "little") >= 56 and any(data[66:70])
    return ["its transparency is left out"] if lacks else []


def _find_pcx_remark(data: bytes) -> str:
    """A warning of a palette in the header (ZSoft's manual: bytes 16 to 63) that programs heed or
    not: one of two colours, and one of sixteen in files of version 3, which are said to have none.
    """
    version, bits, planes, colours = data[1], data[3], data[65], data[16:22]
    if bits == 1 and planes == 1 and colours not in (bytes(6), b"\0\0\0\xff\xff\xff"):
        return "its palette of two colours, of which programs differ, is taken for black and white"
    if version == 3 and bits * planes == 4:
        return "it says that it has no palette; what stands in its place is taken for one"
    return ""


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
    colours = re.findall(rb"\bc\s+(\S+?)\s*[\"\t ]", data)
    return all(re.fullmatch(rb"None|#[0-9A-Fa-f]{6}", colour) for colour in colours)


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
    if image.format == "TGA" and image.mode in ("LA", "RGBA"):
        return _correct_targa(image, data)
    if image.format == "GIF" and "transparency" not in image.info:
        return _around_first_frame(image)
    if image.format == "XBM" and image.mode == "1":
        return Image.fromarray(~np.asarray(image))
    if image.mode == "I" and image.format == "PPM":  # scaled to 16 bits by Pillow
        return Image.fromarray(scale_to_eight_bits(np.asarray(image).astype(np.uint16), 16))
    return image


def _correct_targa(image: Image.Image, data: bytes) -> Image.Image:
    kind = _kind_of_alpha(data)
    if kind == PREMULTIPLIED:
        return merge_channels(image.mode[:-1] + "a", np.asarray(image))
    if kind in NO_ALPHA:
        return image.convert(image.mode[:-1])
    return image if data[17] & 15 else _drop_false_alpha(image, data[16])


def _extension_of(data: bytes) -> int:
    """Where the extension area of a TGA file begins, 0 where it has none (Truevision TGA 2.0)."""
    return int.from_bytes(data[-26:-22], "little") if data.endswith(TARGA_END) else 0


def _kind_of_alpha(data: bytes) -> int | None:
    """Field 24 of a TGA file's extension area: what its fourth samples are, if it has one."""
    at = _extension_of(data)
    return data[at + 494] if 0 < at < len(data) - 494 else None


def _drop_false_alpha(image: Image.Image, bits: int) -> Image.Image:
    """Drop the alpha of a TGA file whose header counts no bit of transparency, unless it is one all
    the same: many programs leave that out and write 32 bits; then not all of it is 0."""
    alpha = image.getchannel("A")
    if bits == 32 and alpha.getextrema() != (0, 0):
        return image
    return image.convert(image.mode[:-1])


def _around_first_frame(image: Image.Image) -> Image.Image:
    extent = getattr(image, "dispose_extent", None) or (0, 0, *image.size)
    if tuple(extent) == (0, 0, *image.size):
        return image
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, tuple(extent))
    image = image.convert("RGB")
    image.putalpha(alpha)
    return image


def read_profile(data: bytes) -> bytes:
    """The colour profile of GIF (ICC's "Embedding ICC profiles in GIF files") and BMP (Microsoft's
    BITMAPV5HEADER), which Pillow leaves out."""
    if data.startswith(b"GIF8"):
        at = data.find(GIF_PROFILE, 0, HEAD)
        return _sub_blocks(data, at + len(GIF_PROFILE)) if at >= 0 else b""
    if data.startswith(b"BM") and data[14:18] == b"\x7c\0\0\0" and data[70:74] == b"DEBM":
        at, length = (int.from_bytes(data[i : i + 4], "little") for i in (126, 130))
        return data[14 + at : 14 + at + length]
    return b""


def _sub_blocks(data: bytes, at: int) -> bytes:
    parts = []
    while at < len(data) and (length := data[at]):
        parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return b"".join(parts)


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


def read_code_points(data: bytes) -> Cicp | None:
    """What an AVIF file's colours are (ISO/IEC 14496-12, section 12.1.5), where it has no profile.

    libavif has turned them into RGB of the full range by then.
    """
    at = data.find(b"colrnclx", 0, HEAD)
    if at < 0 or at + 14 > len(data):
        return None
    primaries, transfer = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (8, 10))
    return Cicp(primaries, transfer, 0, 1)
