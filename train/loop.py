"""The training loop: conditional GAN loss plus L1 (Isola et al. 2017, sections 3.1 and 3.3)."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor

from pix2pix_batch.architecture import Architecture, Norm
from pix2pix_batch.bundle import BundleInfo, save
from pix2pix_batch.errors import InputError
from pix2pix_batch.generator import UNet
from pix2pix_batch.train.discriminator import PatchGAN
from pix2pix_batch.train.metrics import mean_absolute_error, sharpness
from pix2pix_batch.train.mosaic import CropSampler, MosaicPair, grid_crops, to_tensor
from pix2pix_batch.version import __version__


@dataclass(frozen=True)
class Recipe:
    """How to train one domain; one YAML file. Longitudes and latitudes in degrees."""

    name: str
    source: str
    target: str
    source_domain: str
    target_domain: str
    sea: tuple[int, int, int]
    train_bands: list[tuple[float, float]]
    val_band: tuple[float, float]
    latitudes: tuple[float, float]
    sea_tolerance: int = 24
    min_land: float = 0.3
    size: int = 128
    val_size: int = 256
    scales: tuple[float, float] = (0.7, 1.6)
    downs: int = 6
    ngf: int = 32
    ndf: int = 64
    norm: Norm = "running-statistics"
    batch_size: int = 16
    steps: int = 10_000
    lr: float = 2e-4  # section 3.3: Adam, learning rate 0.0002, momentum 0.5, 0.999
    beta1: float = 0.5
    beta2: float = 0.999
    lambda_l1: float = 100.0  # section 6.2
    ema: float = 0.998
    texture_steps: int = 0
    texture_blocks: int = 3
    seed: int = 0
    image_size: int = 256
    license: str = ""
    data_source: str = ""

    @classmethod
    def read(cls, path: Path, overrides: dict[str, Any] | None = None) -> Recipe:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read as a recipe ({error})") from error
        if not isinstance(values, dict):
            raise InputError(f"{path}: a recipe is a list of 'key: value' lines")
        values |= overrides or {}
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(
                f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{path}: {error}") from error

    def open_mosaics(self, data: Path) -> MosaicPair:
        """The recipe's mosaics in the directory ``data``."""
        return MosaicPair.open(data / self.source, data / self.target, self.sea, self.sea_tolerance)

    def validation_crops(self, mosaics: MosaicPair) -> list[tuple[np.ndarray, np.ndarray]]:
        """The fixed crops of the validation band: ``uint8 (val_size, val_size, 3)`` pairs."""
        return grid_crops(
            mosaics,
            self.val_band,
            self.latitudes,
            size=self.val_size,
            stride=self.val_size // 2,
            min_land=self.min_land,
        )

    @property
    def architecture(self) -> Architecture:
        return Architecture(3, 3, self.downs, self.ngf, self.norm)


