"""Reading and writing image files. ``docs/images.md`` says how each kind is treated."""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.kinds import formats
from pix2pix_batch.kinds import suffixes as suffixes
from pix2pix_batch.metadata.tiff import BYTE, Field, Fields, extended

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels a generator may have."""

SUFFIXES = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tif"}
"""Output formats and the suffix of their files."""

SAME = {
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""What ``--format same`` writes, by the input's suffix; anything else becomes PNG."""

DEFAULT_QUALITY = 90

# Level 1 with run-length matching: a quarter of the default level's time and about its size on
# photographs (benchmarks/convert.py).
PNG_FAST = {"compress_level": 1, "compress_type": 3}


XMP = 700  # its tag in TIFF (XMP specification, part 3, section 1.1.3)

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright."""

_opening = threading.Lock()
"""``catch_warnings`` changes the process's filters, not the thread's."""


@dataclass(frozen=True)
class Picture:
    """A decoded image: ``pixels`` is ``uint8 (H, W, C)``, ``alpha`` ``uint8 (H, W)`` or None.

    ``orientation``: EXIF's, by which it was turned upright; ``exif``: the block that the file held
    (a TIFF file is one itself).
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    orientation: int = 1
    exif: bytes = b""


def require_mode(channels: int, what: str) -> str:
    """Pillow's mode for ``channels``. Raises :class:`InputError` where there is none."""
    try:
        return MODES[channels]
    except KeyError:
        raise InputError(
            f"the model has {channels} {what} channels; images have 1 (grey), 3 (RGB) or 4 (RGBA)"
        ) from None


def read(data: bytes, channels: int) -> Picture:
    """Decode an image file for a generator of ``channels`` channels.

    The first frame, turned upright by its EXIF orientation, in sRGB, 8 bits. Alpha is kept
    apart (the colours are laid over white) unless the generator takes 4 channels. Raises
    :class:`ImageError` with the reason.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=formats())
        # Pillow turns TIFF files itself, and forgets
        turned = orientation_of(image) if image.format == "TIFF" else 1
        image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise ImageError(f"more than {limit} pixels: refused as a decompression bomb") from error
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or of a kind that Pillow cannot read") from error
    except MemoryError as error:
        raise ImageError("too large for this machine's memory") from error
    except Exception as error:  # Pillow's decoders raise what they please on damaged files
        raise ImageError(f"damaged: {error or type(error).__name__}") from error
    try:
        orientation = orientation_of(image)
        picture = _convert(_upright(image, orientation), channels)
        exif = image.info.get("exif", b"") if isinstance(image.info.get("exif"), bytes) else b""
        return replace(picture, orientation=max(turned, orientation), exif=exif)
    except MemoryError as error:
        raise ImageError("too large for this machine's memory") from error
    except (ValueError, OSError) as error:
        raise ImageError(f"cannot be converted from mode {image.mode}: {error}") from error


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) to 8."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(orientation) if orientation in UPRIGHT else 1
    except Exception:  # SyntaxError, struct.error and more: broken EXIF is ignored, as viewers do
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _convert(image: Image.Image, channels: int) -> Picture:
    image = _eight_bit(image)
    mode = require_mode(channels, "input")
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if mode == "RGBA":
        return Picture(np.asarray(_to_srgb(image, "RGBA")))
    if not has_alpha:
        pixels = np.asarray(_to_srgb(image, mode))
        return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None])
    image = _to_srgb(image, "RGBA")
    alpha = np.asarray(image.getchannel("A"))
    over = Image.new("RGBA", image.size, "white")
    over.alpha_composite(image)
    pixels = np.asarray(over.convert(mode))
    opaque = bool((alpha == 255).all())
    return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None], None if opaque else alpha)


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by its high byte, as for colour; other deep images are refused."""
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        return _like(image, Image.fromarray(high.astype(np.uint8)))
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError(
                "32-bit integer pixels beyond 16 bits: no defined white; scale them first"
            )
        return _like(image, Image.fromarray((values >> 8).astype(np.uint8)))
    if image.mode == "F":
        raise ImageError(
            "floating-point pixels: no defined white; scale them to 8 or 16 bits first"
        )
    return image


def _like(original: Image.Image, image: Image.Image) -> Image.Image:
    if profile := original.info.get("icc_profile"):
        image.info["icc_profile"] = profile
    return image


def _to_srgb(image: Image.Image, mode: str) -> Image.Image:
    """To ``mode`` in sRGB; a profile that cannot be used is ignored, as viewers do."""
    profile = image.info.get("icc_profile")
    if "transparency" in image.info:  # the conversion of colours would lose it
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        target = image.mode if image.mode in ("RGB", "RGBA") else "RGB"
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if not _is_srgb(source):
                converted = ImageCms.profileToProfile(
                    image, source, ImageCms.createProfile("sRGB"), outputMode=target
                )
                image = converted if converted is not None else image
        except (ImageCms.PyCMSError, OSError):
            pass
    return image if image.mode == mode else image.convert(mode)


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    return "srgb" in ImageCms.getProfileDescription(profile).lower()


def write(
    picture: Picture,
    form: str,
    quality: int | None = None,
    exif: bytes = b"",
    fields: Fields | None = None,
    origin: bytes = b"",
) -> bytes:
    """Encode as ``form`` (a key of :data:`SUFFIXES`). JPEG drops alpha.

    ``exif``: a block for formats other than TIFF; ``fields``: for the directory of TIFF;
    ``origin``: XMP.
    """
    pixels = picture.pixels[:, :, 0] if picture.pixels.shape[2] == 1 else picture.pixels
    image = Image.fromarray(pixels)
    if form == "jpg":
        image = image.convert("RGB") if image.mode == "RGBA" else image
    elif picture.alpha is not None and image.mode in ("L", "RGB"):
        image.putalpha(Image.fromarray(picture.alpha))
    quality = DEFAULT_QUALITY if quality is None else quality
    buffer = io.BytesIO()
    if form == "png":
        image.save(buffer, "PNG", exif=exif, pnginfo=_text(origin), **PNG_FAST)
    elif form == "jpg":
        image.save(buffer, "JPEG", quality=quality, exif=exif, xmp=origin)
    elif form == "webp":
        lossless = quality == 100
        image.save(
            buffer, "WEBP", quality=quality, lossless=lossless, method=2, exif=exif, xmp=origin
        )
    else:
        image.save(buffer, "TIFF", compression="tiff_lzw")
        return extended(buffer.getvalue(), _with_xmp(fields or {}, origin))
    return buffer.getvalue()


def _text(xmp: bytes) -> PngInfo | None:
    if not xmp:
        return None
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return info


def _with_xmp(fields: Fields, xmp: bytes) -> Fields:
    return {**fields, XMP: Field(BYTE, xmp)} if xmp else fields


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two images of one size, ``uint8 (H, W, C)``, next to each other; grey becomes RGB where one
    has colours, and what has no alpha is opaque where the other has."""
    channels = max(left.shape[2], right.shape[2])
    return np.concatenate([_widened(left, channels), _widened(right, channels)], axis=1)


def _widened(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels > 1 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if channels > pixels.shape[2]:
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


def form_of(path: Path | str, form: str) -> str:
    """The output format for the input at ``path``: ``form``, resolved where it is ``same``."""
    return SAME.get(Path(path).suffix.lower(), "png") if form == "same" else form
