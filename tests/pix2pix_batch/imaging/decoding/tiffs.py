"""TIFF files of every kind, written by tifffile, with what each shows."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tifffile

HEIGHT, WIDTH = 19, 37
COLOURS = {
    "minisblack": 1,
    "miniswhite": 1,
    "rgb": 3,
    "separated": 4,
    "palette": 1,
    "cielab": 3,
    "icclab": 3,
    "ycbcr": 3,
}
LOSSY = ("jpeg", "webp")
PLAIN = ("none", "lzw", "zlib", "packbits", "lzma", "zstd", "lerc")
PREDICTED = ("lzw", "zlib", "lzma", "zstd")
WRONGLY_WRITTEN = ("jpeg2000", "png")
"""Compressions that tifffile 2026.3 writes wrongly in big-endian files: it does not read back what
it was given. The same is true of samples that are packed."""


@dataclass(frozen=True)
class Kind:
    bits: int
    photometric: str
    planar: str = "contig"
    extra: tuple[str, ...] = ()
    compression: str = "none"
    predicted: bool = False
    order: str = "<"
    tile: tuple[int, int] | None = None

    @property
    def samples(self) -> int:
        return COLOURS[self.photometric] + len(self.extra)


def kinds() -> Iterator[Kind]:
    """All that there are, possible or not."""
    for bits, photometric, extra, compression, order in itertools.product(
        (1, 2, 4, 8, 12, 16),
        COLOURS,
        ((), ("unspecified",), ("assocalpha",), ("unassalpha",)),
        (*PLAIN, *LOSSY, *WRONGLY_WRITTEN),
        "<>",
    ):
        for planar, predicted, tile in itertools.product(
            ("contig", "separate"), (False, True), (None, (16, 16))
        ):
            kind = Kind(bits, photometric, planar, extra, compression, predicted, order, tile)
            if planar == "separate" and kind.samples == 1:
                continue
            if predicted and compression not in PREDICTED:
                continue
            yield kind


def ramps(count: int, largest: int, seed: int) -> np.ndarray:
    """Smooth, for lossy compressions, from 0 to the largest value."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        slope = random.uniform(-1, 1, 2)
        plane = slope[0] * x / WIDTH + slope[1] * y / HEIGHT
        found.append((plane - plane.min()) / (np.ptp(plane) or 1))
    return np.round(np.stack(found, axis=2) * largest)


@dataclass(frozen=True)
class Made:
    """``colours``: what the file shows, float ``(H, W, 3)`` in 0..255; ``alpha``: ``(H, W)``."""

    data: bytes
    colours: np.ndarray
    alpha: np.ndarray | None


def make(kind: Kind, seed: int = 0) -> Made | None:
    """``None`` where tifffile writes no such file."""
    largest = 2**kind.bits - 1
    samples = ramps(kind.samples, largest, seed)
    options: dict[str, object] = {}
    if kind.photometric == "palette":
        if kind.bits > 8:
            return None
        random = np.random.default_rng(seed)
        options["colormap"] = random.integers(0, 65536, (3, 2**kind.bits)).astype(np.uint16)
    if kind.bits not in (8, 16):
        options["bitspersample"] = kind.bits
    stored = samples.astype(np.uint8 if kind.bits <= 8 else np.uint16)
    if kind.samples == 1:
        stored = stored[:, :, 0]
    elif kind.planar == "separate":
        stored = stored.transpose(2, 0, 1)
    buffer = io.BytesIO()
    try:
        tifffile.imwrite(
            buffer,
            np.ascontiguousarray(stored),
            photometric=kind.photometric,
            planarconfig=kind.planar if kind.samples > 1 else None,
            extrasamples=kind.extra or None,
            compression=None if kind.compression == "none" else kind.compression,
            predictor=2 if kind.predicted else None,
            byteorder=kind.order,
            tile=kind.tile,
            rowsperstrip=None if kind.tile else 8,
            metadata=None,
            **options,
        )
    except Exception:  # of all kinds, for what cannot be
        return None
    eight = samples * 255 / largest
    colours, alpha = _shown(kind, samples, eight, options.get("colormap"))
    return Made(buffer.getvalue(), colours, alpha)


def _shown(
    kind: Kind, samples: np.ndarray, eight: np.ndarray, table: object
) -> tuple[np.ndarray, np.ndarray | None]:
    """TIFF 6.0, sections 4 to 6, 16, 18, 21 and 23."""
    if kind.photometric == "palette":
        assert isinstance(table, np.ndarray)
        colours = (table[:, samples[:, :, 0].astype(int)] / 257).transpose(1, 2, 0)
    elif kind.photometric == "minisblack":
        colours = eight[:, :, :1].repeat(3, axis=2)
    elif kind.photometric == "miniswhite":
        colours = 255 - eight[:, :, :1].repeat(3, axis=2)
    elif kind.photometric == "separated":
        colours = (255 - eight[:, :, :3]) * (255 - eight[:, :, 3:4]) / 255
    elif kind.photometric == "ycbcr":
        y, cb, cr = eight[:, :, 0], eight[:, :, 1] - 128, eight[:, :, 2] - 128
        colours = np.stack([y + 1.402 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.772 * cb], axis=2)
        colours = colours.clip(0, 255)
    elif kind.photometric in ("cielab", "icclab"):
        colours = srgb_of_lab(*_lab(kind, samples))
    else:
        colours = eight[:, :, :3]
    if kind.extra in ((), ("unspecified",)):
        return colours, None
    alpha = eight[:, :, -1]
    if kind.extra == ("assocalpha",):
        share = np.maximum(alpha, 1e-9)[:, :, None] / 255
        colours = np.minimum(colours / share, 255)
    return colours, alpha


def _lab(kind: Kind, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """TIFF 6.0, section 23; of ICC L*a*b*, Adobe's Photoshop technical notes."""
    lightness, *others = (samples[:, :, band] for band in range(3))
    unit = 256 if kind.bits == 16 else 1
    if kind.photometric == "cielab":
        signed = [((band + 128 * unit) % (256 * unit) - 128 * unit) / unit for band in others]
        whole = 65535 if kind.bits == 16 else 255
    else:
        signed = [band / unit - 128 for band in others]
        whole = 65280 if kind.bits == 16 else 255
    return lightness * 100 / whole, signed[0], signed[1]


def srgb_of_lab(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NaN for colours that sRGB does not hold.

    CIE 15 under D50, then by Lindbloom's Bradford-adapted matrix for sRGB.
    """
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (116 * f - 16) * 27 / 24389) * [0.9642, 1.0, 0.8249]
    matrix = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    light = xyz @ matrix.T
    light[((light < 0.01) | (light > 0.99)).any(axis=-1)] = np.nan  # where sRGB has no such colour
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
