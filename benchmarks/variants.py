"""What variants cost, and what noise does.

    python benchmarks/variants.py INPUTS [--model map2aerial] [--limit 24] [--rounds 5]

INPUTS is a directory of images for the model. First the worker's own time for a chunk of them in
one to four variants: "extra" is what one variant more costs, over what one conversion does. No
start-up and no scheduler; decoding, engine, encoding and writing are in it. Then how much variants
differ (mean absolute difference of their pixels over all pairs, of 255) with more and more noise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pix2pix_batch import bundle
from pix2pix_batch.dataset.naming import item_variant_name, output_of
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.synthesis.quality import diversity

NOISE = (
    ("as trained", {}),
    ("rate 0.7", {"noise_rate": 0.7}),
    ("rate 0.9", {"noise_rate": 0.9}),
    ("2 blocks", {"noise_blocks": 2}),
    ("3 blocks", {"noise_blocks": 3}),
    ("4 blocks", {"noise_blocks": 4}),
    ("4 blocks, rate 0.2", {"noise_blocks": 4, "noise_rate": 0.2}),
    ("input noise 5", {"input_noise": 5.0, "noise_blocks": 0}),
    ("input noise 15", {"input_noise": 15.0, "noise_blocks": 0}),
    ("as trained and input noise 15", {"input_noise": 15.0}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()

    path = bundle.resolve(arguments.model)
    info = bundle.read_info(path)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
        settings = Settings(
            model=str(path), fingerprint=bundle.fingerprint(path), out=directory, fit=info.fit,
            size=info.image_size, quality=None, batch_size=8, device="cpu",
            precision=arguments.precision, noise=True, seed=7, inspect=True,
        )  # fmt: skip
        items = list(open_inputs(str(arguments.inputs), ScanOptions("png", out)))[: arguments.limit]
        cost(settings, items, arguments.rounds)
        print("\n| noise | difference of variants, of 255 |\n| --- | --- |")
        for name, changes in NOISE:
            print(f"| {name} | {measured(replace(settings, **changes), items, out):.2f} |")


def variants_of(items: Sequence[Item], count: int) -> list[Item]:
    return [
        replace(item, name=item_variant_name(item, i), output=output_of(item, i), variant=i)
        for item in items
        for i in range(count)
    ]


def cost(settings: Settings, items: Sequence[Item], rounds: int) -> None:
    """The least of some rounds, processor time: other programs only ever add to it."""
    run(settings, items[:1])
    least = {count: float("inf") for count in (1, 2, 4)}
    for _ in range(rounds):
        for count in least:
            least[count] = min(least[count], run(settings, variants_of(items, count)))
    one = least[1] / len(items)
    print(f"{len(items)} inputs, {settings.precision}, {one * 1e3:.1f} ms a conversion\n")
    print("| variants | ms an input | extra variant / one conversion |\n| --- | --- | --- |")
    for count, seconds in least.items():
        extra = "" if count == 1 else f"{(seconds / len(items) - one) / (count - 1) / one:.2f}"
        print(f"| {count} | {seconds / len(items) * 1e3:.1f} | {extra} |")


def run(settings: Settings, items: Sequence[Item]) -> float:
    start = time.process_time()
    converter = Converter(settings)
    converter.run(items)
    assert all(record.status == "done" for record in converter.records), converter.records
    return time.process_time() - start


def measured(settings: Settings, items: Sequence[Item], out: Path) -> float:
    run(settings, variants_of(items, 4))
    found = diversity([out / output_of(item, i) for i in range(1, 4)] for item in items)
    assert found is not None
    return found


if __name__ == "__main__":
    main()
