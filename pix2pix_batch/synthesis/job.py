"""The job that makes a dataset's images: as ``convert``, with several outputs an input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from pix2pix_batch.dataset.naming import item_variant_name, output_of, source_of, variant_name
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.execution.cluster_handle import ClusterHandle
from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.execution.job import Job
from pix2pix_batch.execution.output_placement import OutputNames
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.execution.task_spec import TaskSpec
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.inference.input_reading import choose_source_form
from pix2pix_batch.inference.settings import Opener
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
from pix2pix_batch.reporting.progress import Progress
from pix2pix_batch.synthesis import provenance, reuse
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.synthesis.result import ImageSummary
from pix2pix_batch.text import escape


class Variants(InputSource):
    """What a scan of the inputs found, each as often as it is wanted.

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
        self.is_list, self.names_each, self.is_remote = (
            scan.is_list, scan.names_each, scan.is_remote
        )  # fmt: skip
        self.left, self.descriptions = scan.left, scan.descriptions
        self.renamed, self.renames, self.links = scan.renamed, scan.renames, scan.links
        self.unlisted = [(variant_name(name, 0), why) for name, why in unlisted]

    @property
    def identity(self) -> str:
        return self.scan.identity

    def __iter__(self) -> Iterator[Item]:
        for one in self.inputs:
            count = self.wanted.get(one.name, 0)
            first = SOURCE if self.sources else 0
            for variant in range(first, count) if count else ():
                form = self.sources if variant == SOURCE else one.item.form
                yield replace(
                    one.item,
                    name=item_variant_name(one.item, variant),
                    output=output_of(one.item, variant, self.sources),
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
        """Where a variant lies, its input's name decides."""
        return item

    def _outdated_output(self, history: History, item: Item) -> str:
        """None stays: the dataset is laid out without what failed."""
        return ""

    def _refusal(self, history: History, item: Item) -> str:
        if item.tar:
            return "is a tar; synthesize takes images: unpack it"
        return item.refusal or ("" if ".." not in item.output.split("/") else "leads out of IN")


class SynthesisJob(Job):
    """Makes the images of a dataset, in as many rounds as it is told to ``want`` and ``run``.
    ``at_begin`` is called where one begins: until then it may be refused."""

    summary_type = ImageSummary
    summary: ImageSummary

    def __init__(
        self,
        source: str,
        out: str,
        options: SynthesisOptions,
        watch: Callable[[Progress], None] | None = None,
        opener: Opener | None = None,
    ) -> None:
        super().__init__(source, out, options.job_options(), watch, opener=opener)
        if self.is_remote:
            raise InputError(f"{escape(out)}: is a URL; synthesize writes to a directory")
        if self.scan.tars:
            raise InputError(
                f"{escape(source)}: is a tar, or holds tars; synthesize takes images: unpack it"
            )
        self.about, self.found = options, self.scan
        self.wanted: dict[str, int] = {}
        self.at_begin: Callable[[], None] = lambda: None
        name = self.info.name
        self.settings = replace(
            self.settings,
            seed=options.seed,
            noise_rate=options.noise_rate,
            noise_blocks=options.noise_blocks,
            input_noise=options.input_noise,
            # what lies beside images is not laid out
            georeference=OUTPUT_FORMATS[options.format].holds_georeference and self.has_rasters,
            beside=options.side_by_side,
            inspect=True,
            origin=provenance.xmp(name, self.settings.fingerprint) if options.mark else b"",
        )

    def _directory_of_names(self) -> dict[str, Any]:
        """None: a dataset holds what its inputs are by their contents' digests."""
        return {}

    @property
    def has_rasters(self) -> bool:
        return bool(self.info.raster_sides)

    @property
    def source_form(self) -> str:
        """The format of the inputs' copies."""
        return choose_source_form(self.info, self.about.format)

    @property
    def has_journal(self) -> bool:
        return journal_of(self.out).exists()

    def reuse_earlier(self, inputs: Sequence[Input]) -> None:
        """What earlier runs have made for these inputs is put where this one looks for it, and
        what they made of others is forgotten. Raises :class:`InputError`, :class:`OutputError`."""
        if self.options.overwrite or not self.has_journal:
            return
        with closing(self._open_history(Journal)) as journal:
            try:
                gone = reuse.reuse_images(
                    self.out, inputs, reuse.records_of(self.out), self.source_form
                )
            except OSError as error:
                raise OutputError(
                    f"{escape(self.out)}: what was made before cannot be put in place "
                    f"({error.strerror}); run the same command again"
                ) from error
            if gone:
                journal.add([Record(name, GONE) for name in gone])

    def request(self, inputs: Sequence[Input], wanted: Mapping[str, int]) -> None:
        """Make that many variants of each input; no fewer than in the round before."""
        is_first = not self.wanted
        noise = max(wanted.values(), default=0) > 1
        self.settings = replace(self.settings, noise=noise)
        if not is_first:  # what failed in the first round needs no third try
            self.options = replace(self.options, overwrite=False, retry_failed=False)
        unlisted = self.found.unlisted if is_first else []

        def make() -> InputSource:
            sources = self.source_form if self.about.holds_sources else ""
            return Variants(self.found, inputs, wanted, sources, unlisted)

        self.make_scan, self.countable = make, True
        self.scan = make()
        self.selector = OwnOutputSelector(
            self.scan, self.options, self.settings.out, self.out, self.summary, self.stop
        )
        self.selector.counted, self.selector.counted_all = self.wanted, self.summary.total
        self.wanted = dict(wanted)

    def _dispatch(
        self, handle: ClusterHandle, work: TaskSpec, recorder: RunRecorder, items: Iterator[Item]
    ) -> None:
        self.at_begin()
        super()._dispatch(handle, work, recorder, items)

    def discard(self, records: reuse.Records) -> None:
        """What was made and is not wanted any more. Raises :class:`OutputError`."""
        wanted = {item.name for item in self.scan} | {
            variant_name(name, 0) for name in self.unlisted_directories
        }
        if gone := [name for name in records if name not in wanted]:
            with closing(self._open_history(Journal)) as journal:
                journal.add([Record(name, GONE) for name in gone])

    @property
    def unlisted_directories(self) -> list[str]:
        """Directories of IN that could not be listed."""
        return [name for name, _ in self.found.unlisted]

    def write_report(self, dataset: dict[str, Any]) -> None:
        """Write the report; ``dataset``: what is known of it, as its header has it."""
        if self.about.report and self.has_journal:
            self.summary.page, note = html_page.attempt(self.out, self.settings.out, dataset)
            self.summary.remark("" if self.summary.fatal else note)

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of the images. How many of each, and where they go, does not."""
        return {
            "kind": SYNTHESIZE,
            **self._inputs_and_model(),
            **what_decides_bytes(self.about, self._resolved_options()),
            "beside": self.settings.beside,
            **({"source_format": self.source_form} if self.source_form != "png" else {}),
        }
