"""An image file to a picture of 8 bits whose samples mean what Pillow's mode says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from pix2pix_batch.errors import EMPTY, ImageError, NotToleratedError
from pix2pix_batch.imaging.decoding import (
    beginnings,
    icons,
    jpeg,
    jpeg2000,
    layout,
    others,
    png,
    process,
    runs,
    tiff,
    tiff_damage,
)
from pix2pix_batch.imaging.decoding.opening import (
    HINT,
    describe_lacking_colour,
    load_samples,
    open_with_pillow,
    pixel_limit,
    require_readable,
)
from pix2pix_batch.imaging.decoding.orientation import (
    TURNED_BY_XMP,
    UPRIGHT,
    is_turned_by_xmp,
    settle_orientation,
)
from pix2pix_batch.imaging.decoding.primaries import ADOBE_RGB, Cicp, Gamma
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.metadata import tiff_pages

LOSSLESS_FRAME = b"\xff\xc3"
"""The marker of a frame of lossless JPEG (ITU T.81, table B.1)."""

RAW_MODE = "raw mode"
"""Of what Pillow says where it knows a kind of TIFF only uncompressed, as older ones do."""


@dataclass
class Decoded:
    """``image``: of 8 bits, with its profile in ``info``; ``None`` where the file says nothing of
    its ``pixels``. These are its samples, ``uint8 (H, W, C)``, where they were not decoded by
    Pillow; ``turned``: the orientation by which it was turned upright already, ``None`` where
    nobody has looked; ``meaning``: what its colours are, where the file says so without a profile;
    ``read_deep``: reads the colours of ``image`` as
    ``uint16 (H, W, C)``, ``None`` where nobody can, of a file of more than 8 bits."""

    image: Image.Image | None
    pixels: np.ndarray | None = None
    turned: int | None = None
    meaning: Gamma | Cicp | None = None
    warnings: list[str] = field(default_factory=list)
    read_deep: Callable[[], np.ndarray | None] | None = None

    def whole(self) -> Image.Image:
        """The image with its samples."""
        if self.pixels is None:
            assert self.image is not None
            return self.image
        flat = self.pixels[:, :, 0] if self.pixels.shape[2] == 1 else self.pixels
        image = Image.fromarray(flat)
        return image if self.image is None else _copy_info(self.image, image)


def decode(data: bytes, tolerance: Tolerance = USUAL) -> Decoded:
    """Decode the first picture. Raises :class:`ImageError` with the reason."""
    if not data:
        raise ImageError(EMPTY)
    process.hush_libraries()
    process.hush_warnings()
    try:
        with process.decode_concurrently():
            decoded = _decode_or_say_why(data, tolerance)
    except ImageError as error:
        if not (tolerance.lenient and str(error).startswith("damaged")):
            raise
        with process.decode_incomplete():
            decoded = _decode_or_say_why(data, tolerance)
        decoded.read_deep = None  # which would read the whole
        others_said = [said for said in decoded.warnings if not said.startswith("damaged")]
        decoded.warnings = [f"{_cause(error)}; what is there was taken", *others_said]
    if decoded.image is not None and decoded.turned is None and is_turned_by_xmp(decoded.image):
        decoded.warnings.append(TURNED_BY_XMP)
    if decoded.warnings and tolerance.strict:
        raise NotToleratedError(f"{'; '.join(decoded.warnings)}: refused by --strict")
    return decoded


def _decode_or_say_why(data: bytes, tolerance: Tolerance) -> Decoded:
    """Raises :class:`ImageError` for whatever a decoder raises: it is this image that failed."""
    try:
        return _decode(data, tolerance)
    except (ImageError, ImportError):
        raise
    except MemoryError as error:
        raise ImageError("too large for this machine's memory") from error
    except Exception as error:  # decoders raise what they please on damaged files
        raise ImageError(f"damaged: {describe_failure(error)}") from error


def describe_failure(error: Exception) -> str:
    """What a library says, on one line, with the kind of error where that says more."""
    said = " ".join(str(error).split())
    known = isinstance(error, OSError | ValueError | SyntaxError) and said
    return said if known else ": ".join(filter(None, (type(error).__name__, said)))


def _cause(error: ImageError) -> str:
    """Without what to do about it, which was done."""
    return str(error).partition(HINT)[0]


def _decode(data: bytes, tolerance: Tolerance) -> Decoded:
    if layout.is_tiff(data):
        return _decode_tiff(data, tolerance)
    if data.startswith(png.SIGNATURE):
        return _decode_png(data, tolerance)
    if jpeg.is_jpeg(data):
        return _decode_jpeg(data, tolerance)
    if jpeg2000.is_jpeg2000(data):
        return _decode_jpeg2000(data, tolerance)
    if within := icons.find_png(data):
        return _decode_png(within, tolerance)
    data = others.take_first_page(data)
    if reason := others.refusal(data):
        raise ImageError(reason)
    try:
        data = others.prepare_for_pillow(data)
        image, remarks = _load_rarer(data, tolerance)
    except ImageError as error:
        reason = others.reason_of_failure(data)
        if not reason and isinstance(error.__cause__, UnidentifiedImageError):
            reason = beginnings.describe_unknown_file(data) or others.describe_unopened(data)
        if reason:
            raise ImageError(reason) from error
        raise
    if profile := others.read_profile(data):
        image.info["icc_profile"] = profile
    told = image.format == "AVIF" and not image.info.get("icc_profile")
    meaning = others.read_code_points(data) if told else None
    image = _copy_info(image, others.correct_samples(image, data))
    return Decoded(image, meaning=meaning, warnings=[*remarks, *_warn_beyond_palette(image)])


def _load_rarer(data: bytes, tolerance: Tolerance) -> tuple[Image.Image, list[str]]:
    """A picture of a rarer format as Pillow has it, and warnings. Raises :class:`ImageError`."""
    image = open_with_pillow(data, tolerance)
    if reason := others.unverified_reason(image):
        raise ImageError(reason)
    remarks = others.find_remarks(image, data)
    try:
        load_samples(image)
    except ImageError:
        unpacked = runs.unpack(data)
        if unpacked is None:
            raise
        image = open_with_pillow(unpacked, tolerance)
        load_samples(image)
    return image, remarks


def open_header(path: Path, tolerance: Tolerance = USUAL) -> Image.Image:
    """A file as Pillow opens it, its samples not read yet, which then may mean something else than
    :func:`decode` says. Raises :class:`ImageError`, also for kinds that :func:`decode` reads."""
    image = open_with_pillow(path, tolerance)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(layout.NEW_SUBFILE, 0):
        raise ImageError("a TIFF file whose first directory is not the picture")
    return image


def _decode_tiff(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        return _decode_known_tiff(data, tolerance)
    except ImageError as error:
        # entropy-coded data has no 255 before 195 (ITU T.81, section B.1.1.5)
        if "(compression: JPEG)" not in str(error) or LOSSLESS_FRAME not in data:
            raise
        raise ImageError("TIFF with lossless JPEG in it; store it as Deflate") from error


def _decode_known_tiff(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        data = layout.reorder_directories(data)
    except ValueError as error:
        raise ImageError(f"a TIFF file that {error}; export it as TIFF or PNG") from error
    count = tiff_pages.count_in(data)
    opened = _open_tiff(data, tolerance)
    if opened is not None and tiff.is_sparse(opened):
        opened = None
    turned, remark = settle_orientation(opened, data) if opened is not None else (None, "")
    remarks = [remark] if remark else []
    if count > 1:
        remarks.append(tiff_pages.describe_left_pages(count))
    if opened is not None and tiff.is_plain(opened):
        _load_tiff(opened, layout.COMPRESSIONS[opened.tag_v2.get(layout.COMPRESSION, 1)])
        remarks += filter(None, [tiff_damage.find_damage(opened, data)])
        return Decoded(opened, turned=turned, warnings=remarks)
    try:
        told = layout.read_layout(data)
    except ValueError as error:
        raise ImageError(f"damaged: a TIFF file, but {error}") from error
    require_readable(told.width, told.height, tiff.refusal(told), tolerance)
    remarks += tiff.find_remarks(told)
    if turned is None:
        turned = told.orientation if told.orientation in UPRIGHT else 1
    told = replace(told, orientation=turned)
    image = _load_known_tiff(data, told, opened)
    if opened is not None and tiff.is_read_by_pillow(told):
        remarks += filter(None, [tiff_damage.find_damage(opened, data)])
    deep = partial(tiff.read_sixteen_bits, data, told) if told.depth > 8 else None
    return Decoded(image, turned=turned, warnings=remarks, read_deep=deep)


def _load_known_tiff(data: bytes, told: layout.Layout, opened: TiffImageFile | None) -> Image.Image:
    """Its picture, turned upright, by who reads its kind rightly. Raises :class:`ImageError`."""
    if opened is not None and tiff.is_read_by_pillow(told):
        try:
            _load_tiff(opened, told.compressed_by)
            return _copy_info(opened, tiff.correct_samples(opened, told))
        except ImageError as error:  # of a kind that is new to this Pillow, or known to it in part
            if told.compression not in tiff.NEWER and RAW_MODE not in str(error):
                raise
    return _turn_upright(tiff.read_samples(data, told), told.orientation)


def _load_tiff(image: Image.Image, compressed_by: str) -> None:
    """Its samples, which Pillow turns upright. Raises :class:`ImageError`."""
    try:
        load_samples(image)
    except ImageError as error:
        if "cut short" in str(error) or RAW_MODE in str(error):
            raise
        raise ImageError(
            f"damaged: its data (compression: {compressed_by}) cannot be decoded"
        ) from error


def _open_tiff(data: bytes, tolerance: Tolerance) -> TiffImageFile | None:
    """As Pillow opens it; ``None`` where it does not. Raises :class:`ImageError` where it is too
    large."""
    try:
        image = open_with_pillow(data, tolerance, "TIFF")
    except ImageError as error:
        if isinstance(error.__cause__, Warning | Image.DecompressionBombError):
            raise
        return None
    if not isinstance(image, TiffImageFile):
        return None
    if not isinstance(image.info.get("icc_profile", b""), bytes):  # its tag is of another type
        image.info["icc_profile"] = layout.read_profile(data)
    return image


def _decode_png(data: bytes, tolerance: Tolerance) -> Decoded:
    found = png.read_chunks(data)
    remarks = list(dict.fromkeys(found.remarks))
    left = list(found.stray)
    if "CgBI" in found.unknown:
        raise ImageError("PNG in Apple's own form (CgBI), of iOS apps; restore the usual one first")
    if found.ended and found.lacks_one_palette:
        raise ImageError(f"damaged: its pixels refer to one palette, and it has {found.palettes}")
    if found.disorder:
        raise ImageError(f"damaged: {found.disorder}")
    if found.unknown:
        remarks.append(f"its chunk {found.unknown[0]} is not known, and may change the picture")
    if found.wrong:
        needed = [name for name, _, _ in found.wrong if png.is_needed(name)]
        if others_needed := [name for name in needed if name != "IDAT"]:
            raise ImageError(f"damaged: wrong checksum of its chunk {others_needed[0]}")
        if needed:  # its data has another checksum within
            if not (ImageFile.LOAD_TRUNCATED_IMAGES or png.has_whole_data(data)):
                raise ImageError(f"damaged: wrong checksum of its chunk IDAT{HINT}")
            remarks.append("damaged: wrong checksum of its chunk IDAT, whose data is whole")
        beside = [chunk for chunk in found.wrong if not png.is_needed(chunk[0])]
        remarks += [f"wrong checksum of its chunk {name}, which is left out" for name, *_ in beside]
        left += beside
    if left:
        data = png.remove_chunks(data, sorted(left, key=lambda chunk: chunk[1]))
    try:
        image = _load_png(data, found, tolerance)
    except ImageError as error:
        if png.TOO_LARGE not in str(error):
            raise
        profile = png.read_profile(data)
        data = png.remove_chunks(data, png.read_chunks(data).beside)
        image = _load_png(data, found, tolerance)
        if profile:
            image.info["icc_profile"] = profile
    if "exif" not in image.info and (exif := png.read_text_exif(image.info)):
        image.info["exif"] = exif
    if found.has_profile and not image.info.get("icc_profile"):
        remarks.append("its colour profile is left out: it is damaged")
    image = _copy_info(image, png.apply_key(image, found, data))
    return Decoded(
        image,
        meaning=_colour_meaning(found, image),
        warnings=[*remarks, *_warn_beyond_palette(image)],
        read_deep=partial(png.read_sixteen_bits, data, found) if found.depth == 16 else None,
    )


def _colour_meaning(found: png.Chunks, image: Image.Image) -> Gamma | Cicp | None:
    """What the colours are: a profile goes before a gamma, and cICP before both."""
    is_outdone = isinstance(found.meaning, Gamma) and image.info.get("icc_profile")
    return None if is_outdone else found.meaning


def _load_png(data: bytes, found: png.Chunks, tolerance: Tolerance) -> Image.Image:
    image = open_with_pillow(data, tolerance, "PNG")
    try:
        load_samples(image)
    except ImageError as error:
        if "cut short" in str(error) or png.TOO_LARGE in str(error):
            raise
        if any(name == "IDAT" for name, _, _ in found.wrong):
            raise ImageError(f"damaged: wrong checksum of its chunk IDAT{HINT}") from error
        raise ImageError(f"{error}{HINT}") from error
    if not ImageFile.LOAD_TRUNCATED_IMAGES and png.ends_early(image, found, data):
        raise ImageError(f"damaged: cut short (its data ends before its last row){HINT}")
    return image


def _warn_beyond_palette(image: Image.Image) -> list[str]:
    """A warning of pixels that have a colour which the palette lacks: Pillow has them black."""
    if image.mode != "P" or image.palette is None:
        return []
    mode, entries = image.palette.getdata()
    count, largest = len(entries) // len(mode.partition(";")[0]), int(np.asarray(image).max())
    if largest < count:
        return []
    return [describe_lacking_colour(largest, count)]


def _decode_jpeg(data: bytes, tolerance: Tolerance) -> Decoded:
    header = jpeg.read_plain_header(data)
    if header is not None and header.size[0] * header.size[1] <= pixel_limit(tolerance):
        pixels, warning = jpeg.decode(data, header)
        if pixels is not None:
            return Decoded(None, pixels, turned=1, warnings=[warning] if warning else [])
    try:
        image = open_with_pillow(data, tolerance)
    except ImageError as error:
        if "not an image" in str(error) and (reason := jpeg.refusal(data)):
            raise ImageError(reason) from error
        raise
    if image.format not in ("JPEG", "MPO"):
        raise ImageError(
            others.unverified_reason(image) or "a JPEG file that Pillow takes for another"
        )
    pixels, warning = jpeg.decode(data, jpeg.Header(image.mode, image.size))
    remarks = [warning] if warning else []
    lacks_profile = not image.info.get("icc_profile")
    if lacks_profile and jpeg.has_profile(data):
        remarks.append("its colour profile is left out: parts of it are missing")
    elif lacks_profile and image.mode == "RGB" and jpeg.is_adobe_rgb(image.info.get("exif", b"")):
        image.info["icc_profile"] = ADOBE_RGB.profile()
    if pixels is None:
        try:
            load_samples(image)
        except ImageError as error:
            if reason := jpeg.refusal(data):
                raise ImageError(reason) from error
            raise
    return Decoded(image, pixels=pixels, warnings=remarks)


def _decode_jpeg2000(data: bytes, tolerance: Tolerance) -> Decoded:
    try:
        stream = jpeg2000.read_stream(data)
    except ValueError as error:
        raise ImageError(f"damaged: a JPEG 2000 file, but {error}") from error
    require_readable(stream.width, stream.height, jpeg2000.refusal(stream), tolerance)
    if jpeg2000.is_read_by_pillow(stream):
        image = _load_jpeg2000(data, stream, tolerance)
    else:
        image = jpeg2000.read_samples(data, stream)
    return Decoded(
        jpeg2000.apply_meaning(image, stream), warnings=jpeg2000.find_remarks(image, stream)
    )


def _load_jpeg2000(data: bytes, stream: jpeg2000.Stream, tolerance: Tolerance) -> Image.Image:
    """With Pillow, which takes some files of halved chroma for damaged. Raises
    :class:`ImageError`."""
    image = open_with_pillow(jpeg2000.prepare_for_pillow(data, stream), tolerance, "JPEG2000")
    try:
        load_samples(image)
    except ImageError:
        if stream.steps not in jpeg2000.HALVED or not tiff.has_imagecodecs():
            raise
        return jpeg2000.read_samples(data, stream)
    return _copy_info(image, jpeg2000.correct_samples(image, stream))


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned upright, with what it says of itself."""
    if orientation not in UPRIGHT:
        return image
    return _copy_info(image, image.transpose(UPRIGHT[orientation]))


def _copy_info(original: Image.Image, image: Image.Image) -> Image.Image:
    """What was made of an image keeps what that says of itself."""
    if image is not original:
        for name in ("icc_profile", "exif"):
            if name in original.info:
                image.info.setdefault(name, original.info[name])
    return image


def to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey to 8 bits by its high byte, as for colour; other deep images are refused.

    Raises :class:`ImageError`.
    """
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        return _copy_info(image, Image.fromarray(high.astype(np.uint8)))
    if image.mode == "I":
        high = tiff.fit_sixteen_bits(np.asarray(image)) >> 8
        return _copy_info(image, Image.fromarray(high.astype(np.uint8)))
    if image.mode == "F":
        raise ImageError(
            "floating-point pixels: no defined white; scale them to 8 or 16 bits first"
        )
    return image
