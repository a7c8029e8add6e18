"""The formats that outputs are written in. A new one is an entry of :data:`OUTPUT_FORMATS`.

The options, the names of outputs, what is written beside them and what is said of tile sets follow
from the entry. Imports neither NumPy nor Pillow before an image is
written, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.metadata.tiff import Fields, add_fields, xmp_field

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from pix2pix_batch.imaging.raster.profile import RasterExtras

DEFAULT_QUALITY = 90

# Level 1 with run-length matching: a quarter of the default level's time and about its size on
# photographs (benchmarks/convert.py).
PNG_FAST = {"compress_level": 1, "compress_type": 3}


@dataclass(frozen=True)
class Extras:
    """What an encoder is told besides the pixels.

    Attributes:
        quality: 1 to 100.
        exif: A block of EXIF, for formats other than TIFF.
        fields: Fields for the directory of a TIFF file.
        xmp: A packet of XMP.
        raster: Of what is written as a raster; the alpha of that says where there is data.
        iptc: Records of IPTC, of which JPEG's encoder makes a segment.
    """

    quality: int = DEFAULT_QUALITY
    exif: bytes = b""
    fields: Fields = field(default_factory=dict)
    xmp: bytes = b""
    raster: RasterExtras | None = None
    iptc: bytes = b""


Encoder = Callable[["np.ndarray", "np.ndarray | None", Extras], bytes]
"""Makes a file of pixels, ``uint8 (H, W, C)`` with 1, 3 or 4 channels, and of alpha, ``uint8
(H, W)``, beside 1 or 3 of them; where it holds rasters, of any bands and types."""


# All that the program asks of a format is here, so that a new one is one entry.
@dataclass(frozen=True)
class OutputFormat:
    """A format of output files.

    Attributes:
        suffix: The suffix of its files.
        mime: Its media type.
        inputs: The suffixes of inputs that ``--format same`` converts to it.
        encode: Makes the bytes of a file.
        has_quality: Whether ``--quality`` changes the bytes.
        largest_side: The most pixels that width and height may have; ``None`` for any number.
        holds_georeference: Whether the file itself says where it lies.
        holds_metadata: Whether it has a place for EXIF and XMP; if not, a warning says that they
            are lost.
        holds_iptc: Whether it has a place for IPTC's records.
        has_world_files: Whether GDAL reads world files beside it.
        holds_rasters: Whether it holds any number of bands and any type.
        driver: GDAL's driver that writes rasters in it.
        only_rasters: Whether it is written as a raster in any case.
    """

    suffix: str
    mime: str
    inputs: tuple[str, ...]
    encode: Encoder
    has_quality: bool = False
    largest_side: int | None = None
    holds_georeference: bool = False
    holds_metadata: bool = True
    holds_iptc: bool = False
    has_world_files: bool = True
    holds_rasters: bool = False
    driver: str = ""
    only_rasters: bool = False


def _encode_png(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo() if extras.xmp else None
    if info is not None:
        info.add_itxt("XML:com.adobe.xmp", extras.xmp.decode())
    return _save(_to_image(pixels, alpha), "PNG", exif=extras.exif, pnginfo=info, **PNG_FAST)


def _encode_jpeg(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    """Drops alpha."""
    from pix2pix_batch.imaging import jpeg_encoder
    from pix2pix_batch.imaging.metadata.descriptions import jpeg_segment

    if not (extras.exif or extras.xmp or extras.iptc):
        encoded = jpeg_encoder.encode(pixels, extras.quality)
        if encoded is not None:
            return encoded
    image = _to_image(pixels, None)
    image = image.convert("RGB") if image.mode == "RGBA" else image
    return _save(
        image, "JPEG", quality=extras.quality, exif=extras.exif, xmp=extras.xmp,
        extra=jpeg_segment(extras.iptc),
    )  # fmt: skip


def _encode_webp(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    quality, image = extras.quality, _to_image(pixels, alpha)
    return _save(
        image, "WEBP", quality=quality, lossless=quality == 100, method=2, exif=extras.exif,
        xmp=extras.xmp,
    )  # fmt: skip


def _encode_tiff(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    if extras.raster is not None:
        return _encode_raster(pixels, alpha, extras, "GTiff")
    return _encode_picture_as_tiff(pixels, alpha, extras)


def _encode_picture_as_tiff(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    data = _save(_to_image(pixels, alpha), "TIFF", compression="tiff_lzw")
    return add_fields(data, {**extras.fields, **xmp_field(extras.xmp)})


def _encode_cog(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    return _encode_raster(pixels, alpha, extras, "COG")


def _encode_raster(
    pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras, driver: str
) -> bytes:
    from pix2pix_batch.imaging.raster import writing

    assert extras.raster is not None
    if extras.raster.is_picture:
        data = _encode_picture_as_tiff(pixels, alpha, extras)
        return writing.copy(data, driver, extras.raster)
    return writing.encode(pixels, None if alpha is None else alpha > 0, driver, extras.raster)


def _encode_npy(pixels: np.ndarray, alpha: np.ndarray | None, extras: Extras) -> bytes:
    from pix2pix_batch.imaging.raster import numpy_raster

    assert extras.raster is not None
    return numpy_raster.encode(pixels, None if alpha is None else alpha > 0, extras.raster)


def _to_image(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if alpha is not None and image.mode in ("L", "RGB"):
        image.putalpha(Image.fromarray(alpha))
    return image


def _save(image: Image.Image, form: str, **parameters: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **parameters)
    return buffer.getvalue()


OUTPUT_FORMATS = {
    "png": OutputFormat(".png", "image/png", (".png",), _encode_png),
    "jpg": OutputFormat(
        ".jpg", "image/jpeg", (".jpg", ".jpeg"), _encode_jpeg, has_quality=True, holds_iptc=True,
        largest_side=65_500,  # libjpeg's JPEG_MAX_DIMENSION (jmorecfg.h)
    ),
    "webp": OutputFormat(
        ".webp", "image/webp", (".webp",), _encode_webp, has_quality=True,
        largest_side=16_383,  # 14 bits in its header (RFC 9649, section 2.5)
        has_world_files=False,
    ),
    "tiff": OutputFormat(
        ".tif", "image/tiff", (".tif", ".tiff"), _encode_tiff, holds_georeference=True,
        holds_iptc=True, holds_rasters=True, driver="GTiff",
    ),
    "cog": OutputFormat(
        ".tif", "image/tiff", (), _encode_cog, holds_georeference=True,
        holds_rasters=True, driver="COG", only_rasters=True,
    ),
    "npy": OutputFormat(
        ".npy", "application/octet-stream", (".npy",), _encode_npy, holds_metadata=False,
        has_world_files=False, holds_rasters=True, only_rasters=True,
    ),
}  # fmt: skip
"""By the name that ``--format`` has for each."""

SUFFIXES = {name: form.suffix for name, form in OUTPUT_FORMATS.items()}
"""The suffix of each format's files."""

SAME = {suffix: name for name, form in OUTPUT_FORMATS.items() for suffix in form.inputs}
"""What ``--format same`` writes, by the input's suffix; anything else becomes PNG."""


def form_of(path: str | os.PathLike[str], form: str) -> str:
    """The output format for the input at ``path``: ``form``, resolved where it is ``same``."""
    if form != "same":
        return form
    return SAME.get(os.path.splitext(path)[1].lower(), "png")


def require_size(form: str, width: int, height: int) -> None:
    """Refuse a picture that is too large for a format.

    Args:
        form: A key of :data:`OUTPUT_FORMATS`.
        width: In pixels.
        height: In pixels.

    Raises:
        ImageError: No file of the format holds so large a picture.
    """
    most = OUTPUT_FORMATS[form].largest_side
    if most is not None and max(width, height) > most:
        boundless = [
            name
            for name, other in OUTPUT_FORMATS.items()
            if other.largest_side is None and not other.only_rasters
        ]
        raise ImageError(
            f"its output of {width:,}x{height:,} pixels cannot be written as {form}, which holds "
            f"{most:,} on a side; choose --format {' or '.join(boundless)}"
        )
