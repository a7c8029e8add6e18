"""The errors a user can meet. Each message names the file, what is wrong and what to do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

from pix2pix_batch.text import describe_error

EMPTY = "the file is empty"
"""An image's reason, told by whoever sees it first."""


class Pix2PixBatchError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(Pix2PixBatchError, ValueError):
    """A path, an option or a file given by the user cannot be used."""


class BundleError(InputError):
    """A bundle or checkpoint cannot be read, or does not hold what it should."""


class ImageError(Pix2PixBatchError):
    """One image cannot be converted; the others go on."""


class NotToleratedError(ImageError):
    """An image that ``--strict`` or ``--max-pixels`` refuses: with another value it may be read."""


class OutputError(Pix2PixBatchError):
    """The output directory cannot take what should be written (full, read-only, in use)."""


class SchedulerGone(OutputError):
    """The Dask scheduler does not answer any more; what was in flight is lost."""

    def __init__(self) -> None:
        super().__init__(
            "the Dask scheduler is gone, or cannot be reached; what is converted stays. Start it "
            "again, then run the same command again: it goes on where this run stopped"
        )


class EngineError(Pix2PixBatchError):
    """An engine cannot be built, loaded or trusted; the next best can run instead."""


class MemoryShortage(EngineError):
    """Memory is too small for an engine and its batches; smaller ones may fit."""


class TrainingError(Pix2PixBatchError):
    """A training run cannot go on; its last checkpoint is whole."""


WANT_OF_MEMORY = re.compile(
    r"out ?of ?memory|insufficient memory|not enough memory|memory ?allocation"
    r"|alloc_failed|bad_alloc",
    re.I,
)
"""How CUDA, PyTorch and TensorRT say that memory was wanting."""


@contextlib.contextmanager
def engine_errors(what: str, reason: Callable[[], str] = lambda: "") -> Iterator[None]:
    """What a library raises inside as :class:`EngineError`; want of memory, and nothing else, as
    :class:`MemoryShortage`.

    ``what``: what cannot be done. ``reason``: why, where the library says so elsewhere.
    """
    try:
        yield
    except Pix2PixBatchError:
        raise
    except (
        RuntimeError, TypeError, ValueError, LookupError, AttributeError, MemoryError,
    ) as error:  # fmt: skip
        told = reason() or describe_error(error)
        small = isinstance(error, MemoryError) or WANT_OF_MEMORY.search(f"{error} {told}")
        raise (MemoryShortage if small else EngineError)(f"{what}: {told}") from error
