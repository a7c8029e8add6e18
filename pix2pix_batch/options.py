"""What a job can be told: each option's type, default, choices and help, declared once.

The command lines (:mod:`pix2pix_batch.commands.options`), the signatures of
:func:`pix2pix_batch.convert` and :func:`pix2pix_batch.synthesize`, what is checked, what workers
get and the journal's first line all follow from the fields declared here and in
:mod:`pix2pix_batch.synthesis.options`. Imports neither NumPy nor Pillow, so that ``--help`` answers
at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pix2pix_batch import bundle
from pix2pix_batch.bundle import FITS, BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.decoding.tolerance import LARGE, Tolerance
from pix2pix_batch.imaging.output_formats import DEFAULT_QUALITY, OUTPUT_FORMATS
from pix2pix_batch.inference.backend_names import BACKENDS
from pix2pix_batch.journal import record
from pix2pix_batch.text import escape

Config = TypeVar("Config")

PICTURE_CHANNELS = (1, 3, 4)
"""What pictures have: grey, RGB and RGBA."""

DECLARATION = "declaration"
"""Where a field's metadata has its :class:`Declaration`."""


@dataclass(frozen=True)
class Declaration:
    """What is said of an option beside its type and default.

    ``help``: the command's; ``choices``: the values it may have, beside ``None``; ``low`` and
    ``high``: the limits of a number; ``metavar``: what the help shows for the value;
    ``has_auto``: on the command line, ``auto`` stands for ``None``; ``decides_bytes``: the outputs'
    bytes depend on it, so that the journal's first line has it and a run with another value is
    refused.
    """

    help: str | None = None
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    metavar: str | None = None
    has_auto: bool = False
    decides_bytes: bool = False


def option(default: Any, help: str | None = None, **rest: Any) -> Any:
    """The field of an option. ``rest``: the others of :class:`Declaration`."""
    return field(default=default, metadata={DECLARATION: Declaration(help, **rest)})


def declaration_of(option: Field[Any]) -> Declaration:
    """What was declared of the field ``option``."""
    declared: Declaration = option.metadata[DECLARATION]
    return declared


def require_valid(options: Any) -> None:
    """Raises :class:`InputError` where an option of the dataclass is no number or switch though it
    should be, has none of its choices, is beyond its limits, or would change nothing."""
    for one in fields(options):
        value, declared = getattr(options, one.name), declaration_of(one)
        require_kind(one.name, value, str(one.type))
        if declared.choices and (value is not None or one.default is not None):
            require_one_of(one.name, value, declared.choices)
        if declared.low is not None:
            require_within(one.name, value, declared.low, declared.high)
    form = OUTPUT_FORMATS.get(options.format)  # none for 'same', which may write JPEG
    if options.quality is not None and form is not None and not form.has_quality:
        raise InputError(f"--quality is for JPEG and WebP; {options.format} keeps every pixel")


def take_common(kind: type[Config], options: Any, **others: Any) -> Config:
    """A ``kind`` whose fields are the options of the same names, but for the ``others``."""
    names = {one.name for one in fields(kind)} & {one.name for one in fields(options)}  # type: ignore[arg-type]
    return kind(**{name: getattr(options, name) for name in names - others.keys()}, **others)


