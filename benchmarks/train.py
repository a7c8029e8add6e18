"""How fast ``train`` is on this machine, against a plain loop as the reference's.

    pip install -e '.[bench]'
    python benchmarks/train.py [--isa native AVX512 AVX2] [--steps 20] [--ngf 64] [--out report.md]
    python benchmarks/train.py --beside 0 2 4 [--ngf 32]

Both train the paper's generator and 70x70 PatchGAN on 256x256 pairs of JPEG files. The plain
loop is what the reference's ``train.py`` does: fp32, PyTorch's default layout, one pair read
after the other in the same process, batch norm. One run prints a table for each instruction set,
the lesser ones emulated in processes of their own: milliseconds an image, ratios, the share of a
step spent waiting for data, peak memory. Ratios are only good within one table. Needs a quiet
machine.

``--beside`` shows what ``train`` loses at batch 1 where so many other programs want the cores too,
with threads of OpenMP that spin while they wait for each other, its default, and with threads that
soon sleep, as ``train`` sets them (``GOMP_SPINCOUNT``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from convert import ISAS
from measure import machine, table
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples" / "maps"
PAIRS = 64
WARM_UP = 2
COLUMNS = (
    "loop", "batch", "ms an image", "/ plain, equal batch", "/ plain, batch 1", "waiting", "GiB",
)  # fmt: skip
WAITING: dict[str, dict[str, str]] = {"spin": {}, "sleep soon": {"GOMP_SPINCOUNT": "10000"}}
BUSY = "while True: pass"
Precision = Literal["auto", "fp32", "bf16"]


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
    from pix2pix_batch.generators.unet import Architecture
    from pix2pix_batch.generators.unet_network import UNet
    from pix2pix_batch.train.discriminator import PatchGAN

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = UNet(Architecture(ngf=ngf, norm="running-statistics")).init_weights()
    generator, discriminator = generator.train().to(device), PatchGAN(6, ngf).train().to(device)
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
        pairs = zip(*[read() for _ in range(batch)], strict=True)
        source, target = (torch.stack(x).to(device) for x in pairs)
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


def ours(
    folder: Path, batch: int, ngf: int, steps: int, precision: Precision = "auto"
) -> dict[str, float]:
    """The real trainer, without checkpoints: milliseconds an image, share of waiting."""
    from pix2pix_batch.train.data import open_data
    from pix2pix_batch.train.loop import Meter, Options, Trainer
    from pix2pix_batch.train.recipe import Recipe

    recipe = Recipe(
        name="benchmark",
        precision=precision,
        ngf=ngf,
        ndf=ngf,
        batch_size=batch,
        val_fraction=0,
    )
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
    parser.add_argument("--isa", nargs="+", choices=ISAS, default=["native"])
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--beside", type=int, nargs="+", help="numbers of programs")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [f"{machine()}; ngf = ndf = {arguments.ngf}, 256x256"]
    if arguments.beside:
        columns = ["programs beside", *(f"threads that {name}, ms an image" for name in WAITING)]
        lines += ["", *table(columns, compare_waiting(arguments))]
        arguments.isa = []
    for isa in arguments.isa:
        os.environ.update(ISAS[isa])
        lines += ["", f"Instruction set: {isa}", "", *table(COLUMNS, compare(arguments, isa))]
        for name in ISAS[isa]:
            del os.environ[name]
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def compare_waiting(arguments: argparse.Namespace) -> list[list[str]]:
    """The rows of the table of ``--beside``."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs(folder)
        for programs in arguments.beside:
            busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(programs)]
            times = []
            for policy in WAITING.values():
                os.environ.pop("GOMP_SPINCOUNT", None)
                os.environ.update(policy)  # read by the process that is started
                ran = alone(ours, folder, 1, arguments.ngf, arguments.steps, arguments.precision)
                times.append(f"{ran['ms']:.0f}")
            for program in busy:
                program.kill()
                program.wait()
            rows.append([str(programs), *times])
            print(json.dumps({"beside": programs, "ms": times}), flush=True)
    return rows


def compare(arguments: argparse.Namespace, isa: str) -> list[list[str]]:
    """The rows of an instruction set's table; each loop runs in a process of its own."""
    rows = []
    reference = 0.0
    for batch in arguments.batches:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_pairs(folder)
            given = (
                folder,
                batch,
                arguments.ngf,
                max(min(4, arguments.steps), arguments.steps // batch),
            )
            one = alone(plain, *given)
            two = alone(ours, *given, arguments.precision)
        reference = reference or one["ms"]
        for name, found in (("plain, fp32", one), (f"train, {two['precision']}", two)):
            rows.append(
                [name, str(batch), f"{found['ms']:.0f}", f"{one['ms'] / found['ms']:.2f}",
                 f"{reference / found['ms']:.2f}",
                 f"{100 * found['waiting']:.1f} %" if "waiting" in found else "",
                 f"{found['gib']:.1f}"]
            )  # fmt: skip
        print(json.dumps({"isa": isa, "batch": batch, "plain": one, "train": two}), flush=True)
    return rows


if __name__ == "__main__":
    main()
