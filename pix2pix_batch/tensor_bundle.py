"""TensorFlow 2's checkpoints (``NAME.index`` and ``NAME.data-00000-of-00001``), without TensorFlow.

The index is a sorted table as LevelDB's files are (its ``doc/table_format.md``): blocks of keys
that leave out what they share with the one before, a block that says where these lie, and a footer.
Its values are protocol buffers (TensorFlow's ``tensor_bundle.proto``): type, shape and place of
each tensor. Blocks and tensors have checksums, which are compared.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import torch
from torch import Tensor

from pix2pix_batch.errors import BundleError

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
"""At the end of an index: LevelDB's ``kTableMagicNumber``."""
FOOTER = 48
"""Bytes: two places, filled up to 40, and the magic number."""
TRAILER = 5
"""Bytes after a block: how it is compressed, and its checksum."""
DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
"""How the files of tensors end, in place of ``.index``."""
DTYPES = {1: torch.float32, 2: torch.float64, 14: torch.bfloat16, 19: torch.float16}
"""TensorFlow's numbers of types (``types.proto``) that weights have."""
STRING = 7


class TensorPlace(NamedTuple):
    """Where a tensor is, and what it is."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


class Damage(ValueError):
    """The bytes are not what the format has."""


def find_index(path: Path) -> Path | None:
    """The index of the checkpoint that ``path`` is a file or the name of, if it is one."""
    for found in (path, Path(DATA.sub("", str(path)) + ".index"), Path(f"{path}.index")):
        try:
            with found.open("rb") as file:
                file.seek(-len(MAGIC), 2)
                if file.read() == MAGIC:
                    return found
        except OSError:
            continue
    return None


class TensorBundle:
    """The tensors of a checkpoint, by TensorFlow's keys. Raises :class:`BundleError`."""

    def __init__(self, index: Path) -> None:
        self.path = index
        try:
            self.places, self.shards = _read_index(index.read_bytes())
        except (Damage, IndexError, struct.error, UnicodeDecodeError) as error:
            raise BundleError(f"{index}: is damaged ({error}); get it again") from error

    def read(self, key: str) -> Tensor:
        """A tensor of real numbers."""
        place = self.places[key]
        dtype = DTYPES.get(place.dtype)
        if dtype is None or place.size != dtype.itemsize * math.prod(place.shape):
            raise BundleError(f"{self.path}: {key!r} holds no real numbers; get it again")
        content = bytearray(self._read_bytes(key, place))
        return torch.frombuffer(content, dtype=dtype).reshape(place.shape).clone()

    def read_string(self, key: str) -> bytes:
        """A tensor of one string: its length, the length's checksum, and the string."""
        place = self.places[key]
        content = self._read_bytes(key, place, checked=False)
        try:
            length, start = _read_varint(content, 0)
        except (Damage, IndexError) as error:
            raise BundleError(f"{self.path}: {key!r} is damaged; get it again") from error
        text = content[start + 4 :]
        # of the length in four bytes, its checksum, and the string
        summed = struct.pack("<I", length) + content[start : start + 4] + text
        if place.dtype != STRING or len(text) != length or _checksum(summed) != place.checksum:
            raise BundleError(f"{self.path}: {key!r} is damaged; get it again")
        return text

    def _read_bytes(self, key: str, place: TensorPlace, *, checked: bool = True) -> bytes:
        name = f"{self.path.name.removesuffix('.index')}.data-{place.shard:05}-of-{self.shards:05}"
        path = self.path.with_name(name)
        try:
            with path.open("rb") as file:
                file.seek(place.offset)
                content = file.read(place.size) if place.size <= path.stat().st_size else b""
        except OSError as error:
            raise BundleError(
                f"{path}: cannot be read ({error.strerror}); it belongs to {self.path.name} and "
                "has to lie beside it"
            ) from error
        if len(content) != place.size or (checked and _checksum(content) != place.checksum):
            raise BundleError(f"{path}: is cut short or damaged at {key!r}; get it again")
        return content


