"""What is kept of an input's XMP and IPTC-IIM, when EXIF is: what people wrote of the picture.

Neither is copied as it is. XMP (ISO 16684-1) also holds how programs developed and stored the
file, thumbnails and its history, which are not true of the output; IPTC's records (IIM 4.2) stand
in Photoshop's blocks beside previews and paths.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from pix2pix_batch.imaging.metadata.tiff import LONG, XMP, Field, Fields, Tiff

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
ADOBE = "adobe:ns:meta/"
PREFIXES = {
    "x": ADOBE,
    "rdf": RDF,
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "cc": "http://creativecommons.org/ns#",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
}
"""Namespaces of what people write of a picture, by their usual prefixes (XMP specification, part
2; IPTC Photo Metadata Standard 2023.1). What stands in others is left out."""

NOT_TRUE = {
    f"{{{PREFIXES[prefix]}}}{name}"
    for prefix, names in {
        "dc": ("format",),
        "xmp": ("Thumbnails", "BaseURL", "PageInfo"),
        "photoshop": (
            "ICCProfile", "ColorMode", "History", "DocumentAncestors", "TextLayers",
            "SidecarForExtension", "EmbeddedXMPDigest", "LegacyIPTCDigest",
        ),
        "Iptc4xmpExt": ("ImageRegion", "MaxAvailHeight", "MaxAvailWidth"),
    }.items()
    for name in names
}  # fmt: skip
"""Of these namespaces, what tells how the input is stored, or where in it something is."""

LARGEST = 1 << 20
"""Bytes of a packet that is looked at."""

PHOTOSHOP = b"Photoshop 3.0\0"
IPTC_BLOCK = 0x0404
"""The number of the block with IPTC's records (Adobe's Photoshop file format, image resources)."""

IPTC_TAG = 33723
"""The tag of IPTC's records in TIFF (IPTC-NAA, registered by Aldus)."""

APPLICATION = 2
"""The record of what tells of the picture (IIM 4.2, chapter 6)."""

FEWEST, MOST = 3, 199
"""Of its data sets, those of text; from 200 on there are previews."""

NOT_OF_THE_PICTURE = frozenset((42, 45, 47, 50, 65, 70, 125, 130, 131, *range(150, 155)))
"""Of these what tells of other objects, of programs, and of how the file is stored; 125 is a
caption as a bitmap."""

CHARACTERS = b"\x1c\x01\x5a"
"""The data set that says how texts are coded (IIM 4.2, 1:90)."""


def read_descriptions(data: bytes) -> tuple[bytes, bytes]:
    """What is kept of an image file's XMP, a packet, and of IPTC's records, as IIM has them, which
    JPEG and TIFF files hold; nothing where there is none that can be kept."""
    info = _read_info(data)
    packet = info.get("xmp", b"")
    packet = packet.encode() if isinstance(packet, str) else packet
    blocks = info.get("photoshop")
    records = blocks.get(IPTC_BLOCK, b"") if isinstance(blocks, dict) else b""
    return (
        select_xmp(packet) if isinstance(packet, bytes) else b"",
        select_iptc(records) if isinstance(records, bytes) else b"",
    )


def read_tiff_descriptions(tiff: Tiff) -> tuple[bytes, bytes]:
    """Read the descriptions of a TIFF file that is not to be read as a whole."""
    fields = tiff.directory({XMP, IPTC_TAG})
    packet, records = fields.get(XMP), fields.get(IPTC_TAG)
    texts = b"" if records is None else records.data
    if records is not None and records.kind == LONG and tiff.order == ">":  # bytes, all the same
        texts = struct.pack(f">{records.count}I", *map(int, records.numbers()))
    return (select_xmp(packet.data) if packet else b""), select_iptc(texts)


def read_exif(data: bytes) -> bytes:
    """The block of EXIF in a picture's file, which is not a TIFF file; nothing where there is
    none."""
    exif = _read_info(data).get("exif")
    return exif if isinstance(exif, bytes) else b""


def select_xmp(packet: bytes) -> bytes:
    """The packet with what is kept of it; nothing where nothing is, or it is broken, which viewers
    ignore too."""
    if not packet or len(packet) > LARGEST or b"<!" in packet:  # no document types, no entities
        return b""
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return b""
    selection = ElementTree.Element(f"{{{RDF}}}RDF")
    for description in root.iter(f"{{{RDF}}}Description"):
        if description.get(f"{{{RDF}}}about") is None and description.get("about") is None:
            continue  # of a structure within another
        _select(description, selection)
    if not len(selection):
        return b""
    meta = ElementTree.Element(f"{{{ADOBE}}}xmpmeta")
    meta.append(selection)
    for prefix, namespace in PREFIXES.items():
        ElementTree.register_namespace(prefix, namespace)
    begin = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return begin + ElementTree.tostring(meta, "utf-8") + b'<?xpacket end="w"?>'


def _select(description: ElementTree.Element, selection: ElementTree.Element) -> None:
    about = f"{{{RDF}}}about"
    element = ElementTree.Element(description.tag, {about: ""})
    element.attrib.update({name: text for name, text in description.items() if _is_kept(name)})
    element.extend(part for part in description if _is_kept(part.tag))
    if len(element) or len(element.attrib) > 1:
        selection.append(element)


def _is_kept(name: str) -> bool:
    namespace = name[1:].partition("}")[0]
    return namespace in _KEPT and name not in NOT_TRUE


_KEPT = frozenset(PREFIXES.values()) - {RDF, ADOBE}


def select_iptc(records: bytes) -> bytes:
    """The records with the texts that tell of the picture; nothing where they are broken."""
    try:
        return b"".join(_select_data_sets(records[:LARGEST]))
    except ValueError:
        return b""


def _select_data_sets(records: bytes) -> Iterator[bytes]:
    """Raises ``ValueError`` where they are broken."""
    at, coded, selection = 0, b"", []
    while at + 5 <= len(records) and records[at] == 0x1C:
        record, number, size = struct.unpack_from(">BBH", records, at + 1)
        end = at + 5 + size
        if size & 0x8000 or end > len(records):  # longer ones hold pictures
            raise ValueError
        whole = records[at:end]
        if whole.startswith(CHARACTERS):
            coded = whole
        if record == APPLICATION and FEWEST <= number <= MOST and number not in NOT_OF_THE_PICTURE:
            selection.append(whole)
        at = end
    if selection:
        yield coded
        yield b"\x1c\x02\x00\x00\x02\x00\x04"  # 2:00, of version 4, which comes first
        yield from selection


def jpeg_segment(records: bytes) -> bytes:
    """The segment of a JPEG file with IPTC's records; nothing where there are none."""
    if not records:
        return b""
    padded = records + b"\0" * (len(records) % 2)
    block = b"8BIM" + struct.pack(">HHI", IPTC_BLOCK, 0, len(records)) + padded
    body = PHOTOSHOP + block
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def tiff_fields(records: bytes) -> Fields:
    """The field of a TIFF file with IPTC's records."""
    return {IPTC_TAG: Field(7, records)} if records else {}


def _read_info(data: bytes) -> dict[Any, Any]:
    """What Pillow finds beside the pixels, which it leaves alone."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            info: dict[Any, Any] = dict(image.info)
            if (tags := getattr(image, "tag_v2", None)) is not None:
                records = tags.get(IPTC_TAG)
                if isinstance(records, tuple):  # long ago written as 32-bit numbers
                    records = struct.pack(f"{tags._endian}{len(records)}L", *records)
                info["photoshop"] = {IPTC_BLOCK: records}
            return info
    except Exception:  # Pillow's readers raise all kinds; the picture itself was read by others
        return {}
