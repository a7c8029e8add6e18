"""What ``synthesize`` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.dataset.layout import LAYOUTS, PAIRED, require_library, require_splits
from pix2pix_batch.distance import Domain
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import images
from pix2pix_batch.inference.settings import TORCH
from pix2pix_batch.noise import RATE
from pix2pix_batch.options import Options, require_one_of, require_within
from pix2pix_batch.synthesis import plan
from pix2pix_batch.text import escape


@dataclass(frozen=True)
class SynthesisOptions:
    """See the command's help. ``None``: decided, or not asked for."""

    model: str = "map2aerial"
    variants: int | None = None
    target_count: int | None = None
    seed: int = 0
    layout: str = "imagefolder"
    split: str = "train=1"
    group_by: str | None = None
    stratify: str | None = None
    max_distance: float | None = None
    reject_flagged: bool = False
    noise_rate: float = RATE
    noise_blocks: int | None = None
    input_noise: float = 0.0
    sources: bool = True
    mark: bool = True
    name: str | None = None
    license: str = "other"
    fit: str | None = None
    format: str = "png"
    quality: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    overwrite: bool = False
    limit: int | None = None
    scheduler: str | None = None
    follow_links: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    retry_failed: bool = False
    item_timeout: float = 300.0
    lenient: bool = False
    strict: bool = False
    max_pixels: int | None = None
    report: bool = True

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        require_one_of("layout", self.layout, LAYOUTS)
        require_one_of("format", self.format, images.SUFFIXES)
        require_within("variants", self.variants, 1, 1_000_000)
        require_within("target_count", self.target_count, 1)
        require_within("noise_blocks", self.noise_blocks, 1)
        require_within("max_distance", self.max_distance, 0)
        require_within("input_noise", self.input_noise, 0, 255)
        require_within("limit", self.limit, 1)
        if not 0 < self.noise_rate < 1:
            raise InputError(f"--noise-rate must lie between 0 and 1, not {self.noise_rate}")
        require_splits(self.layout, plan.parse_fractions(self.split))
        require_library(self.layout)

    @property
    def holds_sources(self) -> bool:
        """Whether files of the inputs are written."""
        return self.layout != "side-by-side" and (self.sources or self.layout in PAIRED)

    @property
    def side_by_side(self) -> bool:
        return self.layout == "side-by-side"

    @property
    def other_noise(self) -> bool:
        """Whether it takes PyTorch: other engines have the trained noise only."""
        return self.noise_rate != RATE or self.noise_blocks is not None

    def job_options(self) -> Options:
        """What the job that makes the images is told. Raises :class:`InputError`."""
        backend = self.backend
        if self.other_noise:
            if backend not in ("auto", TORCH):
                raise InputError(
                    f"--backend {backend} has the trained noise only; leave --noise-rate and "
                    "--noise-blocks out, or use --backend torch"
                )
            backend = TORCH
        return Options(
            model=self.model, fit=self.fit, format=self.format, quality=self.quality,
            batch_size=self.batch_size, workers=self.workers, device=self.device,
            precision=self.precision, backend=backend, overwrite=self.overwrite,
            scheduler=self.scheduler, follow_links=self.follow_links, exclude=self.exclude,
            include=self.include, georeference=False,
            retry_failed=self.retry_failed, item_timeout=self.item_timeout,
            lenient=self.lenient, strict=self.strict, max_pixels=self.max_pixels,
            report=False,  # it is written with the dataset
        )  # fmt: skip

    def require_possible(self) -> BundleInfo:
        """What the bundle says of itself. Raises :class:`InputError` where it lacks what is asked
        for."""
        path = bundle.resolve(self.model)
        info = bundle.read_info(path)
        blocks = len(info.architecture.possible_noise_blocks)
        if self.noise_blocks is not None and self.noise_blocks > blocks:
            raise InputError(
                f"--noise-blocks {self.noise_blocks}: {info.name} has {blocks} blocks that can "
                "take noise"
            )
        if self.max_distance is not None and Domain.open(path) is None:
            raise InputError(
                f"--max-distance: {escape(path)} does not tell how far its training inputs lie "
                "from each other; 'pix2pix-batch model calibrate' adds it, or leave "
                "--max-distance out"
            )
        return info

    def require_noise(self, info: BundleInfo, variants: int) -> None:
        """Raises :class:`InputError` where all of an input's variants would be alike."""
        if variants > 1 and not (
            info.architecture.noise_blocks(self.noise_blocks) or self.input_noise
        ):
            raise InputError(
                f"{info.name}: has no dropout, so all variants of an input would be alike; make "
                "one of each (--variants 1), or add noise with --noise-blocks or --input-noise"
            )


def describe_settings(about: SynthesisOptions, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for. ``identity``: the job's, which has what a model decides."""
    return {
        "variants": about.variants or (None if about.target_count else 1),
        "target_count": about.target_count,
        "seed": about.seed,
        "noise_rate": about.noise_rate,
        "noise_blocks": about.noise_blocks,
        "input_noise": about.input_noise,
        "fit": identity["fit"],
        "format": about.format,
        "quality": identity["quality"],
        "layout": about.layout,
        "sources": about.holds_sources,
        "split": about.split,
        "group_by": about.group_by,
        "stratify": about.stratify,
        "max_distance": about.max_distance,
        "reject_flagged": about.reject_flagged,
    }
