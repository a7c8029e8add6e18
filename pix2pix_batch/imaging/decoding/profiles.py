"""Colour profiles (ICC): what they do, rather than what they are called."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

UNNOTICED = 1
"""Levels of 255 by which a profile may move colours and be passed over: sRGB's makers round its
numbers in different ways."""

STEEP = 2
"""Levels of sRGB from one of 8 bits to the next, beyond which the 16 bits that a file has count."""

COARSE = (
    "its 16 bits of linear light were taken for 8: dark colours are levels off; store it in sRGB"
)

SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""The colour space that a profile for each of Pillow's modes has."""

CLASSES = ("scnr", "mntr", "prtr", "spac")
"""Profiles of devices and colour spaces; links, abstract ones and named colours are no meaning of
samples."""


class GreyTable:
    """What a transform makes of each grey: LittleCMS samples a curve at 33 points only, which is
    levels off where it is steep, unless told not to, when it is slow."""

    def __init__(self, transform: ImageCms.ImageCmsTransform) -> None:
        self.bands = np.asarray(transform.apply(_swatches("L")))[0].T.tolist()

    def apply(self, image: Image.Image) -> Image.Image:
        return Image.merge("RGB", [image.point(band) for band in self.bands])


Transform = ImageCms.ImageCmsTransform | GreyTable


class UnusableProfile(Exception):
    """A profile that says nothing of the image's samples."""


def to_srgb(
    image: Image.Image,
    profile: bytes,
    read_deep: Callable[[], np.ndarray | None] | None = None,
) -> tuple[Image.Image, str]:
    """Convert a picture to sRGB by its colour profile.

    Args:
        image: A picture of any mode. Its alpha is kept.
        profile: An ICC profile.
        read_deep: Reads the colours at 16 bits, ``uint16 (H, W, C)``. It is called if 8 bits are
            too coarse for the profile, as for linear light.

    Returns:
        The picture and a warning, which is empty if all is well. If the profile cannot be used, the
        picture is ``image`` itself.
    """
    alpha = None
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
    colours = _drop_alpha(image)
    try:
        transform = _transform(profile, colours.mode)
    except UnusableProfile as error:
        return image, f"its colour profile is left out: {error}"
    if transform is None:
        return image, ""
    coarse = read_deep is not None and _is_steep(transform, colours.mode)
    samples = read_deep() if read_deep is not None and coarse else None
    try:
        converted = transform.apply(colours) if samples is None else _apply_deep(transform, samples)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return image, f"its colour profile is left out: {error}"
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, COARSE if coarse and samples is None else ""


def _is_steep(transform: Transform, mode: str) -> bool:
    """Whether greys that are neighbours with 8 bits are some levels of sRGB apart."""
    greys = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode not in ("L", "RGB"):
        return False
    converted = np.asarray(transform.apply(greys.convert(mode))).astype(int)
    return int(np.abs(np.diff(converted, axis=1)).max()) > STEEP


def _apply_deep(transform: Transform, samples: np.ndarray) -> Image.Image:
    """Colours of 16 bits, ``uint16 (H, W, C)``, through a transform that is one of 8 bits: between
    a colour and the next of each channel, in a straight line.

    The curve of sRGB begins with one, as far as four fifths of the first step (IEC 61966-2-1).
    """
    is_grey = isinstance(transform, GreyTable)
    if not is_grey and samples.shape[2] == 1:
        samples = samples.repeat(3, axis=2)

    def convert(levels: np.ndarray) -> np.ndarray:
        image = Image.fromarray(np.ascontiguousarray(levels[:, :, 0] if is_grey else levels))
        return np.asarray(transform.apply(image)).astype(np.float32)

    levels, rest = np.divmod(samples, np.uint16(257))
    lower = levels.astype(np.uint8)
    ground = convert(lower)
    converted = ground.copy()
    for channel in range(samples.shape[2]):
        upper = lower.copy()
        upper[:, :, channel] += lower[:, :, channel] < 255
        share = rest[:, :, channel, None].astype(np.float32) / 257
        converted += (convert(upper) - ground) * share
    return Image.fromarray(np.clip(np.rint(converted), 0, 255).astype(np.uint8))


def is_srgb(profile: bytes | None, mode: str) -> bool:
    """Whether the samples of an image of ``mode`` are sRGB as they are."""
    if not profile:
        return True
    try:
        return _transform(profile, mode) is None
    except UnusableProfile:
        return False


def _drop_alpha(image: Image.Image) -> Image.Image:
    if image.mode == "LA":
        return image.getchannel("L")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("RGBA", "YCbCr", "RGBX", "HSV"):
        return image.convert("RGB")
    return image


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> Transform | None:
    """What turns samples of ``mode`` into sRGB; ``None`` where it would change nothing.

    Raises :class:`UnusableProfile`.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        kind = source.profile.device_class.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, AttributeError) as error:
        raise UnusableProfile("it is damaged") from error
    if kind not in CLASSES:
        raise UnusableProfile(f"it is no profile of samples but of class {kind!r}")
    if space != SPACES.get(mode):
        if mode == "L" and space == "RGB" and is_srgb(profile, "RGB"):
            return None  # grey in sRGB, as many programs label it
        raise UnusableProfile(f"it is for {space}, the image is {SPACES.get(mode, mode)}")
    try:
        built = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE,
        )
        found: Transform = GreyTable(built) if mode == "L" else built
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise UnusableProfile(f"it is damaged ({error})") from error
    return None if mode in ("L", "RGB") and _does_nothing(found, mode) else found


def _does_nothing(transform: Transform, mode: str) -> bool:
    colours = _swatches(mode)
    converted = np.asarray(transform.apply(colours)).astype(int)
    before = np.asarray(colours.convert("RGB")).astype(int)
    return int(np.abs(converted - before).max()) <= UNNOTICED


def _swatches(mode: str) -> Image.Image:
    """All greys, and of RGB a grid of 9 levels a channel."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    greys = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    return Image.fromarray(np.concatenate([grid, greys], axis=1))


@lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """L*a*b* under D50, which TIFF and Photoshop mean, to sRGB."""
    return _lab().apply(image)
