"""The job that makes a dataset's images: as ``convert``, with several outputs an input."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from pix2pix_batch.dataset.naming import item_variant_name, output_of, source_of, variant_name
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.execution.job import Job
from pix2pix_batch.execution.job_plan import (
    identify_inputs_and_model,
    list_resolved_options,
    plan_job,
)
from pix2pix_batch.execution.output_placement import OutputNames
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.inference.input_reading import choose_source_form
from pix2pix_batch.inference.settings import Opener, Settings
from pix2pix_batch.inputs.source import InputSource
from pix2pix_batch.item import Item
from pix2pix_batch.journal.events import SYNTHESIZE
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.record import GONE, Record
from pix2pix_batch.journal.shard import journal_of
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.options import what_decides_bytes
from pix2pix_batch.reporting import html_page
from pix2pix_batch.reporting.progress import Progress, ProgressReporter
from pix2pix_batch.synthesis import provenance, reuse
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.synthesis.result import ImageSummary
from pix2pix_batch.text import escape


# Those of every source of inputs, and which variants of each are wanted.
class Variants(InputSource):
    """The inputs that a scan found, each with as many variants as are wanted.

    ``sources``: the format of the inputs' copies, empty where there are none; ``unlisted``:
    directories that could not be listed, each as an input of one image.
    """

    def __init__(
        self,
        scan: InputSource,
        inputs: Sequence[Input],
        wanted: Mapping[str, int],
        sources: str,
        unlisted: Iterable[tuple[str, str]],
    ) -> None:
        super().__init__(scan.source, scan.options, scan.root, scan.tars)
        self.scan, self.inputs, self.wanted, self.sources = scan, inputs, wanted, sources
        self.is_list, self.names_each = scan.is_list, scan.names_each
        self.left, self.descriptions = scan.left, scan.descriptions
        self.renamed, self.renames, self.links = scan.renamed, scan.renames, scan.links
        self.unlisted = [(variant_name(name, 0), why) for name, why in unlisted]

    @property
    def identity(self) -> str:
        return self.scan.identity

    def iterate_files(self) -> Iterator[Item]:
        for given in self.inputs:
            count = self.wanted.get(given.name, 0)
            first = SOURCE if self.sources else 0
            for variant in range(first, count) if count else ():
                form = self.sources if variant == SOURCE else given.item.form
                yield replace(
                    given.item,
                    name=item_variant_name(given.item, variant),
                    output=output_of(given.item, variant, self.sources),
                    form=form,
                    variant=variant,
                )


class OwnOutputSelector(ItemSelector):
    """Its outputs lie where nothing but this job writes; copies of inputs do not count, and what
    an earlier round of the run has counted (``counted``: variants of each input) counts once."""

    counted: Mapping[str, int]
    counted_all = 0

    records_inputs = False

    def count(self, scan: InputSource, history: History) -> int | None:
        more = super().count(scan, history)
        return None if more is None else self.counted_all + more

    def _images(self, item: Item) -> int:
        variant = SOURCE if item.variant is None else item.variant
        return int(variant >= self.counted.get(source_of(item.name), 0))

    def _place(self, item: Item, names: OutputNames) -> Item:
        """The item as it is: the name of a variant's output follows from its input's."""
        return item

    def _outdated_output(self, history: History, item: Item) -> str:
        """There is none: a dataset does not contain what failed."""
        return ""

    def _refusal(self, history: History, item: Item) -> str:
        if item.tar:
            return "is a tar; synthesize takes images: unpack it"
        return item.refusal or ("" if ".." not in item.output.split("/") else "leads out of IN")


class SynthesisJob:
    """Makes the images of a dataset, in as many rounds as are asked for (:meth:`request`) and run,
    each a :class:`Job`. ``at_begin`` is called where one begins: until then it may be refused."""

    def __init__(
        self,
        source: str,
        out: str,
        options: SynthesisOptions,
        at_begin: Callable[[], None],
        watch: Callable[[Progress], None] | None = None,
        opener: Opener | None = None,
    ) -> None:
        """Raises :class:`InputError`."""
        planned = plan_job(source, out, options.job_options(), opener)
        info = planned.info
        if planned.is_remote:
            raise InputError(f"{escape(out)}: is a URL; synthesize writes to a directory")
        if planned.scan.tars:
            raise InputError(
                f"{escape(source)}: is a tar, or holds tars; synthesize takes images: unpack it"
            )
        self.options, self.at_begin = options, at_begin
        self.out, self.scan = planned.out, planned.scan
        self.source_form = choose_source_form(info, options.format)
        """The format of the inputs' copies."""
        settings = replace(
            planned.settings,
            seed=options.seed,
            noise_rate=options.noise_rate,
            noise_blocks=options.noise_blocks,
            input_noise=options.input_noise,
            # what lies beside images is not laid out
            georeference=bool(info.raster_sides)
            and OUTPUT_FORMATS[options.format].holds_georeference,
            side_by_side=options.side_by_side,
            inspect=True,
            origin=provenance.xmp(info.name, planned.settings.fingerprint) if options.mark else b"",
        )
        # How many of each image, and where they go, does not decide their bytes; and a dataset
        # holds what its inputs are by their contents' digests, not by where names are taken from.
        identity = {
            "kind": SYNTHESIZE,
            **identify_inputs_and_model(planned.scan, settings, info, names_matter=False),
            **what_decides_bytes(options, list_resolved_options(settings)),
            "beside": settings.side_by_side,
            **({"source_format": self.source_form} if self.source_form != "png" else {}),
        }
        self.planned = replace(planned, settings=settings, identity=identity, countable=True)
        self.summary = ImageSummary(model=info.name)
        self.progress = ProgressReporter(watch, self.summary, threading.Event())
        self.wanted: dict[str, int] = {}
        self.job: Job | None = None
        """Of the round that was asked for last."""

    @property
    def settings(self) -> Settings:
        """The settings, as far as they are decided."""
        return self.planned.settings if self.job is None else self.job.settings

    def identity(self) -> dict[str, Any]:
        """Everything that decides the images' bytes."""
        return dict(self.planned.identity)

    @property
    def has_journal(self) -> bool:
        return journal_of(self.out).exists()

    def reuse_earlier(self, inputs: Sequence[Input]) -> None:
        """Reuse the images that earlier runs have made for these inputs, and forget those of other
        inputs. Raises :class:`InputError`, :class:`OutputError`."""
        if self.planned.options.overwrite or not self.has_journal:
            return
        with closing(self.planned.open_history(Journal)) as journal:
            try:
                records = reuse.records_of(self.out)
                gone = reuse.reuse_images(self.out, inputs, records, self.source_form)
            except OSError as error:
                raise OutputError(
                    f"{escape(self.out)}: what was made before cannot be put in place "
                    f"({error.strerror}); run the same command again"
                ) from error
            if gone:
                journal.add([Record(name, GONE) for name in gone])

    def request(self, inputs: Sequence[Input], wanted: Mapping[str, int]) -> None:
        """Ask for so many variants of each input; no fewer than in the round before."""
        is_first = not self.wanted
        # The first variant is the image as convert makes it, without noise.
        noise = max(wanted.values(), default=0) > 1
        settings, options = replace(self.settings, noise=noise), self.planned.options
        if not is_first:  # what failed in the first round needs no third try
            # And a second round must not begin the journal of the first anew.
            options = replace(options, overwrite=False, retry_failed=False)
        unlisted = self.scan.unlisted if is_first else []

        def make() -> InputSource:
            sources = self.source_form if self.options.holds_sources else ""
            return Variants(self.scan, inputs, wanted, sources, unlisted)

        scan = make()
        self.planned = replace(
            self.planned, settings=settings, options=options, scan=scan, make_scan=make
        )
        selector = OwnOutputSelector(
            scan, options, settings.out, self.out, self.summary, self.progress.stop
        )
        selector.counted, selector.counted_all = self.wanted, self.summary.total
        self.job = Job(self.planned, self.progress, selector=selector, at_begin=self.at_begin)
        self.wanted = dict(wanted)

    def run(self) -> None:
        """Make the variants that were asked for last. Raises what :meth:`Job.run` does."""
        assert self.job is not None
        self.job.run()

    def discard(self, records: reuse.Records) -> None:
        """Remove the images that are no longer wanted. Raises :class:`OutputError`."""
        wanted = {item.name for item in self.planned.scan} | {
            variant_name(name, 0) for name in self.unlisted_directories
        }
        if gone := [name for name in records if name not in wanted]:
            with closing(self.planned.open_history(Journal)) as journal:
                journal.add([Record(name, GONE) for name in gone])

    @property
    def unlisted_directories(self) -> list[str]:
        """Directories of IN that could not be listed."""
        return [name for name, _ in self.scan.unlisted]

    def write_report(self, dataset: dict[str, Any]) -> None:
        """Write the report; ``dataset``: what is known of the dataset, in the form of its
        header."""
        if self.options.report and self.has_journal:
            self.summary.page, note = html_page.attempt(
                self.out, self.planned.settings.out, dataset
            )
            self.summary.remark("" if self.summary.fatal else note)
