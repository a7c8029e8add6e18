"""A part of a job for one of several machines that share IN and OUT but no cluster."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.common import DIRECTORY


@dataclass(frozen=True, order=True)
class Shard:
    """The ``number``-th of ``count`` parts, from 1: the inputs whose names' hash falls there."""

    number: int
    count: int

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        if not 1 <= self.number <= self.count:
            last = f"{self.count}/{self.count}"
            raise InputError(f"shard must be from 1/{self.count} to {last}, not {self}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``2/8``. Raises :class:`InputError`."""
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text, re.ASCII)
        if match is None:
            raise InputError(f"shard must be like 2/8 (the second of eight parts), not {text!r}")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of_file(cls, name: str) -> Shard | None:
        """The shard whose journal or lock has this name."""
        pattern = r"(?:journal|lock)-([1-9]\d*)-of-([1-9]\d*)(?:\.jsonl)?"
        match = re.fullmatch(pattern, name, re.ASCII)
        if match is None or int(match[1]) > int(match[2]):
            return None
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def mark(self) -> str:
        """What its journal's and its lock's names hold."""
        return f"-{self.number}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Whether the input ``name`` belongs to it: the same on every machine."""
        return hash_name(name) % self.count == self.number - 1


def hash_name(name: str) -> int:
    """64 bits of a name, the same in every process, as those of ``hash()`` are not."""
    raw = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little")


def journal_of(out: Path, shard: Shard | None = None) -> Path:
    return out / DIRECTORY / f"journal{shard.mark if shard else ''}.jsonl"


def lock_of(out: Path, shard: Shard | None = None) -> Path:
    return out / DIRECTORY / f"lock{shard.mark if shard else ''}"


def shards_of(out: Path, kind: str = "journal") -> list[Shard]:
    """The shards that have a journal (or a ``lock``) in ``out``."""
    found = (Shard.of_file(path.name) for path in (out / DIRECTORY).glob(f"{kind}-*"))
    return sorted(shard for shard in found if shard is not None)
