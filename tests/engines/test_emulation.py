"""A narrow precision emulated on the CPU: what the gate's figures are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.engines import parity_check, samples
from pix2pix_batch.engines.emulation import emulate
from pix2pix_batch.engines.export_graph import make_graph
from pix2pix_batch.engines.parity_check import Parity
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.inference.engine import DTYPES
from pix2pix_batch.value_ranges import eight_bits

EXAMPLES = Path(__file__).parents[2] / "examples"


def parity(made: np.ndarray, order: EngineSpec, images: np.ndarray) -> Parity:
    masks = parity_check.masks_for(order)
    return parity_check.measure_parity(
        made, parity_check.translate_all(parity_check.reference_engine(order), images, masks)
    )


def native(order: EngineSpec, images: np.ndarray) -> np.ndarray:
    """By PyTorch's own arithmetic of that type on this CPU."""
    graph = make_graph(bundle.load(order.model)[1], DTYPES[order.precision])
    masks = [torch.from_numpy(mask)[None] for mask in parity_check.masks_for(order) or ()]
    noise = [mask.expand(len(images), -1, -1, -1) for mask in masks]
    with torch.no_grad():
        return graph(torch.from_numpy(images), *noise)[0].numpy()


@pytest.mark.parametrize(("name", "folder"), [("map2aerial", "maps"), ("day2night", "day")])
def test_what_is_to_be_expected_of_the_shipped_models_on_real_images(
    name: str, folder: str
) -> None:
    """64 and 66 dB in fp16, ten under that in bf16, whose steps are eight times as large."""
    size = bundle.read_info(bundle.resolve(name)).image_size
    tiles = []
    for path in sorted((EXAMPLES / folder).iterdir())[:2]:
        with Image.open(path) as image:
            tiles.append(np.asarray(image.convert("RGB").resize((size, size))))
    images = np.stack(tiles)
    half = EngineSpec(bundle.resolve(name), "fp16", 2, size)
    brain = EngineSpec(bundle.resolve(name), "bf16", 2, size)
    found = {one.precision: parity(emulate(one, images), one, images) for one in (half, brain)}
    assert found["fp16"].psnr > 60 and found["fp16"].greatest <= 4
    assert parity_check.BAR < found["bf16"].psnr < found["fp16"].psnr - 5


@pytest.mark.parametrize("model", ["tiny", "noisy"])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_it_is_as_close_as_arithmetic_of_that_type(
    model: str, precision: str, request: pytest.FixtureRequest
) -> None:
    """The emulation rounds where the file says; the type's own arithmetic may round sums too."""
    order = EngineSpec(request.getfixturevalue(model), precision, 4, 64, noise=model == "noisy")
    images = samples.read_samples(None, 64, eight_bits(3))
    emulated = parity(emulate(order, images, parity_check.masks_for(order)), order, images)
    real = parity(native(order, images), order, images)
    assert emulated.psnr == pytest.approx(real.psnr, abs=3)
    assert (emulated.psnr > 80) == (precision == "fp32")


def test_what_overflows_overflows(overflowing: Path) -> None:
    images = samples.read_samples(None, 32, eight_bits(3))
    orders = [EngineSpec(overflowing, precision, 4, 32) for precision in ("fp16", "bf16", "fp32")]
    half, brain, full = (parity(emulate(one, images), one, images).psnr for one in orders)
    assert half < 20 and brain > 30 and full > parity_check.BAR
