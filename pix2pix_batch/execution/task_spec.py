"""What all chunks of a run have in common, and where it is written down what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pix2pix_batch.execution import worker
from pix2pix_batch.execution.split_items import Split
from pix2pix_batch.execution.worker import ChunkOptions, ChunkResult
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record

Task = Callable[..., ChunkResult]
"""What is sent to the workers: :func:`worker.convert_chunk`, or what is measured in its place."""


class ResultSink(Protocol):
    """Where it is written down what becomes of the items."""

    def claim(self, *chunks: list[str]) -> None:
        """Outputs of items of these names are about to be written, chunk by chunk."""

    def record(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        """A chunk came back, after ``seconds`` of work on the worker of that address. Raises
        :class:`OutputError`."""

    def sync(self) -> None:
        """What was recorded is to survive a power cut. Raises :class:`OutputError`."""


def _keep_whole(item: Item) -> list[Item]:
    return []


@dataclass(frozen=True)
class TaskSpec:
    """What all chunks have in common. ``markers``: a directory that client and workers see, empty
    where there is none; ``streamed``: items come from a pipe, which may make one wait for ever;
    ``split``: makes the parts of an item that several workers are to make."""

    settings: Settings
    orders: ChunkOptions = field(default_factory=ChunkOptions)
    markers: str = ""
    task: Task = worker.convert_chunk
    streamed: bool = False
    split: Split = _keep_whole
