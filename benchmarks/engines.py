"""How fast each engine is by batch size, against what the device can do and other runtimes.

    pip install -e '.[bench]'
    python benchmarks/engines.py [--batches 1 2 4 8] [--ngf 64] [--out FOLDER]

One run prints the device's measured peaks, a table of images a second and milliseconds a batch,
and how soon a CPU worker is ready; FOLDER gets the tables as Markdown and a plot. All figures are
from bytes to bytes. On an NVIDIA GPU the engines of the GPU are measured, with ``--device cpu``
or without one those of the CPU. What is not installed is named and left out. Ratios are only good
within one run. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import SECONDS, alone, each, generator, gflop, inputs, machine, table
from roof import Roof, peaks

from pix2pix_batch import bundle
from pix2pix_batch.cores import cores
from pix2pix_batch.engines import startup
from pix2pix_batch.engines.bench import Speed, measure
from pix2pix_batch.engines.cpu import precision as cpu_precision
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError, InputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference import freed_memory
from pix2pix_batch.inference.cuda import CudaEngine
from pix2pix_batch.inference.engine import DTYPES, Engine, TorchEngine, default_batch_size, to_bytes

BATCHES = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (1, 2, 4, 8, 16, 32, 64, 128)}
LOOP = "plain loop"
COLUMNS = ("engine", "precision", "size", "batch", "images/s", "ms a batch", "x loop", "of roof")


@dataclass(frozen=True)
class Job:
    """What every engine runs. ``threads``: of the CPU, together."""

    model: Path
    size: int
    batches: tuple[int, ...]
    seconds: float
    threads: int
    device: str


@dataclass(frozen=True)
class Rung:
    """One engine. ``open``: called in a process of its own; ``workers``: whether it runs as in
    ``convert`` on the CPU, in a process of one thread for each core; ``batches``: instead of the
    job's."""

    name: str
    precision: str
    open: Callable[[Job, Rung, int], Any]
    workers: bool = False
    batches: tuple[int, ...] = ()


