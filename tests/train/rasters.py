"""Small pairs of rasters: elevation with imagery, and radar of two bands with pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from tests.end_to_end.command import picture

GAP = -9999.0
SIDE = 48


def write_raster(
    path: Path, pixels: np.ndarray, names: tuple[str, ...] = (), nodata: float | None = None
) -> Path:
    """``(H, W, C)`` as a GeoTIFF that lies somewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype,
        crs="EPSG:32632", transform=from_origin(500_000, 5_000_000, 10, 10), nodata=nodata,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
    return path


def soft(seed: int, bands: int, side: int = SIDE) -> np.ndarray:
    """``float64 (side, side, bands)`` in [0, 1], smooth and of contrast."""
    planes = [np.asarray(picture(side, side, 7 * seed + k), float) for k in range(bands)]
    return np.stack([plane.mean(axis=2) / 255 for plane in planes], axis=2)


def make_elevation_pairs(data: Path, count: int = 4) -> Path:
    """One band of 16 bits, 0 to 4,000 m in tenths, and 8-bit imagery."""
    for seed in range(count):
        height = np.rint(soft(seed, 1) * 40_000).astype(np.uint16)
        write_raster(data / "A" / f"{seed}.tif", height, ("elevation",))
        (data / "B").mkdir(exist_ok=True)
        picture(SIDE, SIDE, seed).save(data / "B" / f"{seed}.png")
    return data


def make_radar(seed: int, gap: int = 0) -> np.ndarray:
    """``float32 (SIDE, SIDE, 2)``: intensities over four magnitudes; ``gap`` columns of none."""
    radar = (10 ** (4 * soft(seed, 2) - 4)).astype(np.float32)
    radar[:, :gap] = GAP
    return radar


def make_radar_pairs(data: Path, count: int = 4, gap: int = 5) -> Path:
    """Two bands, VV and VH, and 8-bit imagery."""
    for seed in range(count):
        write_raster(data / "A" / f"{seed}.tif", make_radar(seed, gap), ("VV", "VH"), GAP)
        (data / "B").mkdir(exist_ok=True)
        Image.fromarray(np.asarray(picture(SIDE, SIDE, seed))).save(data / "B" / f"{seed}.png")
    return data


ELEVATION = {"in_channels": 1, "input_range": {"type": "uint16", "low": 0, "high": 40_000}}
RADAR = {
    "in_channels": 2,
    "input_range": {
        "type": "float32", "nodata": GAP, "scale": "log", "percentiles": [2, 98],
        "bands": ["VV", "VH"],
    },
}  # fmt: skip
