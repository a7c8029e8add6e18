"""What outputs keep of XMP and IPTC, as Pillow reads them."""

from __future__ import annotations

import io
import struct
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.metadata import descriptions
from pix2pix_batch.imaging.metadata.descriptions import PREFIXES
from pix2pix_batch.inference import carried_metadata
from tests.end_to_end.command import picture
from tests.formats import PICTURE_FORMATS
from tests.pix2pix_batch.inference.test_carried_metadata import SETTINGS

PACKET = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
  xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"
  xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure="+1"
  xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:Headline="Näme"
  photoshop:ICCProfile="Adobe RGB">
 <dc:format xmlns:dc="http://purl.org/dc/elements/1.1/">image/jpeg</dc:format>
 <dc:subject xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Bag><rdf:li>river</rdf:li>
  <rdf:li>delta</rdf:li></rdf:Bag></dc:subject>
 <xmp:Thumbnails><rdf:Alt><rdf:li>secret</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description>
<rdf:Description rdf:about="uuid:1" xmlns:exif="http://ns.adobe.com/exif/1.0/"
  exif:PixelXDimension="9"/>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def data_set(record: int, number: int, text: bytes) -> bytes:
    return b"\x1c" + struct.pack(">BBH", record, number, len(text)) + text


RECORDS = (
    data_set(1, 90, b"\x1b%G")
    + data_set(2, 0, b"\0\4")
    + data_set(2, 25, b"river")
    + data_set(2, 25, b"delta")
    + data_set(2, 65, b"some program")
    + data_set(2, 120, "Nämen".encode())
    + data_set(2, 202, b"preview")
)


def file_of(form: str) -> bytes:
    buffer, image = io.BytesIO(), picture(9, 7)
    if form == "TIFF":
        tags = ImageFileDirectory_v2()
        tags[700], tags.tagtype[700] = PACKET, 1
        tags[33723], tags.tagtype[33723] = RECORDS, 7
        image.save(buffer, form, tiffinfo=tags)
    elif form == "JPEG":
        image.save(buffer, form, xmp=PACKET, extra=descriptions.jpeg_segment(RECORDS))
    elif form == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", PACKET.decode(), zip=True)
        image.save(buffer, form, pnginfo=info)
    else:
        image.save(buffer, form, xmp=PACKET)
    return buffer.getvalue()


def convert(data: bytes, form: str, *, keep: bool = True, lost: str | None = None) -> Image.Image:
    """As converting does it, with the model left out; ``lost``: what it is to warn of."""
    seen = images.read(data, 3)
    settings = type(SETTINGS)(**{**vars(SETTINGS), "keep_exif": keep})
    kept = carried_metadata.collect(data, seen, settings)
    assert lost is None or carried_metadata.describe_lost(kept, form) == lost
    made = images.write(seen, form, 90, kept.exif, kept.fields, kept.xmp, None, kept.iptc)
    return Image.open(io.BytesIO(made))


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("form", PICTURE_FORMATS)
def test_what_people_wrote_is_kept(source: str, form: str) -> None:
    told = f"its IPTC is not kept: {form} has no place for it"
    loses = source in ("JPEG", "TIFF") and form in ("png", "webp")
    image = convert(file_of(source), form, lost=told if loses else "")
    packet = image.info["xmp"]
    root = ElementTree.fromstring(packet)
    (description,) = root.iter(f"{{{descriptions.RDF}}}Description")
    assert description.attrib == {
        f"{{{descriptions.RDF}}}about": "",
        f"{{{PREFIXES['xmp']}}}Rating": "4",
        f"{{{PREFIXES['photoshop']}}}Headline": "Näme",
    }
    assert [part.tag for part in description] == [f"{{{PREFIXES['dc']}}}subject"]
    assert [one.text for one in root.iter(f"{{{descriptions.RDF}}}li")] == ["river", "delta"]
    holds_records = source in ("JPEG", "TIFF") and form in ("jpg", "tiff")
    assert IptcImagePlugin.getiptcinfo(image) == (
        {
            (1, 90): b"\x1b%G",
            (2, 0): b"\0\4",
            (2, 25): [b"river", b"delta"],
            (2, 120): "Nämen".encode(),
        }
        if holds_records
        else None
    )


def test_nothing_is_kept_unasked() -> None:
    image = convert(file_of("JPEG"), "jpg", keep=False)
    assert not {"xmp", "photoshop"} & image.info.keys()


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        PACKET.replace(b"</rdf:RDF>", b""),
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + PACKET,
        PACKET + b" " * descriptions.LARGEST,
        PACKET.replace(b"<?xpacket begin", b'<?xml version="1.0" encoding="none"?><?xpacket begin'),
    ],
)
def test_packets_that_are_left_out(packet: bytes) -> None:
    assert descriptions.select_xmp(packet) == b""


@given(st.binary(max_size=200))
def test_broken_records_are_left_out_or_kept_whole(noise: bytes) -> None:
    kept = descriptions.select_iptc(RECORDS[:40] + noise)
    assert descriptions.select_iptc(kept) == kept
    assert descriptions.select_xmp(noise) == b""
