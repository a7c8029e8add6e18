"""Trying a model on a handful of images: one picture of inputs beside outputs."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import images, pages
from pix2pix_batch.imaging.composite import show
from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.kinds import suffix_of
from pix2pix_batch.imaging.raster.numpy_raster import NumpyRaster
from pix2pix_batch.inference import autotune
from pix2pix_batch.inference.input_reading import (
    is_raster,
    read_item,
    require_bands,
    select_own_page,
)
from pix2pix_batch.inference.settings import Settings, apply_decision, settings_without_job
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from pix2pix_batch.options import read_image_model
from pix2pix_batch.reporting import contact_sheet
from pix2pix_batch.reporting.scale_bar import list_scales
from pix2pix_batch.storage import output
from pix2pix_batch.storage.files import read_file
from pix2pix_batch.text import escape, format_distance

MOST = 64
"""Images that one picture shows."""

LAYOUTS = ((1, 1, 768), (6, 1, 448), (16, 2, 320), (MOST, 4, 256))
"""Up to so many images, in so many columns, each in a cell of at most so many pixels a side."""


@dataclass(frozen=True)
class Preview:
    """``path``: of the picture; none where no image could be translated. ``failures``: the paths
    of those that could not, and why; ``warnings``: the paths of those that could, and what is to be
    doubted of them; ``note``: what else there is to say."""

    path: Path | None
    failures: list[tuple[str, str]]
    warnings: list[tuple[str, str]]
    note: str


def preview(
    model: str,
    paths: Sequence[str],
    out: Path | None = None,
    *,
    fit: str | None = None,
    bands: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    tolerance: Tolerance = USUAL,
) -> Preview:
    """Translate ``paths`` with ``model``, as ``convert`` does in PyTorch, into a picture.

    ``out``: a ``.png``; without one, ``preview-<model>.png`` here, which is replaced if it is a
    picture of ours; ``bands``: of rasters, those that are the model's, as of ``convert``;
    ``tolerance``: what is made of files that are not as they should be. Raises
    :class:`InputError` and :class:`OutputError`.
    """
    _require_few(paths)
    bundle_path = bundle.resolve(model)
    out = _place(bundle_path, out)
    _require_apart(out, paths)
    _, columns, cell = next(layout for layout in LAYOUTS if len(paths) <= layout[0])
    info = read_image_model(bundle_path)
    require_bands(info, bands)
    # in PyTorch: a TensorRT engine would first be built, for minutes
    settings = replace(
        settings_without_job(bundle_path, info.image_size, fit or info.fit, device, precision),
        tolerance=tolerance,
        bands=bands,
    )
    items = [_make_item(path, number, info) for number, path in enumerate(paths)]
    decision = autotune.autotune(settings, items)
    settings = apply_decision(settings, decision)
    records, outputs = _translate(settings, items, cell, info)
    rows: list[contact_sheet.Row] = []
    made = Preview(out, [], [], decision.note)
    for path, item in zip(paths, items, strict=True):
        record = records[item.name]
        if item.output not in outputs:
            made.failures.append((path, record.reason))
            continue
        pair = [_draw_input(item, cell, info, settings), outputs[item.output]]
        rows.append((_title(path, record.distance), pair))
        if record.warning:
            made.warnings.append((path, record.warning))
    if not rows:
        return replace(made, path=None)
    output.write(out, _draw(rows, columns, info))
    return made


def _draw(rows: list[contact_sheet.Row], columns: int, info: BundleInfo) -> bytes:
    """The picture, a PNG. Its cells are as large as the largest image in it."""
    sides = (side for _, pair in rows for image in pair for side in image.shape[:2])
    cell = max(contact_sheet.CELL, *sides)
    scales = list_scales(info.ranges) if info.labels is None else ()
    return contact_sheet.render_png(rows, ["input", "output"], columns, cell, scales)


def _make_item(path: str, number: int, info: BundleInfo) -> Item:
    """The input, or the page of one, at ``path``."""
    form = "png" if info.ranges.output.is_picture else "npy"
    file, page = pages.locate(path)
    name = f"{number}{suffix_of(file)}"
    return Item(file, name, f"{number}.{form}", form, page=page)


def _require_few(paths: Sequence[str]) -> None:
    if not 0 < len(paths) <= MOST:
        raise InputError(
            f"{len(paths):,} images; preview takes 1 to {MOST}: use pix2pix-batch convert"
        )
    for path in paths:
        if os.path.isdir(path):
            raise InputError(
                f"{escape(path)}: is a directory; give images, or use pix2pix-batch convert"
            )
        if why := pages.explain_misnumbered(path):
            raise InputError(f"{escape(path)}: {why}")
        if glob.has_magic(path) and not os.path.exists(path):
            raise InputError(
                f"{escape(path)}: no such file; leave the pattern out of quotes, for the shell to "
                "expand"
            )


def _place(model: Path, out: Path | None) -> Path:
    """Where the picture goes. Raises :class:`InputError`."""
    chosen = out or Path(f"preview-{model.stem}.png")
    output.require_place(chosen, (".png",))
    if out is None and chosen.exists() and not _is_ours(chosen):
        raise InputError(
            f"{escape(chosen)}: is there and no preview; move it away, or choose a name with --out"
        )
    return chosen


def _is_ours(path: Path) -> bool:
    try:
        with open_quietly(path) as image:
            return image.info.get("Software") == contact_sheet.MAKER
    except Exception:  # decoders raise what they please
        return False


def _require_apart(out: Path, paths: Sequence[str]) -> None:
    if out.exists() and any(os.path.exists(path) and os.path.samefile(out, path) for path in paths):
        raise InputError(f"{escape(out)}: is one of the images; choose another name with --out")


def _translate(
    settings: Settings, items: Sequence[Item], cell: int, info: BundleInfo
) -> tuple[dict[str, Record], dict[str, np.ndarray]]:
    """What became of each item, and the outputs, made small, by their names."""
    from pix2pix_batch.inference.converter import Converter

    outputs: dict[str, np.ndarray] = {}

    def keep(name: str, data: bytes) -> None:
        if name.endswith(".npy"):
            with NumpyRaster(data, info.ranges.output) as raster:
                pixels, valid = raster.read(0, 0, raster.height, raster.width)
            outputs[name] = _shrink(show(pixels, info.ranges.output, valid=valid), cell)
        else:
            outputs[name] = _small(data, cell, USUAL)

    converter = Converter(settings, keep)
    converter.run(items)
    return {record.name: record for record in converter.records}, outputs


def _draw_input(item: Item, cell: int, info: BundleInfo, settings: Settings) -> np.ndarray:
    """As :func:`_small`; of rasters the bands that are the model's."""
    if not is_raster(item.name, info, settings.bands):
        data = select_own_page(item, read_file(item.path)[0])
        return _small(data, cell, settings.tolerance)
    picture = read_item(item, info, settings)
    valid = None if picture.alpha is None else picture.alpha > 0
    return _shrink(show(picture.pixels, info.ranges.input, valid=valid), cell)


def _small(data: bytes, cell: int, tolerance: Tolerance) -> np.ndarray:
    """An image file as it is shown, ``uint8 (H, W, 3)``, no larger than a cell."""
    return _shrink(images.read(data, 3, tolerance).pixels, cell)


def _shrink(pixels: np.ndarray, cell: int) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _title(path: str, distance: float | None) -> str:
    name = escape(path)
    return name if distance is None else f"{name}, distance {format_distance(distance)}"
