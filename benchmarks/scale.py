"""What ``convert`` costs beside the model, by the number of items and of workers.

    pip install -e '.[bench]'
    python benchmarks/scale.py [--items 1000 10000 100000 1000000] [--real 1000 10000 100000]
        [--workers 8 32 64 128 256] [--out docs/scale.png]

Two series, each run anew for each number of items, with client, scheduler and one worker in
processes of their own:

- *trivial task*: the real scan, job, journal, dispatcher and Dask, with hard links to a few tiny
  images as inputs, and a task on the worker that makes records and nothing else. What is left is
  what the framework costs.
- *trivial engine*: the real task too, which reads, decodes, encodes and writes PNGs of 32x32, with
  an engine that does nothing. The plain loop beside it reads, decodes, encodes and writes the same
  images and nothing else.

The cost is user and system CPU time of a process by the items, from the first chunk that came back
to the last, so that start-up is left out and other programs matter little; the client's has the
second scan, which counts the inputs, by the scan rate. Up to 100,000 items are measured three
times, and the median counts. Memory is the peak of the resident set (VmHWM). Resume: the same
command once all is done and one image is new, until that image's output is there; and the client's
CPU time till then.

A third series, *many fast workers*, has as many Dask workers as are asked for, in four processes.
Each takes 1/60 s for an image, the rate of a fast engine, without using the CPU. It shows what
comes through, and how busy client and scheduler are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

ITEMS = [1_000, 10_000, 100_000, 1_000_000]
REAL = [1_000, 10_000, 100_000]
SIZE = 32
"""Side of the images and the model's, the least that a generator of five halvings takes."""

A_DIRECTORY, A_FILE = 1000, 30_000
"""Items of a directory, and hard links to a file: file systems allow some 65,000."""

PROCESSES = ("client", "scheduler", "worker")

WORKERS = [8, 32, 64, 128, 256]
RATE = 60.0
"""Images a second of a simulated worker: the full-size generator on a fast engine."""

FAST_SECONDS = 20
"""How long each run with many workers takes."""

HOSTS = 4
"""Processes that the simulated workers are in: Dask's own work for them needs more than one."""


# On the worker


def trivial_task(settings: Any, items: Sequence[Any], orders: Any = None) -> Any:
    """In place of ``worker.convert_chunk``: the records of images that nobody made."""
    from pix2pix_batch.execution.worker import ChunkResult
    from pix2pix_batch.journal.record import Record
    from pix2pix_batch.storage.common import stamp

    start = time.perf_counter()
    records = [
        Record(item.name, "done", stamp(os.stat(item.path)), item.output, hash="0" * 32)
        for item in items
    ]
    return ChunkResult(records, time.perf_counter() - start, worker="tcp://127.0.0.1:0")


def paced_task(settings: Any, items: Sequence[Any], orders: Any = None) -> Any:
    """In place of ``worker.convert_chunk``: takes as long as a fast engine, and no CPU."""
    from pix2pix_batch.execution.worker import ChunkResult
    from pix2pix_batch.journal.record import Record

    start = time.perf_counter()
    records = [Record(item.name, "done", "1:1", item.output, hash="0" * 32) for item in items]
    time.sleep(max(0.0, len(items) / RATE - (time.perf_counter() - start)))
    seconds = time.perf_counter() - start
    return ChunkResult(records, seconds, worker="tcp://127.0.0.1:0", tiles=len(items))


TASKS = {"trivial": trivial_task, "paced": paced_task, "real": None}


class TrivialEngine:
    """Returns its images as they are."""

    size, device, backend, precision = SIZE, "cpu", "tensorrt", "fp16"
    takes_fewer = True

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.embeddings = np.zeros((batch_size, 8), np.float32)

    def __call__(self, images: np.ndarray, masks: object = None) -> Any:
        from pix2pix_batch.inference.engine import Translated

        return Translated(images.copy(), self.embeddings)


def open_trivial(settings: Any, images: np.ndarray | None) -> tuple[Any, str]:
    return TrivialEngine(settings.batch_size or 64), ""


# In the client


