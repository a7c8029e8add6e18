"""What layouts and formats do not hold of a dataset's rasters."""

from __future__ import annotations

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS

HELD_TOGETHER = "side-by-side"


def require_layout(info: BundleInfo, layout: str, form: str, input_noise: float) -> None:
    """Raises :class:`InputError` for what a layout or a format does not hold of the bundle's
    rasters."""
    rasters = info.raster_sides
    if OUTPUT_FORMATS[form].only_rasters and "output" not in rasters:
        raise InputError(
            f"--format {form}: {info.name} makes pictures; use --format png, jpg, webp or tiff"
        )
    if not rasters:
        return
    told = " and ".join(
        f"{word}s of {side.channels} x {side.dtype}" for word, side in rasters.items()
    )
    if layout == HELD_TOGETHER:
        raise InputError(
            f"--layout {layout} holds pictures, both sides in one, and {info.name} has {told}; use "
            "--layout a-b, webdataset or parquet"
        )
    if layout == "imagefolder" and form == "npy":
        raise InputError(
            f"--layout {layout}: its readers see no .npy, and {info.name} has {told}; use --format "
            "tiff, or --layout a-b, webdataset or parquet"
        )
    if input_noise and "input" in rasters:
        raise InputError(
            f"--input-noise is in levels of 255, and {info.name} has {told}; use --noise-blocks"
        )
