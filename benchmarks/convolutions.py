"""Each convolution of the generator by oneDNN's direct way and as matrix products, and the rule.

    pip install -e '.[bench]'
    python benchmarks/convolutions.py [--batch 4] [--ngf 64] [--size 256] [--isa avx2 avx512 native]
                                      [--out report.md]

One table for each instruction set, in a process of its own that is told to use no more than it:
milliseconds an image of every layer, one thread, float32. ``3x3`` and ``2x2`` are Winograd's ways,
by the outputs of a tile; the faster is split into the transform of the input, the matrix products
(with their GFLOP/s) and the transform of the output; ``patches`` is a product with patches, or a
thin convolution. Each is measured also where the rule does not take it. The rule is
``pix2pix_batch.inference.convolution_rule``. Ratios are only good within one run. Needs a quiet
machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from measure import best, generator, machine, table
from torch import Tensor

from pix2pix_batch.generators.unet_network import Block
from pix2pix_batch.inference import freed_memory, onednn
from pix2pix_batch.inference.convolution_rule import FEW_CHANNELS, Way
from pix2pix_batch.inference.few_pixel_winograd import FewPixelWinograd
from pix2pix_batch.inference.onednn import RELU, Convolution, OneDNNUNet, ProductConvolution
from pix2pix_batch.inference.winograd import WinogradConvolution
from pix2pix_batch.inference.winograd_tiling import FEW_OUTPUTS
from pix2pix_batch.inference.workspace import Workspace

INSTRUCTION_SETS = {
    "sse": ("SSE41", "default", "SSE4_2"),
    "avx2": ("AVX2", "avx2", "AVX2"),
    "avx512": ("AVX512_CORE", "avx512", "AVX512"),
    "native": (),
}
"""Of each: what oneDNN, PyTorch's own kernels and MKL are told to stay within."""
SWITCHES = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
STAGES = ("pad", "transform_input", "multiply", "transform_width", "transform_height")
COLUMNS = (
    "layer", "channels", "input", "direct ms", "3x3 ms", "2x2 ms", "in", "products", "out",
    "GFLOP/s", "patches ms", "rule takes", "gain",
)  # fmt: skip
Winograd = WinogradConvolution | FewPixelWinograd
SECONDS = 1.0


def layers(ngf: int, size: int) -> list[tuple[str, Block, int]]:
    """Name, block, and the input's height and width."""
    unet = generator(ngf=ngf)
    downs = [(f"down.{i}", block, size >> i) for i, block in enumerate(unet.down)]
    ups = [(f"up.{i}", block, size >> (i + 1)) for i, block in enumerate(unet.up)]
    return [*downs, *reversed(ups)]


class Stages:
    """Seconds that a Winograd convolution's stages take."""

    def __init__(self, convolution: Winograd) -> None:
        self.seconds: Counter[str] = Counter()
        for name in STAGES:
            if not hasattr(convolution, name):  # only one of the two pads
                continue
            setattr(convolution, name, self._timed(name, getattr(convolution, name)))

    def _timed(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            start = perf_counter()
            function(*arguments)
            self.seconds[name] += perf_counter() - start

        return call


def split(convolution: Winograd, call: Callable[[], object], batch: int) -> list[str]:
    """Milliseconds an image of each stage, and the products' GFLOP/s."""
    stages, calls = Stages(convolution), 5
    for _ in range(calls):
        call()
    scale = 1000 / calls / batch
    products = -(-batch // convolution.images)  # the last has empty rows, if it has fewer images
    tiles = products * convolution.images * convolution.rows * convolution.columns
    work = 2 * convolution.kernel.numel() * tiles / batch / 1e6
    pad, into, multiply, *out = (stages.seconds[name] * scale for name in STAGES)
    return [f"{pad + into:.2f}", f"{multiply:.2f}", f"{sum(out):.2f}", f"{work / multiply:.0f}"]


@torch.inference_mode()
def rows(batch: int, ngf: int, size: int) -> list[list[str]]:
    found = []
    for name, block, side in layers(ngf, size):
        channels = block.conv.in_channels, block.conv.out_channels
        x = torch.randn(batch, channels[0], side, side).to(memory_format=torch.channels_last)
        shape = (batch, side, side)
        chosen = onednn.prepare(block, shape, torch.float32, RELU, Workspace())
        taken = chosen.way if isinstance(chosen, ProductConvolution) else "direct"
        del chosen
        ms = {"direct": milliseconds(Convolution(block, shape, torch.float32, RELU), x)}
        parts = [""] * 4
        for way in list_products(name, channels, side):
            product = ProductConvolution(block, shape, RELU, Workspace(), way)
            ms[way] = milliseconds(product, x)
            fastest = ms[way] <= ms.get("winograd", ms[way])
            if isinstance(product.run, Winograd) and fastest:
                parts = split(product.run, lambda product=product, x=x: product(x), batch)
        cell = {way: f"{figure:.2f}" for way, figure in ms.items()}
        row = [name, f"{channels[0]} to {channels[1]}", f"{side}²", cell["direct"]]
        row += [cell.get("winograd", ""), cell.get("few-pixel winograd", ""), *parts]
        row.append(cell.get("patches", cell.get("thin", "")))
        gain = "" if taken == "direct" else f"{ms['direct'] / ms[taken]:.2f}"
        found.append([*row, taken, gain])
    return found


def list_products(name: str, channels: tuple[int, int], side: int) -> list[Way]:
    """The ways, beside the direct one, that are worth a look. ``side``: of the layer's input."""
    transposed = name.startswith("up")
    if transposed and channels[1] < FEW_CHANNELS:
        return ["thin"]
    if min(channels) < FEW_CHANNELS:
        return []
    is_even = (side if transposed else side // 2) % FEW_OUTPUTS == 0
    return ["winograd", *(["few-pixel winograd"] if is_even else []), "patches"]


def milliseconds(convolution: Convolution, x: Tensor) -> float:
    return best(lambda: convolution(x), "cpu", SECONDS) / len(x) * 1000


@torch.inference_mode()
def whole(batch: int, ngf: int, size: int) -> str:
    """The whole network, by the rule and all direct."""
    unet = generator(ngf=ngf)
    x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    ms = []
    for direct in (False, True):
        network = OneDNNUNet(unet, batch, size, torch.float32, direct=direct)
        ms.append(best(lambda network=network: network(x), "cpu", 4 * SECONDS) / batch * 1000)
    return f"whole network: by the rule {ms[0]:.1f} ms, all direct {ms[1]:.1f}: {ms[1] / ms[0]:.2f}"


def report(batch: int, ngf: int, size: int) -> list[str]:
    torch.set_num_threads(1)
    freed_memory.keep()
    head = f"{machine()}; batch {batch}, ngf {ngf}, {size}x{size}"
    return [head, "", *table(COLUMNS, rows(batch, ngf, size)), "", whole(batch, ngf, size), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--isa", nargs="+", choices=INSTRUCTION_SETS, default=["avx2", "avx512"])
    parser.add_argument("--out", type=Path, help="also write the tables there, as Markdown")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print("\n".join(report(arguments.batch, arguments.ngf, arguments.size)))
        return
    lines = []
    for isa in arguments.isa:
        limits = dict(zip(SWITCHES, INSTRUCTION_SETS[isa], strict=False))
        command = [sys.executable, __file__, "--here", "--batch", str(arguments.batch)]
        command += ["--ngf", str(arguments.ngf), "--size", str(arguments.size)]
        process = subprocess.run(
            command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True, check=True
        )
        lines += [f"## {isa}", "", process.stdout]
        print(f"## {isa}\n\n{process.stdout}", flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
