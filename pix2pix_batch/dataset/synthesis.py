"""``synthesize``: plan, have the images made, check them, and lay the dataset out.

``docs/synthesize.md`` describes the result. The plan and what became of each image are held in
memory, about a kilobyte an image.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import plan, quality
from pix2pix_batch.dataset.card import card
from pix2pix_batch.dataset.labels import labeller
from pix2pix_batch.dataset.layout import LAYOUTS, as_line
from pix2pix_batch.dataset.making import ImageSummary, Making, base_of, name_of, output_of
from pix2pix_batch.dataset.options import SynthesisOptions
from pix2pix_batch.dataset.plan import Input
from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.files import storage
from pix2pix_batch.files.storage import FATAL
from pix2pix_batch.files.whole import whole
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.progress import Progress
from pix2pix_batch.records import history
from pix2pix_batch.records.record import DIRECTORY, DONE, MADE
from pix2pix_batch.settings import Opener
from pix2pix_batch.text import counted, shown
from pix2pix_batch.version import __version__

SCHEMA = 1
ROUNDS = 20
"""How often more images are made in place of rejected ones, before it is given up."""

COMPLETE = "complete.json"
ENTRIES = "entries.json"
"""Within the journal's directory: what dataset OUT holds; what of OUT is its."""

Records = Mapping[str, Mapping[str, Any]]


@dataclass
class Made:
    """A dataset and how it came about. ``header``: the manifest's first line; ``job``: the last
    round's summary; ``before``: whether an earlier run has made it."""

    header: dict[str, Any] = field(default_factory=dict)
    job: ImageSummary = field(default_factory=ImageSummary)
    before: bool = False

    @property
    def images(self) -> int:
        return sum(self.header.get("splits", {}).values())

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        header = {
            key: self.header.get(key)
            for key in ("splits", "inputs", "failed", "rejected", "flagged", "diversity")
        }
        return {"images": self.images, **header, "made_before": self.before, **self.job.figures()}

    @property
    def exit_code(self) -> int:
        unusable = bool(self.header.get("failed")) and not self.before
        return self.job.exit_code or (3 if unusable else 0)


