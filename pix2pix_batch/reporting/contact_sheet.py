"""Contact sheets: rows of images, each row with its name above it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from pix2pix_batch.reporting import scale_bar
from pix2pix_batch.reporting.scale_bar import Scale

CELL = 192
"""Pixels a side that an image is shown in."""

MAKER = "pix2pix-batch"
"""What a sheet's metadata names as the software that made it."""

GAP, LINE, TEXT = 8, 18, 12
BACKGROUND, INK = "white", "black"

Row = tuple[str, Sequence[np.ndarray]]
"""A name, and ``uint8 (H, W, C)`` images."""


def render_png(
    rows: Sequence[Row],
    heads: Sequence[str],
    columns: int = 1,
    cell: int = CELL,
    scales: Sequence[Scale] = (),
) -> bytes:
    """A PNG of ``rows``, set in ``columns``; ``heads`` says what the images of each row are.

    Cells are of ``cell`` pixels, or as much smaller as the largest image leaves them empty.
    ``scales`` stand below them all.
    """
    shown = [fit_cell(image, cell) for _, images in rows for image in images]
    cell = min(cell, max((max(image.size) for image in shown), default=cell))
    font = ImageFont.load_default(TEXT)
    deep = -(-len(rows) // columns)
    columns = -(-len(rows) // deep)
    width = len(heads) * (cell + GAP) + GAP
    height = cell + LINE + GAP
    bottom = LINE + deep * height
    size = columns * width, bottom + len(scales) * scale_bar.HEIGHT
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for column in range(columns):
        for place, head in enumerate(heads):
            x = column * width + GAP + place * (cell + GAP)
            draw.text((x, 2), _shorten_start(head, font, cell), INK, font)
    for number, (name, images) in enumerate(rows):
        column, line = divmod(number, deep)
        x, y = column * width + GAP, LINE + line * height
        draw.text((x, y + 2), _shorten_start(name, font, width - 2 * GAP), INK, font)
        for place, image in enumerate(images):
            sheet.paste(fit_cell(image, cell), (x + place * (cell + GAP), y + LINE))
    for place, scale in enumerate(scales):
        bar = Image.fromarray(scale_bar.draw_scale(scale, sheet.width))
        sheet.paste(bar, (0, bottom + place * scale_bar.HEIGHT))
    buffer = io.BytesIO()
    metadata = PngImagePlugin.PngInfo()
    metadata.add_text("Software", MAKER)
    sheet.save(buffer, "PNG", pnginfo=metadata)
    return buffer.getvalue()


def fit_cell(image: np.ndarray, cell: int = CELL) -> Image.Image:
    """Into a cell; small images grow by a whole factor, so that their pixels stay plain."""
    picture = Image.fromarray(np.ascontiguousarray(to_rgb(image)))
    if max(picture.size) > cell:
        picture.thumbnail((cell, cell), Image.Resampling.LANCZOS)
        return picture
    return ImageOps.scale(picture, cell // max(picture.size), Image.Resampling.NEAREST)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """``uint8 (H, W, 3)``: grey repeated, alpha left out."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image[:, :, :3]


def _shorten_start(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float
) -> str:
    """The text's end, as far as it fits: that is where names differ."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text
