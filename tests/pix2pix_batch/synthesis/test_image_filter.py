"""Which images go into a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch import bundle
from pix2pix_batch.dataset.naming import item_variant_name
from pix2pix_batch.item import Item
from pix2pix_batch.synthesis.image_filter import filter_images
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input


@pytest.mark.parametrize("first", [{"distance": 120.0}, {"flags": "saturated"}, {}])
def test_what_is_like_an_image_that_is_left_out_stays(
    first: dict[str, Any], tmp_path: Path, tiny: Path
) -> None:
    """It is like none of the dataset then."""
    options = SynthesisOptions(
        model=str(tiny), max_distance=100, reject_flagged=True, sources=False
    )
    inputs, records = [], {}
    for name, told in (("a", first), ("b", {}), ("c", {})):
        item = Item(str(tmp_path / name), f"{name}.png", f"{name}.png", "png")
        inputs.append(Input(item, "", ""))
        facts = {"status": "done", "hash": name, "look": "00000000000000f0", "distance": 50.0}
        records[item_variant_name(item, 0)] = {**facts, **told}
    wanted = {one.name: 1 for one in inputs}
    info = bundle.read_info(tiny)
    kept, rejected = filter_images(tmp_path, options, info, inputs, wanted, records)
    assert [sample.facts["input"] for sample in kept] == ["b.png" if first else "a.png"]
    assert sorted(rejected.values()) == sorted(
        ["near-duplicate"] * (1 if first else 2) + [*(["distance"] if "distance" in first else []),
                                                   *(["saturated"] if "flags" in first else [])]
    )  # fmt: skip
