"""What a TIFF file says of its samples."""

from __future__ import annotations

from dataclasses import dataclass

from pix2pix_batch.imaging.metadata.tiff import Field, Tiff

# Tags: TIFF 6.0, appendix A; ICC_PROFILE: ICC.1, annex B.4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
ORIENTATION, SAMPLES, PLANAR, COLOUR_MAP = 274, 277, 284, 320
VOLUME = 32997
"""ImageDepth: how many planes a volume has (Silicon Graphics, as libtiff documents it)."""

INK_SET, EXTRA, FORMAT, COEFFICIENTS, SUBSAMPLING, REFERENCE = 332, 338, 339, 529, 530, 532
ICC_PROFILE = 34675
NEW_SUBFILE, SUBFILE, SUB_DIRECTORIES = 254, 255, 330
STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES = 273, 279, 324, 325
WANTED = frozenset({
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, ORIENTATION, SAMPLES, PLANAR,
    COLOUR_MAP, VOLUME, INK_SET, EXTRA, FORMAT, COEFFICIENTS, SUBSAMPLING, REFERENCE,
    ICC_PROFILE,
})  # fmt: skip

PREDICTOR = 317
DECIDING = {
    BITS: "bits of a sample",
    COMPRESSION: "compression",
    PHOTOMETRIC: "photometric interpretation",
    FILL_ORDER: "order of bits",
    SAMPLES: "samples of a pixel",
    PLANAR: "planes",
    PREDICTOR: "predictor",
    FORMAT: "format of samples",
}
"""Tags without which the samples have another value, by what they tell."""

UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9

COLOURS = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    CMYK: 4,
    YCBCR: 3,
    CIELAB: 3,
    ICCLAB: 3,
}
"""How many samples of a pixel are its colour, by photometric interpretation."""

INTERPRETATIONS = {
    WHITE_IS_ZERO: "grey with white as zero",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    4: "transparency mask",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    CIELAB: "CIE L*a*b*",
    ICCLAB: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array (camera raw)",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear camera raw",
    51177: "depth map",
}

COMPRESSIONS = {
    1: "none",
    2: "CCITT RLE",
    3: "CCITT group 3",
    4: "CCITT group 4",
    5: "LZW",
    6: "JPEG of the old style",
    7: "JPEG",
    8: "Deflate",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT RLE",
    32771: "CCITT RLE",
    32773: "PackBits",
    32809: "ThunderScan",
    32946: "Deflate",
    33003: "JPEG 2000 of Aperio (YCbCr)",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34925: "LZMA",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

MOST_THUMBNAILS = 64
"""Directories looked at for the picture itself: a file may lead round in a circle."""

OPAQUE, ASSOCIATED, UNASSOCIATED, PHOTOSHOP = 0, 1, 2, 999
"""What an extra sample is, 0 where it is not told. Photoshop writes 999, and means unassociated
alpha."""


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
            if kind in (ASSOCIATED, UNASSOCIATED, PHOTOSHOP):
                return index
        return None

    @property
    def compressed_by(self) -> str:
        return COMPRESSIONS.get(self.compression, f"compression {self.compression}")

    @property
    def interpretation(self) -> str:
        if self.photometric is None:
            return "untold colours"
        return INTERPRETATIONS.get(
            self.photometric, f"photometric interpretation {self.photometric}"
        )


def find_lost_tag(data: bytes) -> str:
    """What a tag of the first picture tells without a value that can be read; else nothing."""
    lost = Tiff(data).find_lost(DECIDING)
    return DECIDING[lost[0]] if lost else ""


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
            if SUB_DIRECTORIES in tiff.directory({SUB_DIRECTORIES}):
                raise ValueError("holds a thumbnail, and the picture apart, as cameras' raw files")
            return data
    return tiff.beginning_at(at) if seen else data


def _is_beside(tiff: Tiff, at: int) -> bool:
    """Whether a directory is a smaller copy (bit 0) or a mask (bit 2) of another picture."""
    fields = tiff.directory({NEW_SUBFILE, SUBFILE}, at)
    return bool(_first(fields, NEW_SUBFILE, 0) & 0b101) or _first(fields, SUBFILE, 1) == 2


def read_layout(data: bytes) -> Layout:
    """Read what a TIFF file says of its samples. Raises :class:`ValueError` if it has no directory
    with a size."""
    tiff = Tiff(data)
    fields = tiff.directory(WANTED, limit=max(len(data), 1))
    width, height = _first(fields, WIDTH, 0), _first(fields, HEIGHT, 0)
    if not width or not height:
        raise ValueError("its directory is missing, or says no size")
    compression = _first(fields, COMPRESSION, 1)
    photometric = _first(fields, PHOTOMETRIC, -1)
    if photometric < 0:
        # What is compressed for faxes has white as zero, and JPEG of the old style is YCbCr.
        photometric = {2: 0, 3: 0, 4: 0, 6: YCBCR}.get(compression, -1)
    colours = COLOURS.get(photometric, 1)
    samples = _first(fields, SAMPLES, colours if compression in (6, 7) else 1)
    if not 0 < samples <= 0xFFFF:
        raise ValueError(f"{samples} samples a pixel")
    if photometric == YCBCR and samples == 1:  # grey JPEG data under the wrong name
        photometric, colours = BLACK_IS_ZERO, 1
    extra = _whole(fields, EXTRA)
    untold = samples > colours and len(extra) < samples - colours
    if untold:
        extra = (extra + (OPAQUE,) * samples)[: samples - colours]
    profile = fields.get(ICC_PROFILE)
    return Layout(
        width=width,
        height=height,
        bits=_each(_whole(fields, BITS) or (8 if compression in (6, 7) else 1,), samples),
        formats=_each(_known_formats(fields) or (UNSIGNED,), samples),
        photometric=None if photometric < 0 else photometric,
        samples=samples,
        extra=extra[: max(samples - colours, 0)],
        untold=untold,
        planar=_first(fields, PLANAR, 1) == 2 and samples > 1,
        compression=compression,
        reversed_bits=_first(fields, FILL_ORDER, 1) == 2,
        little=tiff.order == "<",
        orientation=_first(fields, ORIENTATION, 1),
        subsampling=_whole(fields, SUBSAMPLING) or (2, 2),
        coefficients=_ratios(fields.get(COEFFICIENTS)),
        reference=_ratios(fields.get(REFERENCE)),
        ink_set=_first(fields, INK_SET, 1),
        colour_map=_whole(fields, COLOUR_MAP),
        profile=profile.data if profile else b"",
        planes=_first(fields, VOLUME, 1),
    )


def read_orientation(data: bytes) -> int:
    """The first picture's, as the tag says it in whole numbers of any type."""
    return _first(Tiff(data).directory({ORIENTATION}), ORIENTATION, 1)


def read_profile(data: bytes) -> bytes:
    """The first picture's colour profile, whatever the type of its tag."""
    profile = Tiff(data).directory({ICC_PROFILE}, limit=len(data)).get(ICC_PROFILE)
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
    return tuple(UNSIGNED if kind == UNDEFINED else kind for kind in _whole(fields, FORMAT))


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