def synthesize(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: SynthesisOptions | None = None,
    *,
    watch: Callable[[Progress], None] | None = None,
    opener: Opener | None = None,
) -> Made:
    """Make a dataset of the images of ``source`` in the directory ``out``.

    Raises :class:`InputError` before anything is made, and where a target count turns out not to
    be met; :class:`OutputError`.
    """
    about = options or SynthesisOptions()
    return Synthesis(os.fspath(source), os.fspath(out), about, watch, opener).run()


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
        self.about, self.out = options, Path(out)
        self.info = options.require_possible()
        self.start = partial(Making, source, out, watch=watch, opener=opener)
        self.making = self.start(options)
        self.shares = plan.fractions(options.split)

    @property
    def kept(self) -> Path:
        return self.out / DIRECTORY

    def run(self) -> Made:
        inputs = self._inputs()
        wanted = self._wanted(inputs)
        most = max(wanted.values())
        self.about.require_noise(self.info, self.about.variants or most)
        self._splits([one for one in inputs if wanted[one.name]])
        mark = self._mark(inputs)
        self._require_place(mark)
        if (before := self._before()) and before["mark"] == mark and not self._retries():
            return Made(before["header"], ImageSummary(model=self.info.name), before=True)
        (self.kept / COMPLETE).unlink(missing_ok=True)
        for _ in range(ROUNDS):
            self.making.want(inputs, wanted)
            self.making.run()
            summary = self.making.summary
            if summary.interrupted or summary.fatal:
                return Made({}, summary)
            records = self._records()
            samples, rejected = self._judged(inputs, wanted, records)
            more = self._more(inputs, wanted, samples, rejected)
            if not more:
                break
            wanted |= more
            self.making = self.start(replace(self.about, overwrite=False))  # the journal goes on
        samples = self._enough(inputs, samples)
        header = self._lay_out(inputs, samples, rejected, records, mark)
        return Made(header, summary)

    # Planning

    def _inputs(self) -> list[Input]:
        """All inputs, in the order of their names. Raises :class:`InputError`."""
        group = labeller(self.about.group_by, "group-by") if self.about.group_by else None
        stratum = labeller(self.about.stratify, "stratify") if self.about.stratify else None
        scan = self.making.scan
        items = sorted(islice(iter(scan), self.about.limit), key=lambda item: item.name)
        if not items:
            raise InputError(scan.nothing())
        found = [
            Input(
                item,
                item.name if group is None else group(item.name),
                "" if stratum is None else stratum(item.name),
            )
            for item in items
        ]
        if group is not None and len(found) > 1 and all(one.group == one.name for one in found):
            raise InputError(
                f"--group-by {self.about.group_by!r}: matches no input, such as "
                f"{shown(found[0].name)}; it is searched for in the inputs' paths within IN"
            )
        return found

    def _wanted(self, inputs: Sequence[Input]) -> dict[str, int]:
        about = self.about
        if about.target_count is None:
            return {one.name: about.variants or 1 for one in inputs}
        return plan.spread(inputs, about.target_count, about.seed, about.variants)

    def _splits(self, inputs: Sequence[Input]) -> dict[str, str]:
        return plan.assigned(inputs, self.shares, self.about.seed)

    # Where it goes

    def _mark(self, inputs: Sequence[Input]) -> dict[str, Any]:
        """What decides the dataset: the same mark, the same bytes."""
        about = self.about
        digest = hashlib.sha256()
        for one in inputs:
            try:
                stamp = one.item.stamp or storage.stamp_of(one.item.path)
            except ImageError:
                stamp = ""
            digest.update(json.dumps([one.name, stamp, one.group, one.stratum]).encode())
        job = self.making.identity()
        job.pop("model_name", None)
        return {
            **job,
            "variants": about.variants,
            "target_count": about.target_count,
            "layout": about.layout,
            "split": about.split,
            "group_by": about.group_by,
            "stratify": about.stratify,
            "max_distance": about.max_distance,
            "reject_flagged": about.reject_flagged,
            "sources": about.holds_sources,
            "name": self._name(),
            "license": about.license,
            "inputs": digest.hexdigest(),
        }

    def _name(self) -> str:
        """Not OUT's, so that the same dataset elsewhere has the same card."""
        root = getattr(self.making.scan, "root", None)
        where = Path(str(root)).resolve().name if root is not None else ""
        return self.about.name or "-".join(filter(None, (self.info.name, where)))

    def _before(self) -> dict[str, Any] | None:
        """The dataset that OUT holds; ``None`` where there is none, or it is to be replaced."""
        if self.about.overwrite:
            return None
        try:
            found = json.loads((self.kept / COMPLETE).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "mark" in found else None

    def _retries(self) -> bool:
        """Whether images are left to try again: then all that was made is still there."""
        return (self.out / MADE).is_dir()

    def _require_place(self, mark: Mapping[str, Any]) -> None:
        """Raises :class:`InputError` where OUT holds something else than this dataset."""
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{shown(self.out)}: is a file; OUT must be a directory")
        if before := self._before():
            theirs = before["mark"]
            for key, value in mark.items():
                if theirs.get(key) != value:
                    what = (
                        "the inputs have changed since"
                        if key == "inputs"
                        else f"{key} was {theirs.get(key)!r}, now {value!r}"
                    )
                    raise InputError(
                        f"{shown(self.out)}: holds another dataset ({what}); choose another OUT, "
                        "or pass --overwrite to make it anew"
                    )
        ours = {DIRECTORY, MADE, "report.html", *self._entries()}
        others = sorted(set(os.listdir(self.out)) - ours) if self.out.is_dir() else []
        if others:
            raise InputError(
                f"{shown(self.out)}: holds other files ({shown(others[0])}), which would mix with "
                "the dataset; give a new or empty directory"
            )

    def _entries(self) -> list[str]:
        try:
            found = json.loads((self.kept / ENTRIES).read_bytes())
        except (OSError, ValueError):
            return []
        return [name for name in found if isinstance(name, str) and os.sep not in name]

    # Judging

    def _records(self) -> dict[str, dict[str, Any]]:
        """The journal's last word on each image."""
        found: dict[str, dict[str, Any]] = {}
        for values in history.lines(self.out):
            if "status" in values:
                found[values["name"]] = values
        return found

    def _judged(
        self, inputs: Sequence[Input], wanted: Mapping[str, int], records: Records
    ) -> tuple[list[Sample], dict[str, str]]:
        """The images that may go into the dataset, by name, and why others may not."""
        samples = []
        for one in inputs:
            source = records.get(name_of(one.item, SOURCE), {})
            if self.about.holds_sources and source.get("status") != DONE:
                continue
            for variant in range(wanted[one.name]):
                record = records.get(name_of(one.item, variant), {})
                if record.get("status") == DONE:
                    samples.append(self._sample(one, variant, record))
        self._flag_near(samples)
        rejected = {}
        for sample in samples:
            distance, flags = sample.facts["distance"], sample.facts["flags"]
            if (limit := self.about.max_distance) is not None and (distance or 0) > limit:
                rejected[sample.key] = "distance"
            elif self.about.reject_flagged and flags:
                rejected[sample.key] = flags[0]
        return [sample for sample in samples if sample.key not in rejected], rejected

    def _sample(self, one: Input, variant: int, record: Mapping[str, Any]) -> Sample:
        item = one.item
        holds = self.about.holds_sources
        facts = {
            "input": one.name,
            "input_hash": record.get("input", ""),
            "variant": variant,
            "hash": record.get("hash", ""),
            "group": one.group if self.about.group_by else None,
            "distance": record.get("distance"),
            "flags": [flag for flag in str(record.get("flags", "")).split(",") if flag],
            "look": record.get("look", ""),
        }
        if self.about.max_distance is not None and facts["distance"] is None:
            facts["flags"].append("unmeasured")
        return Sample(
            key=f"{base_of(item)}.v{variant}",
            base=base_of(item),
            form=item.form,
            made=self.out / output_of(item, variant),
            source=self.out / output_of(item, SOURCE) if holds else None,
            facts=facts,
        )

    def _flag_near(self, samples: Sequence[Sample]) -> None:
        """Each input's first variant against those of other inputs; what is flat is like all that
        is flat, and says nothing. Equal variants of one input are told too."""
        first: dict[str, Sample] = {}
        seen: set[tuple[str, str]] = set()
        for sample in samples:
            first.setdefault(sample.base, sample)
            known = sample.base, sample.facts["hash"]
            if known in seen:
                sample.facts["flags"].append("equal-variant")
            seen.add(known)
        looks = [
            (one.base, one.facts["look"])
            for one in first.values()
            if one.facts["look"] and "flat" not in one.facts["flags"]
        ]
        near = quality.near_duplicates(looks)
        for sample in samples:
            if sample.base in near:
                sample.facts["flags"].append("near-duplicate")
                sample.facts["near"] = first[near[sample.base]].facts["input"]

    def _more(
        self,
        inputs: Sequence[Input],
        wanted: Mapping[str, int],
        samples: Sequence[Sample],
        rejected: Mapping[str, str],
    ) -> dict[str, int]:
        """How many variants of which inputs are wanted in place of rejected ones, if any.

        Raises :class:`InputError` where the target count cannot be met.
        """
        target = self.about.target_count
        if target is None or len(samples) >= target:
            return {}
        good = {sample.facts["input"] for sample in samples}
        open_to = [one for one in inputs if one.name in good or not wanted[one.name]]
        accepted = Counter(sample.facts["input"] for sample in samples)
        cap, missing = self.about.variants, target - len(samples)
        able = [one for one in open_to if cap is None or wanted[one.name] < cap]
        able.sort(key=lambda one: (accepted[one.name], plan.rank(self.about.seed, one.name)))
        if not able:
            raise InputError(
                f"--target-count {target:,} cannot be met: {counted(len(samples), 'image')} of "
                f"{counted(len(good), 'input')} are accepted, {counted(len(rejected), 'image')} "
                "rejected or failed; lower it, raise --variants or --max-distance, or give more "
                "inputs"
            )
        more: dict[str, int] = {}
        for place in range(missing):
            one = able[place % len(able)]
            more[one.name] = more.get(one.name, wanted[one.name]) + 1
            if cap is not None:
                more[one.name] = min(cap, more[one.name])
        self.about.require_noise(self.info, max(more.values()))
        return more

    def _enough(self, inputs: Sequence[Input], samples: list[Sample]) -> list[Sample]:
        """No more than the target count: of the last variants, some go."""
        target = self.about.target_count
        if target is None:
            return samples
        if len(samples) < target:
            raise InputError(
                f"--target-count {target:,} cannot be met: {len(samples):,} images were accepted "
                f"after {ROUNDS} rounds; lower it, or reject less"
            )
        order = sorted(
            samples,
            key=lambda one: (
                one.facts["variant"],
                plan.rank(self.about.seed, one.facts["input"]),
            ),
        )
        keys = {sample.key for sample in order[:target]}
        return [sample for sample in samples if sample.key in keys]

    # Laying out

    def _lay_out(
        self,
        inputs: Sequence[Input],
        samples: list[Sample],
        rejected: Mapping[str, str],
        records: Records,
        mark: dict[str, Any],
    ) -> dict[str, Any]:
        """Write the dataset, whole, beside the journal; then move it into its place."""
        used = {sample.facts["input"] for sample in samples}
        if not used:
            raise InputError(
                f"no image is left for the dataset: {counted(len(rejected), 'image')} rejected, "
                "the others failed; 'pix2pix-batch status' tells why"
            )
        splits = self._splits([one for one in inputs if one.name in used])
        for sample in samples:
            sample.split = splits[sample.facts["input"]]
        header = self._header(inputs, samples, rejected, records)
        fresh = self.kept / "dataset"
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            for split in self.shares:
                part = [sample for sample in samples if sample.split == split]
                LAYOUTS[self.about.layout](fresh, split, part)
            self._tell(fresh, header, samples, rejected)
            self._move(fresh)
            with whole(self.kept / COMPLETE, sync=True) as file:
                file.write(as_line({"mark": mark, "header": header}))
            if not header["failed"]:
                shutil.rmtree(self.out / MADE, ignore_errors=True)
        except OSError as error:
            remedy = "make room there, then " if error.errno in FATAL else ""
            raise OutputError(
                f"{shown(self.out)}: the dataset cannot be written ({error.strerror}); {remedy}run "
                "the same command again: the images are made already"
            ) from error
        return header

    def _header(
        self,
        inputs: Sequence[Input],
        samples: Sequence[Sample],
        rejected: Mapping[str, str],
        records: Records,
    ) -> dict[str, Any]:
        about = self.about
        counts = Counter(sample.split for sample in samples)
        flags = Counter(flag for sample in samples for flag in sample.facts["flags"])
        failed = {name.rpartition("/")[0] for name, one in records.items() if one["status"] != DONE}
        identity = self.making.identity()
        settings = {
            "variants": about.variants or (None if about.target_count else 1),
            "target_count": about.target_count,
            "seed": about.seed,
            "noise_rate": about.noise_rate,
            "noise_blocks": about.noise_blocks,
            "input_noise": about.input_noise,
            "fit": identity["fit"],
            "format": about.format,
            "quality": identity["quality"],
            "precision": self.making.settings.precision,
            "backend": self.making.settings.backend,
            "layout": about.layout,
            "split": about.split,
            "group_by": about.group_by,
            "stratify": about.stratify,
            "max_distance": about.max_distance,
            "reject_flagged": about.reject_flagged,
        }
        return {
            "schema": SCHEMA,
            "name": self._name(),
            "model": {"name": self.info.name, "sha256": identity["model"]},
            "settings": settings,
            "versions": _versions(),
            "inputs": len(inputs),
            "failed": len(failed),
            "splits": {split: counts[split] for split in self.shares},
            "rejected": dict(sorted(Counter(rejected.values()).items())),
            "flagged": dict(sorted(flags.items())),
            "diversity": self._diversity(samples),
        }

    def _diversity(self, samples: Sequence[Sample]) -> float | None:
        files: dict[str, list[Path]] = {}
        for sample in samples:
            files.setdefault(sample.base, []).append(sample.made)
        several = [paths for paths in files.values() if len(paths) > 1]
        step = max(1, len(several) // quality.MEASURED)
        found = quality.diversity(several[::step], right_half=self.about.beside)
        return None if found is None else round(found, 4)

    def _tell(
        self,
        root: Path,
        header: dict[str, Any],
        samples: Iterable[Sample],
        rejected: Mapping[str, str],
    ) -> None:
        """The manifest and the card."""
        with whole(root / "manifest.jsonl") as file:
            file.write(as_line(header))
            for sample in samples:
                facts = {k: v for k, v in sample.facts.items() if k != "look"}
                file.write(as_line({"split": sample.split, **facts}))
            for key, reason in sorted(rejected.items()):
                file.write(as_line({"rejected": key, "reason": reason}))
        text = card(header["name"], self.about.layout, self.about.license, self.info, header)
        with whole(root / "README.md") as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def _move(self, fresh: Path) -> None:
        """Into OUT, entry by entry; an earlier dataset of this OUT goes first."""
        for name in self._entries():
            path = self.out / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        names = sorted(os.listdir(fresh))
        with whole(self.kept / ENTRIES, sync=True) as file:
            file.write(json.dumps(names).encode())
        for name in names:
            os.replace(fresh / name, self.out / name)
        fresh.rmdir()


def _versions() -> dict[str, str]:
    return {"pix2pix-batch": __version__, "torch": version("torch")}