class Call:
    """A function of one batch, bytes to bytes, as an engine."""

    def __init__(self, batch: int, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.batch_size, self.function = batch, function

    def __call__(self, images: np.ndarray, masks: object = None) -> np.ndarray:
        return self.function(images)


# The engines


def loop(job: Job, rung: Rung, batch: int) -> Call:
    """The plain module in PyTorch's own layout, norms and all: what a script does."""
    unet = bundle.load(job.model)[1].to(job.device, DTYPES[rung.precision])

    @torch.inference_mode()
    def call(images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).to(job.device).permute(0, 3, 1, 2).float().contiguous()
        y = unet.translate((x / 127.5 - 1).to(DTYPES[rung.precision]))[0]
        return to_bytes(y).cpu().numpy()

    return Call(batch, call)


def torch_engine(job: Job, rung: Rung, batch: int) -> Engine:
    kind = CudaEngine if job.device == "cuda" else TorchEngine
    unet = bundle.load(job.model)[1]
    return kind(unet, size=job.size, batch_size=batch, precision=rung.precision)


def compiled(job: Job, rung: Rung, batch: int) -> Call:
    """The network that TensorRT gets, by torch.compile: frozen weights or CUDA graphs."""
    import torch._inductor.config

    from pix2pix_batch.engines.export_graph import make_graph

    torch._dynamo.reset()
    torch._inductor.config.freezing = job.device == "cpu"
    graph = make_graph(bundle.load(job.model)[1], DTYPES[rung.precision])
    graph = graph.to(job.device, memory_format=torch.channels_last)
    run = torch.compile(graph, mode="reduce-overhead" if job.device == "cuda" else "default")

    @torch.no_grad()
    def call(images: np.ndarray) -> np.ndarray:
        return run(torch.from_numpy(images).to(job.device))[0].cpu().numpy()

    return Call(batch, call)


def onnxruntime(job: Job, rung: Rung, batch: int) -> Call:
    import onnxruntime as runtime

    provider = "CUDAExecutionProvider" if job.device == "cuda" else "CPUExecutionProvider"
    if provider not in runtime.get_available_providers():
        raise InputError(f"onnxruntime {runtime.__version__} has no {provider}")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job.threads
    graph = EngineSpec(job.model, rung.precision, batch, job.size).graph
    session = runtime.InferenceSession(graph, options, providers=[provider])
    if provider not in session.get_providers():
        raise InputError(f"onnxruntime {runtime.__version__} cannot use its {provider}")
    return Call(batch, lambda images: session.run(["translated"], {"image": images})[0])


def tensorrt(job: Job, rung: Rung, batch: int) -> Engine:
    """Built and loaded as ``convert`` does, from a cache of this run."""
    from pix2pix_batch.engines import gpu, library, parity_check, spec
    from pix2pix_batch.engines.builder import BuildOptions
    from pix2pix_batch.engines.cache import Cache

    chosen = library.load(rung.name)
    wanted = EngineSpec(job.model, rung.precision, batch, job.size)
    cache = Cache(job.model.parent)
    entry = spec.find_or_build(cache, wanted, chosen, BuildOptions(), gpu.current_gpu()).entry
    return parity_check.load_engine(chosen, entry)


def rungs(device: str) -> list[Rung]:
    """The baseline first."""
    if device == "cuda":
        return [
            Rung(LOOP, "fp16", loop, batches=(1,)),
            Rung("TorchEngine", "fp16", torch_engine),
            Rung("torch.compile", "fp16", compiled),
            Rung("ONNX Runtime", "fp16", onnxruntime),
            Rung("tensorrt", "fp16", tensorrt),
            Rung("tensorrt_rtx", "fp16", tensorrt),
        ]
    precisions = sorted({"fp32", cpu_precision()}, reverse=True)  # an emulated one takes minutes
    return [
        Rung(LOOP, "fp32", loop, batches=(1,)),
        *(Rung("TorchEngine", one, torch_engine, workers=True) for one in precisions),
        Rung("torch.compile", cpu_precision(), compiled),
        Rung("ONNX Runtime", "fp32", onnxruntime),
    ]


def speeds(job: Job, rung: Rung) -> list[Speed | str]:
    """Of each batch size, or why there is none. Runs in a process of its own."""
    torch.set_num_threads(1 if rung.workers else job.threads)
    if job.device == "cpu":
        freed_memory.keep()
    found: list[Speed | str] = []
    for batch in rung.batches or job.batches:
        try:
            engine = rung.open(job, rung, batch)
            images = inputs(batch, job.size)
            found.append(measure(engine, images, seconds=job.seconds, warm_up=job.seconds / 4))
        except Exception as error:
            found.append(reason(error))
        engine = None
        if job.device == "cuda":
            torch.cuda.empty_cache()
    return found


def reason(error: BaseException) -> str:
    """Its first line that says something, short enough for one of the table."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]


def together(job: Job, rung: Rung) -> list[Speed | str]:
    """As :func:`speeds`, of all the rung's processes: speeds added, latencies' mean."""
    try:
        found = each(job.threads if rung.workers else 1, speeds, job, rung)
    except BrokenProcessPool:
        return ["its process died"]
    merged: list[Speed | str] = []
    for one in zip(*found, strict=True):
        ran = [speed for speed in one if isinstance(speed, Speed)]
        merged.append(
            next((told for told in one if isinstance(told, str)), "")
            or Speed(
                sum(speed.images_per_second for speed in ran),
                sum(speed.latency_ms for speed in ran) / len(ran),
                sum(speed.batches for speed in ran),
            )
        )
    return merged


# What the device can do


def roofs(job: Job, wanted: list[Rung], ngf: int, say: Callable[..., None]) -> dict[str, Roof]:
    """Measured now, by precision."""
    precisions = sorted({rung.precision for rung in wanted})
    gflops, memory, link = alone(peaks, precisions, job.threads, job.device, job.seconds)
    work = gflop(ngf, job.size)
    say(f"generator ({job.size}x{job.size}, 8 downs, ngf {ngf})", f"{work:.1f} GFLOP an image")
    say("copy in memory, read and written", f"{memory:.0f} GB/s")
    if job.device == "cuda":
        say("copy to the GPU or back, the slower", f"{link:.1f} GB/s")
    architecture = Architecture(norm="running-statistics", ngf=ngf)
    found = {}
    for precision, highest in zip(precisions, gflops, strict=True):
        size = DTYPES[precision].itemsize
        found[precision] = Roof(highest, memory, link, work, architecture, job.size, size)
        floor = 1000 / found[precision].images_per_second(max(job.batches))
        say(f"peak, {precision}", f"{highest:,.0f} GFLOP/s; the roof is {floor:.3g} ms an image")
    return found


def ready(job: Job, starts: int, say: Callable[[str, str], None]) -> None:
    """How soon a CPU worker runs its first batch; the first may read PyTorch from the disk."""
    batch, precision = default_batch_size("cpu", job.size), cpu_precision()
    name = f"CPU worker, from its start to its first batch of {batch}, {precision}"
    try:
        found = [
            startup.measure(job.model, size=job.size, batch_size=batch, precision=precision)
            for _ in range(starts)
        ]
    except EngineError as error:
        say(name, f"left out: {reason(error)}")
        return
    soonest = min(found, key=lambda one: one.seconds)
    say(
        name,
        f"{soonest.seconds:.1f} s: Dask and PyTorch {soonest.imported:.1f}, model "
        f"{soonest.opened:.1f}, batch {soonest.first_batch:.1f}; best of {starts}, the first "
        f"{found[0].seconds:.1f} s",
    )


Result = tuple[Rung, int, Speed]


def measure_all(
    job: Job, wanted: list[Rung], roof: dict[str, Roof], tell: Callable[[list[str]], None]
) -> list[Result]:
    """Every rung by batch size; ``tell`` takes the cells of a row, or one with what is missing."""
    results: list[Result] = []
    base = 0.0
    for rung in wanted:
        found = together(job, rung)
        failures = [one for one in found if isinstance(one, str)]
        if len(failures) == len(found):
            tell([f"left out: {rung.name} {rung.precision}: {failures[0]}"])
            continue
        for batch, speed in zip(rung.batches or job.batches, found, strict=True):
            if isinstance(speed, str):
                tell([f"left out: {rung.name} {rung.precision}, batch {batch}: {speed}"])
                continue
            base = base or speed.images_per_second
            share = speed.images_per_second / roof[rung.precision].images_per_second(batch)
            tell(
                [
                    rung.name,
                    rung.precision,
                    str(job.size),
                    str(batch),
                    f"{speed.images_per_second:,.1f}",
                    f"{speed.latency_ms:.2f}",
                    f"{speed.images_per_second / base:.1f}",
                    f"{share:.0%}",
                ]
            )
            results.append((rung, batch, speed))
    if job.device == "cpu":
        why = "--device cpu" if torch.cuda.is_available() else "PyTorch finds no NVIDIA GPU here"
        tell([f"left out: PyTorch on CUDA, tensorrt, tensorrt_rtx: {why}"])
    return results


def plot(results: dict[int, list[Result]], roof: dict[int, dict[str, Roof]], path: Path) -> str:
    """Images a second by batch, a panel a size; empty, or why there is no plot."""
    try:
        import matplotlib
    except ImportError as error:
        return f"left out: the plot: {error}"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(results), figsize=(8 * len(results), 5), squeeze=False, layout="constrained"
    )
    for panel, (size, found) in zip(panels[0], results.items(), strict=True):
        batches = sorted({batch for _, batch, _ in found})
        lines = dict.fromkeys((rung.name, rung.precision) for rung, _, _ in found)
        for name, precision in lines:
            points = [
                (batch, speed.images_per_second)
                for rung, batch, speed in found
                if (rung.name, rung.precision) == (name, precision)
            ]
            panel.plot(*zip(*points, strict=True), marker="o", label=f"{name}, {precision}")
        used = {rung.precision for rung, _, _ in found}
        for precision, one in roof[size].items():
            if precision in used:
                style = ":" if precision == "fp32" else "--"
                heights = [one.images_per_second(batch) for batch in batches]
                panel.plot(batches, heights, "k", linestyle=style, label=f"roof, {precision}")
        panel.set_xscale("log", base=2)
        panel.set_xticks(batches, [str(batch) for batch in batches])
        panel.set_yscale("log")
        for axis in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
            axis("{x:,.0f}")
        panel.set(xlabel="batch", ylabel="images a second", title=f"{size}x{size}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where it is")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256])
    parser.add_argument("--batches", type=int, nargs="+")
    names = sorted({rung.name for one in BATCHES for rung in rungs(one)} - {LOOP})
    parser.add_argument("--only", nargs="+", choices=names, help="these and the plain loop")
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--threads", type=int, default=cores(), help="of the CPU, together")
    parser.add_argument(
        "--starts", type=int, default=3, help="of a CPU worker, to time it; 0: none"
    )
    parser.add_argument("--out", type=Path, help="folder for engines.md and engines.png")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent.parent))
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    batches = tuple(arguments.batches or BATCHES[device])

    title = f"{machine()}; {arguments.threads} threads"
    figures: list[list[str]] = []
    rows: list[list[str]] = []

    def say(name: str, value: str) -> None:
        figures.append([name, value])
        print(f"{name:<58} {value}", flush=True)

    def tell(cells: list[str]) -> None:
        rows.append(cells)
        print("  ".join(f"{cell:<15}" for cell in cells).rstrip(), flush=True)

    print(title)
    results, roof = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for size in arguments.sizes:
            model = Path(folder, f"{size}.safetensors")
            architecture = Architecture(norm="running-statistics", ngf=arguments.ngf)
            info = bundle.BundleInfo("benchmark", architecture, image_size=size)
            bundle.save(model, info, generator(ngf=arguments.ngf))
            job = Job(model, size, batches, arguments.seconds, arguments.threads, device)
            wanted = [
                one for one in rungs(device) if one.name in [LOOP, *(arguments.only or names)]
            ]
            roof[size] = roofs(job, wanted, arguments.ngf, say)
            if size == arguments.sizes[0] and arguments.starts:
                ready(job, arguments.starts, say)
            print("  ".join(f"{name:<15}" for name in COLUMNS).rstrip())
            results[size] = measure_all(job, wanted, roof[size], tell)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        missing = plot(results, roof, arguments.out / "engines.png")
        whole = [row for row in rows if len(row) > 1]
        notes = [row[0] for row in rows if len(row) == 1] + [missing] * bool(missing)
        lines = [title, "", *table(("figure", "measured"), figures), "", *table(COLUMNS, whole)]
        lines += ["", *(f"- {note}" for note in notes)]
        (arguments.out / "engines.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
