"""What files are that are called as pictures and are none that is read, by how they begin."""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from pix2pix_batch import file_kinds
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

OTHER = "not an image but {}"
EXPORT = "{}, which is not read; export it as PNG or TIFF"
STORE = "{}, which is not read; store it as PNG"
WHITE = "{}: no defined white; store it as PNG"
PAGE = "not an image but a web page (HTML); download it anew"
VIDEO = "not an image but a video ({}); take pictures out of it, as with ffmpeg"
AS_TEXT = "a {} file that a program has changed as if it were text; copy it anew, as binary"

CHANGED = "an image that a program has changed as if it were text; copy it anew, as binary"
LETTERS = 64
"""So many different characters, zero among them, are in no text, and in few files of zeros."""

HEIF = tuple(
    b"ftyp" + brand
    for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
)
"""The brands of HEIC and HEIF (ISO/IEC 23008-12, annex B)."""

SIGNATURES_OF_OTHERS: tuple[tuple[int, bytes | tuple[bytes, ...], str, str], ...] = (
    (0, b"\0\x05\x16\x07", OTHER, "what macOS keeps beside one (AppleDouble)"),
    (0, b"PK\x03\x04", OTHER, "a ZIP archive; unpack it"),
    (0, b"PK\x05\x06", OTHER, "a ZIP archive, an empty one"),
    # documents, numbers
    (0, b"%PDF", OTHER, "a PDF document; store its pages as PNG"),
    (0, b"%!PS", OTHER, "a program (PostScript); store it as PNG"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OTHER, "a document of Windows (OLE)"),
    (0, b"SQLite format 3", OTHER, "a database (SQLite)"),
    (0, b"\x93NUMPY", OTHER, "an array (NumPy); store it as PNG or TIFF"),
    (0, b"\x89HDF\r\n", OTHER, "an HDF5 file; store its pictures as PNG or TIFF"),
    (0, b"\x80\x04\x95", OTHER, "an object of Python (pickle)"),
    (0, b"\x7fELF", OTHER, "a program"),
    (0, b"MZ\x90\0", OTHER, "a program of Windows"),
    # pictures of other kinds, videos
    (0, b"gimp xcf", EXPORT, "a document of GIMP (XCF)"),
    (128, b"DICM", EXPORT, "DICOM"),
    (0, b"FUJIFILMCCD-RAW", EXPORT, "camera raw (RAF)"),
    (0, b"FOVb", EXPORT, "camera raw (X3F)"),
    (4, b"ftypcrx", EXPORT, "camera raw (CR3)"),
    (0, b"NITF0", EXPORT, "NITF"),
    (0, b"EHFA_HEADER_TAG", EXPORT, "a raster of another program's own format"),
    (0, b"PCIDSK  ", EXPORT, "a raster of another program's own format"),
    (0, b"RSW\0", EXPORT, "a raster of another program's own format"),
    (0, b"\xff\n", STORE, "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", STORE, "JPEG XL"),
    (0, b"II\xbc\x01", STORE, "JPEG XR"),
    (0, b"BPG\xfb", STORE, "BPG"),
    (0, b"FLIF", STORE, "FLIF"),
    (0, b"AT&TFORM", STORE, "DjVu"),
    (0, b"P7\n", STORE, "PAM"),
    (0, (b"SDPX", b"XPDS"), STORE, "DPX"),
    (0, b"\x80\x2a\x5f\xd7", STORE, "Cineon"),
    (0, (b"\x8bJNG\r\n\x1a\n", b"\x8aMNG\r\n\x1a\n"), STORE, "JNG or MNG"),
    (0, b"id=ImageMagick", STORE, "MIFF, ImageMagick's own format"),
    (0, b"v/1\x01", WHITE, "OpenEXR"),
    (0, b"#?R", WHITE, "Radiance HDR"),
    (0, (b"PF\n", b"PF\r", b"PF "), WHITE, "PFM, of floating point"),
    (4, HEIF, "{}, which is not read; store it as PNG or JPEG", "HEIC or HEIF"),
    (4, (b"ftypavif", b"ftypavis"), "{} was built without; store it as PNG",
     "AVIF, which this Pillow"),
    (4, b"ftyp", VIDEO, "MP4"),
    (4, b"moov", VIDEO, "QuickTime"),
    (0, b"\x1a\x45\xdf\xa3", VIDEO, "Matroska or WebM"),
    (8, b"AVI ", VIDEO, "AVI"),
    (8, b"WAVE", OTHER, "sound"),
    (0, b"ID3", OTHER, "sound"),
    (0, b"OggS", OTHER, "sound or a video (Ogg)"),
    # pictures that went through what is for text
    (0, b"\x89PNG\n\x1a\n", AS_TEXT, "PNG"),
    (0, b"\x89PNG\r\r\n\x1a", AS_TEXT, "PNG"),
    (0, b"\xc2\x89PNG", AS_TEXT, "PNG"),
    (0, b"\xef\xbf\xbdPNG", AS_TEXT, "PNG"),
    (0, b"\xc3\xbf\xc3\x98\xc3\xbf", AS_TEXT, "JPEG"),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", AS_TEXT, "JPEG"),
)  # fmt: skip
"""For files that are neither pointers nor archives (:mod:`pix2pix_batch.file_kinds`): the offset
of a signature, the signature or several, in which capitals do not count, what to say, and the name
to put there. The first that fits is taken, so that those of a kind stand before the general one."""

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
    if kind := file_kinds.recognise(beginning) or file_kinds.recognise(text):
        hint = ", or call it .tar, which is read" if "tar archive" in kind.name else ""
        return f"not an image but {kind.name}; {kind.remedy}{hint}"
    for at, signatures, message, name in SIGNATURES_OF_OTHERS:
        for start in (signatures,) if isinstance(signatures, bytes) else signatures:
            begins = (text if not at else beginning).startswith(start.lower(), at)
            if begins or beginning.startswith(start.lower(), at):
                return message.format(name)
    for pattern, what in TEXTS:
        if pattern.match(text):
            return what.format(_quote_first_words(data))
    return _describe_late_picture(data) or _describe_encoded_picture(data)


def is_changed_as_text(data: bytes) -> bool:
    """Whether a file that could not be read is no text, and yet UTF-8 from its beginning to its
    end, as binary data is after a program has written it anew as UTF-8 or with 7 bits."""
    try:
        return b"\0" in data and len(set(data.decode())) > LETTERS
    except UnicodeDecodeError:
        return False


def describe_unknown_file(data: bytes) -> str:
    """Say what a file is whose format was not recognised: what is in it, if that is text; empty if
    it is not known."""
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
    line = "".join(
        character if character.isprintable() and character != "'" else " " for character in line
    )
    return f"'{' '.join(line.split())[:48].rstrip()}'"


def _describe_late_picture(data: bytes) -> str:
    """Say that a picture begins after something else; empty if it does not."""
    head = data[:BEFORE]
    beginnings = [(at, form) for start, form in SIGNATURES if (at := head.find(start)) > 0]
    if not beginnings:
        return ""
    at, form = min(beginnings)
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
    """Say that a picture is written in letters, as base64 or hexadecimal; empty if it is not."""
    text = data[:HEAD].lstrip(SPACE + b"\"'")
    for start, form in BASE64.items():
        if text.startswith(start) and re.match(rb"[A-Za-z0-9+/=_\s-]+[\"']?\s*\Z", text):
            return f"a {form} file in letters (base64); decode it, as with base64 -d"
    for start, form in HEXADECIMAL.items():
        if text.lower().startswith(start):
            return f"a {form} file in letters (hexadecimal); decode it, as with xxd -r -p"
    return ""
