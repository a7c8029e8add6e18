"""What an NVIDIA GPU does with a generator: how exactly, how fast, and what when memory is wanting.

    python benchmarks/gpu.py exact [--model map2aerial]
    python benchmarks/gpu.py speed [--ngf 64] [--batches 1 32 128] [--compile fp16]
    python benchmarks/gpu.py memory [--batch 16384]

*exact*: each precision against fp32 on the CPU, with the model's real weights and real images; and
whether the same images give the same bytes again, in another place of the batch, in one that is not
full, and with two batches under way.

*speed*: the generator alone, its input on the device already, by CUDA's events: layer by layer, as
a CUDA graph, and by ``torch.compile``; and the engine that ``convert`` runs, from bytes to bytes.
All set against the device's roof, measured in the same run.

*memory*: a batch that no GPU holds, which must be refused with a reason, and then a usual one.

Without a GPU the same runs on the CPU, but for what only a GPU has, which is named.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import FULL_SIZE, SIZE, floats, generator, gflop, inputs, machine, table
from roof import Roof, peaks

from pix2pix_batch import bundle
from pix2pix_batch.cores import cores
from pix2pix_batch.engines import samples
from pix2pix_batch.engines.bench import measure
from pix2pix_batch.errors import Pix2PixBatchError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.engine import DTYPES, Engine, Overlapping, psnr
from pix2pix_batch.inference.engine_cache import open_engine
from pix2pix_batch.value_ranges import eight_bits

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PRECISIONS = ("fp32", "bf16", "fp16")
if DEVICE == "cpu":  # which emulates bf16 where it does not have it, and takes minutes
    PRECISIONS = ("fp32", "bf16") if onednn.bf16_is_fast() else ("fp32",)


def open_new_engine(model: Path, batch: int, precision: str, device: str = DEVICE) -> Engine:
    """A new engine each time, as a worker opens it."""
    make = open_engine.__wrapped__
    return make(str(model), bundle.fingerprint(model), SIZE, batch, device, precision)


def reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason'])[0][:160]}"


# exact


def exact(arguments: argparse.Namespace) -> list[str]:
    model = bundle.resolve(arguments.model)
    images = samples.read_samples(None, SIZE, bundle.read_info(model).ranges.input)
    batch = 2 * len(images)
    reference = open_new_engine(model, len(images), "fp32", "cpu")(images).images
    rows = []
    for precision in PRECISIONS:
        engine = open_new_engine(model, batch, precision)
        rows.append([f"engine, {precision}", *difference(engine(images).images, reference)])
        rows[-1] += [same_bytes(engine, images)]
        del engine
    rows += [[name, *difference(plain(model, images, tf32), reference), ""]
             for name, tf32 in (("plain module, TF32", True), ("plain module, fp32", False))
             if DEVICE == "cuda"]  # fmt: skip
    columns = ("on this device", "PSNR, dB", "largest difference", "pixels that differ", "bytes")
    return table(columns, rows)


def difference(made: np.ndarray, reference: np.ndarray) -> list[str]:
    off = np.abs(made.astype(int) - reference)
    return [f"{psnr(made, reference):.1f}", str(off.max()), f"{(off > 0).mean():.2%}"]


def plain(model: Path, images: np.ndarray, tf32: bool) -> np.ndarray:
    """The module as it is, with PyTorch's switches for TF32 on or off."""
    cudnn: Any = torch.backends.cudnn
    cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    unet = bundle.load(model)[1].to(DEVICE)
    with torch.inference_mode():
        x = torch.from_numpy(images).to(DEVICE).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        y = unet.translate(x)[0].float().add(1).mul(127.5).round().clamp(0, 255)
    return y.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


def same_bytes(engine: Engine, images: np.ndarray) -> str:
    """``equal``, or where the bytes of an image depend on more than the image."""
    whole = np.concatenate([images, images[::-1]])
    first = engine(whole).images.copy()
    found = {
        "again": np.array_equal(engine(whole).images, first),
        "in another place": np.array_equal(first[: len(images)], first[len(images) :][::-1]),
    }
    if engine.takes_fewer:
        few = engine(images[:1]).images
        found["in a batch that is not full"] = np.array_equal(few[0], first[0])
    if isinstance(engine, Overlapping):
        engine.start(whole)
        engine.start(whole[::-1].copy())
        one, two = engine.finish().images.copy(), engine.finish().images
        found["with two under way"] = np.array_equal(one, first) and np.array_equal(two[::-1], one)
    wrong = [name for name, equal in found.items() if not equal]
    return f"differ {', '.join(wrong)}" if wrong else f"equal ({', '.join(found)})"


# speed


def speed(arguments: argparse.Namespace) -> list[str]:
    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory() as folder:
        model, architecture = save_model(folder, arguments.ngf)
        precisions = [name for name in PRECISIONS if name in arguments.precisions]
        cudnn: Any = torch.backends.cudnn
        cudnn.allow_tf32 = False  # by default convolutions take it for fp32
        gflops, memory, link = peaks(precisions, cores(), DEVICE, arguments.seconds)
        work = gflop(arguments.ngf)
        lines = [f"{work:.1f} GFLOP an image; memory {memory:,.0f} GB/s, copies {link:.1f} GB/s"]
        rows = []
        for precision, highest in zip(precisions, gflops, strict=True):
            lines.append(f"peak, {precision}: {highest:,.0f} GFLOP/s")
            size = DTYPES[precision].itemsize
            roof = Roof(highest, memory, link, work, architecture, SIZE, size)
            for batch in arguments.batches:
                rows += speeds(model, precision, batch, roof, arguments)
    columns = ("what", "precision", "batch", "images/s", "ms a batch", "of roof")
    return [*lines, "", *table(columns, rows)]


