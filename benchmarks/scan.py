"""What finding the inputs costs: microseconds an item, and memory at a million of them.

``python benchmarks/scan.py [--count 1000000] [--place /dev/shm]`` makes that many empty files in
one directory, and lists of as many lines, and removes them again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CHILD = "--scan"


def scan(source: str) -> None:
    """In a process of its own, so that its peak is the scan's."""
    from pix2pix_batch.inputs.scan import open_inputs
    from pix2pix_batch.inputs.source import ScanOptions

    found = open_inputs(source, ScanOptions("png", Path("/nonexistent")))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, the parent's too
    before = peak()
    start, count = time.perf_counter(), 0
    first = 0.0
    for _ in found:
        count += 1
        first = first or time.perf_counter() - start
    seconds = time.perf_counter() - start
    grown = peak() - before
    print(
        f"| {count:,} | {1e6 * seconds / count:.2f} | {first:.2f} | {grown / 1024:.0f} | "
        f"{1024 * grown / count:.0f} |"
    )


def peak() -> int:
    """This process's largest resident size, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"))
    parser.add_argument(CHILD, dest="source")
    options = parser.parse_args()
    if options.source:
        scan(options.source)
        return
    folder = Path(tempfile.mkdtemp(dir=options.place))
    try:
        print("| input | items | µs an item | s to the first | MiB more | bytes an item |")
        print("| --- | --- | --- | --- | --- | --- |")
        for kind, source in inputs(folder, options.count):
            print(f"| {kind} ", end="", flush=True)
            subprocess.run([sys.executable, __file__, CHILD, source], check=True)
    finally:
        shutil.rmtree(folder)


def inputs(folder: Path, count: int) -> Iterator[tuple[str, str]]:
    """Kinds of input and how to name them."""
    names = [f"image-{number:08}.jpg" for number in range(count)]
    listing = folder / "list.txt"
    listing.write_text("".join(f"tiles/{name}\n" for name in names))
    yield "a list", f"@{listing}"
    one = folder / "one"
    one.mkdir()
    for name in names:
        os.close(os.open(one / name, os.O_CREAT | os.O_WRONLY))
    yield "one directory", str(one)
    yield "a glob over it", str(one / "*.jpg")
    half = count // 2
    for name, twin in zip(names[:half], names[half:], strict=False):
        os.rename(one / name, one / twin.replace(".jpg", ".png"))
    yield "one directory, all names clash", str(one)


if __name__ == "__main__":
    main()
