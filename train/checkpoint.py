"""Checkpoints: all that a run needs to go on, written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.files.whole import whole
from pix2pix_batch.text import counted

NAME = re.compile(r"step-(\d+)\.pt$")


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.pt"


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of ``step``, then remove all but the last ``keep``.

    Raises :class:`OutputError` where it cannot be written; those before stay.
    """
    path = path_of(folder, step)
    write_whole(path, lambda file: torch.save(state, file))
    for old in saved(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name, sync it and give it its own. Raises :class:`OutputError`."""
    try:
        with whole(path, sync=True) as file:
            write(file)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
        reason = getattr(error, "strerror", None) or "the disk is full, or the file too large"
        raise OutputError(
            f"{path}: cannot be written ({reason}); free some space and run the same command "
            "again to go on from the last checkpoint"
        ) from error


def saved(folder: Path) -> list[Path]:
    """The checkpoints in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if NAME.search(path.name))


def load_last(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, plain tensors and values only."""
    found = saved(folder)
    for path in reversed(found):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # on damaged files torch.load raises what it pleases
            continue
        if isinstance(state, dict) and "step" in state:
            return state
    if found:
        raise InputError(
            f"{folder}: its {counted(len(found), 'checkpoint')} cannot be read; start again in a "
            "new directory"
        )
    return None