def what_decides_bytes(options: Any, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """For the journal's first line: the options on which the outputs' bytes depend.

    ``resolved``: the values of those of which something else has been made than was given.
    """
    names = [one.name for one in fields(options) if declaration_of(one).decides_bytes]
    return {name: resolved.get(name, getattr(options, name)) for name in names}


# The options that several commands have; each command says in its own words what one does there.
MODEL = partial(option, "map2aerial", metavar="NAME|FILE")
FIT = partial(option, None, choices=FITS, decides_bytes=True)
FORMAT = partial(option, "png", choices=tuple(OUTPUT_FORMATS), decides_bytes=True)
BANDS = partial(
    option,
    None,
    "Read the inputs as rasters and give these of their bands to the model, in its order, by "
    "number or name, such as 4,3,2.  [default: the bands with the names of the model's, or all]",
    metavar="BAND,...",
    decides_bytes=True,
)
CREATION_OPTION = partial(
    option,
    (),
    "Set an option of GDAL's drivers for writing GeoTIFFs and COGs, such as COMPRESS=ZSTD or "
    "BLOCKXSIZE=512. May be given more than once.  [default: as the input is stored]",
    metavar="NAME=VALUE",
    decides_bytes=True,
)
QUALITY = partial(
    option,
    None,
    f"The quality of JPEG and WebP files; 100 makes WebP lossless.  [default: {DEFAULT_QUALITY}]",
    low=1,
    high=100,
    metavar="1..100",
    decides_bytes=True,
)
BATCH_SIZE = partial(
    option,
    None,
    "How many images the network takes at once. 'auto' chooses it on the first images.",
    low=1,
    high=4096,
    metavar="auto|N",
    has_auto=True,
)
WORKERS = partial(
    option,
    None,
    "How many worker processes convert images. 'auto' is one a core on the CPU and half as many "
    "on a GPU, if memory suffices.",
    low=1,
    high=4096,
    metavar="auto|N",
    has_auto=True,
)
DEVICE = partial(
    option,
    "auto",
    "Where the model runs. 'auto' is a GPU if there is one, else the CPU.",
    choices=("auto", "cpu", "cuda"),
)
PRECISION = partial(
    option,
    "auto",
    "The type of the network's numbers. 'auto' is bf16 or fp16 if the hardware has it and it is "
    "close enough to fp32 on the first images.",
    choices=("auto", "fp32", "bf16", "fp16"),
)
BACKEND = partial(
    option,
    "auto",
    "The library that runs the model. On a GPU, 'auto' tries TensorRT and then PyTorch.",
    choices=BACKENDS,
)
LIMIT = partial(option, None, "Take only the first N inputs.", low=1, metavar="N")
SEED = partial(option, 0, decides_bytes=True)
SCHEDULER = partial(
    option,
    None,
    "Use the workers of an existing Dask cluster, given by its address (tcp://host:8786, "
    "tls://...) or its scheduler file. They must see IN, OUT and the model at the same paths.",
    metavar="ADDRESS|FILE",
)
ITEM_TIMEOUT = partial(
    option,
    300.0,
    "Give up an image if one step, such as decoding or translating it, takes longer than this. "
    "0 means no limit.",
    metavar="SECONDS",
)
STRICT = partial(
    option, False, "Refuse images that can only be read with a warning, such as damaged ones."
)
LENIENT = partial(
    option,
    False,
    "Take what can be read of pictures that are cut short or damaged, with a warning. Damaged "
    "rasters fail all the same.",
    decides_bytes=True,
)
MAX_PIXELS = partial(
    option,
    None,
    "Refuse pictures with more pixels than this as decompression bombs. Rasters are read in "
    f"parts and may have more.  [default: {LARGE}]",
    low=1,
    metavar="N",
)
FOLLOW_LINKS = partial(
    option, False, "Follow links in IN that lead to directories, or to files outside of IN."
)
EXCLUDE = partial(
    option,
    (),
    "Leave out what matches this pattern in IN, such as '*_mask.png' or 'drafts/', by the rules "
    "of .gitignore. May be given more than once.",
    metavar="PATTERN",
)
INCLUDE = partial(
    option,
    (),
    "Take what matches this pattern although it would be left out: hidden files, what systems "
    "leave behind ('@eaDir/'), other suffixes ('*.dat'), and what --exclude matches. May be "
    "given more than once.",
    metavar="PATTERN",
)

PAGES = partial(
    option,
    "first",
    "Convert only the first page of a TIFF file, or each page as an image of its own "
    "('stack#3.png').",
    choices=("first", "all"),
)


# One field for each option of the command.
@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of ``convert``; the command's help describes each. For an option that is ``None``
    or ``auto``, the job decides."""

    model: str = MODEL("The model: a shipped one's name (see 'model list') or a bundle's file.")
    fit: str | None = FIT(
        "What to do with images of other sizes than the model's: cut overlapping tiles at their "
        "own scale, resize them and their outputs, accept only the exact size, or translate each "
        "as a whole at its own size (ResNets).  [default: the model's]"
    )
    format: str = FORMAT(
        "The format of the outputs. 'same' keeps the format of each input.",
        choices=(*OUTPUT_FORMATS, "same"),
    )
    bands: str | None = BANDS()
    creation_option: tuple[str, ...] = CREATION_OPTION()
    quality: int | None = QUALITY()
    batch_size: int | None = BATCH_SIZE()
    workers: int | None = WORKERS()
    device: str = DEVICE()
    precision: str = PRECISION()
    backend: str = BACKEND()
    overwrite: bool = option(
        False,
        "Convert everything again, and replace files in OUT that another job or program made.",
    )
    dry_run: bool = option(False, "Only list what would be done, and write nothing.")
    limit: int | None = LIMIT()
    noise: bool = option(
        False,
        "Translate with dropout, which the paper uses as the noise z, so that outputs vary with "
        "--seed.",
        decides_bytes=True,
    )
    seed: int = SEED("The seed of the noise; the same seed gives the same outputs.")
    scheduler: str | None = SCHEDULER()
    item_timeout: float = ITEM_TIMEOUT()
    retry_failed: bool = option(
        False, "Try again what failed in earlier runs, even if it has not changed since."
    )
    shard: str | None = option(
        None,
        "Convert only the I-th of N parts of the inputs. So several machines without a cluster "
        "can share a job: each converts one part, with the same IN and OUT.",
        metavar="I/N",
    )
    georeference: bool = option(
        True,
        "Do not carry over where the images lie: world files, .prj and .aux.xml files, GeoTIFF "
        "tags and the descriptions of tile sets.",
        decides_bytes=True,
    )
    keep_exif: bool = option(
        False,
        "Copy EXIF (with GPS), XMP and IPTC from each input to its output, without thumbnails "
        "and maker notes.",
        decides_bytes=True,
    )
    keep_times: bool = option(False, "Give each output the modification time of its input.")
    strict: bool = STRICT()
    lenient: bool = LENIENT()
    max_pixels: int | None = MAX_PIXELS()
    follow_links: bool = FOLLOW_LINKS()
    exclude: tuple[str, ...] = EXCLUDE()
    include: tuple[str, ...] = INCLUDE()
    pages: str = PAGES()
    report: bool = option(True, "Do not write OUT/report.html, the page that shows what came out.")
    unpack: bool = option(
        False,
        "Write the members of input tars as plain files instead of output tars.",
        decides_bytes=True,
    )
    journal: str | None = option(
        None,
        "Keep the journal in this directory, if OUT is a URL.  [default: a directory in "
        "~/.local/state/pix2pix-batch]",
        metavar="DIR",
    )

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        require_valid(self)
        _ = self.tolerance
        if self.item_timeout != 0 and not 1 <= self.item_timeout < float("inf"):
            raise InputError(
                f"item_timeout must be 0, for never, or at least 1 second, not {self.item_timeout}"
            )

    @property
    def tolerance(self) -> Tolerance:
        """Raises :class:`InputError`."""
        return take_common(Tolerance, self)

    @property
    def quality_used(self) -> int | None:
        """``None`` where the format has no quality."""
        form = OUTPUT_FORMATS.get(self.format)  # none for 'same', which may write JPEG
        return (self.quality or DEFAULT_QUALITY) if form is None or form.has_quality else None

    @property
    def failure_conditions(self) -> tuple[str, ...]:
        """What failures may be due to, as records have it (``under``), in order."""
        return f"{record.ITEM_TIMEOUT}={self.item_timeout:g}", self.tolerance.journal_entry


def read_image_model(model: Path) -> BundleInfo:
    """The metadata of a bundle that says what the samples of its images mean.

    Raises :class:`InputError`.
    """
    info = bundle.read_info(model)
    a = info.architecture
    for side, channels, told in (
        ("input", a.in_channels, info.input_range or info.labels),
        ("output", a.out_channels, info.output_range),
    ):
        if told is not None or channels in PICTURE_CHANNELS:
            continue
        option = "--range" if side == "input" else "--output-range"
        dtype = "--dtype" if side == "input" else "--output-dtype"
        labels = ""
        if side == "input" and a.takes_any_size:
            labels = "; or import it with --labels if its inputs are labels"
        raise InputError(
            f"{escape(model)}: the model has {channels} {side} channels, pictures have 1 (grey), "
            "3 (RGB) or 4 (RGBA), and it does not say what its values mean: say it with "
            f"'pix2pix-batch model calibrate {escape(model)} {option} all=LOW:HIGH {dtype} "
            f"uint16'{labels}"
        )
    return info


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "True or False"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
}
"""What values of an annotation must be, and how that is said. Numbers of NumPy's are none of them,
for the journal is JSON."""


def require_kind(name: str, value: object, annotation: str) -> None:
    """Check that an option given from Python is the number or the switch that it should be.

    Args:
        name: The option's.
        value: What was given.
        annotation: The option's type as it is written, such as ``int | None``.

    Raises:
        InputError: It is not.
    """
    kind, _, none = annotation.partition(" | ")
    if kind not in KINDS or (none and value is None):
        return
    wanted, said = KINDS[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise InputError(f"{name} must be {said}{' or None' if none else ''}, not {value!r}")


def require_one_of(name: str, value: object, choices: Iterable[object]) -> None:
    """Raises :class:`InputError`."""
    choices = list(choices)
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def require_within(name: str, value: float | None, low: float, high: float | None = None) -> None:
    """``None`` is a value that was not given. Raises :class:`InputError`."""
    if value is not None and not (low <= value < math.inf and (high is None or value <= high)):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"--{name.replace('_', '-')} must be {limits}, not {value}")
