"""Colour profiles for what image files say of their colours without one."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

SRGB = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
"""Chromaticities of white, red, green and blue: ITU-R BT.709, table 1."""

PRIMARIES = {
    1: SRGB,
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
"""By the code points of ITU-T H.273, table 2: BT.709, BT.2020, DCI-P3, Display P3."""

D50 = (0.9642, 1.0, 0.8249)
"""The profile connection space's white: ICC.1:2022, section 7.2.16."""

BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
"""ICC.1:2022, annex E.3."""

DESCRIPTION = struct.pack(">4s4xI", b"desc", 14) + b"from the file\0" + bytes(78)
"""What a profile says of itself: ICC.1:2001, section 6.5.17."""

NEAR = 0.002
"""Chromaticities that differ by less are writers' rounding."""


@dataclass(frozen=True)
class Gamma:
    """PNG's gAMA and cHRM: the samples are the light to the power of ``gamma``."""

    gamma: float
    primaries: tuple[float, ...] | None = None

    @property
    def is_usual(self) -> bool:
        """What is written for sRGB (PNG, section 11.3.2.5: 45455 and its chromaticities), which
        is not a power exactly, and taken for it."""
        near = self.primaries is None or _alike(self.primaries, SRGB)
        return abs(self.gamma - 1 / 2.2) < 0.005 and near

    def profile(self) -> bytes:
        """Make a colour profile of it. Raises :class:`ValueError` if the values are no colours."""
        if not 0.05 < self.gamma <= 5:
            raise ValueError(f"a gamma of {self.gamma:g}")
        return _profile(self.primaries or SRGB, [1 / self.gamma])


ADOBE_RGB = Gamma(256 / 563, (0.3127, 0.3290, 0.640, 0.330, 0.210, 0.710, 0.150, 0.060))
"""Adobe RGB (1998) Color Image Encoding, sections 4.3.1.1 and 4.3.1.2."""


@dataclass(frozen=True)
class Cicp:
    """PNG's cICP, by the code points of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    full_range: int

    @property
    def is_usual(self) -> bool:
        """sRGB, or of video for which no other rendering is customary."""
        usual = self.primaries in (1, 2) and self.transfer in (1, 2, 6, 13, 14, 15)
        return usual and self.matrix == 0 and self.full_range == 1

    def profile(self) -> bytes:
        """Make a colour profile of it. Raises :class:`ValueError` if its colours are beyond what 8
        bits in sRGB show."""
        powers = {4: 2.2, 5: 2.8, 8: 1.0}
        if self.primaries not in PRIMARIES or self.matrix != 0 or self.full_range != 1:
            narrow = "" if self.full_range else ", of the narrow range of video"
            raise ValueError(f"code points {self.primaries}/{self.transfer}/{self.matrix}{narrow}")
        if self.transfer in powers:
            return _profile(PRIMARIES[self.primaries], [powers[self.transfer]])
        if self.transfer in (1, 6, 13, 14, 15):
            return _profile(PRIMARIES[self.primaries], _srgb_curve())
        raise ValueError(
            f"code points {self.primaries}/{self.transfer}/{self.matrix}, such as those of HDR"
        )


def _alike(first: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < NEAR for a, b in zip(first, other, strict=True))


def _srgb_curve() -> list[float]:
    """IEC 61966-2-1, from 0 to 1 in 1024 steps."""
    x = np.linspace(0, 1, 1024)
    return list(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4))


def _profile(primaries: tuple[float, ...], curve: list[float]) -> bytes:
    """A matrix and curve profile (ICC.1:2001-04, version 2.1) for RGB.

    ``curve``: one exponent, or the light of evenly spaced samples.
    """
    colorants = _colorants(primaries)
    if len(curve) == 1:
        tone = struct.pack(">4s4xIH", b"curv", 1, min(round(curve[0] * 256), 0xFFFF))
    else:
        values = [min(round(value * 65535), 65535) for value in curve]
        tone = struct.pack(f">4s4xI{len(values)}H", b"curv", len(values), *values)
    tags = {b"desc": DESCRIPTION, b"cprt": b"text\0\0\0\0none\0"}
    tags[b"wtpt"] = _xyz(D50)
    for primary, column in zip(b"rgb", colorants.T, strict=True):
        tags[b"%cXYZ" % primary] = _xyz(column)
        tags[b"%cTRC" % primary] = tone
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    size = start + len(body)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", size, 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    ).ljust(68, b"\0")
    head += struct.pack(">iii", *(round(value * 65536) for value in D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _colorants(primaries: tuple[float, ...]) -> np.ndarray:
    """The light of each primary, ``(3, 3)``, adapted to D50. Raises :class:`ValueError`."""
    points = np.asarray(primaries, float).reshape(4, 2)
    if (points[:, 1] <= 0).any():
        raise ValueError("chromaticities that are no colours")
    light = np.stack(
        [
            points[:, 0] / points[:, 1],
            np.ones(4),
            (1 - points.sum(axis=1)) / points[:, 1],
        ]
    )
    white, columns = light[:, 0], light[:, 1:]
    try:
        colorants = columns * np.linalg.solve(columns, white)
    except np.linalg.LinAlgError as error:
        raise ValueError("chromaticities that span no colours") from error
    adapted = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.asarray(np.linalg.inv(BRADFORD) @ adapted @ BRADFORD @ colorants)


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return struct.pack(">4s4xiii", b"XYZ ", *(round(float(value) * 65536) for value in values))
