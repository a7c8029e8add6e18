"""How fast generators with residual blocks run on the CPU, against other runtimes, layer by layer.

    pip install -e '.[bench]'
    python benchmarks/resnet.py [--family resnet] [--norm instance] [--size 256] [--ngf 64]
                                [--blocks 9] [--precision fp32] [--seconds 40]
                                [--layers | --seams | --build]

Milliseconds an image, one thread, from bytes to bytes. The engines take turns within one process,
one image each, so that all see the same machine; the least and the middle time of each are told,
and ours over the best other. ``--layers`` times each layer of ours, with the share of the norm and
what else follows the convolution. ``--seams`` (with ``--size 1024``) looks at the borders of tiles,
``--build`` times TensorRT-RTX. Weights do not change the speed. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from measure import machine, table
from PIL import Image

from pix2pix_batch import bundle, generators
from pix2pix_batch.engines import builder
from pix2pix_batch.engines.export import export
from pix2pix_batch.engines.library import load
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.network import LayeredGenerator
from pix2pix_batch.generators.residual import ResidualGenerator
from pix2pix_batch.imaging.tiling import Padded, SharingTiles, Tiles
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inference.onednn_layers import OneDNNLayers
from pix2pix_batch.inference.prepared_layer import statistics_of_all

Call = Callable[[np.ndarray], object]


def make(arguments: argparse.Namespace) -> LayeredGenerator:
    values = {"norm": arguments.norm, "ngf": arguments.ngf, "blocks": arguments.blocks}
    family = generators.find(arguments.family)
    if not issubclass(family, ResidualGenerator):
        del values["blocks"]
    net = family(**values).build()
    assert isinstance(net, LayeredGenerator)
    return net.init_weights(torch.Generator().manual_seed(0)).eval().requires_grad_(False)


def ours(net: Generator, size: int, precision: str, *, direct: bool) -> Call:
    return TorchEngine(net, size=size, batch_size=1, precision=precision, direct=direct)


def plain(net: Generator, size: int) -> Call:
    """The module in PyTorch's own layout: what a script does."""

    @torch.inference_mode()
    def call(images: np.ndarray) -> object:
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float().contiguous()
        y = net(x.div_(127.5).sub_(1))
        return y.add_(1).mul_(127.5).round_().byte().permute(0, 2, 3, 1).contiguous().numpy()

    return call


def onnxruntime(path: Path) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["translated"], {"image": images})


def openvino(path: Path, precision: str) -> Call:
    from openvino import Core

    hint = "bf16" if precision == "bf16" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    request = Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda images: request.infer([images])


def engines(arguments: argparse.Namespace, folder: Path) -> dict[str, Call]:
    net, size = make(arguments), arguments.size
    path = folder / "net.safetensors"
    bundle.save(path, bundle.BundleInfo("net", net.architecture, size), net, half=False)
    graph = folder / "net.onnx"
    export(path, graph, precision="fp32", batch_size=1)
    found = {"ours": ours(net, size, arguments.precision, direct=False)}
    if arguments.precision == "fp32":
        found["ours, all direct"] = ours(net, size, "fp32", direct=True)
        found["plain PyTorch"] = plain(net, size)
        found["ONNX Runtime"] = onnxruntime(graph)
    found["OpenVINO"] = openvino(graph, arguments.precision)
    return found


def compare(arguments: argparse.Namespace) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        calls = engines(arguments, Path(folder))
        net = make(arguments)
        channels = net.architecture.in_channels
        shape = (1, arguments.size, arguments.size, channels)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            call(images)
        end = perf_counter() + arguments.seconds
        while perf_counter() < end:
            for name, call in calls.items():
                start = perf_counter()
                call(images)
                times[name].append(1000 * (perf_counter() - start))
    best = min(min(times[name]) for name in times if name in ("ONNX Runtime", "OpenVINO"))
    rows = [
        [name, f"{min(found):.1f}", f"{statistics.median(found):.1f}", f"{best / min(found):.2f}"]
        for name, found in times.items()
    ]
    return table(["engine", "least ms", "middle ms", "best other / it"], rows)