def save_model(folder: str, ngf: int) -> tuple[Path, Architecture]:
    """The paper's generator, untrained."""
    model = Path(folder, "model.safetensors")
    architecture = Architecture(norm=FULL_SIZE.norm, ngf=ngf)
    info = bundle.BundleInfo("benchmark", architecture, image_size=SIZE)
    bundle.save(model, info, generator(ngf=ngf))
    return model, architecture


def speeds(
    model: Path, precision: str, batch: int, roof: Roof, arguments: argparse.Namespace
) -> list[list[str]]:
    """Rows of one precision and batch."""
    rows: list[list[str]] = []

    def add(name: str, find: Callable[[], tuple[float, float]]) -> None:
        try:
            rate, latency = find()
            share = rate / roof.images_per_second(batch)
            figures = [f"{rate:,.0f}", f"{latency:.2f}", f"{share:.0%}"]
        except Exception as error:
            figures = ["", "", reason(error)]
        rows.append([name, precision, str(batch), *figures])
        print("  ".join(rows[-1]), flush=True)
        if DEVICE == "cuda":
            torch.cuda.empty_cache()

    def network(compiles: bool) -> tuple[Callable[[], Any], torch.Tensor]:
        unet = bundle.load(model)[1].to(DEVICE, DTYPES[precision])
        unet = unet.to(memory_format=torch.channels_last)
        x = floats(batch).to(DEVICE, DTYPES[precision]).to(memory_format=torch.channels_last)
        translate = torch.compile(unet.translate) if compiles else unet.translate
        return lambda: translate(x), x

    def eager() -> tuple[float, float]:
        return timed(network(False)[0], batch, arguments.seconds)

    def graph() -> tuple[float, float]:
        return timed(captured(network(False)[0]), batch, arguments.seconds)

    def compiled() -> tuple[float, float]:
        torch._dynamo.reset()
        return timed(captured(network(True)[0]), batch, arguments.seconds)

    def whole() -> tuple[float, float]:
        engine = open_new_engine(model, batch, precision)
        found = measure(
            engine, inputs(batch), seconds=arguments.seconds, warm_up=arguments.seconds / 4
        )
        return found.images_per_second, found.latency_ms

    with torch.no_grad():
        add("on the device, eager", eager)
        if DEVICE == "cuda":
            add("on the device, CUDA graph", graph)
            if precision == arguments.compile and batch > 1:
                add("on the device, torch.compile and graph", compiled)
    add("engine of convert, bytes to bytes", whole)
    return rows


def captured(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call as a CUDA graph."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay() -> Any:
        graph.replay()
        return kept

    return replay


def timed(call: Callable[[], Any], batch: int, seconds: float) -> tuple[float, float]:
    """Images a second and milliseconds a call, the median of rounds between two CUDA events."""
    for _ in range(3):
        call()
    calls = 1
    if DEVICE == "cuda":  # some 50 ms a round
        calls = max(1, round(50 / elapsed(call, 1)))
    times: list[float] = []
    while sum(times) < seconds * 1000 or len(times) < 3:
        times.append(elapsed(call, calls))
    each = float(np.median(times)) / calls
    return 1000 * batch / each, each


def elapsed(call: Callable[[], Any], calls: int) -> float:
    """Milliseconds of so many calls one after the other."""
    if DEVICE == "cpu":
        import time

        start = time.perf_counter()
        for _ in range(calls):
            call()
        return 1000 * (time.perf_counter() - start)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


# memory


def memory(arguments: argparse.Namespace) -> list[str]:
    if DEVICE == "cpu":
        return ["left out: PyTorch finds no NVIDIA GPU here"]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        model, _ = save_model(folder, arguments.ngf)
        try:
            engine = open_new_engine(model, arguments.batch, "fp16")
            engine(np.zeros((arguments.batch, SIZE, SIZE, 3), np.uint8))
            lines.append(f"a batch of {arguments.batch} ran: give --batch a larger one")
            del engine
        except Pix2PixBatchError as error:
            lines.append(f"a batch of {arguments.batch} is refused by {reason(error)}")
        except Exception as error:
            lines.append(f"WRONG: a batch of {arguments.batch} ends in {reason(error)}")
        free, total = torch.cuda.mem_get_info()
        lines.append(f"then {free >> 20:,} of {total >> 20:,} MiB are free")
        images = samples.read_samples(None, SIZE, eight_bits(3))
        made = open_new_engine(model, len(images), "fp16")(images).images
        wanted = open_new_engine(model, len(images), "fp32", "cpu")(images).images
        lines.append(f"and a usual batch is {psnr(made, wanted):.1f} dB from the CPU's")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("exact", "speed", "memory"))
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "bf16", "fp32"])
    parser.add_argument("--compile", help="the precision that torch.compile is tried in")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--batch", type=int, default=1 << 14, help="that no GPU holds")
    parser.add_argument("--out", type=Path, help="also write it there, as Markdown")
    arguments = parser.parse_args()
    lines = [machine(), ""]
    lines += {"exact": exact, "speed": speed, "memory": memory}[arguments.what](arguments)
    print("\n".join(lines))
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")
    sys.exit(any(line.startswith("WRONG") for line in lines))


if __name__ == "__main__":
    main()
