"""A PNG file to a picture: what is wrong with its chunks is settled before Pillow reads it."""

from __future__ import annotations

from functools import partial

from PIL import Image, ImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding import png
from pix2pix_batch.imaging.decoding.decoded import Decoded, copy_info, warn_beyond_palette
from pix2pix_batch.imaging.decoding.opening import HINT, load_samples, open_with_pillow
from pix2pix_batch.imaging.decoding.primaries import Cicp, Gamma
from pix2pix_batch.imaging.decoding.tolerance import Tolerance


def decode_png(data: bytes, tolerance: Tolerance) -> Decoded:
    chunks = png.read_chunks(data)
    remarks = list(dict.fromkeys(chunks.remarks))
    left = list(chunks.stray)
    if "CgBI" in chunks.unknown:
        raise ImageError("PNG in Apple's own form (CgBI), of iOS apps; restore the usual one first")
    if chunks.ended and chunks.lacks_one_palette:
        raise ImageError(f"damaged: its pixels refer to one palette, and it has {chunks.palettes}")
    if chunks.disorder:
        raise ImageError(f"damaged: {chunks.disorder}")
    if chunks.unknown:
        remarks.append(f"its chunk {chunks.unknown[0]} is not known, and may change the picture")
    if chunks.wrong:
        needed = [name for name, _, _ in chunks.wrong if png.is_needed(name)]
        if others_needed := [name for name in needed if name != "IDAT"]:
            raise ImageError(f"damaged: wrong checksum of its chunk {others_needed[0]}")
        if needed:  # its data has another checksum within
            if not (ImageFile.LOAD_TRUNCATED_IMAGES or png.has_whole_data(data)):
                raise ImageError(f"damaged: wrong checksum of its chunk IDAT{HINT}")
            remarks.append("damaged: wrong checksum of its chunk IDAT, whose data is whole")
        beside = [chunk for chunk in chunks.wrong if not png.is_needed(chunk[0])]
        remarks += [f"wrong checksum of its chunk {name}, which is left out" for name, *_ in beside]
        left += beside
    if left:
        data = png.remove_chunks(data, sorted(left, key=lambda chunk: chunk[1]))
    try:
        image = _load_png(data, chunks, tolerance)
    except ImageError as error:
        if png.TOO_LARGE not in str(error):
            raise
        profile = png.read_profile(data)
        data = png.remove_chunks(data, png.read_chunks(data).beside)
        image = _load_png(data, chunks, tolerance)
        if profile:
            image.info["icc_profile"] = profile
    if "exif" not in image.info and (exif := png.read_text_exif(image.info)):
        image.info["exif"] = exif
    if chunks.has_profile and not image.info.get("icc_profile"):
        remarks.append("its colour profile is left out: it is damaged")
    image = copy_info(image, png.apply_key(image, chunks, data))
    return Decoded(
        image,
        meaning=_colour_meaning(chunks, image),
        warnings=[*remarks, *warn_beyond_palette(image)],
        read_deep=partial(png.read_sixteen_bits, data, chunks) if chunks.depth == 16 else None,
    )


def _colour_meaning(chunks: png.Chunks, image: Image.Image) -> Gamma | Cicp | None:
    """What the colours are: a profile goes before a gamma, and cICP before both."""
    is_outdone = isinstance(chunks.meaning, Gamma) and image.info.get("icc_profile")
    return None if is_outdone else chunks.meaning


def _load_png(data: bytes, chunks: png.Chunks, tolerance: Tolerance) -> Image.Image:
    image = open_with_pillow(data, tolerance, "PNG")
    try:
        load_samples(image)
    except ImageError as error:
        if "cut short" in str(error) or png.TOO_LARGE in str(error):
            raise
        if any(name == "IDAT" for name, _, _ in chunks.wrong):
            raise ImageError(f"damaged: wrong checksum of its chunk IDAT{HINT}") from error
        raise ImageError(f"{error}{HINT}") from error
    if not ImageFile.LOAD_TRUNCATED_IMAGES and png.ends_early(image, chunks, data):
        raise ImageError(f"damaged: cut short (its data ends before its last row){HINT}")
    return image
