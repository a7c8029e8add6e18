"""An image on its way through a worker, and the contexts in which its steps are done."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pix2pix_batch.imaging.raster.profile import RasterProfile
from pix2pix_batch.imaging.raster.streaming import StreamedTiles
from pix2pix_batch.inference.carried_metadata import Metadata
from pix2pix_batch.inference.fitting import Fitted
from pix2pix_batch.item import Item

if TYPE_CHECKING:
    from pix2pix_batch.generators.generator import NormStatistics


class Watch(Protocol):
    """Makes the context in which a step is done, and which may watch the time. It is told what is
    done ("decoding it"), to which image, and to how many images at once."""

    def __call__(self, doing: str, name: str, count: int = 1) -> AbstractContextManager[None]: ...


def watch_nothing(doing: str, name: str, count: int = 1) -> AbstractContextManager[None]:
    """Stand in for a :class:`Watch` where nothing watches.

    Args:
        doing: What is done.
        name: To which image.
        count: To how many at once.

    Returns:
        A context that does nothing.
    """
    return contextlib.nullcontext()


# All that is known of one image on its way; each step adds what the next ones need.
@dataclass
class PendingImage:
    """One image on its way through the engine."""

    item: Item
    stamp: str
    content: bytes
    tiles: Fitted | StreamedTiles
    alpha: np.ndarray | None
    metadata: Metadata
    waiting: int
    input: str = ""
    warning: str = ""
    pixels: np.ndarray | None = None
    squared_distances: list[float] = field(default_factory=list)
    norms: NormStatistics | None = None
    profile: RasterProfile | None = None
    failed: bool = False
