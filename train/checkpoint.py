"""Checkpoints: all that a run needs to go on, written whole or not at all."""

from __future__ import annotations

import errno
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from pix2pix_batch.checkpoint_kinds import find_damaged_record
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import format_count

NAME = re.compile(r"step-(\d+)\.pt$")


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.pt"


def step_of(path: Path) -> int:
    """The number of steps that are done in a checkpoint, which :func:`path_of` has named."""
    return int(path.stem.removeprefix("step-"))


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint whole, then remove old ones.

    Args:
        folder: The directory of the checkpoints.
        step: The number of steps that are done.
        state: Tensors, numbers and texts, in dictionaries and lists.
        keep: How many of the last checkpoints stay.

    Returns:
        The path of the checkpoint.

    Raises:
        OutputError: It cannot be written; those before stay.
    """
    path = path_of(folder, step)
    # On the disk before older ones go: at no moment is there none to go on from.
    write_whole(path, lambda file: torch.save(state, file))
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a disk says that has no room."""


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, sync it and give it its own. Raises :class:`OutputError`."""
    failed: list[OSError] = []
    try:
        with whole(path, sync=True) as file:
            write(cast(BinaryIO, _Noted(file, failed)))
    except OSError as error:
        raise explain_unwritable(path, error) from error
    except RuntimeError as error:  # torch.save's, where the file's own was raised inside it
        if not failed:
            raise
        raise explain_unwritable(path, failed[0]) from error


class _Noted(io.BufferedIOBase):
    """A file that notes why it could not be written."""

    def __init__(self, file: BinaryIO, failed: list[OSError]) -> None:
        self.file, self.failed = file, failed

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.failed.append(error)
            raise

    def flush(self) -> None:
        self.file.flush()

    def seek(self, place: int, whence: int = 0) -> int:
        return self.file.seek(place, whence)

    def tell(self) -> int:
        return self.file.tell()


def explain_unwritable(path: Path, error: OSError) -> OutputError:
    """What to say of ``error``: that the disk is full only where it is."""
    reason = error.strerror or str(error) or type(error).__name__
    first = "free some space" if error.errno in FULL else "see to that"
    return OutputError(
        f"{path}: cannot be written ({reason}); {first} and run the same command again to go on "
        "from the last checkpoint"
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first."""
    # By name, which has eight digits, so this is the order of the steps.
    return sorted(path for path in folder.glob("step-*.pt") if NAME.search(path.name))


def load(path: Path) -> dict[str, Any] | None:
    """A file's plain tensors and values; ``None`` where it is damaged."""
    try:
        # PyTorch compares no checksums: a changed byte would be trained on unseen.
        if find_damaged_record(path):
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # on damaged files torch.load raises what it pleases
        return None
    return state if isinstance(state, dict) and "step" in state else None


def load_last(folder: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest checkpoint that can be read, and the newer ones that cannot."""
    checkpoints = list_checkpoints(folder)
    damaged: list[Path] = []
    for path in reversed(checkpoints):
        state = load(path)
        if state is not None:
            return state, damaged
        damaged.append(path)
    if checkpoints:
        raise InputError(
            f"{folder}: its {format_count(len(checkpoints), 'checkpoint')} cannot be read; start "
            "again in a new directory"
        )
    return None, []
