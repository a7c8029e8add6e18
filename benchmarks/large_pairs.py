"""The memory and the time of training on a pair of rasters that would not fit in memory.

``python benchmarks/large_pairs.py --side 12000`` makes two GeoTIFFs of that side (uint16, 4 and 3
bands, tiled, compressed), trains a small generator on them with the command, percentiles measured,
and prints the largest sum of the memory of all of its processes (PSS).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from gigapixel import MIB, run, write_scene

BANDS = {"A": 4, "B": 3}
RANGE = "{type: uint16, percentiles: [2, 98]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--noise-levels", type=int, default=64, help="of the scenes.")
    arguments = parser.parse_args()
    side = arguments.side
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        for folder, bands in BANDS.items():
            (data / folder).mkdir(parents=True)
            write_scene(data / folder / "scene.tif", side, side, bands, arguments.noise_levels)
        keys: dict[str, object] = {
            "size": 256,
            "ngf": 8,
            "ndf": 8,
            "val_fraction": 0,
            "precision": "fp32",
        }
        keys |= {"in_channels": BANDS["A"], "out_channels": BANDS["B"]}
        keys |= dict.fromkeys(("input_range", "output_range"), RANGE)
        words = [sys.executable, "-m", "pix2pix_batch.cli", "train", str(data), f"{temporary}/run"]
        words += ["--device", "cpu", "--workers", "2", "--epochs", str(arguments.steps)]
        for key, value in keys.items():
            words += ["--set", f"{key}={value}"]
        pss, _, seconds = run(words)
    whole = side * side * sum(BANDS.values()) * 2 / MIB
    print(
        f"{side:,}x{side:,}, {whole:,.0f} MiB of samples, {os.cpu_count()} CPUs: {seconds:.0f} s "
        f"for {arguments.steps} steps, peak {pss:,.0f} MiB PSS"
    )


if __name__ == "__main__":
    main()
