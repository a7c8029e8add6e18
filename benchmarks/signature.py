"""What it costs to tell training data by its contents, as each start of a run does.

``python benchmarks/signature.py [--place /dev/shm]`` makes files of random bytes there and removes
them again: a set that is read whole, and one of more than a gibibyte, which is sampled.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from pix2pix_batch.cores import cores
from pix2pix_batch.engines.doctor import cpu_model
from pix2pix_batch.train import signature
from pix2pix_batch.train.signature import Part

FILE_BYTES = 100_000
COUNTS = (5_000, 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"))
    folder = Path(tempfile.mkdtemp(dir=parser.parse_args().place))
    random = np.random.default_rng(0)
    try:
        print(f"{cpu_model()}, {cores()} cores\n")
        print("| files | MB | seconds | ms a file |")
        print("| --- | --- | --- | --- |")
        parts: list[Part] = []
        for count in COUNTS:
            for number in range(len(parts), count):
                path = folder / f"{number}.bmp"
                path.write_bytes(random.bytes(FILE_BYTES))
                parts.append(Part((path.name, "train"), (path,)))
            start = time.perf_counter()
            signature.data_signature(parts)
            seconds = time.perf_counter() - start
            megabytes = count * FILE_BYTES / 1e6
            print(f"| {count:,} | {megabytes:,.0f} | {seconds:.2f} | {1e3 * seconds / count:.3f} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
