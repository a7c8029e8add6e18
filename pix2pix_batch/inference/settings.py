"""The settings of a job as its workers see them, and what is decided when it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.storage.store import store_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from pix2pix_batch.inference.engine import Engine

WHOLE = "whole"
"""The fit of images that run at their own size, each alone."""

Opener = Callable[["Settings", "np.ndarray | None"], "tuple[Engine | None, str]"]
"""Opens an engine other than PyTorch's on the worker that calls it, and says in a sentence what
was not to be had and why; ``None`` where PyTorch is to run. Given images of the job, ``uint8
(N, S, S, C)``, it chooses what is left open in the settings (precision ``auto``, no batch size,
backend ``auto``) and checks the engine on them; given none, all is settled, and it raises
:class:`InputError` where it cannot be had. A function of a module, for it travels by its name."""


# One field for each option that workers need: it is what is sent to them.
@dataclass(frozen=True)
class Settings:
    """The settings of a job as its workers see them. ``model`` and ``out`` are paths that the
    workers can reach.

    ``is_remote``: inputs or outputs lie behind URLs; ``unpack``: tars become directories;
    ``exclude`` and ``include`` choose their members
    (:class:`pix2pix_batch.inputs.choice.InputFilter`), and ``pages`` those members' pages
    (:class:`pix2pix_batch.inputs.source.ScanOptions`).
    ``georeference``, ``keep_exif``, ``keep_times``: what outputs keep of their inputs besides.
    ``tolerance``: what is made of files that are not as they should be. ``bands``: those of rasters
    that are the model's, with commas between; ``creation_option``: of GDAL's, ``NAME=VALUE``.

    ``backend``: ``auto``, ``torch``, or one that ``opener`` knows.

    Of ``synthesize``: ``noise_rate``, ``noise_blocks`` and ``input_noise``
    (:mod:`pix2pix_batch.noise`); ``side_by_side``: outputs have their input to their left;
    ``inspect``: records say what the images look like; ``origin``: XMP that outputs carry.
    """

    model: str
    fingerprint: str
    out: str
    fit: str
    size: int
    quality: int | None
    batch_size: int | None
    device: str
    precision: str
    noise: bool
    seed: int
    backend: str = "auto"
    opener: Opener | None = None
    georeference: bool = False
    keep_exif: bool = False
    keep_times: bool = False
    tolerance: Tolerance = USUAL
    bands: str | None = None
    creation_option: tuple[str, ...] = ()
    unpack: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    pages: str = "first"
    is_remote: bool = False
    noise_rate: float = 0.5
    noise_blocks: int | None = None
    input_noise: float = 0.0
    side_by_side: bool = False
    inspect: bool = False
    origin: bytes = b""

    @property
    def writes_to_disk(self) -> bool:
        """Whether OUT is a directory and not a URL; false if nothing is written at all."""
        return bool(self.out) and store_of(self.out).is_local


def settings_without_job(model: Path, size: int, fit: str, device: str, precision: str) -> Settings:
    """Make the settings for translating a few images in this process with PyTorch.

    Args:
        model: The bundle's file.
        size: Side of the model's images in pixels.
        fit: One of the choices of ``--fit``.
        device: Where the model runs.
        precision: What it computes in.

    Returns:
        The settings, which write no output.
    """
    from pix2pix_batch import bundle

    return Settings(
        model=str(model.resolve()),
        fingerprint=bundle.fingerprint(model),
        out="",
        fit=fit,
        size=size,
        quality=None,
        batch_size=1 if fit == WHOLE else None,
        device=device,
        precision=precision,
        noise=False,
        seed=0,
        backend=TORCH,
    )


@dataclass(frozen=True)
class Decision:
    """What :func:`pix2pix_batch.inference.autotune.autotune` chose: what all of the job's tasks
    use.

    ``backend``: by the name that ``--backend`` has for it.
    """

    device: str
    precision: str
    batch_size: int
    backend: str
    note: str = ""


def apply_decision(settings: Settings, decision: Decision) -> Settings:
    """The settings with the decided values in place of the open ones."""
    return replace(
        settings,
        device=decision.device,
        precision=decision.precision,
        batch_size=decision.batch_size,
        backend=decision.backend,
    )