@dataclass
class Client:
    """One run, in this process. ``others``: process ids of scheduler and workers; ``task``: one of
    :data:`TASKS`."""

    source: Path
    out: Path
    model: Path
    scheduler: str
    others: list[int]
    task: str

    def run(self) -> dict[str, Any]:
        from pix2pix_batch.execution import worker
        from pix2pix_batch.execution.job import Job
        from pix2pix_batch.execution.job_plan import plan_job
        from pix2pix_batch.options import Options
        from pix2pix_batch.reporting.progress import ProgressReporter
        from pix2pix_batch.reporting.summary import Summary

        options = Options(
            model=str(self.model), backend="tensorrt", device="cpu", batch_size=64,
            scheduler=self.scheduler, precision="fp16",
        )  # fmt: skip
        self.processes = [psutil.Process(pid) for pid in (os.getpid(), *self.others)]
        self.seen: list[tuple[int, list[float], float]] = []
        begun = time.time()
        task = TASKS[self.task] or worker.convert_chunk
        planned = plan_job(str(self.source), str(self.out), options, open_trivial)
        # the second scan may end before the first chunk: added later
        planned = replace(planned, countable=False)
        summary = Summary(model=planned.info.name)
        progress = ProgressReporter(self.watch, summary, threading.Event())
        Job(planned, progress, task=task).run()
        assert not summary.failed and not summary.fatal, summary
        (first, before, start), (last, after, end) = self.seen[0], self.seen[-1]
        count = max(1, last - first)
        return {
            "converted": summary.converted,
            "ms": [1000 * (b - a) / count for a, b in zip(before, after, strict=True)],
            "wall": 1000 * (end - start) / count,
            "tasks": self.tasks(),
            "mib": [peak(process.pid) for process in self.processes],
            "begun": begun,
            "cpu": before[0],
        }

    def tasks(self) -> int:
        """Chunks that the job had."""
        lines = (self.out / ".pix2pix-batch" / "journal.jsonl").read_bytes().splitlines()
        return sum(line.startswith(b'{"claim"') for line in lines)

    def watch(self, progress: Any) -> None:
        done = progress.summary.converted
        if done and (not self.seen or done > self.seen[-1][0]):
            used = [sum(process.cpu_times()[:2]) for process in self.processes]
            self.seen = [*self.seen[:1], (done, used, time.perf_counter())]


