"""Outputs of a model on pairs, made as ``convert`` makes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.tiling import Tiles
from pix2pix_batch.inference import autotune
from pix2pix_batch.inference.engine import Engine
from pix2pix_batch.inference.engine_cache import open_engine as opened_engine
from pix2pix_batch.inference.settings import settings_without_job
from pix2pix_batch.item import Item
from pix2pix_batch.train.data import Split
from pix2pix_batch.train.figures import Sample
from pix2pix_batch.train.jitter import Pixels


def open_engine(
    path: Path, split: Split, device: str = "auto", precision: str = "auto"
) -> tuple[Engine, str]:
    """Open the engine that ``convert`` would choose on the first images of a split.

    Args:
        path: The bundle.
        split: The pairs.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Returns:
        The engine, and a note of why it is that one, which may be empty.

    Raises:
        InputError: The device or precision is not there.
    """
    info = bundle.read_info(path)
    size = info.image_size
    settings = settings_without_job(path, size, "tile", device, precision)
    with tempfile.TemporaryDirectory() as folder:  # convert decides by files: give it some
        items = []
        for index in range(min(autotune.PROBE_IMAGES, len(split))):
            items.append(_write_item(Path(folder, str(index)), split[index][1], info))
        decision = autotune.autotune(settings, items)
    engine = opened_engine(
        settings.model, settings.fingerprint, settings.size, decision.batch_size,
        decision.device, decision.precision,
    )  # fmt: skip
    return engine, decision.note


def _write_item(path: Path, pixels: Pixels, info: BundleInfo) -> Item:
    """An input as a file that ``convert`` reads it from."""
    if info.ranges.input.is_picture:
        file = path.with_suffix(".png")
        file.write_bytes(images.write(Picture(pixels), "png"))
        return Item(str(file), file.name, file.name, "png")
    file = path.with_suffix(".npy")
    np.save(file, pixels)
    return Item(str(file), file.name, file.name, "npy")


def translate(engine: Engine, listed: Iterable[tuple[Any, ...]]) -> Iterator[Sample]:
    """Each pair with its output, in order; large images in tiles that blend, as in ``convert``."""
    for some in _batch_tiles(_tiles(engine, listed), engine.batch_size):
        first = some[0].tile
        batch = np.zeros((engine.batch_size, *first.shape), first.dtype)
        for place, image in enumerate(some):
            batch[place] = image.tile
        for image, translated in zip(some, engine(batch).images, strict=False):
            image.tiles.add_tile(image.number, translated)
            if image.number == len(image.tiles) - 1:
                assert image.tiles.result is not None
                name, source, target, *valid = image.pair
                yield Sample(name, source, image.tiles.result, target, *valid)


class _Tile(NamedTuple):
    pair: tuple[Any, ...]
    tiles: Tiles
    number: int
    tile: Pixels


def _tiles(engine: Engine, listed: Iterable[tuple[Any, ...]]) -> Iterator[_Tile]:
    for pair in listed:
        tiles = Tiles(pair[1], engine.size)
        for index, tile in enumerate(tiles):
            yield _Tile(pair, tiles, index, tile)


def _batch_tiles(items: Iterator[_Tile], size: int) -> Iterator[list[_Tile]]:
    while some := list(islice(items, size)):
        yield some
