"""What each process of ``convert`` holds in memory, and how soon a few images are done.

    python benchmarks/memory.py [--images 64] [--workers 2]

Runs the real command and reads ``/proc`` five times a second: of each process the peak of what is
resident (RSS), of its proportional share (PSS: a page that k processes have counts 1/k for each)
and of what it alone has (USS). RSS counts what workers share, the libraries and what was imported
before they were forked, once for each of them; PSS adds up to what the job takes. Beside them
stands what the plan of how many workers fit reckons with. Then the whole command on the example
maps, by the clock, median of five, and imports by themselves.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from pix2pix_batch import bundle
from pix2pix_batch.execution.capacity import MIB, OWN, SHARED
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference.memory import engine_memory

MAPS = Path(__file__).parent.parent / "examples" / "maps"
CONVERT = [sys.executable, "-m", "pix2pix_batch.cli", "convert"]
KINDS = ("client", "template", "worker")
IMPORTS = (
    "torch",
    "pix2pix_batch.execution.worker_preload",  # all that a worker imports, in the template
    "distributed",
    "pix2pix_batch.execution.job",  # the client
)


def full_size(folder: Path) -> Path:
    """A bundle of the paper's generator, with random weights."""
    from pix2pix_batch.generators.unet_network import UNet

    path = folder / "ngf64.safetensors"
    architecture = Architecture(norm="running-statistics")
    unet = UNet(architecture).init_weights().eval()
    bundle.save(path, bundle.BundleInfo("ngf64", architecture), unet)
    return path


def sizes(process: psutil.Process) -> tuple[int, int, int]:
    """RSS, PSS and USS in bytes. Raises ``psutil.Error``."""
    found = process.memory_full_info()
    return found.rss, found.pss, found.uss


def peaks(words: list[str]) -> dict[str, tuple[int, int, int]]:
    """Of each kind of process of the command, the largest RSS, PSS and USS that one had; under
    ``together`` what PSS added up to."""
    found: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    command = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = psutil.Process(command.pid)
    while command.poll() is None:
        total = 0
        for process in [client, *_children(client)]:
            try:
                mine = sizes(process)
                kind = _kind(process, client)
            except psutil.Error:
                continue
            total += mine[1]
            found[kind] = max_of(found[kind], mine)
        found["together"] = max_of(found["together"], (0, total, 0))
        time.sleep(0.2)
    if command.returncode:
        sys.exit(f"{words} ended with {command.returncode}")
    return found


def max_of(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2])


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _kind(process: psutil.Process, client: psutil.Process) -> str:
    if process == client:
        return "client"
    command = " ".join(process.cmdline())
    if "resource_tracker" in command:
        return "resource tracker"
    if "forkserver" in command and process.ppid() == client.pid:
        return "template"
    return "worker"


def memory(folder: Path, images: int, workers: int) -> None:
    source = folder / "in"
    source.mkdir()
    maps = sorted(MAPS.glob("*.png"))
    for number in range(images):
        shutil.copy(maps[number % len(maps)], source / f"{number:04}.png")
    print(f"| model | precision | batch | {' | '.join(KINDS)} | together | reckoned a worker |")
    print("| --- | --- | --- | " + "--- | " * (len(KINDS) + 2))
    for model in (full_size(folder), bundle.resolve("map2aerial")):
        for precision, batch in (("fp32", 4), ("fp32", 8), ("auto", 4)):
            out = folder / "out"
            options = [
                *("--model", str(model), "--precision", precision, "--batch-size", str(batch)),
                *("--workers", str(workers), "--device", "cpu"),
            ]
            found = peaks([*CONVERT, str(source), str(out), *options])
            shutil.rmtree(out)
            info = bundle.read_info(model)
            reckoned = (engine_memory(info.architecture, info.image_size, batch) + OWN) // MIB
            cells = [" / ".join(str(size // MIB) for size in found[kind]) for kind in KINDS]
            total = found["together"][1] // MIB
            row = [info.name, precision, str(batch), *cells, str(total), str(reckoned)]
            print(f"| {' | '.join(row)} |", flush=True)
    print(
        f"\nRSS / PSS / USS in MiB; together: PSS. Reckoned beside the workers: {SHARED // MIB}.\n"
    )


def seconds(words: list[str], times: int = 5) -> float:
    """By the clock, the median."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def start_up(folder: Path) -> None:
    out = folder / "eight"
    convert = [*CONVERT, str(MAPS), str(out)]
    rows = {
        "convert examples/maps OUT (8 images)": [*convert, "--overwrite"],
        "the same again, nothing to do": convert,
        "--help": [sys.executable, "-m", "pix2pix_batch.cli", "--help"],
        **{f"import: {name}": [sys.executable, "-c", f"import {name}"] for name in IMPORTS},
    }
    print("| what | s |\n| --- | --- |")
    for name, words in rows.items():
        print(f"| {name} | {seconds(words):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["memory", "start"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.only != "start":
            memory(Path(name), arguments.images, arguments.workers)
        if arguments.only != "memory":
            start_up(Path(name))


if __name__ == "__main__":
    main()
