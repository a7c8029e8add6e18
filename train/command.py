"""``pix2pix-batch train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pix2pix_batch.errors import InputError

RECIPES = Path(__file__).parent / "recipes"


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--recipe", default="map2aerial", show_default=True, metavar="NAME|FILE")
@click.option("--steps", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Steps between validations, samples and checkpoints.",
)
def train(data: Path, run: Path, recipe: str, steps: int | None, every: int) -> None:
    """Train a generator on the aligned mosaics in DATA; RUN/model.safetensors is the bundle.

    A first, plain trainer: generator and 70x70 PatchGAN, conditional GAN loss plus 100 times L1.
    """
    from pix2pix_batch.train.loop import Recipe, Trainer

    if run.exists() and any(run.iterdir()):
        raise InputError(f"{run}: holds a run already; give a new directory")
    path = RECIPES / f"{recipe}.yaml" if "/" not in recipe else Path(recipe)
    if not path.is_file():
        path = Path(recipe)
    trainer = Trainer(Recipe.read(path, {"steps": steps} if steps else {}), data, run)
    trainer.fit(every=every, report=show)
    click.echo(f"{trainer.write_bundle(run / 'model.safetensors')}")


def show(record: dict[str, Any]) -> None:
    losses = " ".join(f"{name} {record[name]:.3f}" for name in ("d", "gan", "l1"))
    average = record["average"]
    click.echo(
        f"step {record['step']}  {record['seconds']:.0f} s  {losses}  "
        f"validation: error {average['error']:.1f}, sharpness {average['sharpness']:.2f}",
        err=True,
    )
