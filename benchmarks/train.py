"""How fast ``train`` is on this machine, against a plain loop as the reference's.

    pip install -e '.[bench]'
    python benchmarks/train.py [--steps 20] [--ngf 64] [--out report.md]

Both train the paper's generator and 70x70 PatchGAN on 256x256 pairs of JPEG files. The plain
loop is what the reference's ``train.py`` does: fp32, PyTorch's default layout, one pair read
after the other in the same process, batch norm. One run prints one table: milliseconds an
image, ratios, the share of a step spent waiting for data, peak memory. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples" / "maps"
PAIRS = 64
WARM_UP = 2
PRECISION = "auto"


def write_pairs(folder: Path) -> None:
    """Pairs cut from the example images; what they show does not change the speed."""
    random = np.random.default_rng(0)
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(EXAMPLES.glob("*.png"))]
    for side in "AB":
        (folder / side).mkdir()
    for i in range(PAIRS):
        for side in "AB":
            turned = np.rot90(
                pictures[int(random.integers(len(pictures)))], int(random.integers(4))
            )
            image = Image.fromarray(turned).resize((256, 256))
            image.save(folder / side / f"{i}.jpg", quality=92)


def plain(folder: Path, batch: int, ngf: int, steps: int) -> dict[str, float]:
    """The reference's loop, restated: milliseconds an image."""
    from pix2pix_batch.architecture import Architecture
    from pix2pix_batch.generator import UNet
    from pix2pix_batch.train.discriminator import PatchGAN

    generator = UNet(Architecture(ngf=ngf, norm="running-statistics")).init_weights().train()
    discriminator = PatchGAN(6, ngf).train()
    optimisers = [
        torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=False, foreach=False)
        for network in (discriminator, generator)
    ]
    random = np.random.default_rng(0)

    def read() -> list[torch.Tensor]:
        name, (top, left) = f"{random.integers(PAIRS)}.jpg", random.integers(0, 31, 2)
        found = []
        for side in "AB":
            image = Image.open(folder / side / name).convert("RGB")
            image = image.resize((286, 286), Image.Resampling.BICUBIC)
            pixels = np.asarray(image)[top : top + 256, left : left + 256]
            found.append(torch.tensor(pixels).permute(2, 0, 1).float().div(127.5).sub(1))
        return found

    def loss(logits: torch.Tensor, real: bool) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    start = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            start = time.perf_counter()
        source, target = (torch.stack(x) for x in zip(*[read() for _ in range(batch)], strict=True))
        fake = generator(source)
        discriminator.requires_grad_(True)
        optimisers[0].zero_grad()
        d_fake = loss(discriminator(source, fake.detach()), False)
        ((d_fake + loss(discriminator(source, target), True)) / 2).backward()
        optimisers[0].step()
        discriminator.requires_grad_(False)
        optimisers[1].zero_grad()
        g = loss(discriminator(source, fake), True) + 100 * F.l1_loss(fake, target)
        g.backward()
        optimisers[1].step()
        g.item()
    return {"ms": (time.perf_counter() - start) / steps / batch * 1000}


def ours(folder: Path, batch: int, ngf: int, steps: int) -> dict[str, float]:
    """The real trainer, without checkpoints: milliseconds an image, share of waiting."""
    from pix2pix_batch.train.data import open_data
    from pix2pix_batch.train.loop import Meter, Options, Trainer
    from pix2pix_batch.train.recipe import Recipe

    recipe = Recipe(name="benchmark", precision=PRECISION, ngf=ngf, ndf=ngf, batch_size=batch, val_fraction=0)
    data = open_data(folder, recipe)
    trainer = Trainer(recipe, data, folder / "run", Options())
    found: dict[str, float] = {}

    class Stop(Exception):
        pass

    class Clock(Meter):
        """Starts anew after the warm-up, ends the run after ``steps``."""

        def add(self, losses: dict[str, float]) -> None:
            super().add(losses)
            if self.steps == WARM_UP:
                self.start, self.waited = time.monotonic(), 0.0
            elif self.steps == WARM_UP + steps:
                found["ms"] = self.seconds() / steps / batch * 1000
                found["waiting"] = self.waited / self.seconds()
                raise Stop

    import pix2pix_batch.train.loop as loop

    loop.Meter = Clock  # type: ignore[misc]
    with contextlib.suppress(Stop):
        trainer.fit()
    return found | {"precision": trainer.precision}  # type: ignore[dict-item]


def alone(call: Any, *arguments: Any) -> dict[str, Any]:
    """Run ``call`` in a process of its own; adds its peak memory in GiB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(False)
    process = context.Process(target=_alone, args=(sender, call, *arguments))
    process.start()
    try:
        result: dict[str, Any] = receiver.recv()
    finally:
        process.join()
    return result


def _alone(sender: Any, call: Any, *arguments: Any) -> None:
    result = call(*arguments)
    result["gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sender.send(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, ngf = ndf = {arguments.ngf}, 256x256",
        "",
        "| loop | batch | ms an image | / plain, equal batch | / plain, batch 1 | waiting | GiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    reference = 0.0
    for batch in arguments.batches:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_pairs(folder)
            steps = max(4, arguments.steps // batch)
            one = alone(plain, folder, batch, arguments.ngf, steps)
            two = alone(ours, folder, batch, arguments.ngf, steps)
        reference = reference or one["ms"]
        lines.append(
            f"| plain, fp32 | {batch} | {one['ms']:.0f} | 1.0 | {reference / one['ms']:.1f} | "
            f"| {one['gib']:.1f} |"
        )
        lines.append(
            f"| train, {two['precision']} | {batch} | {two['ms']:.0f} | "
            f"{one['ms'] / two['ms']:.1f} | {reference / two['ms']:.1f} | "
            f"{100 * two['waiting']:.1f} % | {two['gib']:.1f} |"
        )
        print(json.dumps({"batch": batch, "plain": one, "train": two}), flush=True)
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
