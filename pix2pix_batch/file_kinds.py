"""Files that people give in place of an image or a checkpoint, told by their first bytes."""

from __future__ import annotations

from typing import NamedTuple


class FileKind(NamedTuple):
    """``start``: the bytes at offset ``at``, whose letter case does not count; ``name``: what such
    a file is, to follow "is" or "not an image but"; ``remedy``: what its owner can do."""

    at: int
    start: bytes
    name: str
    remedy: str


KINDS = (
    # small files that stand for one that lies elsewhere
    FileKind(0, b"version https://git-lfs", "a pointer of Git LFS", "'git lfs pull' gets the file"),
    FileKind(0, b"/annex/objects/", "a pointer of git-annex", "'git annex get' fetches the file"),
    FileKind(0, b"!<symlink>", "a link that Cygwin made", "copy what it leads to"),
    FileKind(0, b"XSym\n", "a link that a Windows share made", "copy what it leads to"),
    FileKind(0, b"L\0\0\0\x01\x14\x02\0", "a link that Windows made", "copy what it leads to"),
    FileKind(0, b"[InternetShortcut]", "a link that Windows made", "copy what it leads to"),
    FileKind(0, b"book\0\0\0\0mark", "a link that macOS made", "copy what it leads to"),
    # archives; ZIP is left out, because PyTorch's checkpoints are ZIP files
    FileKind(257, b"ustar", "a tar archive", "unpack it"),
    FileKind(0, b"\x1f\x8b", "a file that gzip compressed", "unpack it"),
    FileKind(0, b"BZh", "a file that bzip2 compressed", "unpack it"),
    FileKind(0, b"\xfd7zXZ\0", "a file that xz compressed", "unpack it"),
    FileKind(0, b"\x28\xb5\x2f\xfd", "a file that Zstandard compressed", "unpack it"),
    FileKind(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    FileKind(0, b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
)


def recognise(data: bytes) -> FileKind | None:
    """Which of :data:`KINDS` a file is that begins with ``data``, of which the first 512 bytes are
    enough; ``None`` if it is none of them. White space before a signature does not count."""
    for kind in KINDS:
        start = data if kind.at else data.lstrip()
        if start.lower().startswith(kind.start.lower(), kind.at):
            return kind
    return None
