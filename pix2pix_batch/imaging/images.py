"""Reading and writing image files. ``docs/images.md`` says how each kind is treated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.decoding import profiles
from pix2pix_batch.imaging.decoding.decode import decode, describe_failure, to_eight_bits
from pix2pix_batch.imaging.decoding.decoded import Decoded
from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.imaging.decoding.orientation import UPRIGHT, orientation_of
from pix2pix_batch.imaging.decoding.primaries import Cicp
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.kinds import suffixes as suffixes
from pix2pix_batch.imaging.metadata.tiff import Fields
from pix2pix_batch.imaging.output_formats import DEFAULT_QUALITY, OUTPUT_FORMATS, Extras
from pix2pix_batch.imaging.raster.profile import RasterExtras, RasterProfile
from pix2pix_batch.memory_limit import explain_too_large

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels a generator may have."""


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        pixels: ``(H, W, C)``, ``uint8`` unless it is a raster.
        alpha: ``uint8 (H, W)``, or ``None`` if all is opaque. Of a raster it is 0 where there is no
            data.
        orientation: EXIF's orientation, by which it was turned upright.
        exif: The block of EXIF that the file held; empty for TIFF, which is one itself.
        warnings: What was wrong with the file, which was read all the same.
        profile: What the file of a raster says beside its samples; ``None`` for pictures.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    orientation: int = 1
    exif: bytes = b""
    warnings: tuple[str, ...] = ()
    profile: RasterProfile | None = None


def require_mode(channels: int, what: str) -> str:
    """Pillow's mode for ``channels``. Raises :class:`InputError` where there is none."""
    try:
        return MODES[channels]
    except KeyError:
        raise InputError(
            f"the model has {channels} {what} channels; images have 1 (grey), 3 (RGB) or 4 (RGBA)"
        ) from None


def read(data: bytes, channels: int | None, tolerance: Tolerance = USUAL) -> Picture:
    """Decode an image file: its first picture, turned upright, in sRGB, with 8 bits.

    Args:
        data: The bytes of the file.
        channels: Of the generator: 1 for grey, 3 for RGB with the colours laid over white, 4 for
            RGBA. ``None`` for the picture's own number: 4 with transparency, 1 for grey, else 3.
        tolerance: What is made of damaged and of large files.

    Returns:
        A :class:`Picture` whose ``pixels`` are ``uint8 (H, W, channels)``. Transparency is in
        ``alpha``, unless there are 4 channels.

    Raises:
        ImageError: The file cannot be read; says why.
    """
    decoded = decode(data, tolerance)
    pixels, remarks = decoded.pixels, list(decoded.warnings)
    if decoded.image is None and pixels is not None:
        channels = pixels.shape[2] if channels is None else channels
        if _is_enough(pixels, channels):
            return Picture(_match_channels(pixels, channels), warnings=tuple(remarks))
    image = decoded.whole() if decoded.image is None else decoded.image
    channels = _own_channels(image) if channels is None else channels
    try:
        orientation = orientation_of(image) if decoded.turned is None else 1
        exif = exif_of(image)
        if pixels is not None and orientation == 1 and _is_ready(pixels, image, channels):
            return Picture(_match_channels(pixels, channels), exif=exif, warnings=tuple(remarks))
        image, remark = _to_srgb(to_eight_bits(decoded.whole()), decoded)
        picture = _convert(turn_upright(image, orientation), channels)
    except MemoryError as error:
        raise ImageError(explain_too_large()) from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's conversions raise what they please
        said = describe_failure(error)
        raise ImageError(f"cannot be converted from mode {image.mode}: {said}") from error
    if remark:
        remarks.append(remark)
        if tolerance.strict:
            raise ImageError(f"{remark}: refused by --strict")
    return replace(
        picture,
        orientation=decoded.turned or orientation,
        exif=exif,
        warnings=tuple(remarks),
    )


def read_size(path: Path | str) -> tuple[int, int] | None:
    """Height and width of the image at ``path`` as its header has them; ``None`` where that cannot
    be read, for whatever reason."""
    try:
        with open_quietly(path) as image:
            return image.height, image.width
    except Exception:  # decoders raise what they please
        return None


def _own_channels(image: Image.Image) -> int:
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return 4
    return 1 if image.mode.split(";")[0] in ("1", "L", "I") else 3


