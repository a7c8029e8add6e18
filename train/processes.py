"""What the processes of a run have to agree on, and what ends one when another has gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from pix2pix_batch.errors import TrainingError

LOST = ("gloo", "NCCL", "Connection reset", "Connection closed", "Broken pipe", "Socket")
"""Words of PyTorch's errors where another process of the group does not answer any more."""


def find_greatest(accelerator: Accelerator, number: int) -> int:
    """The greatest of the numbers of all processes, which wait for each other here."""
    if accelerator.num_processes == 1:
        return number
    numbers: Tensor = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(numbers.max())


def average_values(accelerator: Accelerator, values: dict[str, float]) -> dict[str, float]:
    """The means of the values over all processes."""
    if accelerator.num_processes == 1:
        return values
    own = torch.tensor(list(values.values()), dtype=torch.float64, device=accelerator.device)
    means: Tensor = accelerator.reduce(own, "mean")
    return dict(zip(values, means.tolist(), strict=True))


def describe_failure(failures: list[str], path: Path) -> TrainingError:
    """Why a run ends after the checkpoint ``path``: by ``failures`` of processes that read data for
    this one or, where there are none, by what another process of the run has met."""
    if not failures:
        return TrainingError(
            "another process of this run cannot go on, as it says; see to that. The same command "
            "goes on from the last checkpoint"
        )
    return TrainingError(
        f"{failures[0]}; {path} is written. The same command goes on from there; --workers 0 reads "
        "without other processes"
    )


@contextmanager
def lost_processes() -> Iterator[None]:
    """Say in a sentence that another process of the run has ended: PyTorch's errors name sockets.

    Raises:
        TrainingError: Another process is gone, for a reason that only it can say.
    """
    try:
        yield
    except RuntimeError as error:
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not together or not any(word in str(error) for word in LOST):
            raise
        raise TrainingError(
            "another process of this run has ended: see what it says, or what killed it. The same "
            "command goes on from the last checkpoint"
        ) from error