def peak(pid: int) -> float:
    """MiB: the most that the process ever had in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{pid}: no VmHWM")


def scan(source: Path, out: Path) -> float:
    """Items a second of one core."""
    from pix2pix_batch.inputs.scan import open_inputs
    from pix2pix_batch.inputs.source import ScanOptions

    start = time.process_time()
    count = sum(1 for _ in open_inputs(str(source), ScanOptions("png", out)))
    return count / (time.process_time() - start)


def plain_loop(source: Path, out: Path) -> float:
    """Milliseconds of CPU an image of a loop that does no more than the files ask for: read,
    decode, encode as ``convert`` encodes, write beside, move into place."""
    from pix2pix_batch.imaging import images

    out.mkdir()
    paths = [path for inside in sorted(source.iterdir()) for path in sorted(inside.iterdir())]
    start = time.process_time()
    for number, path in enumerate(paths[:1000]):
        picture = images.read(path.read_bytes(), 3)
        temporary = out / "temporary"
        temporary.write_bytes(images.write(picture, "png", None))
        os.replace(temporary, out / f"{number}.png")
    return 1000 * (time.process_time() - start) / min(1000, len(paths))


# Around it


def make_inputs(directory: Path, count: int) -> None:
    """``count`` images, hard links to a few, a thousand to a directory."""
    directory.mkdir()
    for number in range(count):
        inside = directory / f"{number // A_DIRECTORY:04d}"
        if number % A_DIRECTORY == 0:
            inside.mkdir()
        if number % A_FILE == 0:
            original = directory / f"{number // A_DIRECTORY:04d}" / "image_000.png"
            pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            Image.fromarray(pixels).save(original)
        else:
            os.link(original, inside / f"image_{number % A_DIRECTORY:03d}.png")


def save_model(path: Path) -> None:
    import torch

    from pix2pix_batch import bundle
    from pix2pix_batch.generators.unet import Architecture
    from pix2pix_batch.generators.unet_network import UNet

    torch.manual_seed(0)
    architecture = Architecture(downs=5, ngf=1, norm="running-statistics", dropout=False)
    info = bundle.BundleInfo(path.stem, architecture, image_size=SIZE)
    bundle.save(path, info, UNet(architecture).init_weights().eval())


@contextmanager
def cluster(directory: Path, workers: int = 1) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers, configured as a job's own are: scheduler file, process ids.

    One worker is a process; more are in :data:`HOSTS` of them.
    """
    from pix2pix_batch.execution.cluster import QUIET

    config = directory / "dask"
    config.mkdir(exist_ok=True)
    nested: dict[str, Any] = {}
    for key, value in QUIET.items():
        *path, last = key.split(".")
        at = nested
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    (config / "quiet.yaml").write_text(json.dumps(nested))
    file = directory / "scheduler.json"
    file.unlink(missing_ok=True)
    environment = {**os.environ, "DASK_CONFIG": str(config), "PYTHONPATH": python_path()}
    common = {"env": environment, "stderr": subprocess.DEVNULL, "cwd": directory}
    dask = [sys.executable, "-m", "distributed.cli"]
    scheduler = subprocess.Popen(
        [dask[0], dask[1], f"{dask[2]}.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(file)], **common,
    )  # fmt: skip
    single = [dask[0], dask[1], f"{dask[2]}.dask_worker", "--scheduler-file", str(file),
              "--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]  # fmt: skip
    many = [sys.executable, __file__, "--host", str(file), str(workers // HOSTS)]
    commands = [single] if workers == 1 else [many] * HOSTS
    hosts = [subprocess.Popen(command, **common) for command in commands]
    try:
        while not file.exists():
            time.sleep(0.1)
        if workers > 1:
            wait_for_workers(file, workers)
        yield str(file), [scheduler.pid, *(host.pid for host in hosts)]
    finally:
        for process in (*hosts, scheduler):
            process.terminate()
            process.wait()


def wait_for_workers(file: Path, count: int) -> None:
    from distributed import Client as DaskClient

    with DaskClient(scheduler_file=str(file)) as client:
        client.wait_for_workers(count, timeout=120)


async def be_workers(file: str, count: int) -> None:
    """``count`` workers of one thread in this process, until it is ended."""
    from distributed import Worker

    settings = {"nthreads": 1, "dashboard": False, "memory_limit": 0, "host": "127.0.0.1"}
    workers = [Worker(scheduler_file=file, **settings) for _ in range(count)]
    await asyncio.gather(*workers)
    await asyncio.gather(*(worker.finished() for worker in workers))


def python_path() -> str:
    here = Path(__file__).parent
    return os.pathsep.join(
        filter(None, [str(here), str(here.parent), os.environ.get("PYTHONPATH")])
    )


def measure(count: int, directory: Path, trivial: bool) -> dict[str, Any]:
    """A run over ``count`` new inputs, in a client of its own."""
    source, out, model = directory / "in", directory / "out", directory / "model.safetensors"
    make_inputs(source, count)
    save_model(model)
    result: dict[str, Any] = {"items": count, "scan": scan(source, out)}
    result |= client(directory, source, out, model, "trivial" if trivial else "real")
    result["ms"][0] += 1000 / result["scan"]
    if not trivial:
        result["plain"] = plain_loop(source, directory / "plain")
    else:
        result |= resume(directory, source, out, model)
    return result


def measure_workers(workers: int, directory: Path) -> dict[str, Any]:
    """A run with that many fast workers."""
    source, out, model = directory / "in", directory / "out", directory / "model.safetensors"
    make_inputs(source, int(workers * RATE * FAST_SECONDS))
    save_model(model)
    result: dict[str, Any] = {"workers": workers, "scan": scan(source, out)}
    result |= client(directory, source, out, model, "paced", workers)
    result["rate"] = 1000 / result["wall"]
    return result


def client(
    directory: Path, source: Path, out: Path, model: Path, task: str, workers: int = 1
) -> dict[str, Any]:
    with cluster(directory, workers) as (scheduler, others):
        command = [sys.executable, __file__, "--client", str(source), str(out), str(model)]
        command += [scheduler, *map(str, others), task]
        environment = {**os.environ, "PYTHONPATH": python_path()}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def resume(directory: Path, source: Path, out: Path, model: Path) -> dict[str, float]:
    """Seconds from the start of a run with all done but one image to that image's output, and the
    client's CPU time till then.

    The outputs that the trivial task did not make are put there first.
    """
    for inside in source.iterdir():
        (out / inside.name).mkdir(parents=True)
        for path in inside.iterdir():
            os.link(path, out / inside.name / path.name)
    new = source / "zzzz" / "new.png"
    new.parent.mkdir()
    Image.new("RGB", (SIZE, SIZE)).save(new)
    result = client(directory, source, out, model, "real")
    assert result["converted"] == 1
    made = (out / "zzzz" / "new.png").stat().st_mtime
    return {"resume": made - result["begun"], "resume_cpu": result["cpu"]}


def table(title: str, results: list[dict[str, Any]]) -> str:
    head = ["items", *(f"{name}, ms" for name in PROCESSES), "together, ms"]
    head += [f"{name}, MiB" for name in PROCESSES] + ["scan, items/s"]
    resumed = any("resume" in result for result in results)
    head += ["resume, s", "of it client's CPU, s"] if resumed else ["plain loop, ms"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for result in results:
        cells = [f"{result['items']:,}", *(f"{ms:.3f}" for ms in result["ms"])]
        cells += [f"{sum(result['ms']):.3f}", *(f"{mib:.0f}" for mib in result["mib"])]
        cells += [f"{result['scan']:,.0f}"]
        if resumed:
            cells += [f"{result['resume']:.1f}", f"{result['resume_cpu']:.1f}"]
        else:
            cells += [f"{result['plain']:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([title, "", *lines, ""])


def table_of_workers(results: list[dict[str, Any]]) -> str:
    """What comes through, of what the workers could do; and how busy client and scheduler are."""
    head = [
        "workers",
        "images/s",
        "of what they can",
        "images a task",
        "client, ms",
        "scheduler, ms",
    ]
    head += ["client, of a core", "scheduler, of a core", "client, MiB", "scheduler, MiB"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for result in results:
        rate, (its, schedulers) = result["rate"], result["ms"][:2]
        cells = [str(result["workers"]), f"{rate:,.0f}", f"{rate / RATE / result['workers']:.0%}"]
        cells += [f"{result['converted'] / result['tasks']:.0f}"]
        cells += [f"{its:.3f}", f"{schedulers:.3f}"]
        cells += [f"{ms * rate / 1000:.0%}" for ms in (its, schedulers)]
        cells += [f"{mib:.0f}" for mib in result["mib"][:2]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["many fast workers", "", *lines, ""])


def plot(series: dict[str, list[dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(series), figsize=(4.2 * (1 + len(series)), 3.6))
    for axis, (title, results) in zip(axes, series.items(), strict=False):
        items, below = [result["items"] for result in results], np.zeros(len(results))
        for place, name in enumerate(PROCESSES):
            top = below + [result["ms"][place] for result in results]
            axis.fill_between(items, below, top, alpha=0.8, label=name)
            below = top
        axis.set(title=title, xscale="log", xlabel="images", ylabel="CPU, ms an image")
        axis.set_ylim(0, 1.5 * max(sum(result["ms"]) for result in results))
        axis.legend(loc="upper right", fontsize="small")
    results = next(iter(series.values()))
    for place, name in enumerate(PROCESSES):
        axes[-1].plot(
            [result["items"] for result in results],
            [result["mib"][place] for result in results],
            marker="o",
            label=name,
        )
    axes[-1].set(title="peak memory", xscale="log", xlabel="images", ylabel="MiB")
    axes[-1].set_ylim(bottom=0)
    axes[-1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="*", default=ITEMS)
    parser.add_argument("--real", type=int, nargs="*", default=REAL)
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    parser.add_argument("--out", type=Path, help="where to save the plot")
    parser.add_argument("--directory", type=Path, help="where to put the files; default: /tmp")
    parser.add_argument("--client", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--host", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.host:
        asyncio.run(be_workers(arguments.host[0], int(arguments.host[1])))
        return
    if arguments.client:
        source, out, model, scheduler, *others, task = arguments.client
        one = Client(Path(source), Path(out), Path(model), scheduler, list(map(int, others)), task)
        print(json.dumps(one.run()))
        return
    series: dict[str, list[dict[str, Any]]] = {}
    for title, counts in (("trivial task", arguments.items), ("trivial engine", arguments.real)):
        for count in counts:
            tries = []
            for _ in range(3 if count <= 100_000 else 1):
                with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
                    tries.append(measure(count, Path(directory), title == "trivial task"))
            result = sorted(tries, key=lambda one: sum(one["ms"]))[len(tries) // 2]
            series.setdefault(title, []).append(result)
            print(f"{title}: {json.dumps(result)}", file=sys.stderr, flush=True)
    crowds = []
    for workers in arguments.workers:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            crowds.append(measure_workers(workers, Path(directory)))
        print(f"{workers} workers: {json.dumps(crowds[-1])}", file=sys.stderr, flush=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for title, results in series.items():
        print(table(title, results))
    if crowds:
        print(table_of_workers(crowds))
    if arguments.out:
        plot(series, arguments.out)


if __name__ == "__main__":
    from scale import main as run  # so that Dask can send the functions by name

    run()
