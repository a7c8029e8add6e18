"""The job that makes a dataset's images: as ``convert``, with several outputs an input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from pix2pix_batch.records.record import MADE
from pix2pix_batch.settings import Opener
from pix2pix_batch.text import shown


def base_of(item: Item) -> str:
    """The item's path in the dataset, without suffix; no two items have the same."""
    return item.output.removesuffix(SUFFIXES[item.form])


def name_of(item: Item, variant: int) -> str:
    """What names a variant in the journal: no input has such a path, for ``item`` is a file."""
    return f"{item.name}/{'source' if variant == SOURCE else variant}"


def output_of(item: Item, variant: int) -> str:
    """Where a variant is put, within OUT."""
    end = ".png" if variant == SOURCE else f".v{variant}{SUFFIXES[item.form]}"
    kind = "inputs" if variant == SOURCE else "images"
    return f"{MADE}/{kind}/{base_of(item)}{end}"


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
    """Its outputs lie where nothing but this job writes."""

    def _refusal(self, history: History, item: Item) -> str:
        if item.tar:
            return "is a tar; synthesize takes images: unpack it"
        return item.refusal or ("" if ".." not in item.output.split("/") else "leads out of IN")


class Making(Job):
    """Makes the images of a dataset."""

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
