"""What ``synthesize`` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pix2pix_batch import bundle, options
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.dataset.layout import LAYOUTS, PAIRED, require_library, require_splits
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.options import Options, option
from pix2pix_batch.synthesis import plan
from pix2pix_batch.text import escape

MOST_VARIANTS = 1_000_000


# One field for each option of the command.
@dataclass(frozen=True, kw_only=True)
class SynthesisOptions:
    """The options of ``synthesize``; the command's help describes each. An option that is ``None``
    is decided by the job, or not asked for."""

    model: str = options.MODEL(
        "The model: a shipped one's name (see 'model list') or a bundle's file."
    )
    variants: int | None = option(
        None,
        "Make K images of each input: one as 'convert' makes it, the others with noise.  "
        "[default: 1]",
        low=1,
        metavar="K",
    )
    target_count: int | None = option(
        None,
        "Make N images in total, spread evenly over the inputs. --variants is then the maximum "
        "for one input.",
        low=1,
        metavar="N",
    )
    seed: int = options.SEED("The seed of noise and splits; the same seed gives the same dataset.")
    layout: str = option(
        "imagefolder",
        "How the dataset is laid out: imagefolder for Hugging Face datasets, webdataset, parquet, "
        "or side-by-side and a-b for 'train' and other pix2pix trainers.",
        choices=tuple(LAYOUTS),
    )
    split: str = option(
        "train=1",
        "The splits, each with its share of the inputs. All variants of an input are in the same "
        "split.",
        metavar="train=0.8,val=0.1,...",
    )
    group_by: str | None = option(
        None,
        "Keep groups of inputs in one split: inputs that have the same match of REGEX in their "
        "paths, the same folder, or the same value in a table's column.",
        metavar="REGEX|folder|FILE.csv:COLUMN",
    )
    stratify: str | None = option(
        None,
        "Give each split its share of every folder, or of every other kind of input that this "
        "tells apart in the same way as --group-by.",
        metavar="folder|REGEX|FILE.csv:COLUMN",
    )
    max_distance: float | None = option(
        None,
        "Leave out images whose input is farther from the model's training inputs than P percent "
        "of these are from each other. 200 means twice as far as the farthest.",
        low=0,
        metavar="P",
    )
    reject_flagged: bool = option(
        False, "Leave out images that are flagged, such as near-duplicates and flat ones."
    )
    noise_rate: float = option(  # as models are trained
        0.5,
        "The rate of dropout in variants with noise, between 0 and 1.",
        decides_bytes=True,
    )
    noise_blocks: int | None = option(
        None,
        "Apply dropout in the N innermost blocks of the decoder.  [default: the blocks that were "
        "trained with it]",
        low=1,
        metavar="N",
        decides_bytes=True,
    )
    input_noise: float = option(
        0.0,
        "Add noise of this standard deviation, of 255, to the input of all variants but the first.",
        low=0,
        high=255,
        metavar="LEVELS",
        decides_bytes=True,
    )
    sources: bool = option(True, "Leave the inputs out of the dataset and store only the outputs.")
    mark: bool = option(
        True,
        "Do not write into the images' metadata that they are synthetic.",
        decides_bytes=True,
    )
    name: str | None = option(
        None,
        "The name of the dataset on its card.  [default: made of the model's name and IN's]",
    )
    license: str = option("other", "The licence of the dataset on its card.")
    fit: str | None = options.FIT(
        "What to do with images of other sizes than the model's, as for 'convert'.  [default: "
        "the model's]"
    )
    format: str = options.FORMAT("The format of the outputs.")
    bands: str | None = options.BANDS()
    creation_option: tuple[str, ...] = options.CREATION_OPTION()
    quality: int | None = options.QUALITY()
    batch_size: int | None = options.BATCH_SIZE()
    workers: int | None = options.WORKERS()
    device: str = options.DEVICE()
    precision: str = options.PRECISION()
    backend: str = options.BACKEND()
    overwrite: bool = option(False, "Make the dataset in OUT from the beginning.")
    limit: int | None = options.LIMIT()
    scheduler: str | None = options.SCHEDULER()
    strict: bool = options.STRICT()
    lenient: bool = options.LENIENT()
    max_pixels: int | None = options.MAX_PIXELS()
    follow_links: bool = options.FOLLOW_LINKS()
    exclude: tuple[str, ...] = options.EXCLUDE()
    include: tuple[str, ...] = options.INCLUDE()
    pages: str = options.PAGES()
    retry_failed: bool = option(
        False, "Try again what failed in earlier runs, even if it has not changed since."
    )
    item_timeout: float = options.ITEM_TIMEOUT()
    report: bool = option(True, "Do not write report.html, the page that shows what came out.")

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        options.require_within("variants", self.variants, 1, MOST_VARIANTS)
        options.require_valid(self)
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
        return self.noise_rate != SynthesisOptions.noise_rate or self.noise_blocks is not None

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
        return options.take_common(
            Options,
            self,
            backend=backend,
            limit=None,
            georeference=False,
            report=False,  # it is written with the dataset
        )

    def require_possible(self) -> BundleInfo:
        """What the bundle says of itself. Raises :class:`InputError` where it lacks what is asked
        for."""
        from pix2pix_batch.distance import Domain

        path = bundle.resolve(self.model)
        info = bundle.read_info(path)
        _require_layout(info, self.layout, self.format, self.input_noise)
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


def describe_settings(chosen: SynthesisOptions, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for. ``identity``: the job's, which has what a model decides."""
    resolved = {
        "variants": chosen.variants or (None if chosen.target_count else 1),
        "fit": identity["fit"],
        "quality": identity["quality"],
        "sources": chosen.holds_sources,
    }
    told = {name: resolved.get(name, getattr(chosen, name)) for name in DESCRIBED}
    more = {name: identity.get(name) for name in DESCRIBED_OF_RASTERS}
    return told | {name: value for name, value in more.items() if value}


DESCRIBED = (
    "variants", "target_count", "seed", "noise_rate", "noise_blocks", "input_noise", "fit",
    "format", "quality", "layout", "sources", "split", "group_by", "stratify", "max_distance",
    "reject_flagged",
)  # fmt: skip
"""The options that a dataset's card and manifest tell, in this order."""

DESCRIBED_OF_RASTERS = ("bands", "creation_option", "source_format")
"""What they tell besides, of the job, where it is not empty."""


def _require_layout(info: BundleInfo, layout: str, form: str, input_noise: float) -> None:
    """Raises :class:`InputError` for what a layout or a format does not hold of the bundle's
    rasters."""
    rasters = info.raster_sides
    if OUTPUT_FORMATS[form].only_rasters and "output" not in rasters:
        raise InputError(
            f"--format {form}: {info.name} makes pictures; use --format png, jpg, webp or tiff"
        )
    if not rasters:
        return
    told = " and ".join(
        f"{word}s of {side.channels} x {side.dtype}" for word, side in rasters.items()
    )
    if layout == "side-by-side":
        raise InputError(
            f"--layout {layout} holds pictures, both sides in one, and {info.name} has {told}; use "
            "--layout a-b, webdataset or parquet"
        )
    if layout == "imagefolder" and form == "npy":
        raise InputError(
            f"--layout {layout}: its readers see no .npy, and {info.name} has {told}; use --format "
            "tiff, or --layout a-b, webdataset or parquet"
        )
    if input_noise and "input" in rasters:
        raise InputError(
            f"--input-noise is in levels of 255, and {info.name} has {told}; use --noise-blocks"
        )
