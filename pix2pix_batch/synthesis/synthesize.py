"""``synthesize``: plan, have the images made, check them, and lay the dataset out.

``docs/synthesize.md`` describes the result. The plan and what became of each image are held in
memory, about a kilobyte an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import reader, state
from pix2pix_batch.dataset.lock import lock_directory
from pix2pix_batch.dataset.naming import item_variant_name
from pix2pix_batch.dataset.state import Complete
from pix2pix_batch.errors import ImageError, InputError, Pix2PixBatchError
from pix2pix_batch.inference.settings import Opener
from pix2pix_batch.item import Item
from pix2pix_batch.journal.history import RANGES
from pix2pix_batch.journal.record import DONE
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.reporting.progress import Progress
from pix2pix_batch.storage import files
from pix2pix_batch.storage.local import find_within
from pix2pix_batch.synthesis import directory, image_filter, options, plan, reuse
from pix2pix_batch.synthesis.directory import DatasetDirectory
from pix2pix_batch.synthesis.job import SynthesisJob
from pix2pix_batch.synthesis.labels import labeller
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.synthesis.result import ImageSummary, SynthesisResult
from pix2pix_batch.synthesis.reuse import Records
from pix2pix_batch.synthesis.writer import Layer
from pix2pix_batch.text import escape, format_count

ROUNDS = 20
"""How often more images are made in place of rejected ones, before it is given up."""


def synthesize(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: SynthesisOptions | None = None,
    *,
    watch: Callable[[Progress], None] | None = None,
    opener: Opener | None = None,
) -> SynthesisResult:
    """Make a dataset of the images of ``source`` in the directory ``out``, or bring the one that
    is there up to date.

    Raises :class:`InputError` before anything is made, and where a target count turns out not to
    be met; :class:`OutputError`.
    """
    options = options or SynthesisOptions()
    return Synthesis(os.fspath(source), os.fspath(out), options, watch, opener).run()


class Synthesis:
    """One run of ``synthesize``."""

    def __init__(
        self,
        source: str,
        out: str,
        options: SynthesisOptions,
        watch: Callable[[Progress], None] | None,
        opener: Opener | None,
    ) -> None:
        self.options, self.out = options, Path(out)
        self.info = options.require_possible()
        self.making = SynthesisJob(source, out, options, self._begin, watch, opener)
        self.place = DatasetDirectory(self.out)
        self.mended, self.has_begun, self.has_made = "", False, False

    def run(self) -> SynthesisResult:
        inputs = self._list_inputs()
        wanted = self._count_wanted(inputs)
        self.options.require_noise(self.info, self.options.variants or max(wanted.values()))
        shares = plan.parse_fractions(self.options.split)
        # Its result is not used: a split that would be empty is refused now, not after all images
        # are made.
        plan.assign_splits([one for one in inputs if wanted[one.name]], shares, self.options.seed)
        mark = self._dataset_identity(inputs)
        self._require_apart()
        # Before the lock, which lies in OUT and may have to make it.
        self.place.require_usable()
        with lock_directory(self.out):
            return self._run_alone(inputs, wanted, mark)

    def _run_alone(
        self, inputs: Sequence[Input], wanted: dict[str, int], mark: dict[str, Any]
    ) -> SynthesisResult:
        previous = None if self.options.overwrite else state.read_last(self.out)
        self.place.require_this_dataset(mark, previous, self.info.name)
        if previous is not None:
            self.place.require_same_engine(previous, self.making.settings)
        if previous is not None and self._is_whole(previous, mark):
            return self._nothing_to_do(previous, inputs)
        self.place.require_own()
        since = None if self.options.overwrite else self.place.changes(inputs)
        if since is not None and since.gone and self.options.limit is not None:
            raise InputError(
                f"--limit {self.options.limit}: {escape(self.out)} has images of "
                f"{format_count(since.gone, 'input')} beyond it, which would go; leave --limit "
                "out, or choose another OUT"
            )
        try:
            made = self._make_dataset(inputs, wanted, mark)
        except Pix2PixBatchError:
            if self.has_made:  # else it was refused before it began
                self.making.write_report(self._report_facts())
            raise
        return replace(made, inputs=len(inputs), since=since or None, mended=self.mended)

    def _make_dataset(
        self, inputs: Sequence[Input], wanted: dict[str, int], mark: dict[str, Any]
    ) -> SynthesisResult:
        """Make what is lacking, until there is enough, and lay it out."""
        for number in range(ROUNDS):
            self._run_round(inputs, wanted, is_first=not number)
            summary = self.making.summary
            if summary.interrupted or summary.fatal:
                summary.total = self._count_images(wanted)
                self.making.write_report(self._report_facts())
                return SynthesisResult(job=summary)
            records = reuse.records_of(self.out)
            samples, rejected = image_filter.filter_images(
                self.out, self.options, self.info, inputs, wanted, records
            )
            more = image_filter.count_lacking(self.options, inputs, wanted, samples, rejected)
            if not more:
                break
            wanted |= more
            self.options.require_noise(self.info, max(more.values()))
        samples = image_filter.trim_to_target(self.options, samples, ROUNDS)
        self.making.discard(records)
        images, failed = self._count_results(inputs, wanted, records)
        decided = {key: getattr(self.making.settings, key) for key in ("precision", "backend")}
        self._begin()
        layer = Layer(
            self.place, self.options, self.info, mark, {**self.making.identity(), **decided}
        )
        header = layer.lay_out(inputs, samples, rejected, failed, images)
        self.making.write_report(header)
        # Else they stay: the next run tries what failed and lays all out anew.
        if not header["inputs_failed"]:
            self.place.clear()
        return SynthesisResult(header, summary, card_stays=self.place.card_stays)

    def _run_round(
        self, inputs: Sequence[Input], wanted: Mapping[str, int], *, is_first: bool
    ) -> None:
        """One round. A run that ends before it begins leaves the dataset as it was."""
        try:
            if is_first:
                self.making.reuse_earlier(inputs)
            self.making.request(inputs, wanted)
            self.making.run()
            self.has_made = True
        finally:
            summary = self.making.summary
            if not self.has_made or summary.interrupted or summary.fatal:
                self._leave_as_before()

    def _leave_as_before(self) -> None:
        """Where nothing has begun, the dataset that is there is still whole."""
        previous = state.read(self.out)
        if previous is not None and not self.has_begun and not previous.header["inputs_failed"]:
            self.place.clear()

    def _begin(self) -> None:
        """From now on the dataset that is there counts as unfinished. Of which settings it is stays
        known, so that no other may replace it, unless that is what was asked for. Raises
        :class:`OutputError`."""
        if self.has_begun:
            return
        self.has_begun = True
        try:
            if self.options.overwrite:
                state.path_of(self.out).unlink(missing_ok=True)
            elif (previous := state.read_last(self.out)) is not None:
                state.write(self.out, replace(previous, is_whole=False))
        except OSError as error:
            raise state.unwritable(self.out, error) from error

    def _report_facts(self) -> dict[str, Any]:
        """What a report can say of a dataset that is not laid out."""
        return {"settings": options.describe_settings(self.options, self.making.identity())}

    # Planning

    def _list_inputs(self) -> list[Input]:
        """All inputs, in the order of their names. Raises :class:`InputError`."""
        group = labeller(self.options.group_by, "group-by") if self.options.group_by else None
        stratum = labeller(self.options.stratify, "stratify") if self.options.stratify else None
        scan = self.making.scan
        items = sorted(islice(iter(scan), self.options.limit), key=lambda item: item.name)
        if not items:
            raise InputError(scan.explain_no_images())
        found = [
            Input(
                item,
                item.name if group is None else group(item.name),
                "" if stratum is None else stratum(item.name),
                item.stamp or _stamp_of(item.path),
            )
            for item in items
        ]
        if self.options.layout == "parquet":
            _require_text(items)
        if group is not None and len(found) > 1 and all(one.group == one.name for one in found):
            raise InputError(
                f"--group-by {self.options.group_by!r}: matches no input, such as "
                f"{escape(found[0].name)}; it is searched for in the inputs' paths within IN"
            )
        return found

    def _require_apart(self) -> None:
        """Raises :class:`InputError` where IN lies in OUT: the dataset would replace its inputs."""
        root = self.making.scan.root
        if root and find_within(root, self.out) is not None:
            raise InputError(
                f"{escape(root)}: lies in OUT, whose files the dataset replaces; choose another OUT"
            )

    def _count_wanted(self, inputs: Sequence[Input]) -> dict[str, int]:
        chosen = self.options
        if chosen.target_count is None:
            return {one.name: chosen.variants or 1 for one in inputs}
        return plan.spread_variants(inputs, chosen.target_count, chosen.seed, chosen.variants)

    def _dataset_identity(self, inputs: Sequence[Input]) -> dict[str, Any]:
        """What decides the dataset: the same mark, the same bytes."""
        job = self.making.identity()
        for name in ("model_name", RANGES):  # the model's digest says it
            job.pop(name, None)
        for name in options.DESCRIBED_OF_RASTERS:  # which datasets of pictures need not have
            if job.get(name) is None:
                job.pop(name, None)
        return {
            **job,
            **options.describe_settings(self.options, job),
            "name": self._name(),
            "license": self.options.license,
            "inputs": directory.digest_inputs(inputs),
        }

    def _name(self) -> str:
        """Not OUT's, so that the same dataset elsewhere has the same card."""
        root = self.making.scan.root
        where = Path(root).resolve().name if root else ""
        return self.options.name or "-".join(filter(None, (self.info.name, where)))

    # What is there

    def _is_whole(self, previous: Complete, mark: Mapping[str, Any]) -> bool:
        """Whether the dataset in OUT is the one that is wanted, and nothing is left to try."""
        tries = previous.images["retriable"]
        if previous.header["inputs_failed"] and (self.options.retry_failed or self._is_tolerant()):
            tries = previous.header["inputs_failed"]
        if not previous.is_whole or previous.mark != mark or previous.wrong or tries:
            return False
        if self.making.unlisted_directories:
            return False
        gone = reader.list_missing(self.out, previous)
        self.mended = directory.describe_missing(gone) if gone else ""
        return not gone

    def _is_tolerant(self) -> bool:
        """Whether something failed that depends on options, and had others."""
        known = ("", *self.making.planned.options.failure_conditions)
        records = reuse.records_of(self.out).values()
        return any(record.get("under", "") not in known for record in records)

    def _nothing_to_do(self, previous: Complete, inputs: Sequence[Input]) -> SynthesisResult:
        if not previous.header["inputs_failed"]:  # a run may have been killed before it cleared up
            self.place.clear()
        images = previous.images
        summary = ImageSummary(
            total=images["wanted"],
            skipped=images["made"],
            failed_before=images["failed"],
            model=self.info.name,
        )
        return SynthesisResult(previous.header, summary, inputs=len(inputs), before=True)

    def _count_images(self, wanted: Mapping[str, int]) -> int:
        """How many are wanted; what cannot be listed counts as one."""
        return sum(wanted.values()) + len(self.making.unlisted_directories)

    def _count_results(
        self, inputs: Sequence[Input], wanted: Mapping[str, int], records: Records
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """What became of the images that are wanted; and of the inputs, for the header."""
        first = SOURCE if self.options.holds_sources else 0
        lost = unusable = retriable = len(self.making.unlisted_directories)
        for one in inputs:
            names = [item_variant_name(one.item, v) for v in range(first, wanted[one.name])]
            wrong = [
                record
                for name in (names if wanted[one.name] else ())
                if (record := records.get(name, {})).get("status") != DONE
            ]
            unusable += bool(wrong)
            retriable += sum(not record.get("stamp") for record in wrong)
            lost += sum(
                record.get("name") != item_variant_name(one.item, SOURCE) for record in wrong
            )
        total = self._count_images(wanted)
        images = {
            "wanted": total,
            "made": total - lost,
            "failed": lost,
            "retriable": retriable,
        }
        return images, {"inputs": len(inputs), "inputs_failed": unusable}


def _require_text(items: Sequence[Item]) -> None:
    """Raises :class:`InputError` where a name is no text, as Parquet's strings are."""
    for item in items:
        try:
            item.name.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{escape(item.name)}: its name is not UTF-8, which --layout parquet cannot hold; "
                "rename it, or choose another layout"
            ) from error


def _stamp_of(path: str) -> str:
    """Empty where there is no such file."""
    try:
        return files.stamp_of(path)
    except ImageError:
        return ""
