"""What is known of the formats that are rarer, and of what Pillow makes of them."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from pix2pix_batch.imaging.decoding import beginnings, icons, photoshop
from pix2pix_batch.imaging.decoding.primaries import Cicp
from pix2pix_batch.imaging.decoding.tiff import merge_channels, scale_to_eight_bits

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

GIF_PROFILE = b"!\xff\x0bICCRGBG1012"

DDS_EIGHT_BIT = frozenset((b"DXT1", b"DXT3", b"DXT5"))
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
    if data[:1] != b"\n" or data[2:3] != b"\0" or len(data) < 128:
        return data
    top, bottom, row = (int.from_bytes(data[at : at + 2], "little") for at in (6, 10, 66))
    end = 128 + (bottom - top + 1) * data[65] * row
    runs = re.sub(rb"[\xc0-\xff]", lambda found: b"\xc1" + found[0], data[128:end])
    return data[:2] + b"\1" + data[3:128] + runs + data[end:]


def find_remarks(image: Image.Image, data: bytes) -> list[str]:
    """Warnings of what Pillow leaves out or makes up without a word: transparency of Photoshop's
    and Windows' bitmaps, colours of GIF that has none. ``image``: its samples not read yet."""
    has_colours = image.format != "GIF" or data[10] & 0x80
    if not has_colours and getattr(image, "_frame_palette", False) is None:
        return ["damaged: it has no colours of its own, and is taken for grey"]
    lacks = False
    if image.format == "PSD":
        lacks = photoshop.lacks_transparency(image, data)
    elif image.format == "BMP" and image.mode == "RGB" and data[28:34] == b"\x10\0\3\0\0\0":
        lacks = int.from_bytes(data[14:18], "little") >= 56 and any(data[66:70])
    return ["its transparency is left out"] if lacks else []


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
    if image.format == "TGA" and image.mode in ("LA", "RGBA") and _is_premultiplied(data):
        return merge_channels(image.mode[:-1] + "a", np.asarray(image))
    if image.format == "TGA" and image.mode in ("LA", "RGBA") and not data[17] & 15:
        return _drop_false_alpha(image, data[16])
    if image.format == "GIF" and "transparency" not in image.info:
        return _around_first_frame(image)
    if image.format == "XBM" and image.mode == "1":
        return Image.fromarray(~np.asarray(image))
    if image.mode == "I" and image.format == "PPM":  # scaled to 16 bits by Pillow
        return Image.fromarray(scale_to_eight_bits(np.asarray(image).astype(np.uint16), 16))
    return image


def _is_premultiplied(data: bytes) -> bool:
    """Truevision TGA 2.0, field 24 of the extension area: the kind of its transparency."""
    if not data.endswith(b"TRUEVISION-XFILE.\0"):
        return False
    at = int.from_bytes(data[-26:-22], "little")
    return at > 0 and data[at + 494 : at + 495] == b"\4"


def _drop_false_alpha(image: Image.Image, bits: int) -> Image.Image:
    """Of a TGA file whose header counts no bit of transparency. Many programs leave that out and
    write some in 32 bits all the same; then not all of it is 0."""
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
    return beginnings.describe_file(data)


def read_code_points(data: bytes) -> Cicp | None:
    """What an AVIF file's colours are (ISO/IEC 14496-12, section 12.1.5), where it has no profile.

    libavif has turned them into RGB of the full range by then.
    """
    at = data.find(b"colrnclx", 0, HEAD)
    if at < 0 or at + 14 > len(data):
        return None
    primaries, transfer = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (8, 10))
    return Cicp(primaries, transfer, 0, 1)
