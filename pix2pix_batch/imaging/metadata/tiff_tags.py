"""The tags of TIFF files that tell of samples, what values they take, and what these mean."""

from __future__ import annotations

# Tags: TIFF 6.0, appendix A; ICC_PROFILE: ICC.1, annex B.4
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
ORIENTATION, SAMPLES, PLANAR, COLOUR_MAP = 274, 277, 284, 320
VOLUME = 32997
"""ImageDepth: how many planes a volume has (Silicon Graphics, as libtiff documents it)."""

INK_SET, EXTRA, FORMAT, COEFFICIENTS, SUBSAMPLING, REFERENCE = 332, 338, 339, 529, 530, 532
ICC_PROFILE = 34675
NEW_SUBFILE, SUBFILE, SUB_DIRECTORIES = 254, 255, 330
ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT = 278, 322, 323
BLOCKS = ((273, 279), (324, 325))
"""Where strips and tiles have their offsets and their lengths in bytes."""

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

OPAQUE, ASSOCIATED, UNASSOCIATED, PHOTOSHOP = 0, 1, 2, 999
"""What an extra sample is, 0 where it is not told. Photoshop writes 999, and means unassociated
alpha."""
