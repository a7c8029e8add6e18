"""How fast ``convert`` is on this machine, against its floor and against what people use now.

    pip install -e '.[bench]'
    python benchmarks/convert.py [--isa native AVX512 AVX2] [--images 512] [--out report.md]

One run prints a table for each instruction set, the lesser ones emulated in processes of their
own: the matmul peak and the floor that it implies an image, the raw engine, other runtimes,
convert end to end by quarters, and a plain sequential loop as the reference's test script does it.
What would take minutes is left out with a word. Ratios are only good within one run. Needs a quiet
machine.

oneDNN, PyTorch, MKL and OpenVINO keep to an emulated instruction set; ONNX Runtime has no switch
for it and always uses what the CPU has, so there its row is marked.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import torch
from measure import (
    FULL_SIZE,
    SECONDS,
    SIZE,
    alone,
    floats,
    generator,
    gflop,
    inputs,
    machine,
    make_images,
    matmul_peak,
    repeat,
    table,
    together,
)
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.cores import cores
from pix2pix_batch.engines.cpu import precision as cpu_precision
from pix2pix_batch.execution.worker import convert_chunk
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference import freed_memory, onednn
from pix2pix_batch.inference.engine import TorchEngine, default_batch_size
from pix2pix_batch.inference.engine_cache import engine_of
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item

ISAS = {
    "native": {},
    "AVX512": {
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
    "AVX2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "SSE41": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
"""Environment variables that keep a process to an instruction set."""

PATIENCE = 150.0
"""Seconds that one figure may take; where all images would take longer, fewer are converted."""

SLOW_BATCH = 5.0
"""Seconds that a batch of the slow generator takes at least."""

WIDTHS = (96, 128, 192, 224)
"""``ngf`` of generators from which the slow one is taken. Two workers of the widest take 8 GiB."""

TURNS, TURN_BATCHES = 9, 8
"""How often a worker and its engine alone take turns, and how many batches each turn."""

Row = Callable[[str, str], None]
Result = TypeVar("Result")


# Each of these runs in a process of its own.


def raw_engine(
    norm: str,
    precision: str,
    batch: int,
    ngf: int = FULL_SIZE.ngf,
    seconds: float = SECONDS,
) -> float:
    """One engine as a worker runs it: one thread."""
    torch.set_num_threads(1)
    freed_memory.keep()
    engine = TorchEngine(generator(norm, ngf), size=SIZE, batch_size=batch, precision=precision)
    images = inputs(batch)
    return repeat(lambda: engine(images), batch, seconds)


def pipeline(model: Path, source: Path, out: Path, form: str, precision: str, batch: int) -> float:
    """What a worker takes for an image, over what its engine alone takes, as processor time of one
    process that does both in turns: so it is good on a machine that has other things to do."""
    settings = Settings(
        str(model), bundle.fingerprint(model), str(out), "tile", SIZE, None, batch, "cpu",
        precision, noise=False, seed=0, backend="torch",
    )  # fmt: skip
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    items = [
        Item(str(path), f"{path.stem}.{form}", f"{path.stem}.{form}", form)
        for path in sorted(source.iterdir())[: TURN_BATCHES * batch]
    ]
    engine, images = engine_of(settings), inputs(batch)
    ratios: list[float] = []
    convert_chunk(settings, items)
    for _ in range(TURNS):
        start = time.process_time()
        for _ in range(TURN_BATCHES):
            engine(images)
        middle = time.process_time()
        convert_chunk(settings, items)
        ratios.append((time.process_time() - middle) / (middle - start))
    return statistics.median(ratios)


class Reference:
    """The raw engine's speed, measured before and after what is compared with it: a machine's
    speed changes by a tenth and more within minutes, with what else it or its host has to do."""

    def __init__(self, precision: str, batch: int, ngf: int = FULL_SIZE.ngf) -> None:
        self.arguments = FULL_SIZE.norm, precision, batch, ngf, 2 * SECONDS
        self.latest = self.measure()

    def measure(self) -> float:
        """Milliseconds an image, all cores at work."""
        return together(cores(), raw_engine, *self.arguments)

    def compare(self, measured: Callable[[], Result]) -> tuple[Result, float]:
        """What is measured, and the raw engine's mean before and after."""
        before, found = self.latest, measured()
        self.latest = self.measure()
        return found, (before + self.latest) / 2


