"""Variants of one chunk on an engine that has noise for all of a batch or for none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pix2pix_batch import bundle
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.engine import Engine, TorchEngine, Translated
from pix2pix_batch.inference.engine_cache import engine_of
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.synthesis.job import item_variant_name, output_of
from tests.end_to_end.command import put

VARIANTS = 4


class Masked:
    """As a TensorRT engine: its noise inputs, ``bool``, must all be given, or it has none."""

    backend, takes_fewer = "masked", False

    def __init__(self, plain: TorchEngine, noise: bool) -> None:
        self.plain, self.noise = plain, noise
        self.batch_size, self.size = plain.batch_size, plain.size
        self.device, self.precision = plain.device, plain.precision

    def __call__(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> Translated:
        assert (masks is not None) == self.noise
        assert all(mask.dtype == bool for mask in masks or ())
        return self.plain(images, masks)


def opener(settings: Settings, tiles: np.ndarray | None) -> tuple[Engine | None, str]:
    _, unet = bundle.load(Path(settings.model))
    assert settings.batch_size is not None
    plain = TorchEngine(unet, size=settings.size, batch_size=settings.batch_size)
    return Masked(plain, settings.noise), ""


def made(out: Path, settings: Settings, items: list[Item]) -> dict[str, bytes]:
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    converter = Converter(replace(settings, out=str(out)))
    converter.run(items)
    assert sorted(record.name for record in converter.records) == sorted(i.name for i in items)
    assert all(record.status == "done" for record in converter.records)
    return {record.name: (out / record.output).read_bytes() for record in converter.records}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_each_image_is_as_on_pytorch(tmp_path: Path, noisy: Path, batch_size: int) -> None:
    settings = Settings(
        str(noisy), bundle.fingerprint(noisy), "", "tile", 64, None, batch_size, "cpu", "fp32",
        noise=True, seed=7, backend="torch",
    )  # fmt: skip
    items = []
    for number, size in enumerate(((64, 64), (150, 70), (40, 64))):
        path = put(tmp_path / f"{number}.png", seed=number, size=size)
        item = Item(str(path), path.name, path.name, "png")
        items += [
            replace(item, name=item_variant_name(item, i), output=output_of(item, i), variant=i)
            for i in range(VARIANTS)
        ]
    expected = made(tmp_path / "torch", settings, items)
    assert len(set(expected.values())) == len(items)
    other = replace(settings, backend="masked", opener=opener)
    assert made(tmp_path / "masked", other, items) == expected
    # one after the other, as after a crash, where none is decoded with another
    alone: dict[str, bytes] = {}
    for number, item in enumerate(items):
        alone |= made(tmp_path / f"alone{number}", settings, [item])
    assert alone == expected


def test_an_engine_is_opened_once_whatever_becomes_of_its_images(tiny: Path) -> None:
    """As in the tars of a job, whose images keep less besides."""
    opened = []

    def counting(settings: Settings, tiles: np.ndarray | None) -> tuple[Engine | None, str]:
        opened.append(settings)
        return opener(settings, tiles)

    settings = Settings(
        str(tiny), bundle.fingerprint(tiny), "", "tile", 64, None, 2, "cpu", "fp32", noise=False,
        seed=0, backend="masked", opener=counting, georeference=True,
    )  # fmt: skip
    first = engine_of(settings)
    assert (
        engine_of(replace(settings, georeference=False, keep_times=True, is_remote=True)) is first
    )
    assert engine_of(replace(settings, batch_size=3)) is not first
    assert len(opened) == 2
