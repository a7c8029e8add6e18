"""What a run leaves: the bundle, with all that is known of its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo, Embedding
from pix2pix_batch.generator import UNet
from pix2pix_batch.train.data import Split, fingerprint, to_unit
from pix2pix_batch.train.loop import Trainer
from pix2pix_batch.version import __version__

EMBEDDED = 4096
"""Training inputs whose embeddings are taken, evenly spread: eight times the widest bottleneck."""


def write_bundles(trainer: Trainer) -> list[Path]:
    """``model.safetensors``, and ``best.safetensors`` where an earlier step had the least error.

    Both for ``convert``, with recipe, data, figures and embedding statistics.
    """
    figures = trainer.validation(trainer.result, trainer.accelerator)[0]
    data = data_facts(trainer)
    written = [_write(trainer, "model", trainer.result, trainer.last, figures, data)]
    path = trainer.run.checkpoints / "best.pt"
    if trainer.best is not None and trainer.best["step"] != trainer.last and path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        best = UNet(trainer.recipe.architecture).to(trainer.device)
        best.load_state_dict(state["generator"])
        best_figures = {k: v for k, v in trainer.best.items() if k != "step"}
        written.append(_write(trainer, "best", best, state["step"], best_figures, data))
    return written


def data_facts(trainer: Trainer) -> dict[str, Any]:
    recipe, data = trainer.recipe, trainer.data
    return {
        "source": recipe.data_source,
        "license": recipe.license,
        "training_pairs": len(data.train),
        "validation_pairs": len(data.val),
        "fingerprint": fingerprint(data.train),
    }


def _write(
    trainer: Trainer,
    name: str,
    generator: UNet,
    step: int,
    figures: dict[str, float],
    data: dict[str, Any],
) -> Path:
    recipe = trainer.recipe
    info = BundleInfo(
        name=recipe.name,
        architecture=recipe.architecture,
        image_size=recipe.size,
        fit=recipe.fit,
        source_domain=recipe.source_domain,
        target_domain=recipe.target_domain,
        provenance={
            "recipe": recipe.as_dict(),
            "data": data,
            "validation": {k: round(v, 4) for k, v in figures.items()},
            "training": {
                "step": step,
                "steps": trainer.last,
                "images": step * trainer.step_images,
                "init": recipe.init and bundle.fingerprint(bundle.resolve(recipe.init)),
                "device": trainer.device.type,
                "precision": trainer.precision,
                "processes": trainer.accelerator.num_processes,
            },
            "versions": {"torch": torch.__version__, "pix2pix-batch": __version__},
        },
    )
    path = trainer.run.path / f"{name}.safetensors"
    bundle.save(path, info, generator, embedding=embed(generator, trainer.data.train))
    return path


@torch.no_grad()
def embed(generator: UNet, split: Split) -> Embedding:
    """Mean and covariance of the embeddings of ``split``'s inputs, in float32 arithmetic."""
    training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    count = min(EMBEDDED, len(split))
    found = []
    for index in np.linspace(0, len(split) - 1, count).round().astype(int):
        _, source, _ = split[int(index)]
        image = to_unit(torch.tensor(source)[None]).to(device)
        found.append(generator.translate(image)[1][0].cpu().numpy().astype(np.float64))
    generator.train(training)
    values = np.stack(found)
    covariance = np.cov(values, rowvar=False) if count > 1 else np.zeros((values.shape[1],) * 2)
    return Embedding(values.mean(0).astype(np.float32), covariance.astype(np.float32), count)
