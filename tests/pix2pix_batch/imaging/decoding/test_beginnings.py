"""Files that are called as pictures and are none: each is told by what its bytes are."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images
from tests.end_to_end.command import encoded

JPEG, PNG = encoded("JPEG"), encoded("PNG")
GIF, TGA = (encoded(form, width=200, height=144) for form in ("GIF", "TGA"))


def make_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(PNG)
        archive.addfile(info, io.BytesIO(PNG))
    return buffer.getvalue()


def make_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", PNG)
    return buffer.getvalue()


HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n"
S3 = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>'

KINDS = {
    "mark before JPEG": (b"\xef\xbb\xbf" + JPEG, "JPEG file with UTF-8's byte order mark before"),
    "line before PNG": (b"\n" + PNG, "before it; leave out the first 1 byte, as with tail -c +2"),
    "warning before PNG": (b"Warning: x in y.php\n" + PNG, "text before it, 'Warning: x in y.php'"),
    "base64": (base64.b64encode(JPEG), "JPEG file in letters (base64)"),
    "base64 in lines": (base64.encodebytes(PNG), "PNG file in letters (base64)"),
    "data URL": (b"data:image/png;base64," + base64.b64encode(PNG), "data URL"),
    "hexadecimal": (PNG.hex().encode(), "PNG file in letters (hexadecimal)"),
    "HTTP": (HTTP + JPEG, "answer of a web server with its headers ('HTTP/1.1 200 OK"),
    "JSON": (b'{"error": "denied"}', """JSON, which begins '{"error": "denied"}'"""),
    "JSON in lines": (b'[\n  {"a": 1}\n]', "JSON"),
    "page": (b"\r\n<html lang=de>", "web page"),
    "error of a store": (S3, "error of a server (XML), which begins '<Error><Code>NoSuchKey"),
    "drawing": (b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="x">', "drawing (SVG)"),
    "PSB": (b"8BPS\0\2" + bytes(300), "(PSB), which is not read"),
    "tar": (make_tar(), "tar archive"),
    "zip": (make_zip(), "ZIP archive"),
    "gzip": (gzip.compress(PNG), "gzip compressed"),
    "DPX": (b"SDPX" + bytes(40), "DPX, which is not read; store it as PNG"),
    "MNG": (b"\x8aMNG\r\n\x1a\n" + bytes(40), "JNG or MNG, which is not read"),
    "NITF": (b"NITF02.10" + bytes(40), "NITF, which is not read; export it as PNG or TIFF"),
    "video": (b"\0\0\0\x18ftypisom" + bytes(60), "video (MP4)"),
    "as Latin-1": (JPEG.decode("latin-1").encode(), "JPEG file that a program has changed"),
    "as UTF-8": (PNG.decode("utf-8", "replace").encode(), "PNG file that a program has changed"),
    "GIF as Latin-1": (GIF.decode("latin-1").encode(), "an image that a program has changed as if"),
    "TGA as Latin-1": (TGA.decode("latin-1").encode(), "an image that a program has changed as if"),
    "GIF of 7 bits": (bytes(b & 127 for b in GIF), "an image that a program has changed as"),
    "lines changed": (PNG.replace(b"\r\n", b"\n"), "PNG file that a program has changed"),
    "a few bytes": (PNG[:5], "cut short after 5 bytes"),
    "UTF-16": ("words".encode("utf-16"), "text (UTF-16)"),
    "text": ("Grüße, 'Leser'\n".encode() * 60, "text, which begins 'Grüße, Leser Grüße"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_bytes_are_is_told(kind: str) -> None:
    data, told = KINDS[kind]
    with pytest.raises(ImageError) as caught:
        images.read(data, 3)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.binary(min_size=1, max_size=700))
def test_any_bytes_have_a_reason_on_one_line(data: bytes) -> None:
    try:
        images.read(data, 3)
    except ImageError as error:
        assert str(error).isprintable()
