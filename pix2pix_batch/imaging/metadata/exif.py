"""What is kept of an input's EXIF, when it is asked for."""

from __future__ import annotations

import mmap
import re
import struct

from PIL.ExifTags import IFD, Base

from pix2pix_batch.imaging.metadata.tiff import XMP, Field, Fields, Tiff, encode

HEADER = b"Exif\0\0"

XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')

IMAGE = frozenset(
    {
        Base.ImageDescription, Base.Make, Base.Model, Base.XResolution, Base.YResolution,
        Base.ResolutionUnit, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer,
        Base.Copyright, Base.Rating, Base.RatingPercent, Base.XPTitle, Base.XPComment,
        Base.XPAuthor, Base.XPKeywords, Base.XPSubject,
    }
)  # fmt: skip
"""Of the first directory, what tells of the picture. The others tell how the file stores it; the
orientation is gone with the turn, and the thumbnail, in a directory of its own, shows the input."""

CAMERA = frozenset(
    {
        0x829A, 0x829D, 0x8822, 0x8824, 0x8827, 0x8828, *range(0x8830, 0x8836), 0x9000, 0x9003,
        0x9004, *range(0x9010, 0x9013), *range(0x9201, 0x920B), 0x9286, *range(0x9290, 0x9293),
        *range(0x9400, 0x9406), 0xA000, 0xA20B, 0xA20C, *range(0xA20E, 0xA211), 0xA215, 0xA217,
        *range(0xA300, 0xA303), *range(0xA401, 0xA40D), *range(0xA430, 0xA436),
        *range(0xA460, 0xA463),
    }
)  # fmt: skip
"""Of the camera's directory (EXIF 2.32, section 4.6.5), what stays true. Not kept: maker notes,
which nobody else can read, often with a preview, and whose offsets would lead nowhere; how the
input's colours and pixels were stored; places in the picture (subject area), for it may have been
turned; other files; and the image's unique ID, for this is another image."""

GPS = range(0x20)
SIDEWAYS: dict[int, int] = {Base.XResolution: Base.YResolution, Base.YResolution: Base.XResolution}
SIDEWAYS |= {0xA20E: 0xA20F, 0xA20F: 0xA20E}
"""Resolutions across and down, of the picture and of the sensor, which a quarter turn swaps."""


def select_fields(tiff: Tiff, *, sideways: bool = False) -> Fields:
    """What is kept of EXIF. ``sideways``: the picture was turned by a quarter."""
    pointers = (int(IFD.Exif), int(IFD.GPSInfo))
    first = tiff.directory({*IMAGE, *pointers})
    swapped = SIDEWAYS if sideways else {}
    fields: dict[int, Field | Fields] = {
        swapped.get(tag, tag): field for tag, field in first.items() if tag not in pointers
    }
    for pointer, wanted in zip(pointers, (CAMERA, GPS), strict=True):
        at = first[pointer].numbers() if pointer in first else ()
        if len(at) == 1 and (inner := tiff.directory(wanted, at=int(at[0]))):
            fields[pointer] = {swapped.get(tag, tag): field for tag, field in inner.items()}
    return fields


def block(fields: Fields) -> bytes:
    """EXIF as JPEG, PNG and WebP files hold it; nothing where there is nothing to say."""
    return HEADER + b"II*\0" + struct.pack("<I", 8) + encode(fields, 8) if fields else b""


def parse(data: bytes | mmap.mmap) -> Tiff | None:
    """A block of EXIF, or a TIFF file; ``None`` where there is none, or it is broken, which viewers
    ignore too."""
    try:
        return Tiff(data.removeprefix(HEADER) if isinstance(data, bytes) else data)
    except ValueError:
        return None


def read_orientation(tiff: Tiff) -> int:
    """Which way up the first picture of a TIFF file lies, from 1, upright, to 8: by its tag or, if
    it has none, by its XMP, as Pillow takes it."""
    fields = tiff.directory({Base.Orientation, XMP})
    if (tag := fields.get(Base.Orientation)) is not None:
        said = int(next(iter(tag.numbers()), 1))
    else:
        match = XMP_ORIENTATION.search(fields[XMP].data) if XMP in fields else None
        said = int(match[1]) if match else 1
    return said if 1 <= said <= 8 else 1
