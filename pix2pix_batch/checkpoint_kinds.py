"""What files are that are given as checkpoints and hold no weights that are read."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

from pix2pix_batch import file_kinds

PIECE = 1 << 20

ZIP = b"PK\x03\x04"

WEB_PAGE = (b"<!doctype", b"<html")
"""How one begins, in lower case."""

SHARD = re.compile(r"-\d+-of-0*([2-9]|[1-9]\d+)\.(?:safetensors|bin|pth?)$", re.IGNORECASE)
"""The end of a name of one of several files that Hugging Face's libraries save a model in."""

TORCHSCRIPT = (
    "is TorchScript (torch.jit.save), a program with its weights, which is not run; "
    "save the weights alone, with torch.save(torch.jit.load(FILE).state_dict(), ...)"
)
EXPORTED = (
    "is a program (torch.export.save), which is not run; "
    "save the weights alone, with torch.save(torch.export.load(FILE).state_dict, ...)"
)


def explain_file(path: Path) -> str | None:
    """What the file at ``path`` is and what to do, to follow its name in an error; None of what
    may be a checkpoint. Raises :class:`OSError`."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "is empty; get it again"
    if not start.strip(b"\0"):
        return "begins with nothing but zeros; get it again"
    if kind := file_kinds.recognise(start):
        return f"is {kind.name}; {kind.remedy}"
    if start.lstrip().lower().startswith(WEB_PAGE):
        return "is a web page (HTML); download the file itself"
    if shard := SHARD.search(path.name):
        return (
            f"is one of {shard[1]} files that hold the weights together; save them as one, such as "
            "with save_pretrained(..., max_shard_size='100GB')"
        )
    if path.name.lower().endswith(".index.json"):
        return "is the index of weights in several files; save them as one, and give that"
    if path.suffix.lower() == ".onnx":
        return "is an ONNX graph; give the checkpoint that it was made from"
    return _explain_zip(path) if start.startswith(ZIP) else _explain_safetensors(path, start)


def _explain_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "is cut short: its list of contents, which comes last, is missing; get it again"
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return TORCHSCRIPT
    if "archive_format" in inner:
        return EXPORTED
    held = [name for name in names if name.lower().endswith((".pth", ".pt", ".safetensors"))]
    if held and "data.pkl" not in inner:
        return f"is a ZIP archive with {held[0]!r} in it; unpack it"
    if damaged := find_damaged_record(path):
        return f"is damaged: {damaged!r} within it is not what was written; get it again"
    return None


def find_damaged_record(path: Path) -> str | None:
    """The name of the first part of a checkpoint in PyTorch's format, a ZIP archive, whose checksum
    is wrong, which PyTorch does not look at; ``None`` of files of other kinds.

    A checksum of 0 is none (``torch.serialization.set_crc32_options``). Raises :class:`OSError`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                if record.CRC and not _is_whole(archive, record):
                    return record.filename
    except zipfile.BadZipFile:
        pass
    return None


def _is_whole(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(record) as part:
            while part.read(PIECE):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False
    return True


def _explain_safetensors(path: Path, start: bytes) -> str | None:
    """A safetensors file names the length of its header first; its data follow."""
    if start[8:9] != b"{":
        return None
    size = path.stat().st_size
    header = int.from_bytes(start[:8], "little")
    if header + 8 > size:
        return f"is cut short: its header has {header:,} bytes, and the file {size:,}; get it again"
    return None
