"""What a tree of map tiles (``z/x/y.png``) says of itself, made true of the converted tree."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import sidecars
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS, SAME, SUFFIXES, form_of
from pix2pix_batch.storage import destination


def may_be_description(name: str) -> bool:
    """Whether a file may be a description, by its name alone."""
    return name in _KINDS


def list_descriptions(names: Collection[str], directories: Collection[str]) -> list[str]:
    """The descriptions among the files of a directory: there are none without zoom levels."""
    if not any(name.isascii() and name.isdecimal() for name in directories):
        return []
    return [name for name in names if name in _KINDS]


def carry(path: str, out: Path, name: str, form: str, overwrites: bool) -> str:
    """Translate the description of a tile set and put it into OUT (:func:`translate_description`).

    Args:
        path: The description beside the inputs.
        out: The directory of the outputs.
        name: Its path within ``out``.
        form: What ``--format`` says.
        overwrites: Whether another file of that name may be replaced.

    Returns:
        Why it was not done; empty if it was.

    Raises:
        OutputError: Nothing more can be written there.
    """
    try:
        data = translate_description(
            os.path.basename(name), sidecars.read(path, "the file")[0], form
        )
        if data is None:
            return "it cannot be understood; see docs/metadata.md"
        target = out / name
        if os.path.lexists(target):
            if target.is_file() and target.read_bytes() == data:
                return ""
            if not overwrites:
                return "another one is there; remove that, or pass --overwrite"
        destination.place(out, name, data)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"the one in OUT cannot be read ({error.strerror})"
    return ""


def translate_description(name: str, data: bytes, form: str) -> bytes | None:
    """Make the description of a tile set true of the converted tiles.

    Args:
        name: The description's file name.
        data: Its content.
        form: What ``--format`` says.

    Returns:
        The new content, the same bytes where nothing changes; ``None`` if it cannot be understood.
    """
    try:
        return _KINDS[name](data, form)
    except (ValueError, RecursionError):
        return None


def _suffix(own: str, form: str) -> str:
    """What a tile's suffix (no dot) becomes; itself where it is none of an image."""
    suffix = f".{own.lower()}"
    if suffix not in {*SAME, ".gif", ".bmp"} or (form == "same" and suffix in SAME):
        return own
    return SUFFIXES[form_of(suffix, form)][1:]


def _tile_map(data: bytes, form: str) -> bytes:
    """OSGeo's Tile Map Service: ``extension`` and ``mime-type`` of ``<TileFormat>``."""
    text = data.decode()
    element = re.search(r"<TileFormat\b[^>]*>", text)
    own = re.search(r"""\bextension\s*=\s*["'](\w+)["']""", element[0]) if element else None
    if element is None or own is None:
        raise ValueError("no TileFormat with an extension")
    new = _suffix(own[1], form)
    if new == own[1]:
        return data
    fixed = re.sub(r"""(\bextension\s*=\s*["'])\w+""", rf"\g<1>{new}", element[0])
    kind = OUTPUT_FORMATS[SAME[f".{new}"]].mime
    fixed = re.sub(r"""(\bmime-type\s*=\s*["'])[^"']*""", rf"\g<1>{kind}", fixed)
    return (text[: element.start()] + fixed + text[element.end() :]).encode()


def _json(data: bytes, form: str) -> bytes:
    """TileJSON, and the ``metadata.json`` of unpacked MBTiles: ``format`` and ``tiles``."""
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("no object")
    fixed: dict[str, Any] = dict(values)
    if isinstance(own := values.get("format"), str):
        fixed["format"] = _suffix(own, form)
    if isinstance(tiles := values.get("tiles"), list):
        fixed["tiles"] = [
            _template(tile, form) if isinstance(tile, str) else tile for tile in tiles
        ]
    if fixed == values:
        return data
    return json.dumps(fixed, ensure_ascii=False, indent=2).encode() + b"\n"


def _template(address: str, form: str) -> str:
    """Where the converted tiles are: an address elsewhere, which leads to the input's, becomes
    relative to the description."""
    if re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*:)?/", address) and "{z}" in address:
        address = address[address.index("{z}") :].partition("?")[0]
    stem, dot, suffix = address.rpartition(".")
    return f"{stem}.{_suffix(suffix, form)}" if dot else address


_KINDS: dict[str, Callable[[bytes, str], bytes]] = {
    "tilemapresource.xml": _tile_map,
    "metadata.json": _json,
    "tiles.json": _json,
    "tilejson.json": _json,
    "tile.json": _json,
}
"""The descriptions' usual names: of gdal2tiles, mb-util and tippecanoe, and of TileJSON."""