class Trainer:
    """One training run: its models, optimisers and data."""

    def __init__(self, recipe: Recipe, data: Path, run: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.run = recipe, run
        mosaics = recipe.open_mosaics(data)
        self.sampler = CropSampler(
            mosaics,
            recipe.train_bands,
            recipe.latitudes,
            size=recipe.size,
            scales=recipe.scales,
            min_land=recipe.min_land,
            seed=recipe.seed,
        )
        self.validation = recipe.validation_crops(mosaics)
        if not self.validation:
            raise InputError(
                f"{data / recipe.source}: no crop of {recipe.val_size} pixels with enough land "
                "lies in val_band; widen val_band, or lower val_size or min_land"
            )
        channels_last = {"memory_format": torch.channels_last}
        self.generator = UNet(recipe.architecture).init_weights().to(**channels_last)
        self.discriminator = PatchGAN(6, recipe.ndf).to(**channels_last)
        self.average = copy.deepcopy(self.generator).requires_grad_(False)
        betas = (recipe.beta1, recipe.beta2)
        self.optimise_g = torch.optim.Adam(self.generator.parameters(), recipe.lr, betas)
        self.optimise_d = torch.optim.Adam(self.discriminator.parameters(), recipe.lr, betas)
        self.settled: UNet | None = None
        self.step_count = 0

    def learning_rate(self) -> float:
        """Constant for the first half, then linear to zero."""
        progress = self.step_count / (self.recipe.steps + self.recipe.texture_steps)
        return self.recipe.lr * min(1.0, max(0.0, 2 * (1 - progress)))

    def begin_texture(self) -> None:
        """From here on only the outermost decoder blocks learn, and only detail.

        The colours that the averaged weights give are as good as they get on land never seen;
        learning on, they would be the training land's. So L1 now asks for the target's detail
        on the settled colours, and the discriminator for what looks real. Norms run as at
        inference.
        """
        self.generator.load_state_dict(self.average.state_dict())
        self.settled = copy.deepcopy(self.average).eval()
        self.generator.eval().requires_grad_(False)
        for block in self.generator.up[: self.recipe.texture_blocks]:
            block.requires_grad_(True)

    def step(self, source: Tensor, target: Tensor) -> dict[str, float]:
        """One step of the discriminator, then one of the generator; returns the losses."""
        for optimiser in (self.optimise_g, self.optimise_d):
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate()
        with torch.autocast("cpu", torch.bfloat16):
            fake = self.generator(source)
            real_logits = self.discriminator(source, target)
            fake_logits = self.discriminator(source, fake.detach())
        loss_d = (gan_loss(real_logits, True) + gan_loss(fake_logits, False)) / 2
        self.optimise_d.zero_grad(set_to_none=True)
        loss_d.backward()
        self.optimise_d.step()

        self.discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.discriminator(source, fake)
        loss_gan = gan_loss(logits, True)
        loss_l1 = F.l1_loss(fake.float(), self._wanted(source, target))
        self.optimise_g.zero_grad(set_to_none=True)
        (loss_gan + self.recipe.lambda_l1 * loss_l1).backward()
        self.optimise_g.step()
        self.discriminator.requires_grad_(True)

        self.step_count += 1
        self._update_average()
        return {"d": loss_d.item(), "gan": loss_gan.item(), "l1": loss_l1.item()}

    @torch.no_grad()
    def _wanted(self, source: Tensor, target: Tensor) -> Tensor:
        """What L1 pulls to: the target; in the texture stage its detail on the settled colours."""
        if self.settled is None:
            return target
        with torch.autocast("cpu", torch.bfloat16):
            settled = self.settled(source).float()
        return target - blurred(target) + blurred(settled)

    @torch.no_grad()
    def _update_average(self) -> None:
        rate = min(self.recipe.ema, self.step_count / (self.step_count + 10))
        live = self.generator.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(live[name], 1 - rate)
            else:
                value.copy_(live[name])

    @torch.no_grad()
    def validate(self, model: UNet, picture: Path | None = None) -> dict[str, float]:
        """Error (0..255) and sharpness on the validation crops, in eval mode."""
        training = model.training
        model.eval()
        outputs = []
        for source, _ in self.validation:
            y = model(to_tensor([source]))
            pixels = y.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
            outputs.append(pixels[0].permute(1, 2, 0).numpy())
        model.train(training)
        targets = np.stack([target for _, target in self.validation])
        if picture is not None:
            rows = [
                np.concatenate((source, output, target), axis=1)
                for (source, target), output in zip(self.validation, outputs, strict=True)
            ]
            half = (len(rows) + 1) // 2
            rows += [np.zeros_like(rows[0])] * (2 * half - len(rows))
            sheet = np.concatenate(
                (np.concatenate(rows[:half]), np.concatenate(rows[half:])), axis=1
            )
            Image.fromarray(sheet).resize((sheet.shape[1] // 2, sheet.shape[0] // 2)).save(picture)
        return {
            "error": mean_absolute_error(np.stack(outputs), targets),
            "sharpness": sharpness(np.stack(outputs), targets),
        }

    def checkpoint(self, path: Path) -> None:
        state = {"live": self.generator.state_dict(), "average": self.average.state_dict()}
        torch.save({"step": self.step_count, **state}, path)

    def write_bundle(self, path: Path) -> Path:
        """The trained generator as a bundle, with its recipe and validation figures.

        The averaged one; after a texture stage, whose learning rate ends at zero, the live one,
        which is as good and sharper.
        """
        recipe = self.recipe
        model = self.average if self.settled is None else self.generator
        info = BundleInfo(
            name=recipe.name,
            architecture=recipe.architecture,
            image_size=recipe.image_size,
            fit="tile",
            source_domain=recipe.source_domain,
            target_domain=recipe.target_domain,
            provenance={
                "data": recipe.data_source,
                "license": recipe.license,
                "validation": self.validate(model),
                "recipe": asdict(recipe),
                "versions": {"torch": torch.__version__, "pix2pix-batch": __version__},
            },
        )
        save(path, info, model)
        return path

    def fit(self, *, every: int, report: Any = print) -> None:
        """Run all steps; validate, sample and save each ``every`` steps into ``run``."""
        (self.run / "samples").mkdir(parents=True, exist_ok=True)
        (self.run / "recipe.yaml").write_text(yaml.safe_dump(asdict(self.recipe), sort_keys=False))
        self.generator.train()
        self.discriminator.train()
        sums: dict[str, float] = {}
        start = time.monotonic()
        last = self.recipe.steps + self.recipe.texture_steps
        while self.step_count < last:
            if self.step_count == self.recipe.steps:
                self.begin_texture()
            losses = self.step(*self.sampler.batch(self.recipe.batch_size))
            sums = {name: sums.get(name, 0.0) + value for name, value in losses.items()}
            if self.step_count % every and self.step_count != last:
                continue
            picture = self.run / "samples" / f"{self.step_count:07d}.png"
            record = {
                "step": self.step_count,
                "seconds": round(time.monotonic() - start, 1),
                **{name: value / every for name, value in sums.items()},
                "live": self.validate(self.generator),
                "average": self.validate(self.average, picture),
            }
            sums = {}
            with (self.run / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            report(record)
            self.checkpoint(self.run / f"step-{self.step_count:07d}.pt")


def blurred(image: Tensor) -> Tensor:
    """Colours without detail: the mean over 17x17 pixels, those inside the image."""
    return F.avg_pool2d(image, 17, 1, 8, count_include_pad=False)


def gan_loss(logits: Tensor, real: bool) -> Tensor:
    """Non-saturating GAN loss on logits (section 3.1)."""
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits, float(real), dtype=torch.float32)
    )
