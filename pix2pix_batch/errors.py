"""The errors a user can meet. Each message names the file, what is wrong and what to do."""

from __future__ import annotations


class Pix2PixBatchError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(Pix2PixBatchError, ValueError):
    """A path, an option or a file given by the user cannot be used."""


class BundleError(InputError):
    """A bundle or checkpoint cannot be read, or does not hold what it should."""


class ImageError(Pix2PixBatchError):
    """One image cannot be converted; the others go on."""


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


class TrainingError(Pix2PixBatchError):
    """A training run cannot go on; its last checkpoint is whole."""