def time_layers(arguments: argparse.Namespace) -> list[str]:
    """Least milliseconds of each layer, of its convolution alone and of all that belongs to it."""
    net, size = make(arguments), arguments.size
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    engine = OneDNNLayers(net, (size, size), dtype, direct=False)
    engine(torch.rand(1, net.architecture.in_channels, size, size))
    layers, rows = engine.for_size((size, size)), []
    for place, (step, sized) in enumerate(zip(layers.steps, layers.sized, strict=True)):
        if step is None:
            continue
        layer = step.layer
        alone = least(lambda place=place: layers.convolve(place))
        y = layers.convolve(place)
        statistics = statistics_of_all([y]) if step.is_normed else None
        rest = least(
            lambda place=place, y=y, statistics=statistics: (
                statistics_of_all([y]) if statistics else None,
                layers.finish(place, y, statistics, {}),
            )
        )
        gflop = 2e-9 * layer.inputs * layer.outputs * layer.kernel**2
        area = sized.before if layer.transposed else sized.after
        gflop *= area[0] * area[1]
        row = [layer.name, step.prepared.way, f"{gflop:.2f}", f"{1000 * alone:.2f}"]
        rows.append([*row, f"{gflop / alone:.0f}", f"{1000 * rest:.2f}"])
    return table(["layer", "way", "GFLOP", "convolution ms", "GFLOP/s", "rest ms"], rows)


def look_for_seams(arguments: argparse.Namespace) -> list[str]:
    """One picture as a whole, as tiles that share its statistics, and as tiles of their own: the
    mean jump where tiles meet over that elsewhere, what they differ by, and the time."""
    net, size = make(arguments), arguments.size
    pixels = read_picture(size)
    engine = TorchEngine(net, size=256, batch_size=1)
    whole, rows = None, []
    side, part = size // 4, size // 16
    for name, tiles in (
        ("whole", Padded(pixels, (size, size))),
        ("tiles, shared statistics", SharingTiles(pixels, side, part)),
        ("tiles of their own", Tiles(pixels, side)),
    ):
        start = perf_counter()
        norms = engine.measure_norms(tiles.parts) if isinstance(tiles, SharingTiles) else None
        for index, tile in enumerate(tiles):
            batch = np.ascontiguousarray(tile[None])
            made = engine(batch) if norms is None else engine.translate_with(batch, None, norms)
            tiles.add_tile(index, made.images[0])
        seconds, image = perf_counter() - start, np.asarray(tiles.result, float)
        whole = image if whole is None else whole
        jump = "-" if name == "whole" else f"{jump_at_borders(image, side):.3f}"
        apart = f"{np.abs(image - whole).mean():.2f}"
        rows.append([name, jump, f"{jump_at_borders(whole, side):.3f}", apart, f"{seconds:.1f}"])
    heads = ["how", "jump at borders / inside", "the whole's there", "levels from the whole", "s"]
    return table(heads, rows)


def time_builds(arguments: argparse.Namespace) -> list[str]:
    """Seconds that TensorRT-RTX takes to build an engine for each GPU, without one."""
    library = load("tensorrt_rtx")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, net = Path(folder) / "net.safetensors", make(arguments)
        info = bundle.BundleInfo("net", net.architecture, arguments.size)
        bundle.save(path, info, net, half=False)
        graph = EngineSpec(path, "fp16", 4, arguments.size).graph
        for target in arguments.targets.split(","):
            start = perf_counter()
            plan, _ = builder.build(library, graph, builder.BuildOptions(target))
            rows.append([target, f"{perf_counter() - start:.1f}", f"{len(plan) / 2**20:.1f}"])
    return table(["target", "s", "MiB"], rows)


def read_picture(size: int) -> np.ndarray:
    """Examples side by side, ``uint8 (size, size, 3)``."""
    paths = sorted((Path(__file__).parent.parent / "examples" / "day").glob("*.png"))
    half = size // 2
    found = [Image.open(path).convert("RGB").resize((half, half)) for path in paths]
    rows = [
        np.hstack([np.asarray(found[k % len(found)]) for k in pair]) for pair in ((0, 1), (2, 0))
    ]
    return np.vstack(rows)


def jump_at_borders(image: np.ndarray, size: int) -> float:
    """The mean jump where tiles of that size begin or end, over that elsewhere."""
    tiles, at, inside = Tiles(image[:, :, :1].astype(np.uint8), size), [], []
    for axis, plan in enumerate((tiles.rows, tiles.columns)):
        jumps = np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2))
        starts = [plan.stride * k - plan.before for k in range(plan.count)]
        borders = {start - 1 for start in starts} | {start + size - 1 for start in starts}
        for place, jump in enumerate(jumps):
            (at if place in borders else inside).append(jump)
    return float(np.mean(at) / np.mean(inside))


def least(call: Callable[[], object], seconds: float = 0.4) -> float:
    found, end = [], perf_counter() + seconds
    while len(found) < 3 or perf_counter() < end:
        start = perf_counter()
        call()
        found.append(perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", default="resnet")
    parser.add_argument("--norm", default="instance")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--seams", action="store_true")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--targets", default="sm75,sm80,sm86,sm89,sm90,sm100,sm120,sm121")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with torch.inference_mode():
        if arguments.build:
            lines = time_builds(arguments)
        elif arguments.layers:
            lines = time_layers(arguments)
        else:
            lines = (look_for_seams if arguments.seams else compare)(arguments)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
