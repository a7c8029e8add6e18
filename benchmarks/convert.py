"""How fast ``convert`` is on this machine, against its floor and against what people use now.

    pip install -e '.[bench]'
    python benchmarks/convert.py [--images 1024] [--out report.md]

One run prints one table: the matmul peak and the floor that it implies an image, the raw
engine, other runtimes, convert end to end, and a plain sequential loop as the reference's test
script does it. Ratios are only good within one run. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import torch
from measure import (
    FULL_SIZE,
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

from pix2pix_batch import bundle, onednn
from pix2pix_batch.cores import cores
from pix2pix_batch.engine import CPU_BATCH, TorchEngine

# Each of these runs in a process of its own.


def raw_engine(norm: str, precision: str, batch: int) -> float:
    """One engine as a worker runs it: one thread."""
    torch.set_num_threads(1)
    onednn.keep_freed_memory()
    engine = TorchEngine(generator(norm), size=SIZE, batch_size=batch, precision=precision)
    images = inputs(batch)
    return repeat(lambda: engine(images), batch)


def eager(batch: int, threads: int, compiled: bool) -> float:
    """Plain PyTorch: bf16, channels last, norms folded; or compiled with frozen weights."""
    import torch._inductor.config

    torch.set_num_threads(threads)
    onednn.keep_freed_memory()
    unet = generator()
    for block in [*unet.down, *unet.up]:
        weight, bias, block.norm = onednn.folded(block)
        block.conv.weight = torch.nn.Parameter(weight, requires_grad=False)
        block.conv.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
    unet = unet.to(torch.bfloat16, memory_format=torch.channels_last)
    x = floats(batch).bfloat16().to(memory_format=torch.channels_last)
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


def openvino_bf16(path: Path, batch: int, threads: int) -> float:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, SIZE, SIZE])
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(model, "CPU", settings)
    request, x = compiled.create_infer_request(), floats(batch).numpy()
    return repeat(lambda: request.infer([x]), batch)


def sequential_loop(source: Path, out: Path) -> float:
    """The reference's test script: batch 1, fp32, train-mode norm and dropout, PNG out."""
    unet = generator("batch-statistics").train()
    files = sorted(source.iterdir())[:48]
    out.mkdir()
    start = time.perf_counter()
    with torch.no_grad():
        for file in files:
            pixels = np.array(Image.open(file).convert("RGB").resize((SIZE, SIZE)))
            x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div(255).sub(0.5).div(0.5)
            y = unet(x)[0].permute(1, 2, 0).add(1).div(2).mul(255).numpy().astype(np.uint8)
            Image.fromarray(y).save(out / f"{file.stem}.png")
    return (time.perf_counter() - start) / len(files) * 1000


