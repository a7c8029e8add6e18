"""GDAL's ``.aux.xml`` files (its Persistent Auxiliary Metadata), less what is false of an output.

They hold the georeference of formats that cannot, and much about the pixels (statistics,
histograms, no-data values), which are others now.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.parsers import expat

from pix2pix_batch.imaging.metadata.georeference import Affine, Turn

ROOT = "PAMDataset"
TRUE = {"SRS", "GeoTransform", "GCPList"}
DOMAINS = {"RPC", "xml:ESRI"}
"""Domains of metadata that are a georeference, of the stored picture: not kept of a turned one."""

POINTS = ("AREA_OR_POINT", "Point")
"""An item of the metadata that have no domain: that a place is that of a pixel's middle."""

KEPT_OF_POINTS = b'<Metadata><MDI key="AREA_OR_POINT">Point</MDI></Metadata>'

EMPTY = b"<PAMDataset>\n</PAMDataset>\n"


@dataclass(frozen=True)
class Part:
    """An element right below the root: its name, its domain and where its bytes stand."""

    name: str
    domain: str
    start: int
    end: int


def turn_upright(data: bytes, turn: Turn) -> bytes:
    """What stays true of the upright picture, byte for byte but for what a turn moves.

    Empty where nothing does, or where ``data`` is no such file.
    """
    try:
        parts = _parts(data)
        turned = [(part, _turn_element(part, data[part.start : part.end], turn)) for part in parts]
    except (expat.ExpatError, ValueError):
        return b""
    if not any(text for _, text in turned):
        return b""
    result, at = b"", 0
    for part, text in turned:
        before = data[at : part.start]
        result += before + text if text else before.rstrip()
        at = part.end
    return result + data[at:]


def _turn_element(part: Part, text: bytes, turn: Turn) -> bytes:
    if part.name == "Metadata" and not part.domain:
        items = ElementTree.fromstring(text).iter("MDI")
        are_points = any((item.get("key"), item.text) == POINTS for item in items)
        return KEPT_OF_POINTS if are_points else b""
    if part.name == "Metadata":
        return text if part.domain in DOMAINS and not turn else b""
    if part.name not in TRUE:
        return b""
    if not turn or part.name == "SRS":
        return text
    element = ElementTree.fromstring(text)
    if part.name == "GeoTransform":
        element.text = _values(_transform(element.text or "") @ turn.to_stored())
    for point in element.iter("GCP"):
        places = float(point.get("Pixel", "0")), float(point.get("Line", "0"))
        for name, value in zip(("Pixel", "Line"), turn.upright().at(*places), strict=True):
            point.set(name, repr(value))
    return ElementTree.tostring(element)


def _transform(text: str) -> Affine:
    c, a, b, f, d, e = (float(word) for word in text.split(","))
    return Affine(a, b, c, d, e, f)


def _values(t: Affine) -> str:
    return ", ".join(map(repr, (t.c, t.a, t.b, t.f, t.d, t.e)))


def add_georeference(data: bytes, epsg: int | None, transform: Affine | None) -> bytes:
    """Add to an ``.aux.xml`` what it does not say of the georeference.

    Args:
        data: The file's content; empty to make a new one.
        epsg: The number of the reference system; ``None`` to add none.
        transform: Pixels to places on the ground; ``None`` to add none.

    Returns:
        The new content; ``data`` itself if nothing is added.
    """
    names = {part.name for part in _parts(data)} if data else set()
    lines = []
    if epsg is not None and "SRS" not in names:
        lines.append(f"  <SRS>EPSG:{epsg}</SRS>\n")
    if transform is not None and not names & {"GeoTransform", "GCPList"}:
        lines.append(f"  <GeoTransform>{_values(transform)}</GeoTransform>\n")
    if not lines:
        return data
    head, end, tail = (data or EMPTY).rpartition(b"</PAMDataset")
    return head + "".join(lines).encode() + end + tail if end else data


def says_place(data: bytes) -> bool:
    """Whether a file that :func:`turn_upright` made says where the picture lies."""
    return any(part.name in ("GeoTransform", "GCPList") for part in _parts(data)) if data else False


def _parts(data: bytes) -> list[Part]:
    """The elements below the root. Raises :class:`ValueError` or ``ExpatError``.

    Entities, which could grow without bound or name files, need a document type: refused.
    """
    data.decode()  # which GDAL and ArcGIS write
    parser = expat.ParserCreate("UTF-8")
    parts: list[Part] = []
    depth = 0
    open_part: tuple[str, str, int] | None = None

    def event(*_: object) -> None:
        """Any event after an element's end tells where that end was."""
        nonlocal open_part
        if depth == 1 and open_part is not None:
            parts.append(Part(*open_part, parser.CurrentByteIndex))
            open_part = None

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, open_part
        event()
        if depth == 0 and name != ROOT:
            raise ValueError(f"its root is {name}, not {ROOT}")
        if depth == 1:
            open_part = (name, attributes.get("domain", ""), parser.CurrentByteIndex)
        depth += 1

    def end(name: str) -> None:
        nonlocal depth
        event()
        depth -= 1

    def refuse(*_: object) -> None:
        raise ValueError("has a document type")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.DefaultHandler = event
    parser.Parse(data, True)
    return parts
