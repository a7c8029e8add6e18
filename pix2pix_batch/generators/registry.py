"""The families of generators that are known, by name. Needs no torch.

A family is one file with one class, a :class:`~pix2pix_batch.generators.description.Description`,
that is registered. Other packages add families by an entry point of the group
``pix2pix_batch.generators``, whose object is such a class: workers find them so, too.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from pix2pix_batch.generators.description import Description, Layout, Shapes

GROUP = "pix2pix_batch.generators"

_families: dict[str, type[Description]] = {}

Registered = TypeVar("Registered", bound=type[Description])


class Recognised(NamedTuple):
    """The family of a checkpoint, and where the checkpoint has its weights."""

    family: type[Description]
    layout: Layout


def register(family: Registered) -> Registered:
    """Add a family: a class decorator. Raises ``ValueError`` where another has its name."""
    known = _families.setdefault(family.family, family)
    if known is not family:
        raise ValueError(f"there are two families of generators called {family.family!r}")
    return family


def unregister(name: str) -> None:
    """Take the family of that name out again. Raises ``KeyError``."""
    del _families[name]


def families() -> Mapping[str, type[Description]]:
    """All families by name, in the order in which checkpoints are tried."""
    _load_entry_points()
    return dict(_families)


@functools.cache
def _load_entry_points() -> None:
    # not above: it imports 'email', which a file of the user's in the directory of a command may be
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        register(point.load())


def find(name: object) -> type[Description]:
    """The family of that name. Raises ``ValueError``."""
    found = _families.get(name) if isinstance(name, str) else None
    found = found or (families().get(name) if isinstance(name, str) else None)
    if found is None:
        raise ValueError(
            f"its generator is of the family {name!r}, this version knows {', '.join(families())}; "
            "upgrade pix2pix-batch, or install the package that adds it"
        )
    return found


def describe(values: Mapping[str, Any]) -> Description:
    """The description that :meth:`Description.as_dict` made ``values`` of; without ``family`` it is
    a U-Net's. Raises ``ValueError`` and ``TypeError`` for what no such description says."""
    fields = dict(values)
    return find(fields.pop("family", "unet"))(**fields)


def recognise(shapes: Shapes) -> Recognised | None:
    """The family of a checkpoint with such tensors, by their structure and shapes.

    Raises :class:`~pix2pix_batch.generators.description.LayoutError` where one of its family would
    be otherwise.
    """
    for family in families().values():
        layout = family.read_layout(shapes)
        if layout is not None:
            return Recognised(family, layout)
    return None
