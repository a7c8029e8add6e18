"""What the objective's parts and the skips do, and whether bf16 costs anything, in one small run.

    pip install -e '.[bench]'
    python benchmarks/objectives.py DATA [--epochs 6] [--seeds 0 1 2] [--out report.md]

DATA holds the mosaics of the recipe map2aerial; the small domain is 64-pixel crops of them, a
sixteenth of the pixels. Each row is the mean over the seeds of one training each, by the real
command; error is the mean absolute difference (0 to 255) and sharpness the mean vertical
gradient over the truth's, on the validation band. The paper's tables 1 and 2 have the same rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SMALL = [
    "size=64", "downs=5", "ngf=16", "ndf=16", "batch_size=8", "norm=batch-statistics",
    "mosaic.crops_per_epoch=2000", "upsample=transposed", "ema=0", "lambda_l1=100",
    "precision=bf16", "mosaic.min_land=0.3",
]  # fmt: skip

ROWS = {
    "L1 + cGAN": [],
    "L1 alone": ["lambda_gan=0"],
    "cGAN alone": ["lambda_l1=0"],
    "L1 + patches": ["lambda_gan=0", "lambda_patches=100"],
    "L1 of 8 pixels + patches": [
        "lambda_gan=0",
        "lambda_patches=100",
        "lambda_l1=10",
        "l1_pixels=8",
    ],
    "L1 + GAN (D does not see the input)": ["conditional=false"],
    "encoder-decoder (no skips), L1 + cGAN": ["skips=false"],
    "encoder-decoder (no skips), L1 alone": ["skips=false", "lambda_gan=0"],
    "L1 + cGAN in fp32 instead of bf16": ["precision=fp32"],
}


def train(data: Path, keys: list[str], seed: int, epochs: float) -> dict[str, float]:
    """The last validation figures of one training by the real command."""
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        command = [sys.executable, "-m", "pix2pix_batch.cli", "train", str(data), str(run)]
        command += ["--recipe", "map2aerial", "--every", "100000"]
        for key in [*SMALL, *keys, f"seed={seed}", f"epochs={epochs}"]:
            command += ["--set", key]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        last = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    figures: dict[str, float] = json.loads(last)["validation"]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"64-pixel crops, ngf 16, {arguments.epochs:g} epochs of 2000 crops, seeds "
        f"{', '.join(map(str, arguments.seeds))}: mean (least to greatest)",
        "",
        "| trained with | error | sharpness |",
        "| --- | --- | --- |",
    ]
    for name, keys in ROWS.items():
        found = [train(arguments.data, keys, seed, arguments.epochs) for seed in arguments.seeds]
        cells = []
        for figure, form in (("error", ".1f"), ("sharpness", ".2f")):
            values = np.array([one[figure] for one in found])
            mean, low, high = (format(x, form) for x in (values.mean(), values.min(), values.max()))
            cells.append(f"{mean} ({low} to {high})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
