"""The plan of a job: everything that is decided before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.inference import input_reading
from pix2pix_batch.inference.settings import WHOLE, Opener, Settings
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.journal.history import DIRECTORY_OF_NAMES, OUT_OF_JOURNAL, RANGES, History
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.options import Options, read_image_model, take_common, what_decides_bytes
from pix2pix_batch.storage import destination, files, remote
from pix2pix_batch.storage.common import FULL

AnyHistory = TypeVar("AnyHistory", bound=History)


@dataclass(frozen=True)
class JobPlan:
    """A job that can be run.

    ``out``: the directory that holds the journal, OUT itself unless that is a URL; ``settings``:
    what the workers are told, as far as it does not depend on the journal or on the first images;
    ``scan``: the inputs, and ``make_scan``, which finds them anew; ``identity``: the journal's
    first line, what decides the bytes of the outputs and the model's name; ``countable``: whether
    the inputs can be counted beside the run; ``streamed``: whether they come from a pipe.
    """

    out: Path
    options: Options
    info: BundleInfo
    settings: Settings
    scan: InputSource
    make_scan: Callable[[], InputSource]
    identity: dict[str, Any]
    countable: bool
    streamed: bool

    @property
    def is_remote(self) -> bool:
        """Whether OUT is a URL."""
        return not self.settings.writes_to_disk

    def open_history(self, kind: type[AnyHistory]) -> AnyHistory:
        """Open the job's journal, or only read it. A place that cannot be read or written is
        wrong use, an :class:`InputError`; a full disk is not: :class:`OutputError`."""
        try:
            return kind(
                self.out,
                dict(self.identity),
                overwrite=self.options.overwrite,
                shard=Shard.parse(self.options.shard) if self.options.shard else None,
            )
        except OutputError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                raise
            raise InputError(str(error)) from error


def plan_job(source: str, out: str, options: Options, opener: Opener | None = None) -> JobPlan:
    """Make a plan of what the user asks for, without writing anything. Raises :class:`InputError`
    for what is not possible."""
    journal_out = files.journal_directory(out, options.journal)
    model = bundle.resolve(options.model)
    info = read_image_model(model)
    if options.noise and not info.architecture.dropout_blocks:
        raise InputError(f"{model}: has no dropout, so --noise would change nothing; leave it out")
    fit = options.fit or info.fit
    _require_fit(model, info, fit, options)
    input_reading.require_bands(info, options.bands)
    input_reading.require_format(info, options.format, options.creation_option)
    settings = take_common(
        Settings,
        options,
        model=str(model.resolve()),
        fingerprint=bundle.fingerprint(model),
        out=files.absolute(out),
        fit=fit,
        size=info.image_size,
        batch_size=1 if fit == WHOLE else options.batch_size,
        quality=options.quality_used,
        seed=options.seed if options.noise else 0,
        opener=opener,
        tolerance=options.tolerance,
    )
    scan_options = take_common(
        ScanOptions,
        options,
        form=options.format,
        out=settings.out,
        rasters=input_reading.takes_rasters(info, options.bands),
    )
    make_scan: Callable[[], InputSource] = partial(open_inputs, source, scan_options)
    scan = make_scan()
    _require_possible(options, settings, scan)
    identity = {
        **identify_inputs_and_model(scan, settings, info),
        **what_decides_bytes(options, list_resolved_options(settings)),
        **_list_members_chosen(options, scan),
    }
    streamed = scan.is_read_once
    countable = not (streamed or scan.tars)
    return JobPlan(
        journal_out, options, info, settings, scan, make_scan, identity, countable, streamed
    )


def _require_fit(model: Path, info: BundleInfo, fit: str, options: Options) -> None:
    try:
        bundle.require_fit(info.architecture, fit)
    except ValueError as error:
        raise InputError(f"{model}: {error}") from error
    if fit == WHOLE and options.batch_size is not None:
        raise InputError(
            "--batch-size: with --fit whole images run one after the other; leave it out"
        )


def _require_possible(options: Options, settings: Settings, scan: InputSource) -> None:
    """Raises :class:`InputError` for options that do not work with URLs or tars."""
    destination.require_writable(settings.out)
    places = [settings.out, scan.source]
    in_process = (options.scheduler or "").startswith("inproc://")
    if not in_process and any(remote.scheme(place) == remote.MEMORY for place in places):
        raise InputError(
            "memory:// lives in one process, and the workers are others; it is for tests with "
            "a scheduler in the same process (inproc://)"
        )
    if options.keep_times and (scan.tars or not settings.writes_to_disk):
        raise InputError("--keep-times needs files on disk, neither URLs nor tars")


def identify_inputs_and_model(
    scan: InputSource, settings: Settings, info: BundleInfo, *, names_matter: bool = True
) -> dict[str, Any]:
    """The first part of a job's identity. ``names_matter``: whether the directory counts from
    which a list's relative names are taken."""
    directory = scan.directory_of_names if names_matter else None
    return {
        "input": scan.identity,
        **({} if directory is None else {DIRECTORY_OF_NAMES: directory}),
        **({} if settings.writes_to_disk else {OUT_OF_JOURNAL: remote.redact(settings.out)}),
        "model": settings.fingerprint,
        "model_name": info.name,
        **_list_value_ranges(info),
    }


def _list_value_ranges(info: BundleInfo) -> dict[str, Any]:
    """The value ranges, for readers of the outputs that do not have the model."""
    ranges = {word: side.as_dict() for word, side in info.raster_sides.items()}
    return {RANGES: ranges} if ranges else {}


def list_resolved_options(settings: Settings) -> dict[str, Any]:
    """The options whose resolved value differs from what the user gave."""
    return {
        "fit": settings.fit,
        "quality": settings.quality,
        "seed": settings.seed,
        "lenient": settings.tolerance.lenient or None,
        "creation_option": sorted(settings.creation_option) or None,
    }


def _list_members_chosen(options: Options, scan: InputSource) -> dict[str, Any]:
    """The patterns and the pages, if they decide what tars contain. In folders they only decide
    which images are converted."""
    if not (scan.tars or scan.is_list):
        return {}
    return {
        "exclude": sorted(options.exclude) or None,
        "include": sorted(options.include) or None,
        "pages": options.pages if scan.tars and scan.options.has_pages else None,
    }