def eager(precision: str, batch: int, threads: int, compiled: bool) -> float:
    """Plain PyTorch: channels last, norms folded; or compiled with frozen weights."""
    import torch._inductor.config

    torch.set_num_threads(threads)
    freed_memory.keep()
    unet = generator()
    for block in [*unet.down, *unet.up]:
        weight, bias, block.norm = onednn.fold_norm(block)
        block.conv.weight = torch.nn.Parameter(weight, requires_grad=False)
        block.conv.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    unet = unet.to(dtype, memory_format=torch.channels_last)
    x = floats(batch).to(dtype).to(memory_format=torch.channels_last)
    run: Callable[[torch.Tensor], object] = unet
    if compiled:
        torch._inductor.config.freezing = True
        run = torch.compile(unet)
    with torch.inference_mode(not compiled), torch.no_grad():
        return repeat(lambda: run(x), batch)


def export(path: Path) -> None:
    program = torch.onnx.export(
        generator(),
        (floats(2),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},),
        verbose=False,
    )
    assert program is not None
    program.save(str(path))


def onnxruntime_fp32(path: Path, batch: int, threads: int) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, x = session.get_inputs()[0].name, floats(batch).numpy()
    return repeat(lambda: session.run(None, {name: x}), batch)


def openvino(path: Path, precision: str, batch: int, threads: int) -> float:
    from openvino import Core

    core = Core()
    model = core.read_model(path)
    model.reshape([batch, 3, SIZE, SIZE])
    hint = "bf16" if precision == "bf16" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(model, "CPU", settings)
    request, x = compiled.create_infer_request(), floats(batch).numpy()
    return repeat(lambda: request.infer([x]), batch)


def sequential_loop(source: Path, out: Path, seconds: float = 20.0) -> float:
    """The reference's test script: batch 1, fp32, train-mode norm and dropout, PNG out."""
    unet = generator("batch-statistics").train()
    out.mkdir()
    start, done = time.perf_counter(), 0
    with torch.no_grad():
        for file in sorted(source.iterdir())[:48]:
            pixels = np.array(Image.open(file).convert("RGB").resize((SIZE, SIZE)))
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).sub(0.5).div(0.5)
            y = unet(x)[0].permute(1, 2, 0).add(1).div(2).mul(255).numpy().astype(np.uint8)
            Image.fromarray(y).save(out / f"{file.stem}.png")
            done += 1
            if time.perf_counter() - start > seconds:
                break
    return (time.perf_counter() - start) / done * 1000


@dataclass(frozen=True)
class Conversion:
    """The real command. ``ms``: an image, from the first on disk to the last; ``quarters``: the
    same of each quarter of the images; ``first``: seconds until the first; ``whole``: images a
    second, start-up included; ``pss``, ``worker``: MiB of all processes (shared pages counted
    once), and resident in the largest worker; ``others``: share of the cores' time that other
    programs had, or the machine's host."""

    ms: float
    quarters: list[float]
    first: float
    whole: float
    pss: float
    worker: float
    others: float


def end_to_end(source: Path, out: Path, model: Path, form: str) -> Conversion:
    command = [sys.executable, "-m", "pix2pix_batch.cli", "convert", str(source), str(out)]
    command += ["--model", str(model), "--format", form, "--json"]
    start, busy = time.perf_counter(), busy_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tree = psutil.Process(process.pid)
    times: list[tuple[float, int]] = []
    pss = worker = 0.0
    measured, ours = start, {0: 0.0}
    while process.poll() is None:
        time.sleep(0.1)
        ours |= cpu_seconds(tree)
        done = sum(name.endswith(form) for name in os.listdir(out)) if out.exists() else 0
        times.append((time.perf_counter() - start, done))
        if time.perf_counter() - measured > 4:  # reading it costs the workers time
            measured = time.perf_counter()
            now = memory(tree)
            pss, worker = max(pss, now[0]), max(worker, now[1])
    others = busy_seconds() - busy - sum(ours.values())
    share = others / (time.perf_counter() - start) / (psutil.cpu_count() or 1)
    summary = json.loads(process.communicate()[0])
    total = summary["converted"]
    first, begun = next((t, n) for t, n in times if n)

    def reached(count: float) -> float:
        return next((t for t, n in times if n >= count), times[-1][0])

    marks = [first, *(reached(begun + (total - begun) * n / 4) for n in (1, 2, 3, 4))]
    part = (total - begun) / 4
    quarters = [(b - a) / part * 1000 if part else 0.0 for a, b in itertools.pairwise(marks)]
    return Conversion(
        ms=sum(quarters) / 4,
        quarters=quarters,
        first=first,
        whole=total / summary["seconds"],
        pss=pss / 2**20,
        worker=worker / 2**20,
        others=max(0.0, share),
    )


