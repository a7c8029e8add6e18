"""Running ``synthesize`` as users do, on one worker that all tests share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.distance import describe_embeddings
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.value_ranges import eight_bits
from tests.conftest import save_bundle
from tests.end_to_end.command import SHARED, Argument, Ran, here, picture

VARIANTS = 3
OURS = (".pix2pix-batch", "report.html")


def soft(seed: int) -> Image.Image:
    """Soft colours around grey, unlike :func:`picture`, whose are strong."""
    pixels = np.asarray(picture(64, 64, seed)).astype(float)
    return Image.fromarray((110 + 0.12 * pixels).astype(np.uint8))


to_levels = ValueMapping(eight_bits(3)).to_levels


def soft_model(path: Path) -> Path:
    """A bundle with dropout, trained on soft pictures as far as its statistics say."""
    save_bundle(path, dropout=True)
    _, unet = bundle.load(path)
    images = np.stack([np.asarray(soft(seed)) for seed in range(1000, 1400)])
    with torch.inference_mode():
        found = unet.embed(to_levels(torch.tensor(images))).numpy().astype(np.float64)
    bundle.describe(path, describe_embeddings(found))
    return path


def synthesize(source: Argument, out: Argument, model: Path, *more: Argument) -> Ran:
    """In this process, on the shared worker, unless the run asks for workers."""
    if "--workers" in more:
        return here(*words(source, out, model, *more))
    return here(*words(source, out, model, *more, "--scheduler", SHARED[0]))


def words(source: Argument, out: Argument, model: Path, *more: Argument) -> list[Argument]:
    given: list[Argument] = ["synthesize", source, out, "--model", model, "--json", *more]
    if "--precision" not in more:
        given += ["--precision", "fp32"]
    if not {"--variants", "--target-count"} & set(more):
        given += ["--variants", VARIANTS]
    return given


def tree(out: Path) -> dict[str, str]:
    """SHA-256 of each file of a dataset, by its path."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in OURS
    }


def manifest(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, str]]:
    """The header, the images, and what was rejected for what."""
    header, *rest = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    images = [row for row in rest if "rejected" not in row]
    return header, images, {row["rejected"]: row["reason"] for row in rest if "rejected" in row}