def _is_ready(pixels: np.ndarray, image: Image.Image, channels: int) -> bool:
    """Whether an image's samples need no more than to be repeated for ``channels`` channels."""
    profile = image.info.get("icc_profile")
    return _is_enough(pixels, channels) and profiles.is_srgb(profile, image.mode)


def _is_enough(pixels: np.ndarray, channels: int) -> bool:
    return (pixels.shape[2], channels) in ((1, 1), (3, 3), (1, 3))


def _match_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if pixels.shape[2] == channels:
        return pixels
    return np.concatenate([pixels] * channels, axis=2)  # several times faster than repeat


def exif_of(image: Image.Image) -> bytes:
    """The block of EXIF that an image's file held; empty if none."""
    block = image.info.get("exif")
    return block if isinstance(block, bytes) else b""


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image of that EXIF orientation, upright."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_srgb(image: Image.Image, decoded: Decoded) -> tuple[Image.Image, str]:
    """The image in sRGB, grey, RGB or these with alpha, and a warning of colours not understood.

    What a file says without a profile counts where it has none, except for cICP, which goes
    before one (PNG, section 4.3).
    """
    profile, meaning = image.info.get("icc_profile"), decoded.meaning
    if "transparency" in image.info:  # the conversion of colours would lose it
        image = image.convert("RGBA")
    elif image.mode in ("P", "PA", "La", "RGBa", "YCbCr"):
        image = image.convert(PLAIN.get(image.mode, "RGB"))
    remark = ""
    if meaning is not None and (isinstance(meaning, Cicp) or not profile):
        try:
            profile = None if meaning.is_usual else meaning.profile()
        except ValueError as error:
            profile, remark = None, f"its colours are taken for sRGB, not understood: {error}"
    if image.mode == "LAB":
        return profiles.lab_to_srgb(image), remark
    if profile:
        if meaning is not None and image.mode in ("1", "L", "LA"):
            image = image.convert("RGBA" if image.mode == "LA" else "RGB")
        image, remark = profiles.to_srgb(image, profile, decoded.read_deep)
    return image, remark


PLAIN = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
"""What modes become that are worked with in another; the rest RGB."""


def _convert(image: Image.Image, channels: int) -> Picture:
    mode = require_mode(channels, "input")
    if mode == "RGBA":
        return Picture(np.asarray(_convert_mode(image, "RGBA")))
    if image.mode not in ("LA", "RGBA"):
        pixels = np.asarray(_convert_mode(image, mode))
        return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None])
    image = _convert_mode(image, "RGBA")
    alpha = np.asarray(image.getchannel("A"))
    over = Image.new("RGBA", image.size, "white")
    over.alpha_composite(image)
    pixels = np.asarray(over.convert(mode))
    opaque = bool((alpha == 255).all())
    return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None], None if opaque else alpha)


def _convert_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def write(
    picture: Picture,
    form: str,
    quality: int | None = None,
    exif: bytes = b"",
    fields: Fields | None = None,
    xmp: bytes = b"",
    raster: RasterExtras | None = None,
    iptc: bytes = b"",
) -> bytes:
    """Encode a picture or raster. JPEG drops alpha.

    Args:
        picture: What is encoded.
        form: A key of :data:`OUTPUT_FORMATS`.
        quality: 1 to 100, for JPEG and WebP; ``None`` for the usual one.
        exif: A block of EXIF, for formats other than TIFF.
        fields: Fields for the directory of a TIFF file.
        xmp: A packet of XMP.
        raster: What a raster's file says beside the pixels; ``None`` to write a picture.
        iptc: Records of IPTC, for JPEG.

    Returns:
        The bytes of the file.
    """
    quality = DEFAULT_QUALITY if quality is None else quality
    extras = Extras(quality, exif, fields or {}, xmp, raster, iptc)
    return OUTPUT_FORMATS[form].encode(picture.pixels, picture.alpha, extras)


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two images of one size, ``uint8 (H, W, C)``, next to each other; grey becomes RGB where one
    has colours, and what has no alpha is opaque where the other has."""
    channels = max(left.shape[2], right.shape[2])
    return np.concatenate(
        [_repeat_channels(left, channels), _repeat_channels(right, channels)], axis=1
    )


def _repeat_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels > 1 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if channels > pixels.shape[2]:
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels
