"""How many images a second ``convert`` passes on where the engine takes no time, JPEG to JPEG.

    python benchmarks/pipeline.py [--images 8000] [--workers 1 2] [--form jpg] [--out pipeline.md]
    python benchmarks/pipeline.py --model map2aerial --workers 1 4 8 16 --images 32000

The real command's job, workers and codecs, with an engine that returns its images as they are, in
the shape of one on a GPU: batches of 32, always full. What is left is what the CPU does for an
image, so that its cores divided by that is the most that any engine can reach on this machine. With
``--model`` the model runs, on the GPU where there is one. The inputs are hard links to a few
hundred 256x256 JPEGs of quality 92.

*Codecs alone*: a process for each core does nothing but decode and encode the same images, in
memory, with the same functions, before each number of workers. The pipeline divided by that is the
share of the ceiling that is reached.

Images a second are from the first chunk that came back to the last, so that start-up is left out;
the command's own figure, with it, is beside. CPU is user and system time in the same span, of the
client, which has Dask's scheduler too, and of all workers. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

SIZE, BATCH = 256, 32
A_FILE = 64
"""Hard links to one file, at most, so that hundreds of images share the work as in real inputs."""

# On the worker


class InstantEngine:
    """Returns its images as they are; computes full batches only, as engines of GPUs do."""

    size, batch_size, device, backend, precision = SIZE, BATCH, "cpu", "tensorrt", "fp16"
    takes_fewer = False

    def __init__(self) -> None:
        self.embeddings = np.zeros((BATCH, 8), np.float32)

    def __call__(self, images: np.ndarray, masks: object = None) -> Any:
        from pix2pix_batch.inference.engine import Translated

        return Translated(images.copy(), self.embeddings)


def open_instant(settings: Any, images: np.ndarray | None) -> tuple[Any, str]:
    return InstantEngine(), ""


def code(directory: str, form: str, seconds: float) -> float:
    """Milliseconds of one process that decodes and encodes in memory, and does nothing else."""
    from pix2pix_batch.imaging import images

    files = [path.read_bytes() for path in sorted(Path(directory).iterdir())[:256]]

    def one(data: bytes) -> None:
        images.write(images.Picture(images.read(data, 3).pixels), form)

    for data in files[:16]:
        one(data)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds or not count:
        one(files[count % len(files)])
        count += 1
    return 1000 * passed / count


# In the client


@dataclass
class Run:
    """One job. ``seen``: when, how many images were done, and the CPU time of the client and of
    its workers till then, of the first chunk that came back and of the last."""

    seen: list[tuple[float, int, float, float]] = field(default_factory=list)

    def watch(self, progress: Any) -> None:
        import psutil

        done = progress.summary.converted
        if done and (not self.seen or done > self.seen[-1][1]):
            here = psutil.Process()
            workers = 0.0
            for other in here.children(recursive=True):
                workers += sum(other.cpu_times()[:2])
            now = time.perf_counter(), done, sum(here.cpu_times()[:2]), workers
            self.seen = [*self.seen[:1], now]

    def run(self, source: str, out: str, model: str, workers: int, form: str) -> dict[str, Any]:
        """``workers``: 0 for ``convert``'s own number. A ``model`` that is a file is not run."""
        from pix2pix_batch.engines import backends
        from pix2pix_batch.execution.job import Job
        from pix2pix_batch.execution.job_plan import plan_job
        from pix2pix_batch.options import Options
        from pix2pix_batch.reporting.progress import ProgressReporter
        from pix2pix_batch.reporting.summary import Summary

        options = Options(model=model, workers=workers or None, format=form, report=False)
        opener = backends.open_best
        if os.path.exists(model):
            opener = open_instant
            options = replace(
                options, backend="tensorrt", device="cpu", precision="fp16", batch_size=BATCH
            )
        # the second scan may end before the first chunk
        planned = replace(plan_job(source, out, options, opener), countable=False)
        summary = Summary(model=planned.info.name)
        progress = ProgressReporter(self.watch, summary, threading.Event())
        Job(planned, progress).run()
        assert not summary.failed and not summary.fatal, summary
        (begun, first, client, crew), (end, last, *later) = self.seen[0], self.seen[-1]
        count, passed = last - first, end - begun
        if not count:  # all came back at once: too few to tell the start from the rest
            count, passed, client, crew = last, summary.seconds, 0.0, 0.0
        return {
            "rate": count / passed,
            "client": 1000 * (later[0] - client) / count,
            "workers": 1000 * (later[1] - crew) / count,
            "whole": summary.images_per_second,
            "seconds": summary.seconds,
            "processes": progress.workers,
            "engine": f"{summary.backend} {summary.precision} on {summary.device}",
        }


def make_inputs(directory: Path, count: int) -> None:
    from measure import make_images

    make_images(directory, min(count, -(-count // A_FILE) + 128))
    originals = sorted(directory.iterdir())
    for number in range(count - len(originals)):
        os.link(originals[number % len(originals)], directory / f"link{number:06d}.jpg")


def save_model(path: Path) -> None:
    """Its weights are never run."""
    import torch

    from pix2pix_batch import bundle
    from pix2pix_batch.generators.unet import Architecture
    from pix2pix_batch.generators.unet_network import UNet

    torch.manual_seed(0)
    architecture = Architecture(downs=5, ngf=1, norm="running-statistics", dropout=False)
    info = bundle.BundleInfo(path.stem, architecture, image_size=SIZE)
    bundle.save(path, info, UNet(architecture).init_weights().eval())


def codecs_alone(directory: Path, form: str, processes: int, seconds: float) -> float:
    """Images a second of that many processes together."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        asked = [pool.submit(code, str(directory), form, seconds) for _ in range(processes)]
        return sum(1000 / one.result() for one in asked)


def runs(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """The table's rows, a number of workers after the other."""
    from pix2pix_batch.cores import cores

    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        place = Path(folder)
        make_inputs(place / "in", arguments.images)
        save_model(place / "model.safetensors")
        for workers in arguments.workers:
            # Each time: a machine that is shared is not as fast all the time
            alone = codecs_alone(place / "in", arguments.form, cores(), arguments.seconds)
            tries = []
            for number in range(arguments.repeat):
                out = place / f"out-{workers}-{number}"
                model = arguments.model or place / "model.safetensors"
                words = [place / "in", out, model, workers, arguments.form]
                command = [sys.executable, __file__, "--client", *words]
                done = subprocess.run(
                    list(map(str, command)), env=environment(), stdout=subprocess.PIPE, check=True
                )
                tries.append(json.loads(done.stdout.splitlines()[-1]))
                # Outputs stay till the end: ext4 looks at inodes that were freed in the last
                # minutes before it gives a new file one (recently_deleted in its ialloc.c),
                # which may be why later runs took longer where outputs were removed.
            found = sorted(tries, key=lambda one: one["rate"])[len(tries) // 2]
            yield [
                f"{found['processes']}", f"{found['rate']:,.0f}", f"{alone:,.0f}",
                f"{found['rate'] / alone:.0%}", f"{found['workers']:.2f}",
                f"{found['client']:.2f}", f"{found['whole']:,.0f}", f"{found['seconds']:.1f}",
                found["engine"] if arguments.model else "instant",
            ]  # fmt: skip


COLUMNS = (
    "processes", "images/s", "codecs alone, images/s", "of it", "workers' CPU, ms an image",
    "client's CPU, ms an image", "whole command, images/s", "whole command, s", "engine",
)  # fmt: skip


def environment() -> dict[str, str]:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--model", help="a shipped model, run for real; default: instant engine")
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        help="0: as convert does; default: 1, 2 ... cores",
    )
    parser.add_argument("--form", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the codecs alone")
    parser.add_argument("--repeat", type=int, default=1, help="runs, of which the median counts")
    parser.add_argument("--directory", type=Path, help="where to put the files; default: /tmp")
    parser.add_argument("--out", type=Path, help="also write the table there")
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        source, out, model, workers, form = arguments.client
        print(json.dumps(Run().run(source, out, model, int(workers), form)))
        return
    from measure import machine, table

    from pix2pix_batch.cores import cores

    arguments.workers = arguments.workers or [1 << n for n in range(12) if 1 << n <= cores()]
    title = f"{machine()}; {arguments.images:,} JPEGs of {SIZE}x{SIZE} to {arguments.form}"
    print(title, flush=True)
    print("  ".join(COLUMNS))
    rows = []
    for row in runs(arguments):
        rows.append(row)
        print("  ".join(row), flush=True)
        if arguments.out:  # after each, for whoever gives it only so much time
            arguments.out.write_text("\n".join([title, "", *table(COLUMNS, rows), ""]))


if __name__ == "__main__":
    from pipeline import main as run  # so that Dask can send the functions by name

    run()