def busy_seconds() -> float:
    """Of all cores, together, since the machine was started, with what its host took from them."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # are in user, nice
    return float(sum(times) - idle - guests)


def cpu_seconds(tree: psutil.Process) -> dict[int, float]:
    """Of the process and its children, by process."""
    found = {}
    for process in [tree, *tree.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def memory(tree: psutil.Process) -> tuple[float, float]:
    """Bytes of the process and its children, shared pages counted once; the largest child's
    resident ones."""
    total = largest = 0.0
    for process in [tree, *tree.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
            if process != tree:
                largest = max(largest, process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return total, largest


# What is measured


def measure_engines(row: Row, raw: float, batch: int, precision: str) -> None:
    threads = cores()
    for other in sorted({1, 2, 4, 8, 16} - {batch}):
        ms = together(threads, raw_engine, FULL_SIZE.norm, precision, other)
        row(f"   batch {other}", f"{ms:.1f} ms = {ms / raw:.2f} x")
    ms = together(threads, raw_engine, "batch-statistics", precision, batch)
    row("   norm with each image's own statistics", f"{ms:.1f} ms")
    if precision != "fp32":
        ms = together(threads, raw_engine, FULL_SIZE.norm, "fp32", batch)
        row("   fp32", f"{ms:.1f} ms")


def measure_runtimes(
    row: Row, reference: Reference, precision: str, isa: str, directory: Path
) -> None:
    threads = cores()
    model = directory / "generator.onnx"
    alone(export, model)

    def best(function: Callable[..., float], *arguments: object) -> float:
        return min(alone(function, *arguments, batch, threads) for batch in (1, 4, 8))

    ms = min(alone(eager, precision, batch, threads, False) for batch in (4, 8))
    row(f"PyTorch eager, {precision}, channels last, norms folded", f"{ms:.1f} ms")
    if isa == "native":
        ms = min(alone(eager, precision, batch, threads, True) for batch in (4, 8))
        row(f"torch.compile, frozen, {precision}", f"{ms:.1f} ms")
    mark = "" if isa == "native" else " (with all that this CPU has)"
    reference.latest = reference.measure()
    for name, function, arguments, note in (
        (f"OpenVINO {precision}", openvino, (model, precision), ""),
        ("ONNX Runtime fp32", onnxruntime_fp32, (model,), mark),
    ):
        ms, raw = reference.compare(partial(best, function, *arguments))
        row(f"{name}, best batch", f"{ms:.1f} ms = {ms / raw:.2f} x raw engine{note}")


def measure_convert(row: Row, reference: Reference, count: int, isa: str, directory: Path) -> None:
    _, precision, batch, *_ = reference.arguments
    source, weights = directory / "in", directory / "full.safetensors"
    make_images(source, count)
    bundle.save(weights, bundle.BundleInfo("full-size", FULL_SIZE, image_size=SIZE), generator())
    loop = alone(sequential_loop, source, directory / "loop")
    row("sequential loop (batch 1, fp32, PNG)", f"{loop:.1f} ms an image")
    forms = (("jpg", "JPEG"), ("png", "PNG")) if isa == "native" else (("jpg", "JPEG"),)
    for form, name in forms:
        out = directory / form
        found, raw = reference.compare(partial(end_to_end, source, out, weights, form))
        row("raw engine, mean of just before and after", f"{raw:.1f} ms")
        row(
            f"convert JPEG to {name}, {count} images",
            f"{found.ms:.1f} ms = {raw / found.ms:.0%} of raw engine, "
            f"{loop / found.ms:.1f} x the loop",
        )
        quarters = ", ".join(f"{raw / ms:.0%}" for ms in found.quarters)
        row("   each quarter, of raw engine", quarters)
        row("   whole command, start-up included", f"{found.whole:.1f} images/s")
        row("   first image on disk after", f"{found.first:.1f} s")
        row("   memory, all processes (PSS)", f"{found.pss:.0f} MiB")
        row("   resident in the largest worker", f"{found.worker:.0f} MiB")
        row("   the cores' time that others took", f"{found.others:.0%}")
        turns = directory / f"{form}-turns"
        times = alone(pipeline, weights, source, turns, form, precision, batch)
        row("   one worker, its processor time", f"{times:.2f} x its engine's alone")


def measure_slow(row: Row, raw: float, batch: int, precision: str, directory: Path) -> None:
    """A generator of which one batch takes :data:`SLOW_BATCH` seconds and more."""
    threads = cores()
    name = f"generator whose batch takes {SLOW_BATCH:.0f} s and more"
    seconds = raw * threads * batch / 1000
    wide = [ngf for ngf in WIDTHS if seconds * (ngf / FULL_SIZE.ngf) ** 2 >= SLOW_BATCH]
    if not wide:
        row(name, "left out: this CPU is too fast for it")
        return
    ngf = wide[0]
    reference = Reference(precision, batch, ngf)
    slow = reference.latest
    count = threads * batch * max(4, int(PATIENCE * 1000 / slow / threads / batch))
    source, weights = directory / "slow", directory / "slow.safetensors"
    make_images(source, count)
    architecture = Architecture(norm=FULL_SIZE.norm, ngf=ngf)
    info = bundle.BundleInfo("slow", architecture, image_size=SIZE)
    bundle.save(weights, info, generator(ngf=ngf))
    out = directory / "slow-jpg"
    found, slow = reference.compare(partial(end_to_end, source, out, weights, "jpg"))
    weights.unlink()
    row(
        f"{name}: ngf {ngf}, raw engine",
        f"{slow:.0f} ms, {slow * threads * batch / 1000:.1f} s a batch",
    )
    quarters = ", ".join(f"{slow / ms:.0%}" for ms in found.quarters)
    row(
        f"   convert JPEG to JPEG, {count} images",
        f"{found.ms:.0f} ms = {slow / found.ms:.0%} of raw engine",
    )
    row("   each quarter, of raw engine", quarters)


def measure(isa: str, count: int, only_convert: bool) -> list[tuple[str, str]]:
    """The rows of one instruction set, to which this process is kept."""
    threads, precision = cores(), cpu_precision()
    batch = default_batch_size("cpu", SIZE)
    rows: list[tuple[str, str]] = []

    def row(name: str, value: str) -> None:
        rows.append((name, value))
        print(f"{name:<58} {value}", flush=True)

    work = gflop()
    row("generator (256x256, 8 downs, ngf 64)", f"{work:.1f} GFLOP an image")
    peak = alone(matmul_peak, "float32", threads)
    row("matmul peak fp32", f"{peak:.0f} GFLOP/s")
    if precision == "bf16":
        peak = alone(matmul_peak, "bfloat16", threads)
        row("matmul peak bf16", f"{peak:.0f} GFLOP/s")
    else:
        row("matmul peak bf16", "left out: slower than fp32 here, or emulated")
    row(f"floor implied by the {precision} peak", f"{work / peak * 1000:.1f} ms an image")

    reference = Reference(precision, batch)
    raw = reference.latest
    row(f"raw engine, {precision}, {threads} x 1 thread, batch {batch}", f"{raw:.1f} ms an image")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        if not only_convert:
            measure_engines(row, raw, batch, precision)
            measure_runtimes(row, reference, precision, isa, directory)
            reference.latest = reference.measure()
        fitting = int(PATIENCE * 1000 / raw) // batch * batch
        measure_convert(row, reference, min(count, max(8 * batch, fitting)), isa, directory)
        measure_slow(row, raw, batch, precision, directory)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["native", *list(ISAS)[1:]]
    parser.add_argument("--isa", nargs="+", choices=names, default=["native"], help="in turn")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--only-convert", action="store_true", help="leave out other runtimes")
    parser.add_argument("--out", type=Path, help="also write the tables there, as Markdown")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)  # of the one ISA, as JSON
    arguments = parser.parse_args()
    if arguments.rows:
        (isa,) = arguments.isa
        print(f"{machine()}; {isa}")
        found = {"title": machine(), "rows": measure(isa, arguments.images, arguments.only_convert)}
        arguments.rows.write_text(json.dumps(found))
        return
    lines: list[str] = []
    for isa in arguments.isa:
        title, rows = measure_apart(isa, arguments)
        lines += [f"{title}; {isa}", "", *table(("figure", "measured"), rows), ""]
    if arguments.out:
        arguments.out.write_text("\n".join(lines))


def measure_apart(isa: str, arguments: argparse.Namespace) -> tuple[str, list[Any]]:
    """As :func:`measure`, in a process that is kept to the instruction set from its start."""
    root = str(Path(__file__).parent.parent)
    environment = {"PYTHONPATH": root, **os.environ, **ISAS[isa]}
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "rows.json")
        words = ["--isa", isa, "--images", str(arguments.images), "--rows", str(rows)]
        words += ["--only-convert"] * arguments.only_convert
        subprocess.run([sys.executable, __file__, *words], env=environment, check=True)
        found = json.loads(rows.read_text())
    return found["title"], found["rows"]


if __name__ == "__main__":
    main()
