"""The job that makes a dataset's images: as ``convert``, with several outputs an input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pix2pix_batch.dataset import origin
from pix2pix_batch.dataset.options import SynthesisOptions
from pix2pix_batch.dataset.plan import Input
from pix2pix_batch.errors import InputError
from pix2pix_batch.images import SUFFIXES
from pix2pix_batch.inputs.scan import Item, Scan
from pix2pix_batch.inputs.sieve import Sieve
from pix2pix_batch.job import Job
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.progress import Progress
from pix2pix_batch.records.history import History
from pix2pix_batch.records.record import COPY, DONE, MADE, Record
from pix2pix_batch.settings import Opener
from pix2pix_batch.summary import FAILURES_PRINTED, Summary
from pix2pix_batch.text import shown


def base_of(item: Item) -> str:
    """The item's path in the dataset, without suffix; no two items have the same."""
    return item.output.removesuffix(SUFFIXES[item.form])


def name_of(item: Item, variant: int) -> str:
    """What names a variant in the journal: no input has such a path, for ``item`` is a file."""
    return item.name + (COPY if variant == SOURCE else f"/{variant}")


def output_of(item: Item, variant: int) -> str:
    """Where a variant is put, within OUT."""
    end = ".png" if variant == SOURCE else f".v{variant}{SUFFIXES[item.form]}"
    kind = "inputs" if variant == SOURCE else "images"
    return f"{MADE}/{kind}/{base_of(item)}{end}"


@dataclass
class ImageSummary(Summary):
    """Of a dataset's images; the copies of its inputs do not count.

    ``refused``: what failed, by input and reason, with the number of its images; 0 where only the
    copy did.
    """

    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            is_copy = record.name.endswith(COPY)
            if record.status != DONE:
                self.refused[record.name.rpartition("/")[0], record.reason] += not is_copy
            if not is_copy:
                super().add([record])

    def figures(self) -> dict[str, Any]:
        failures = [
            {"name": name, "reason": reason, "variants": count}
            for (name, reason), count in list(self.refused.items())[:FAILURES_PRINTED]
        ]
        return {**super().figures(), "failures": failures}


class Variants:
    """What a scan of the inputs found, each as often as it is wanted; else the scan itself."""

    def __init__(
        self, scan: Scan, inputs: Sequence[Input], wanted: Mapping[str, int], sources: bool
    ) -> None:
        self.scan, self.inputs, self.wanted, self.sources = scan, inputs, wanted, sources

    def __getattr__(self, name: str) -> Any:
        return getattr(self.scan, name)

    def __iter__(self) -> Iterator[Item]:
        for one in self.inputs:
            count = self.wanted.get(one.name, 0)
            first = SOURCE if self.sources else 0
            for variant in range(first, count) if count else ():
                form = "png" if variant == SOURCE else one.item.form
                yield replace(
                    one.item,
                    name=name_of(one.item, variant),
                    output=output_of(one.item, variant),
                    form=form,
                    variant=variant,
                )


class OwnPlace(Sieve):
    """Its outputs lie where nothing but this job writes; copies of inputs do not count."""

    def _images(self, item: Item) -> int:
        return int(item.variant != SOURCE)

    def _refusal(self, history: History, item: Item) -> str:
        if item.tar:
            return "is a tar; synthesize takes images: unpack it"
        return item.refusal or ("" if ".." not in item.output.split("/") else "leads out of IN")


class Making(Job):
    """Makes the images of a dataset."""

    summary: ImageSummary

    def __init__(
        self,
        source: str,
        out: str,
        options: SynthesisOptions,
        watch: Callable[[Progress], None] | None = None,
        opener: Opener | None = None,
    ) -> None:
        super().__init__(source, out, options.of_job(), watch, opener=opener)
        if self.is_remote:
            raise InputError(f"{shown(out)}: is a URL; synthesize writes to a directory")
        self.about = options
        name = self.info.name
        self.summary = ImageSummary(model=name)
        self.settings = replace(
            self.settings,
            seed=options.seed,
            noise_rate=options.noise_rate,
            noise_blocks=options.noise_blocks,
            input_noise=options.input_noise,
            beside=options.beside,
            inspect=True,
            origin=origin.xmp(name, self.settings.fingerprint) if options.mark else b"",
        )

    def want(self, inputs: Sequence[Input], wanted: Mapping[str, int]) -> None:
        """Make that many variants of each input."""
        noise = max(wanted.values(), default=0) > 1
        self.settings = replace(self.settings, noise=noise)
        scan = self.scan

        def make() -> Any:
            return Variants(scan, inputs, wanted, self.about.holds_sources)

        self.make_scan, self.countable = make, True
        self.scan = make()
        self.sieve = OwnPlace(
            self.scan, self.options, self.settings.out, self.out, self.summary, self.stop
        )

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of the images. How many of each, and where they go, does not."""
        settings = self.settings
        values = super().identity()
        for key in ("noise", "georeference", "keep_exif", "unpack"):
            values.pop(key, None)
        return {
            "kind": "synthesize",
            **values,
            "noise_rate": settings.noise_rate,
            "noise_blocks": settings.noise_blocks,
            "input_noise": settings.input_noise,
            "beside": settings.beside,
            "mark": bool(settings.origin),
        }
