"""What tests try for each output format."""

from __future__ import annotations

from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS

PICTURE_FORMATS = tuple(
    name for name, one in OUTPUT_FORMATS.items() if one.holds_metadata and not one.only_rasters
)
"""Those that pictures are written in, with their metadata."""