def _read_index(content: bytes) -> tuple[Mapping[str, TensorPlace], int]:
    """The places of the tensors, and the number of files that these lie in."""
    if not content.endswith(MAGIC):
        raise Damage("no table")
    footer = content[-FOOTER:]
    _, start = _read_handle(footer, 0)
    where, _ = _read_handle(footer, start)
    values: dict[bytes, bytes] = {}
    for _, handle in _read_block(content, where):
        values.update(_read_block(content, _read_handle(handle, 0)[0]))
    header = parse_message(values.pop(b"", b""))  # BundleHeaderProto
    if _last_number(header, 2):
        raise Damage("of a machine with the other order of bytes")
    places = {key.decode(): _read_place(value) for key, value in values.items()}
    return places, _last_number(header, 1)


def _read_handle(content: bytes, start: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size, and where what follows begins."""
    offset, start = _read_varint(content, start)
    size, start = _read_varint(content, start)
    return (offset, size), start


def _read_block(content: bytes, where: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = where
    whole = content[offset : offset + size + TRAILER]
    if len(whole) != size + TRAILER or whole[size]:
        raise Damage("a block is cut short or compressed")
    if _checksum(whole[:-4]) != struct.unpack("<I", whole[-4:])[0]:
        raise Damage("a block's checksum is another")
    (restarts,) = struct.unpack("<I", whole[size - 4 : size])
    key, place, end = b"", 0, size - 4 * (restarts + 1)
    while place < end:
        shared, place = _read_varint(whole, place)
        fresh, place = _read_varint(whole, place)
        length, place = _read_varint(whole, place)
        key = key[:shared] + whole[place : place + fresh]
        place += fresh + length
        yield key, whole[place - length : place]


def _read_place(value: bytes) -> TensorPlace:
    """Of a ``BundleEntryProto``."""
    fields = parse_message(value)
    if any(number == 7 for number, _ in fields):
        raise Damage("a tensor in slices")
    shape = next((one for number, one in fields if number == 2 and isinstance(one, bytes)), b"")
    sides = (parse_message(one) for _, one in parse_message(shape) if isinstance(one, bytes))
    return TensorPlace(
        _last_number(fields, 1), tuple(_last_number(side, 1) for side in sides),
        *(_last_number(fields, number) for number in (3, 4, 5, 6)),
    )  # fmt: skip


Fields = list[tuple[int, int | bytes]]


def parse_message(content: bytes) -> Fields:
    """The fields of a protocol buffer, by their numbers. Raises :class:`Damage`, ``IndexError``
    and ``struct.error``."""
    fields: Fields = []
    place = 0
    while place < len(content):
        tag, place = _read_varint(content, place)
        value: int | bytes
        if tag & 7 == 0:
            value, place = _read_varint(content, place)
        elif tag & 7 == 2:
            length, place = _read_varint(content, place)
            value, place = content[place : place + length], place + length
            if place > len(content):
                raise Damage("a message is cut short")
        elif tag & 7 in (1, 5):
            form = "<Q" if tag & 7 == 1 else "<I"
            (value,) = struct.unpack_from(form, content, place)
            place += struct.calcsize(form)
        else:
            raise Damage("no protocol buffer")
        fields.append((tag >> 3, value))
    return fields


def _last_number(fields: Fields, number: int) -> int:
    """Of a field that is a number: the last counts, and none is 0."""
    found = [value for one, value in fields if one == number and isinstance(value, int)]
    return found[-1] if found else 0


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where what follows begins."""
    value = 0
    # A number has 64 bits, ten groups of seven; without an end a damaged file would make it
    # endless.
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise Damage("a number is too long")


def _checksum(content: bytes) -> int:
    """CRC-32C as LevelDB masks it (``util/crc32c.h``)."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
