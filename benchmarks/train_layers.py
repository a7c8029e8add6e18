"""The trainer's convolutions by layer: oneDNN's, one product, and tiles, forward and backward.

    python benchmarks/train_layers.py [--isa native AVX2] [--batch 1] [--threads 1]

Behind ``MOVED`` of ``train/convolution.py``, the rule by which a layer's form is chosen. Prints
milliseconds for the layers of the paper's networks at 256x256, output and both gradients, the
best of some runs, and marks the form that the rule takes. Time is the process's own CPU time where
there is one thread, so that it may be run beside other work.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from convert import ISAS
from measure import alone, machine, table

from pix2pix_batch.inference import freed_memory
from pix2pix_batch.train.convolution import TILES, Convolve, choose_tile
from pix2pix_batch.train.tiles import Shape

WIDTHS = [64, 128, 256, 512, 512, 512, 512, 512]
RUNS = 3
FORMS = {None: "product", **{side: f"tiles of {side}" for side in TILES}}


def layers(batch: int) -> dict[str, tuple[Shape, bool]]:
    """By name: the shape, and whether it is transposed."""
    found = {}
    for i, width in enumerate(WIDTHS):
        outer, side = (WIDTHS[i - 1] if i else 3), 128 >> i
        joined = width if i == len(WIDTHS) - 1 else 2 * width
        found[f"down.{i}"] = Shape(batch, side, side, outer, width, 2), False
        found[f"up.{i}"] = Shape(batch, side, side, outer, joined, 2), True
    for i, (big, small, side, stride) in enumerate(
        ((6, 64, 128, 2), (64, 128, 64, 2), (128, 256, 32, 2), (256, 512, 31, 1))
    ):
        found[f"discriminator.{i}"] = Shape(batch, side, side, big, small, stride), False
    return found


def measure(batch: int, threads: int) -> list[list[str]]:
    torch.set_num_threads(threads)
    freed_memory.keep()
    rows = []
    for name, (shape, transposed) in layers(batch).items():
        big = torch.randn(shape.images, shape.big, *shape.sides)
        small = torch.randn(shape.images, shape.small, shape.height, shape.width)
        weight = torch.randn(shape.small, shape.big, 4, 4) * 0.02
        x, gradient = (small, big) if transposed else (big, small)
        direct = F.conv_transpose2d if transposed else F.conv2d

        def plain(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
            return direct(x, w, None, shape.stride, 1)  # noqa: B023

        def by(tile: int | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
            return lambda x, w: Convolve.apply(x, w, shape, transposed, tile)  # noqa: B023

        found = [spent(plain, x, weight, gradient, torch.contiguous_format, threads)]
        for call in (plain, *map(by, FORMS)):
            found.append(spent(call, x, weight, gradient, torch.channels_last, threads))
        taken = FORMS[choose_tile(shape)]
        rows.append([name, *(f"{ms:.1f}" for ms in found), taken])
    return rows


def spent(
    call: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    weight: torch.Tensor,
    gradient: torch.Tensor,
    layout: torch.memory_format,
    threads: int,
) -> float:
    """Milliseconds of an output and both gradients."""
    x, weight, gradient = (one.contiguous(memory_format=layout) for one in (x, weight, gradient))
    x.requires_grad_()
    weight.requires_grad_()
    clock = time.thread_time if threads == 1 else time.perf_counter
    found = []
    for _ in range(RUNS + 1):
        start = clock()
        torch.autograd.grad(call(x, weight), (x, weight), gradient)
        found.append(clock() - start)
    return min(found[1:]) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", nargs="+", choices=ISAS, default=["native"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    columns = ["layer", "oneDNN, NCHW", "oneDNN, channels last", *FORMS.values(), "taken"]
    print(f"{machine()}; batch {arguments.batch}, {arguments.threads} threads, fp32, ms")
    for isa in arguments.isa:
        os.environ.update(ISAS[isa])
        rows = alone(measure, arguments.batch, arguments.threads)
        print("\n".join(["", f"Instruction set: {isa}", "", *table(columns, rows)]), flush=True)
        for name in ISAS[isa]:
            del os.environ[name]


if __name__ == "__main__":
    main()
