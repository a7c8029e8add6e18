"""Batches of the training stream, read by processes that nothing but their parent ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.process import BaseProcess
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from pix2pix_batch.errors import Pix2PixBatchError
from pix2pix_batch.train.data import Data
from pix2pix_batch.train.stopping import leave_to_parent

Sample = tuple[list[Tensor], dict[str, str]] | Pix2PixBatchError
"""Source, target and of rasters where there is data; and the warnings that are new since this
process' last sample."""

NOTICED = 2.0
"""Seconds after which a process that has died is known to have."""

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent dies."""


class _Stream(Dataset[Sample]):
    """Indices are positions in the endless stream. Errors are handed on, not raised: a loader's
    process would wrap them in its traceback."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.reported_count = 0

    def __getitem__(self, k: int) -> Sample:
        try:
            images = self.data.sample(k)
        except Pix2PixBatchError as error:
            return error
        warnings = self.data.reader.warnings  # only grows
        new = (
            dict(islice(warnings.items(), self.reported_count, None))
            if len(warnings) > self.reported_count
            else {}
        )
        self.reported_count = len(warnings)
        return [torch.tensor(image) for image in images], new


def _collate(samples: list[Sample]) -> Sample:
    each: list[list[Tensor]] = []
    warnings: dict[str, str] = {}
    for sample in samples:
        if isinstance(sample, Pix2PixBatchError):
            return sample
        images, new = sample
        each.append(images)
        warnings |= new
    return [default_collate(list(images)) for images in zip(*each, strict=True)], warnings


def _begin(parent: int) -> None:
    """Ignore what hits the group, and end with the parent, however that ends."""
    leave_to_parent()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died meanwhile
            os._exit(1)


def batches(
    data: Data,
    *,
    first: int,
    last: int,
    batch_size: int,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
    died: Callable[[str], None] | None = None,
) -> Iterator[tuple[Tensor, ...]]:
    """Read the batches of one process.

    Batch ``i`` of all processes together has the stream's next ``processes * batch_size`` samples,
    however many processes there are: two see what one with twice the batch does. Warnings of files
    that the ``workers`` read are added to ``data.reader.warnings``.

    Args:
        data: The training data.
        first: The number of the first batch.
        last: The number after the last batch.
        batch_size: Images of a batch of one process.
        rank: The number of this process.
        processes: How many there are.
        workers: How many processes read ahead; 0 to read in this one.
        died: Is told how, if a reading process is killed; the same batches are then read without
            them.

    Yields:
        Source and target, ``(batch_size, H, W, C)`` each, and of rasters where both have data,
        ``bool (batch_size, H, W)``.
    """
    done = first
    try:
        for batch in _load(data, first, last, batch_size, rank, processes, workers):
            done += 1
            if isinstance(batch, Pix2PixBatchError):
                raise batch
            images, warnings = batch
            data.reader.warnings.update(warnings)
            yield tuple(images)
    except _ReaderDied as error:
        if died is None:
            raise
        died(str(error))
        yield from batches(
            data, first=done, last=last, batch_size=batch_size, rank=rank, processes=processes
        )


class _ReaderDied(RuntimeError):
    """A process that reads data is gone."""


def _load(
    data: Data, first: int, last: int, size: int, rank: int, processes: int, workers: int
) -> Iterator[Any]:
    positions = (
        list(range((i * processes + rank) * size, (i * processes + rank + 1) * size))
        for i in range(first, last)
    )
    parent = os.getpid()
    loader: DataLoader[Sample] = DataLoader(
        _Stream(data),
        batch_sampler=positions,
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=lambda _: _begin(parent),
        # else mosaics would be copied to each; fork is not the default everywhere any more
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        pin_memory=torch.cuda.is_available(),
    )
    others = set(multiprocessing.active_children())
    with _quiet_deaths():
        iterator = iter(loader)
    mine = set(multiprocessing.active_children()) - others
    try:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError, UnpicklingError) as error:
                # killed while it handed a batch over, it leaves half a message or a closed socket
                if "DataLoader worker" not in str(error) and not _has_ended(mine):
                    raise
                raise _ReaderDied(
                    _describe_deaths([p.exitcode for p in mine if p.exitcode])
                ) from error
            yield batch
    finally:
        del iterator  # ends its processes, which no signal does


def _has_ended(workers: Iterable[BaseProcess]) -> bool:
    """Whether one of them is gone, which shows a moment after its sockets have closed."""
    end = time.monotonic() + NOTICED
    while not (ended := any(worker.exitcode is not None for worker in workers)):
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    return ended


@contextmanager
def _quiet_deaths() -> Iterator[None]:
    """PyTorch's loader sets a handler that raises wherever a process's death finds the main one,
    while it writes a checkpoint too; ``next`` sees it as well."""
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if before is not None:
            with suppress(ValueError):  # not the main thread, where PyTorch sets none
                signal.signal(signal.SIGCHLD, before)


def _describe_deaths(codes: list[int | None]) -> str:
    code = codes[0] if codes else None
    if code is None or code > 0:
        return f"a process that reads data ended of itself (exit code {code})"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    why = {
        "SIGKILL": ", as the system does where memory runs out",
        "SIGBUS": ": /dev/shm, which it hands images over in, may be too small",
    }.get(name, "")
    return f"a process that reads data was killed ({name}{why})"
