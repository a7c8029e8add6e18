"""What a job can be told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.inference.settings import TORCH
from pix2pix_batch.journal.record import ITEM_TIMEOUT
from pix2pix_batch.text import escape

QUALITY = images.DEFAULT_QUALITY
FORMATS = (*images.SUFFIXES, "same")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
BACKENDS = ("auto", "tensorrt", "tensorrt_rtx", TORCH)


@dataclass(frozen=True)
class Options:
    """What ``convert`` can be told; see the command's help. ``None`` and ``auto``: decided."""

    model: str = "map2aerial"
    fit: str | None = None
    format: str = "png"
    quality: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    overwrite: bool = False
    dry_run: bool = False
    limit: int | None = None
    noise: bool = False
    seed: int = 0
    scheduler: str | None = None
    follow_links: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    unpack: bool = False
    journal: str | None = None
    georeference: bool = True
    keep_exif: bool = False
    keep_times: bool = False
    lenient: bool = False
    strict: bool = False
    max_pixels: int | None = None
    retry_failed: bool = False
    shard: str | None = None
    item_timeout: float = 300.0
    report: bool = True

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        require_one_of("fit", self.fit, (None, *bundle.FITS))
        require_one_of("format", self.format, FORMATS)
        require_one_of("device", self.device, DEVICES)
        require_one_of("precision", self.precision, PRECISIONS)
        require_one_of("backend", self.backend, BACKENDS)
        require_within("quality", self.quality, 1, 100)
        require_within("batch_size", self.batch_size, 1, 4096)
        require_within("workers", self.workers, 1, 4096)
        require_within("limit", self.limit, 1)
        require_within("max_pixels", self.max_pixels, 1)
        _ = self.tolerance
        if self.item_timeout != 0 and not 1 <= self.item_timeout < float("inf"):
            raise InputError(
                f"item_timeout must be 0, for never, or at least 1 second, not {self.item_timeout}"
            )

    @property
    def tolerance(self) -> Tolerance:
        """Raises :class:`InputError`."""
        return Tolerance(self.lenient, self.strict, self.max_pixels)

    @property
    def failure_conditions(self) -> tuple[str, ...]:
        """What failures may be due to, as records have it (``under``), in order."""
        return f"{ITEM_TIMEOUT}={self.item_timeout:g}", self.tolerance.journal_entry


def info_of(model: Path) -> BundleInfo:
    """The metadata of a bundle that takes and makes images as files hold them.

    Raises :class:`InputError`.
    """
    info = bundle.read_info(model)
    try:
        if info.labels is None:
            images.require_mode(info.architecture.in_channels, "input")
        images.require_mode(info.architecture.out_channels, "output")
    except InputError as error:
        hint = ""
        if info.architecture.takes_any_size:
            hint = ", or import it with --labels if its inputs are labels"
        raise InputError(f"{escape(model)}: {error}; choose another model{hint}") from error
    return info


def require_one_of(name: str, value: object, choices: Iterable[object]) -> None:
    """Raises :class:`InputError`."""
    choices = list(choices)
    if value not in choices:
        names = ", ".join(str(choice) for choice in choices if choice is not None)
        raise InputError(f"{name} must be one of {names}, not {value!r}")


def require_within(name: str, value: float | None, low: float, high: float | None = None) -> None:
    """``None`` is a value that was not given. Raises :class:`InputError`."""
    if value is not None and not low <= value <= (math.inf if high is None else high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"--{name.replace('_', '-')} must be {limits}, not {value}")
