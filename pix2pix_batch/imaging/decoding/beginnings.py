"""What files are that are called as pictures and are none that is read, by how they begin."""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from pix2pix_batch.text import format_count

HEAD = 512
"""Bytes of text that are looked at."""

BEFORE = 4096
"""Bytes that may stand before a picture that begins too late: headers of a server, a mark."""

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
)
"""How pictures begin, by signatures long enough to be none by chance."""

BASE64 = {
    **{base64.b64encode(start)[:-4]: form for start, form in SIGNATURES[1:4]},
    b"/9j/": "JPEG",
}
HEXADECIMAL = {binascii.hexlify(start): form for start, form in SIGNATURES}

UNPACK = "not an image but an archive ({}); unpack it"
EXPORT = "{}, which is not read; export it as PNG or TIFF"
STORE = "{}, which is not read; store it as PNG"
PAGE = "not an image but a web page (HTML); download it anew"
VIDEO = "not an image but a video ({}); take pictures out of it, as with ffmpeg"
LFS = "not an image but a pointer of Git LFS; 'git lfs pull' gets it"
LINK = "not an image but a link that {} made; copy what it leads to"
AS_TEXT = "a {} file that a program has changed as if it were text; copy it anew, as binary"

PLACES = (
    # of people who keep data
    (0, b"version https://git-lfs", LFS),
    (0, b"/annex/objects/", "not an image but a pointer of git-annex; 'git annex get' fetches it"),
    (0, b"!<symlink>", LINK.format("Cygwin")),
    (0, b"XSym\n", LINK.format("a Windows share")),
    (0, b"L\0\0\0\x01\x14\x02\0", LINK.format("Windows")),
    (0, b"[InternetShortcut]", LINK.format("Windows")),
    (0, b"book\0\0\0\0mark", LINK.format("macOS")),
    (0, b"\0\x05\x16\x07", "not an image but what macOS keeps beside one (AppleDouble)"),
    # archives
    (0, b"PK\x03\x04", "not an image but a ZIP archive; unpack it"),
    (0, b"PK\x05\x06", "not an image but a ZIP archive, an empty one"),
    (257, b"ustar", "not an image but a tar archive; unpack it, or call it .tar, which is read"),
    (0, b"\x1f\x8b", "not an image but a file that gzip compressed; unpack it"),
    (0, b"BZh", "not an image but a file that bzip2 compressed; unpack it"),
    (0, b"\xfd7zXZ\0", "not an image but a file that xz compressed; unpack it"),
    (0, b"\x28\xb5\x2f\xfd", "not an image but a file that Zstandard compressed; unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", UNPACK.format("7z")),
    (0, b"Rar!\x1a\x07", UNPACK.format("RAR")),
    # documents, numbers
    (0, b"%PDF", "not an image but a PDF document; store its pages as PNG"),
    (0, b"%!PS", "not an image but a program (PostScript); store it as PNG"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not an image but a document of Windows (OLE)"),
    (0, b"SQLite format 3", "not an image but a database (SQLite)"),
    (0, b"\x93NUMPY", "not an image but an array (NumPy); store it as PNG or TIFF"),
    (0, b"\x89HDF\r\n", "not an image but an HDF5 file; store its pictures as PNG or TIFF"),
    (0, b"\x80\x04\x95", "not an image but an object of Python (pickle)"),
    (0, b"\x7fELF", "not an image but a program"),
    (0, b"MZ\x90\0", "not an image but a program of Windows"),
    # pictures of other kinds, videos
    (0, b"gimp xcf", EXPORT.format("a document of GIMP (XCF)")),
    (128, b"DICM", EXPORT.format("DICOM")),
    (0, b"FUJIFILMCCD-RAW", EXPORT.format("camera raw (RAF)")),
    (0, b"FOVb", EXPORT.format("camera raw (X3F)")),
    (4, b"ftypcrx", EXPORT.format("camera raw (CR3)")),
    (0, b"\xff\n", STORE.format("JPEG XL")),
    (0, b"\0\0\0\x0cJXL ", STORE.format("JPEG XL")),
    (0, b"II\xbc\x01", STORE.format("JPEG XR")),
    (0, b"BPG\xfb", STORE.format("BPG")),
    (0, b"FLIF", STORE.format("FLIF")),
    (0, b"AT&TFORM", STORE.format("DjVu")),
    (0, b"v/1\x01", "OpenEXR: no defined white; store it as PNG"),
    (0, b"#?R", "Radiance HDR: no defined white; store it as PNG"),
    *((0, b"PF" + end, "PFM, of floating point: no defined white; store it as PNG")
      for end in (b"\n", b"\r", b" ")),
    (0, b"P7\n", STORE.format("PAM")),
    *((0, start, STORE.format("DPX")) for start in (b"SDPX", b"XPDS")),
    (0, b"\x80\x2a\x5f\xd7", STORE.format("Cineon")),
    *((0, start + b"\r\n\x1a\n", STORE.format("JNG or MNG"))
      for start in (b"\x8bJNG", b"\x8aMNG")),
    (0, b"id=ImageMagick", STORE.format("MIFF, ImageMagick's own format")),
    (0, b"NITF0", EXPORT.format("NITF")),
    *((0, start, EXPORT.format("a raster of another program's own format"))
      for start in (b"EHFA_HEADER_TAG", b"PCIDSK  ", b"RSW\0")),
    *((4, b"ftyp" + brand, "HEIC or HEIF, which is not read; store it as PNG or JPEG")
      for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")),
    *((4, b"ftyp" + brand, "AVIF, which this Pillow was built without; store it as PNG")
      for brand in (b"avif", b"avis")),
    (4, b"ftyp", VIDEO.format("MP4")),
    (4, b"moov", VIDEO.format("QuickTime")),
    (0, b"\x1a\x45\xdf\xa3", VIDEO.format("Matroska or WebM")),
    (8, b"AVI ", VIDEO.format("AVI")),
    (8, b"WAVE", "not an image but sound"),
    (0, b"ID3", "not an image but sound"),
    (0, b"OggS", "not an image but sound or a video (Ogg)"),
    # pictures that went through what is for text
    (0, b"\x89PNG\n\x1a\n", AS_TEXT.format("PNG")),
    (0, b"\x89PNG\r\r\n\x1a", AS_TEXT.format("PNG")),
    (0, b"\xc2\x89PNG", AS_TEXT.format("PNG")),
    (0, b"\xef\xbf\xbdPNG", AS_TEXT.format("PNG")),
    (0, b"\xc3\xbf\xc3\x98\xc3\xbf", AS_TEXT.format("JPEG")),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", AS_TEXT.format("JPEG")),
)  # fmt: skip
"""Where, what, and what to say of it; capitals do not count. What comes first goes before."""

TEXTS = (
    (re.compile(rb"http/[0-9.]+ [0-9]{3}"), "the answer of a web server with its headers ({}); "
     "store what follows them, if that is a picture"),
    (re.compile(rb"content-[a-z-]+:|mime-version:|--[^\r\n]+\r?\ncontent-"),
     "a message with headers ({}); store what follows them, if that is a picture"),
    (re.compile(rb"data:image/"), "an image within a data URL; decode what follows the comma by "
     "base64 -d"),
    (re.compile(rb"<!doctype html|<html|<head|<body|<title|<script|<meta"), PAGE),
    (re.compile(rb"<svg|<(?:\?xml|!--|!doctype svg).*?<svg", re.S),
     "not an image but a drawing (SVG); store it as PNG"),
    (re.compile(rb"<!--"), PAGE),
    (re.compile(rb"(?:<\?xml.*?\?>\s*)?<error", re.S),
     "not an image but the error of a server (XML), which begins {}; download it anew"),
    (re.compile(rb"<\?xml"), "not an image but XML, which begins {}"),
    (re.compile(rb"[{\[]\s*[\"{\[\]}0-9]"), "not an image but JSON, which begins {}; where that is "
     "the error of a server, download it anew"),
    (re.compile(rb"\{\\rtf"), "not an image but a document (RTF)"),
)  # fmt: skip
"""Kinds of text, in lower case; ``{}``: for its beginning."""

SPACE = b"\xef\xbb\xbf \t\r\n"
"""What may stand before text: UTF-8's mark, blanks, ends of lines."""


def describe_file(data: bytes) -> str:
    """What a file that could not be read is, and what to do; empty where it is not known."""
    if not data.strip(b"\0"):
        return "not an image but zero bytes: never written, or lost; copy it anew"
    beginning = data[:HEAD].lower()
    text = beginning.lstrip(SPACE)
    for at, start, what in PLACES:
        if beginning.startswith(start.lower(), at) or (not at and text.startswith(start.lower())):
            return what
    for pattern, what in TEXTS:
        if pattern.match(text):
            return what.format(_quote_first_words(data))
    return _describe_late_picture(data) or _describe_encoded_picture(data)


def describe_unknown_file(data: bytes) -> str:
    """As :func:`describe_file` where no format was recognised: what is in it, if that is text."""
    if len(data) < 8 and any(start.startswith(data) for start, _ in SIGNATURES):
        return f"damaged: cut short after {len(data)} bytes"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "not an image but text (UTF-16)"
    if _is_text(data):
        return f"not an image but text, which begins {_quote_first_words(data)}"
    return ""


def _is_text(data: bytes) -> bool:
    """Whether the first bytes are UTF-8 without control characters."""
    part = data[:HEAD]
    try:  # a character may be cut at the end
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(part)
    except UnicodeDecodeError:
        return False
    return bool(text) and "".join(text.split()).isprintable()


def _quote_first_words(data: bytes) -> str:
    """The first words, on one line: in quotes, so that reasons that differ in them are alike."""
    text = data[:HEAD].lstrip(SPACE).decode("utf-8", "replace").partition("\r\n\r\n")[0]
    text = re.sub(r"^<\?xml.*?\?>", "", text, flags=re.S)
    line = " ".join(text.split())
    line = "".join(one if one.isprintable() and one != "'" else " " for one in line)
    return f"'{' '.join(line.split())[:48].rstrip()}'"


def _describe_late_picture(data: bytes) -> str:
    """Of a picture that does not begin at once."""
    head = data[:BEFORE]
    found = [(at, form) for start, form in SIGNATURES if (at := head.find(start)) > 0]
    if not found:
        return ""
    at, form = min(found)
    before = head[:at]
    if not before.strip(SPACE):
        mark = (
            "UTF-8's byte order mark" if before.startswith(SPACE[:3]) else "empty lines or blanks"
        )
        return f"a {form} file with {mark} before it; {_advise_cutting(at)}"
    if _is_text(before):
        return (
            f"a {form} file with text before it, {_quote_first_words(before)}; "
            f"{_advise_cutting(at)}"
        )
    return ""


def _advise_cutting(count: int) -> str:
    return f"leave out the first {format_count(count, 'byte')}, as with tail -c +{count + 1}"


def _describe_encoded_picture(data: bytes) -> str:
    """Of a picture that is written in letters."""
    text = data[:HEAD].lstrip(SPACE + b"\"'")
    for start, form in BASE64.items():
        if text.startswith(start) and re.match(rb"[A-Za-z0-9+/=_\s-]+[\"']?\s*\Z", text):
            return f"a {form} file in letters (base64); decode it, as with base64 -d"
    for start, form in HEXADECIMAL.items():
        if text.lower().startswith(start):
            return f"a {form} file in letters (hexadecimal); decode it, as with xxd -r -p"
    return ""
