"""What GDAL says, for people: what is wrong, without its own functions, files and addresses."""

from __future__ import annotations

import re

DAMAGED = "its data is damaged"

MEANINGS = (
    (r"got (\d+) bytes, expected (\d+)", "it is cut short: {} of {} bytes of a block are there"),
    (r"TIFFReadDirectory|TIFFFetchDirectory|Failed to read directory|contains no image"
     r"|zero usable bands|No code-stream|read_header|HFAEntry|HFAOpen|Not a TIFF",
     "its beginning is damaged, or it is cut short"),
    (r"not recognized as being in a supported file format",
     "it is of none of the formats that are read as rasters, or its beginning is damaged"),
    (r"Premature end|Read Error|Can't read from offset|inconsistent with stream length",
     "it is cut short, or its data is damaged"),
    (r"unrecognized compression|missing codec",
     ""),  # says itself what is not there
    (r"Decode\w*:|Decode\w*\(\)|[Dd]ecoding error|code not yet in table|corrupt|CRC error"
     r"|libpng|libjpeg|JPEGLib|\w+\(\).* failed|segment too long|[Bb]ad adaptive filter",
     DAMAGED),
)  # fmt: skip
"""What texts of GDAL, libtiff and other libraries mean, the first that is found; numbers are put
in. Nothing where the text itself is plain."""

INTERNAL = (
    r"CPLE_\w+(?: in)?:?\s*",
    r"'?/vsi\w+/[^\s'\"]*'?(?:[:,]\s*|\s+)",
    r"'?(?:/\S*/)?\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.\w+)*'?[:,]?\s*",
    r"^\S+\.tiff?[:,]\s*",
    r"^_?TIFF\w+:\s*",
    r"^\w+(?:Decode|Encode|Setup\w*|Lib):\s*",
    r"\s*\(this error can be turned as a warning[^)]*\)",
    r"(?:at |, )?(?:scanline|row|col(?:umn)?) 4294967295(?:, )?",
    r"0x[0-9a-f]{6,}(?:,\S*)?",
    r",? ignoring\..*",
    r"^GDAL\w+:\s*",
)
"""What says nothing to people: kinds of errors, names in memory, functions, no row at all."""

ROW = re.compile(r"\b(?:row|scanline) (\d{1,9})\b")


def explain(text: str) -> str:
    """GDAL's ``text`` in plain words."""
    for pattern, meaning in MEANINGS:
        found = re.search(pattern, text)
        if found and meaning:
            row = ROW.search(text)
            return meaning.format(*found.groups()) + (f" (row {row[1]})" if row else "")
        if found:
            break
    return clean(text)


def clean(text: str) -> str:
    """GDAL's own words, without what is internal."""
    made = " ".join(text.split())
    for pattern in INTERNAL:
        made = re.sub(pattern, "", made)
    return made.strip() or text
