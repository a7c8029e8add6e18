"""What a TIFF file says of its samples."""

from __future__ import annotations

from dataclasses import dataclass

from pix2pix_batch.imaging.metadata import tiff_tags as tags
from pix2pix_batch.imaging.metadata.tiff import Field, Tiff

MOST_THUMBNAILS = 64
"""Directories looked at for the picture itself: a file may lead round in a circle."""


# The tags of a TIFF file that decide what its samples are.
@dataclass(frozen=True)
class Layout:
    """The first picture's tags. ``bits``, ``formats``: one for each sample; ``extra``: one for
    each that is no colour; ``alpha``: which of these is transparency, if any."""

    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    photometric: int | None
    samples: int
    extra: tuple[int, ...]
    untold: bool
    planar: bool
    compression: int
    reversed_bits: bool
    little: bool
    orientation: int
    subsampling: tuple[int, ...]
    coefficients: tuple[float, ...]
    reference: tuple[float, ...]
    ink_set: int
    colour_map: tuple[int, ...]
    profile: bytes
    planes: int

    @property
    def depth(self) -> int:
        return self.bits[0]

    @property
    def alpha(self) -> int | None:
        """The index among the extra samples."""
        for index, kind in enumerate(self.extra):
            if kind in (tags.ASSOCIATED, tags.UNASSOCIATED, tags.PHOTOSHOP):
                return index
        return None

    @property
    def compressed_by(self) -> str:
        return tags.COMPRESSIONS.get(self.compression, f"compression {self.compression}")

    @property
    def interpretation(self) -> str:
        if self.photometric is None:
            return "untold colours"
        return tags.INTERPRETATIONS.get(
            self.photometric, f"photometric interpretation {self.photometric}"
        )


def find_lost_tag(data: bytes) -> str:
    """What a tag of the first picture tells without a value that can be read; else nothing."""
    lost = Tiff(data).find_lost(tags.DECIDING)
    return tags.DECIDING[lost[0]] if lost else ""


def is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def reorder_directories(data: bytes) -> bytes:
    """The file with its first directory that is no thumbnail and no mask as the first of all.

    Raises :class:`ValueError` where there is none, and directories within the first (cameras' raw
    pictures) that may hold it.
    """
    try:
        tiff = Tiff(data)
    except ValueError:  # whoever reads it tells
        return data
    at, seen = tiff.first, 0
    while _is_beside(tiff, at):
        at, seen = tiff.after(at), seen + 1
        if not at or seen > MOST_THUMBNAILS:
            if tags.SUB_DIRECTORIES in tiff.directory({tags.SUB_DIRECTORIES}):
                raise ValueError("holds a thumbnail, and the picture apart, as cameras' raw files")
            return data
    return tiff.beginning_at(at) if seen else data


def _is_beside(tiff: Tiff, at: int) -> bool:
    """Whether a directory is a smaller copy (bit 0) or a mask (bit 2) of another picture."""
    fields = tiff.directory({tags.NEW_SUBFILE, tags.SUBFILE}, at)
    return bool(_first(fields, tags.NEW_SUBFILE, 0) & 0b101) or _first(fields, tags.SUBFILE, 1) == 2


def read_layout(data: bytes) -> Layout:
    """Read what a TIFF file says of its samples. Raises :class:`ValueError` if it has no directory
    with a size."""
    tiff = Tiff(data)
    fields = tiff.directory(tags.WANTED, limit=max(len(data), 1))
    width, height = _first(fields, tags.WIDTH, 0), _first(fields, tags.HEIGHT, 0)
    if not width or not height:
        raise ValueError("its directory is missing, or says no size")
    compression = _first(fields, tags.COMPRESSION, 1)
    photometric = _first(fields, tags.PHOTOMETRIC, -1)
    if photometric < 0:
        # What is compressed for faxes has white as zero, and JPEG of the old style is YCbCr.
        photometric = {2: 0, 3: 0, 4: 0, 6: tags.YCBCR}.get(compression, -1)
    colours = tags.COLOURS.get(photometric, 1)
    samples = _first(fields, tags.SAMPLES, colours if compression in (6, 7) else 1)
    if not 0 < samples <= 0xFFFF:
        raise ValueError(f"{samples} samples a pixel")
    if photometric == tags.YCBCR and samples == 1:  # grey JPEG data under the wrong name
        photometric, colours = tags.BLACK_IS_ZERO, 1
    extra = _whole(fields, tags.EXTRA)
    untold = samples > colours and len(extra) < samples - colours
    if untold:
        extra = (extra + (tags.OPAQUE,) * samples)[: samples - colours]
    profile = fields.get(tags.ICC_PROFILE)
    return Layout(
        width=width,
        height=height,
        bits=_each(_whole(fields, tags.BITS) or (8 if compression in (6, 7) else 1,), samples),
        formats=_each(_known_formats(fields) or (tags.UNSIGNED,), samples),
        photometric=None if photometric < 0 else photometric,
        samples=samples,
        extra=extra[: max(samples - colours, 0)],
        untold=untold,
        planar=_first(fields, tags.PLANAR, 1) == 2 and samples > 1,
        compression=compression,
        reversed_bits=_first(fields, tags.FILL_ORDER, 1) == 2,
        little=tiff.order == "<",
        orientation=_first(fields, tags.ORIENTATION, 1),
        subsampling=_whole(fields, tags.SUBSAMPLING) or (2, 2),
        coefficients=_ratios(fields.get(tags.COEFFICIENTS)),
        reference=_ratios(fields.get(tags.REFERENCE)),
        ink_set=_first(fields, tags.INK_SET, 1),
        colour_map=_whole(fields, tags.COLOUR_MAP),
        profile=profile.data if profile else b"",
        planes=_first(fields, tags.VOLUME, 1),
    )


def read_orientation(data: bytes) -> int:
    """The first picture's, as the tag says it in whole numbers of any type."""
    return _first(Tiff(data).directory({tags.ORIENTATION}), tags.ORIENTATION, 1)


def read_profile(data: bytes) -> bytes:
    """The first picture's colour profile, whatever the type of its tag."""
    profile = Tiff(data).directory({tags.ICC_PROFILE}, limit=len(data)).get(tags.ICC_PROFILE)
    return profile.data if profile else b""


def _whole(fields: dict[int, Field], tag: int) -> tuple[int, ...]:
    field = fields.get(tag)
    if field is None:
        return ()
    if field.kind == 1:  # BYTE, where SHORT is prescribed
        return tuple(field.data)
    return tuple(int(value) for value in field.numbers())


def _known_formats(fields: dict[int, Field]) -> tuple[int, ...]:
    """Undefined ones are taken as if they were not told (TIFF 6.0, section 19)."""
    kinds = _whole(fields, tags.FORMAT)
    return tuple(tags.UNSIGNED if kind == tags.UNDEFINED else kind for kind in kinds)


def _first(fields: dict[int, Field], tag: int, default: int) -> int:
    return (_whole(fields, tag) or (default,))[0]


def _each(values: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """Give each sample a value: writers also write one value for all of them."""
    if len(values) == 1:
        return values * samples
    return values[:samples]


def _ratios(field: Field | None) -> tuple[float, ...]:
    if field is None or field.kind != 5:
        return field.numbers() if field is not None else ()
    numbers = Field(4, field.data).numbers()
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return tuple(above / below if below else 0.0 for above, below in pairs)
