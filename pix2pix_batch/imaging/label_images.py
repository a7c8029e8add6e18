"""Images of labels, read one-hot."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.decoding import jpeg2000, layout, png
from pix2pix_batch.imaging.decoding.decode import decode
from pix2pix_batch.imaging.decoding.orientation import orientation_of
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.label_map import LabelMap

WANTED = (
    "the model takes labels by their numbers: grey images of 8 bits, whose values are from 0 to "
    "255, or ones with a palette; store it so"
)
ON = 255
"""Of 8 bits, where a pixel has a label."""


def read_labels(data: bytes, labels: LabelMap, tolerance: Tolerance = USUAL) -> Picture:
    """Decode an image of labels.

    Args:
        data: The bytes of the file.
        labels: Which labels there are, and how pixels stand for them.
        tolerance: What is made of damaged and of large files.

    Returns:
        A picture whose ``pixels`` are ``uint8 (H, W, labels.channels)``, 255 in the channel of a
        pixel's label and 0 in the others.

    Raises:
        ImageError: The file cannot be read, or a pixel has no label that is known.
    """
    if labels.palette is None:
        picture = _read_numbers(data, tolerance)
        ids = picture.pixels[:, :, 0]
    else:
        picture = images.read(data, 3, tolerance)
        ids = _find_colours(picture.pixels, labels)
    highest = int(ids.max())
    if highest >= labels.count:
        raise ImageError(f"has the label {highest}; the model knows 0 to {labels.count - 1}")
    pixels = np.zeros((*ids.shape, labels.channels), np.uint8)
    np.put_along_axis(pixels, ids[:, :, None].astype(np.intp), ON, axis=2)
    if labels.edges:
        pixels[:, :, -1] = ON * find_edges(ids)
    return replace(picture, pixels=pixels, alpha=None)


def find_edges(ids: np.ndarray) -> np.ndarray:
    """Find the pixels that differ from one beside, above or below them, ``bool (H, W)`` (pix2pixHD,
    section 3.3)."""
    edges = np.zeros(ids.shape, bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


NETPBM = re.compile(rb"P[25](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s")
"""The header of a grey Netpbm file, with its greatest value."""


def _read_numbers(data: bytes, tolerance: Tolerance) -> Picture:
    """The samples as they are stored, upright: indices of a palette, whatever its colours, or
    grey."""
    decoded = decode(data, tolerance)
    image = decoded.whole() if decoded.image is None else decoded.image
    if image.mode not in ("P", "L", "1"):
        raise ImageError(f"is of mode {image.mode}; {WANTED}")
    if image.mode != "P" and (largest := _largest_grey(data)) != 255:
        # They come out scaled to 255, that is with other numbers.
        raise ImageError(f"holds grey values from 0 to {largest:,}; {WANTED}")
    orientation = orientation_of(image) if decoded.turned is None else 1
    ids = np.asarray(images.turn_upright(image, orientation))
    return Picture(
        ids[:, :, None],
        orientation=decoded.turned or orientation,
        exif=images.exif_of(image),
        warnings=tuple(decoded.warnings),
    )


def _largest_grey(data: bytes) -> int:
    """What a grey image's file has for white; 255 where that is not known."""
    if data.startswith(png.SIGNATURE):
        return (1 << png.read_chunks(data).depth) - 1
    if layout.is_tiff(data):
        return (1 << layout.read_layout(data).depth) - 1
    if jpeg2000.is_jpeg2000(data):
        return (1 << max(jpeg2000.read_stream(data).depths, default=8)) - 1
    if header := NETPBM.match(data):
        return int(header[1])
    return 255


def _find_colours(pixels: np.ndarray, labels: LabelMap) -> np.ndarray:
    """The label of each colour."""
    assert labels.palette is not None
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    known = np.array([red << 16 | green << 8 | blue for red, green, blue in labels.palette])
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known[order], packed), len(known) - 1)
    ids: np.ndarray = order[at]
    wrong = known[ids] != packed
    if wrong.any():
        red, green, blue = pixels[wrong][0]
        raise ImageError(
            f"has {int(wrong.sum()):,} pixels of colours that are no label's, the first "
            f"{red} {green} {blue}; JPEG and scaling change colours: give the labels as PNG"
        )
    return ids
