"""PNG: what its chunks say of the samples, and which of them are damaged."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from pix2pix_batch.imaging.decoding.checksums import is_whole_zlib
from pix2pix_batch.imaging.decoding.primaries import Cicp, Gamma

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, INDEXED, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
FIRST = len(SIGNATURE) + 8
"""Where the first chunk's content begins."""

NEEDED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
"""PNG, section 11.2: the chunks without which there is no picture."""

BEFORE_PIXELS = frozenset((b"gAMA", b"cHRM", b"cICP", b"sRGB"))
"""PNG, section 5.6: these are none after the first of the pixels' chunks."""

ONCE = frozenset((b"tRNS", b"iCCP", b"gAMA", b"cHRM", b"cICP", b"sRGB", b"eXIf"))
"""PNG, section 5.6: of what says how the pixels are to be shown there is one at most."""

BESIDE = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
TOO_LARGE = "Decompressed data too large"
"""What Pillow says of one of those that has more than a megabyte."""

LARGEST_PROFILE = 1 << 26
PIECE = 1 << 20

CHANNELS = {GREY: 1, RGB: 3, INDEXED: 1, GREY_ALPHA: 2, RGBA: 4}
"""By colour type (PNG, table 11.1)."""

PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
"""Adam7: the first column and row of each pass, and how far apart they are (PNG, section 8.1)."""


