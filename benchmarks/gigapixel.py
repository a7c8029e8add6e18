"""The memory and the time that one image takes which does not fit in memory.

``python benchmarks/gigapixel.py --side 12000`` makes a GeoTIFF of that side (uint16, 4 bands or
``--bands``, tiled, compressed) and a small generator, converts it with the command, and prints the
largest sum of the memory of all of its processes (PSS, which counts a page that several share once,
and RSS, which counts it for each). ``--kill ROWS`` kills all of them once so many
rows of tiles are done, runs the command again, and compares the output with that of a run that was
not killed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import rasterio
import torch
from rasterio.windows import Window

from pix2pix_batch import bundle
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.value_ranges import BandRange, ValueRange

SIZE, BLOCK = 256, 512
MIB = 1 << 20


def save_model(path: Path, bands: int) -> None:
    architecture = Architecture(bands, 3, downs=6, ngf=4, norm="running-statistics")
    net = UNet(architecture).init_weights(torch.Generator().manual_seed(0)).eval()
    side = ValueRange("uint16", (BandRange(0, 10_000),) * bands)
    made = ValueRange("uint16", (BandRange(0, 65_535),) * 3)
    info = bundle.BundleInfo(
        "small", architecture, SIZE, "tile", input_range=side, output_range=made
    )
    bundle.save(path, info, net)


def write_scene(path: Path, side: int, rows: int, bands: int, noise_levels: int) -> None:
    """Fields of 64 pixels, and noise below ``noise_levels``."""
    random = np.random.default_rng(0)
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=side, count=bands, dtype="uint16",
        crs="EPSG:32632", transform=rasterio.transform.from_origin(500_000, 5_000_000, 10, 10),
        tiled=True, blockxsize=BLOCK, blockysize=BLOCK, compress="lzw", BIGTIFF="IF_SAFER",
    ) as file:  # fmt: skip
        noise = random.integers(0, max(1, noise_levels), (bands, BLOCK, side), np.uint16)
        for top in range(0, rows, BLOCK):
            height = min(BLOCK, rows - top)
            fields = random.integers(0, 9_000, (bands, -(-height // 64), -(-side // 64)))
            values = fields.repeat(64, 1)[:, :height].repeat(64, 2)[:, :, :side]
            values = values.astype(np.uint16) + noise[:, :height]
            file.write(values, window=Window(0, top, side, height))


def run(words: list[str], kill: Callable[[], bool] = lambda: False) -> tuple[float, float, float]:
    """The largest PSS and RSS of all processes, in MiB, and the seconds. ``kill``: whether all of
    them are to be killed now."""
    begun = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    most_pss = most_rss = 0.0
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        pss = rss = 0
        for one in [parent, *parent.children(recursive=True)]:
            try:
                memory = one.memory_full_info()
            except psutil.Error:
                continue
            pss, rss = pss + memory.pss, rss + memory.rss
        most_pss, most_rss = max(most_pss, pss / MIB), max(most_rss, rss / MIB)
        if kill():
            family = [*parent.children(recursive=True), parent]
            for one in family:
                one.send_signal(signal.SIGKILL)
            psutil.wait_procs(family)
            process.wait()
            return most_pss, most_rss, time.monotonic() - begun
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"exit code {process.returncode}")
    return most_pss, most_rss, time.monotonic() - begun


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=12_000)
    parser.add_argument("--rows", type=int, help="of another number than the side: a strip.")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--format", default="tiff")
    parser.add_argument(
        "--noise-levels", type=int, default=64, help="of the scene; 0 makes its file small."
    )
    parser.add_argument(
        "--creation-option", action="append", default=[], help="as of convert, for the output."
    )
    parser.add_argument("--kill", type=int, metavar="ROWS")
    parser.add_argument("--folder", type=Path, help="where to work; kept.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        rows = arguments.rows or arguments.side
        model, scene = folder / "small.safetensors", folder / "scene.tif"
        if not scene.exists():
            save_model(model, arguments.bands)
            write_scene(scene, arguments.side, rows, arguments.bands, arguments.noise_levels)
        print(f"scene: {scene.stat().st_size / MIB:,.0f} MiB on disk")

        def words(out: str) -> list[str]:
            return [
                sys.executable, "-m", "pix2pix_batch.cli", "convert", str(scene),
                str(folder / out), "--model", str(model), "--format", arguments.format,
                "--workers", arguments.workers, "--device", "cpu", "--no-report",
                *(word for one in arguments.creation_option for word in ("--creation-option", one)),
            ]  # fmt: skip

        if arguments.kill is not None:

            def count_rows() -> int:
                return len(list((folder / "killed").rglob("*.npz")))

            run(words("killed"), lambda: count_rows() >= arguments.kill)
            print(f"killed with {count_rows()} rows of tiles done")
            pss, rss, seconds = run(words("killed"))
            print(f"gone on: {seconds:.0f} s, peak {pss:,.0f} MiB PSS, {rss:,.0f} MiB RSS")
        pss, rss, seconds = run(words("once"))
        pixels = arguments.side * rows
        print(
            f"{arguments.side:,}x{rows:,}, {os.cpu_count()} CPUs: {seconds:.0f} s "
            f"({pixels / 1e6 / seconds:.2f} megapixels/s), peak {pss:,.0f} MiB PSS, "
            f"{rss:,.0f} MiB RSS"
        )
        if arguments.kill is not None:
            same = digest(folder / "killed" / "scene.tif") == digest(folder / "once" / "scene.tif")
            print("the same bytes" if same else "OTHER BYTES")


if __name__ == "__main__":
    main()
