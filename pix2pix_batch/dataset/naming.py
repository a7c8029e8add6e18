"""What the images of an input are called: in the journal, in the dataset, and before on disk."""

from __future__ import annotations

from pix2pix_batch.imaging.output_formats import SUFFIXES
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import COPY, MADE
from pix2pix_batch.noise import SOURCE


def base_of(item: Item) -> str:
    """The item's path in the dataset, without suffix; no two items have the same."""
    return item.output.removesuffix(SUFFIXES[item.form])


def variant_name(name: str, variant: int) -> str:
    """What names a variant of the input ``name`` in the journal: no input has such a path, for
    the input is a file."""
    return name + (COPY if variant == SOURCE else f"/{variant}")


def item_variant_name(item: Item, variant: int) -> str:
    return variant_name(item.name, variant)


def source_of(name: str) -> str:
    """The input of what has this name in the journal."""
    return name.rpartition("/")[0]


def variant_of(name: str) -> int | None:
    """Which variant has this name in the journal; ``None`` where it is no such name."""
    if name.endswith(COPY):
        return SOURCE
    number = name.rpartition("/")[2]
    return int(number) if number.isascii() and number.isdecimal() else None


def output_of(item: Item, variant: int, source_form: str = "png") -> str:
    """Where a variant is put until the dataset is laid out, within OUT. ``source_form``: of the
    inputs' copies."""
    end = SUFFIXES[source_form] if variant == SOURCE else f".v{variant}{SUFFIXES[item.form]}"
    kind = "inputs" if variant == SOURCE else "images"
    return f"{MADE}/{kind}/{base_of(item)}{end}"