def end_to_end(source: Path, out: Path, model: Path, form: str) -> dict[str, float]:
    """The real command: milliseconds an image after start-up, first image, memory."""
    command = [sys.executable, "-m", "pix2pix_batch.cli", "convert", str(source), str(out)]
    command += ["--model", str(model), "--format", form, "--json"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tree = psutil.Process(process.pid)
    first, peak, times = 0.0, 0, []
    while process.poll() is None:
        time.sleep(0.2)
        done = sum(name.endswith(form) for name in os.listdir(out)) if out.exists() else 0
        now = time.perf_counter() - start
        if done and not first:
            first = now
        times.append((now, done))
        if len(times) % 20 == 0:  # reading it costs the workers time
            peak = max(peak, memory(tree))
    summary = json.loads(process.communicate()[0])
    total = summary["converted"]
    # From the time a tenth is done to the time all is: start-up apart, the tail included.
    begin, counted = next((t, n) for t, n in times if n >= total / 10)
    end = next((t for t, n in times if n == total), times[-1][0])
    return {
        "ms": (end - begin) / (total - counted) * 1000,
        "first": first,
        "whole": total / summary["seconds"],
        "peak": peak / 2**20,
    }


def memory(tree: psutil.Process) -> int:
    """Bytes of the process and its children; shared pages counted once a process."""
    total = 0
    try:
        for process in [tree, *tree.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass
    return total


def measure_others(row: Callable[[str, str], None], raw: float, directory: Path) -> None:
    """Other batches, norms, precisions and runtimes, against ``raw`` milliseconds an image."""
    threads = cores()
    for batch in (1, 4, 16):
        ms = together(threads, raw_engine, "running-statistics", "bf16", batch)
        row(f"   batch {batch}", f"{ms:.1f} ms")
    ms = together(threads, raw_engine, "batch-statistics", "bf16", CPU_BATCH)
    row("   norm with each image's own statistics", f"{ms:.1f} ms")
    ms = together(threads, raw_engine, "running-statistics", "fp32", CPU_BATCH)
    row("   fp32", f"{ms:.1f} ms")
    ms = min(alone(eager, batch, threads, False) for batch in (4, 8))
    row("PyTorch eager, bf16, channels last, norms folded", f"{ms:.1f} ms")
    ms = min(alone(eager, batch, threads, True) for batch in (4, 8))
    row("torch.compile, frozen, bf16", f"{ms:.1f} ms")

    model = directory / "generator.onnx"
    export(model)
    ov = min(alone(openvino_bf16, model, batch, threads) for batch in (1, 4, 8))
    row("OpenVINO bf16, best batch", f"{ov:.1f} ms = {ov / raw:.1f} x raw engine")
    ort = min(alone(onnxruntime_fp32, model, batch, threads) for batch in (1, 4, 8))
    row("ONNX Runtime fp32, best batch", f"{ort:.1f} ms = {ort / raw:.1f} x raw engine")


def measure(count: int, directory: Path, only_convert: bool) -> list[tuple[str, str]]:
    threads = cores()
    rows: list[tuple[str, str]] = []

    def row(name: str, value: str) -> None:
        rows.append((name, value))
        print(f"{name:<58} {value}", flush=True)

    work = gflop()
    row("generator (256x256, 8 downs, ngf 64)", f"{work:.1f} GFLOP an image")
    fp32 = alone(matmul_peak, "float32", threads)
    bf16 = alone(matmul_peak, "bfloat16", threads)
    row("matmul peak fp32, bf16", f"{fp32:.0f}, {bf16:.0f} GFLOP/s")
    floor = work / max(fp32, bf16) * 1000
    row("floor implied by the bf16 peak", f"{floor:.1f} ms an image")

    raw = together(threads, raw_engine, "running-statistics", "bf16", CPU_BATCH)
    row(f"raw engine, bf16, {threads} x 1 thread, batch {CPU_BATCH}", f"{raw:.1f} ms an image")
    if not only_convert:
        measure_others(row, raw, directory)

    source, weights = directory / "in", directory / "full.safetensors"
    make_images(source, count)
    info = bundle.BundleInfo("full-size", FULL_SIZE, image_size=SIZE)
    bundle.save(weights, info, generator())
    loop = alone(sequential_loop, source, directory / "loop")
    row("sequential loop (batch 1, fp32, PNG)", f"{loop:.1f} ms an image")
    for form, name in (("jpg", "JPEG"), ("png", "PNG")):
        result = end_to_end(source, directory / form, weights, form)
        ms = result["ms"]
        row(
            f"convert JPEG to {name}, {count} images",
            f"{ms:.1f} ms = {raw / ms:.0%} of raw engine, {loop / ms:.1f} x the loop",
        )
        row("   whole command, start-up included", f"{result['whole']:.1f} images/s")
        row("   first image on disk after", f"{result['first']:.1f} s")
        row("   peak memory, all processes (PSS)", f"{result['peak']:.0f} MiB")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--only-convert", action="store_true", help="leave out other runtimes")
    parser.add_argument("--out", type=Path, help="also write the table there, as Markdown")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent.parent))
    title = machine()
    print(title)
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(arguments.images, Path(directory), arguments.only_convert)
    if arguments.out:
        lines = [title, "", *table(("figure", "measured"), rows)]
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
