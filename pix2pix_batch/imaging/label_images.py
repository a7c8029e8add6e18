"""Images of labels, read one-hot."""

from __future__ import annotations

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.decoding.decode import decode
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.label_map import LabelMap

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
        ids, warnings = _read_numbers(data, tolerance)
    else:
        picture = images.read(data, 3, tolerance)
        ids, warnings = _find_colours(picture.pixels, labels), [*picture.warnings]
    highest = int(ids.max())
    if highest >= labels.count:
        raise ImageError(f"has the label {highest}; the model knows 0 to {labels.count - 1}")
    pixels = np.zeros((*ids.shape, labels.channels), np.uint8)
    np.put_along_axis(pixels, ids[:, :, None].astype(np.intp), ON, axis=2)
    if labels.edges:
        pixels[:, :, -1] = ON * find_edges(ids)
    return Picture(pixels, warnings=tuple(warnings))


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


def _read_numbers(data: bytes, tolerance: Tolerance) -> tuple[np.ndarray, list[str]]:
    """The samples as they are stored: indices of a palette, whatever its colours, or grey."""
    decoded = decode(data, tolerance)
    image = decoded.whole() if decoded.image is None else decoded.image
    if image.mode not in ("P", "L", "1"):
        raise ImageError(
            f"is of mode {image.mode}; the model takes labels by their numbers, in grey images or "
            "ones with a palette, of 8 bits"
        )
    return np.asarray(image.convert("L") if image.mode == "1" else image), decoded.warnings


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