# What a PNG file's chunks say, one field a kind.
@dataclass
class Chunks:
    """What a file's chunks say.

    ``key``: the samples of the transparent colour, at the file's own depth; ``wrong``: the chunks
    whose checksum is wrong, by name and place; ``beside``: those of texts and profiles;
    ``unknown``: the names of those that are needed for the picture, and not known; ``meaning``:
    what its colours are, of which gamma counts where no profile says so; ``has_profile``: an ICC
    profile is there; ``palettes``: how many there are; ``stray``: those chunks of
    :data:`ONCE` that do not count, by name and place, and ``remarks`` about them; ``disorder``:
    what is wrong with the file's header, if anything.
    """

    depth: int = 8
    colour: int = RGB
    width: int = 0
    height: int = 0
    is_interlaced: bool = False
    key: tuple[int, ...] = ()
    wrong: list[tuple[str, int, int]] = field(default_factory=list)
    beside: list[tuple[str, int, int]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ended: bool = False
    meaning: Gamma | Cicp | None = None
    has_profile: bool = False
    palettes: int = 0
    stray: list[tuple[str, int, int]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    disorder: str = ""

    @property
    def lacks_one_palette(self) -> bool:
        """Whether it has not the one palette that its pixels refer to (PNG, section 11.2.2)."""
        return self.colour == INDEXED and self.palettes != 1


def read_chunks(data: bytes) -> Chunks:
    """Look at the chunks of a PNG file; of one that is cut short, at those that are whole."""
    chunks = Chunks()
    begun = False
    seen: set[bytes] = set()
    colours: dict[bytes, memoryview] = {}
    for kind, at, length in _iterate_chunks(data):
        begun = begun or kind == b"IDAT"
        if kind == b"IHDR" and at > FIRST:
            chunks.disorder = chunks.disorder or "it has more than one header (IHDR), or a late one"
            continue
        if begun and kind in BEFORE_PIXELS:
            continue
        body = memoryview(data)[at : at + length]
        place = kind.decode("latin-1"), at - 8, length + 12
        (checksum,) = struct.unpack_from(">I", data, at + length)
        if zlib.crc32(body, zlib.crc32(kind)) != checksum:
            chunks.wrong.append(place)
            continue
        if kind in ONCE:
            if remark := _describe_stray(kind, chunks, seen, begun):
                chunks.stray.append(place)
                chunks.remarks.append(remark)
                continue
            seen.add(kind)
        if kind in BESIDE:
            chunks.beside.append(place)
        if kind in BEFORE_PIXELS:
            colours[kind] = body
        _read_content(kind, body, begun, chunks)
        if chunks.ended:
            break
    chunks.meaning = _read_meaning(colours)
    return chunks


def _read_content(kind: bytes, body: memoryview, begun: bool, chunks: Chunks) -> None:
    """Note what a chunk says. ``begun``: whether the pixels have begun before it."""
    if kind == b"IHDR" and len(body) >= 13:
        chunks.width, chunks.height = struct.unpack_from(">II", body)
        chunks.depth, chunks.colour, chunks.is_interlaced = body[8], body[9], bool(body[12])
    elif kind == b"tRNS" and chunks.colour in (GREY, RGB):
        chunks.key = struct.unpack(f">{len(body) // 2}H", body[: len(body) // 2 * 2])
    elif kind == b"PLTE" and not begun:
        chunks.palettes += 1
    elif kind == b"iCCP":
        chunks.has_profile = True
    elif kind == b"IEND":
        chunks.ended = True
    elif kind not in NEEDED and kind[:1].isupper() and kind.isalpha():
        chunks.unknown.append(kind.decode("latin-1"))


def _read_meaning(chunks: Mapping[bytes, memoryview]) -> Gamma | Cicp | None:
    """What the colours are, from the ``chunks`` of :data:`BEFORE_PIXELS` that are there; ``None``
    for sRGB, or where nothing is said. One of another length than its kind has says nothing."""
    gamma, corners, code = (chunks.get(kind, b"") for kind in (b"gAMA", b"cHRM", b"cICP"))
    if len(code) == 4:
        return Cicp(code[0], code[1], code[2], code[3])
    if len(gamma) != 4 or b"sRGB" in chunks or not (exponent := struct.unpack(">I", gamma)[0]):
        return None
    primaries = None
    if len(corners) == 32:
        primaries = tuple(value / 1e5 for value in struct.unpack(">8I", corners))
    return Gamma(exponent / 1e5, primaries)


def _describe_stray(kind: bytes, chunks: Chunks, seen: set[bytes], begun: bool) -> str:
    """The remark about a chunk that is there again, or where it does not count (PNG, table 5.3;
    libpng leaves such out, Pillow takes the last): empty for the others."""
    name = kind.decode("latin-1")
    if kind in seen:
        return f"its chunk {name} is there more than once, of which the first counts"
    if begun and kind != b"eXIf":
        return f"its chunk {name} stands after the pixels, and is left out"
    if chunks.palettes and kind not in (b"tRNS", b"eXIf"):
        return f"its chunk {name} stands after the palette, and is left out"
    if kind == b"tRNS" and chunks.colour == INDEXED and not chunks.palettes:
        return f"its chunk {name} stands before the palette, and is left out"
    return ""


def _iterate_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each whole chunk, where its data begins, and their length."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at + 8, length
        at += 12 + length


def remove_chunks(data: bytes, chunks: list[tuple[str, int, int]]) -> bytes:
    """The file without some of its chunks."""
    parts, end = [], 0
    for _, at, length in chunks:
        parts.append(data[end:at])
        end = at + length
    return b"".join([*parts, data[end:]])


def read_profile(data: bytes) -> bytes:
    """The colour profile, of :data:`LARGEST_PROFILE` at most; nothing where there is none."""
    for kind, at, length in _iterate_chunks(data):
        if kind == b"iCCP":
            packed = data[at : at + length].partition(b"\0")[2][1:]
            try:
                return zlib.decompressobj().decompress(packed, LARGEST_PROFILE)
            except zlib.error:
                return b""
    return b""


def read_text_exif(texts: Mapping[Any, Any]) -> bytes:
    """EXIF as ImageMagick and its like wrote it before there was a chunk for it: a text of hex
    digits after a name and a length; nothing where there is none."""
    for name in ("exif", "APP1"):
        words = str(texts.get(f"Raw profile type {name}", "")).split()
        try:
            block = bytes.fromhex("".join(words[2:]))
        except ValueError:
            continue
        if block.startswith((b"Exif\0\0", b"II*\0", b"MM\0*")):
            return block
    return b""


def ends_early(image: Image.Image, chunks: Chunks, data: bytes) -> bool:
    """Find out whether the data of the pixels, though it ends well, is of a part of the rows alone.

    Pillow leaves the other rows zero. The data is therefore counted where the last row is zero, and
    always in interlaced pictures.

    Args:
        image: The picture as Pillow has loaded it.
        chunks: What the file's chunks say.
        data: The bytes of the file.
    """
    last = image.crop((0, image.height - 1, *image.size))
    if not chunks.is_interlaced and any(last.tobytes()):
        return False
    inflater, left = zlib.decompressobj(), _count_bytes(chunks)
    try:
        for kind, at, size in _iterate_chunks(data):
            rest = data[at : at + size] if kind == b"IDAT" else b""
            while rest and left > 0 and not inflater.eof:
                left -= len(inflater.decompress(rest, PIECE))
                rest = inflater.unconsumed_tail
    except zlib.error:
        return False  # of which Pillow speaks, or which it passes over at the end
    return left > 0


def has_whole_data(data: bytes) -> bool:
    """Whether the pixels' data is whole by the checksum at its own end, which Pillow does not
    read."""
    chunks = _iterate_chunks(data)
    return bool(is_whole_zlib(data[at : at + n] for kind, at, n in chunks if kind == b"IDAT"))


def _count_bytes(chunks: Chunks) -> int:
    """How many the pixels are with the filter of each row (PNG, sections 7.2, 8.1)."""
    passes = PASSES if chunks.is_interlaced else ((0, 0, 1, 1),)
    bits = chunks.depth * CHANNELS.get(chunks.colour, 1)
    total = 0
    for left, top, across, down in passes:
        columns = (chunks.width - left + across - 1) // across
        rows = (chunks.height - top + down - 1) // down
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total


def is_needed(name: str) -> bool:
    """Whether there is no picture without the chunk (PNG, section 5.4: its name begins with a
    capital letter)."""
    return name[:1].isupper()


def apply_key(image: Image.Image, chunks: Chunks, data: bytes) -> Image.Image:
    """Apply the transparent colour at the depth that the file states it in.

    Pillow compares the colour, as it stands in the file, with samples that it has scaled to 8 bits.

    Args:
        image: The picture as Pillow has loaded it.
        chunks: What the file's chunks say.
        data: The bytes of the file, whose low bytes are read for 16 bits.

    Returns:
        The picture with the right transparency: ``image`` itself if there is nothing to mend.
    """
    if not chunks.key or chunks.depth == 8 or "transparency" not in image.info:
        return image
    if chunks.colour == GREY and chunks.depth < 8:
        largest = (1 << chunks.depth) - 1
        grey = image if image.mode == "L" else image.convert("L")
        image.info["transparency"] = (chunks.key[0] & largest) * 255 // largest
        grey.info["transparency"] = image.info["transparency"]
        return grey
    if chunks.colour == GREY:
        values = np.asarray(image).astype(np.uint16)
        opaque, colours = values != chunks.key[0], (values >> 8).astype(np.uint8)
        return _add_alpha(image, colours, opaque, "LA")
    high = np.asarray(image.convert("RGB") if image.mode != "RGB" else image)
    low = _low_bytes(data, image)
    keys = np.asarray(chunks.key[:3], np.uint16)
    opaque = ((high != keys >> 8) | (low != (keys & 255))).any(axis=2)
    return _add_alpha(image, high, opaque, "RGBA")


def _add_alpha(
    image: Image.Image, colours: np.ndarray, opaque: np.ndarray, mode: str
) -> Image.Image:
    image_with_alpha = Image.fromarray(colours)
    image_with_alpha.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    assert image_with_alpha.mode == mode
    image_with_alpha.info = {
        key: value for key, value in image.info.items() if key != "transparency"
    }
    return image_with_alpha


def read_sixteen_bits(data: bytes, chunks: Chunks) -> np.ndarray | None:
    """The grey or colours of a file of 16 bits, ``uint16 (H, W, C)``; ``None`` of grey with
    transparency where this Pillow does not make RGBA of it."""
    image = PngImageFile(io.BytesIO(data))
    if chunks.colour == GREY:
        return np.asarray(image).astype(np.uint16)[:, :, None]
    if chunks.colour == GREY_ALPHA:
        if image.mode != "RGBA":
            return None
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]  # their four bytes
        parts = np.asarray(image)[:, :, :2].astype(np.uint16)
        return parts[:, :, :1] << 8 | parts[:, :, 1:]
    high = np.asarray(image)[:, :, :3].astype(np.uint16)
    return high << 8 | _low_bytes(data, image)[:, :, :3]


def _low_bytes(data: bytes, image: Image.Image) -> np.ndarray:
    """The lower byte of 16-bit colours: the upper one, were their byte order the other."""
    again = PngImageFile(io.BytesIO(data))
    again.tile = [tile._replace(args=f"{image.mode};16L") for tile in again.tile]
    return np.asarray(again)
