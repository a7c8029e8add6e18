"""Writes a dataset: its images, manifest and card, first whole and then into its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.dataset import manifest
from pix2pix_batch.dataset.layout import CARD, LAYOUTS
from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.dataset.state import MANIFEST, Complete
from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.journal.history import RANGES
from pix2pix_batch.journal.integrity import digest_of, digest_of_file
from pix2pix_batch.storage.common import FATAL
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.synthesis import options, plan, quality
from pix2pix_batch.synthesis.card import card
from pix2pix_batch.synthesis.directory import DatasetDirectory
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.text import escape, format_count


@dataclass
class Layer:
    """Lays out one dataset. ``mark``: what decides its bytes; ``identity``: of the job that made
    the images."""

    place: DatasetDirectory
    options: SynthesisOptions
    info: BundleInfo
    mark: dict[str, Any]
    identity: dict[str, Any]

    def lay_out(
        self,
        inputs: Sequence[Input],
        samples: Sequence[Sample],
        rejected: Mapping[str, str],
        figures: Mapping[str, Any],
        images: dict[str, int],
    ) -> dict[str, Any]:
        """Write the dataset and put it in its place. Returns its header. ``figures``: what the
        header says of the inputs; ``images``: what became of those wanted. Raises
        :class:`InputError` where there are too few, :class:`OutputError`.
        """
        shares = plan.parse_fractions(self.options.split)
        self._split(inputs, samples, len(rejected), shares)
        diversity = self._diversity(samples)
        staging = self.place.staging
        try:
            self.place.create_empty()
            for split in shares:
                part = [sample for sample in samples if sample.split == split]
                LAYOUTS[self.options.layout](staging, split, part)
            header = {
                **self._settings(),
                **figures,
                **manifest.count_images(samples, rejected, shares),
                "diversity": diversity,
            }
            manifest.write_manifest(staging / MANIFEST, header, samples, rejected)
            # Names of inputs need not be UTF-8, and one such must not keep the card from being
            # written.
            text = self._card(header).encode("utf-8", "backslashreplace")
            with whole(staging / CARD) as file:
                file.write(text)
            digests = _digests(staging, shares)
            complete = Complete(self.mark, header, images, digests, card=digest_of(text))
            self.place.move_in(inputs, complete)
        except OSError as error:
            remedy = "make room there, then " if error.errno in FATAL else ""
            raise OutputError(
                f"{escape(self.place.out)}: the dataset cannot be written ({error.strerror}); "
                f"{remedy}run the same command again: the images are made already"
            ) from error
        return header

    def _split(
        self,
        inputs: Sequence[Input],
        samples: Sequence[Sample],
        rejected: int,
        shares: Mapping[str, float],
    ) -> None:
        """Give each sample its split. ``rejected``: how many images the filters left out, for the
        message of the :class:`InputError` that is raised where no other is left."""
        used = {sample.facts["input"] for sample in samples}
        if not used:
            raise InputError(
                f"no image is left for the dataset: {format_count(rejected, 'image')} "
                "rejected, the others failed; 'pix2pix-batch status' tells why"
            )
        part = [item for item in inputs if item.name in used]
        splits = plan.assign_splits(part, shares, self.options.seed)
        for sample in samples:
            sample.split = splits[sample.facts["input"]]

    def _settings(self) -> dict[str, Any]:
        """The first part of the header: how the dataset is made."""
        made_so = {key: self.identity[key] for key in ("precision", "backend")}
        return {
            "schema": manifest.SCHEMA,
            "name": self.mark["name"],
            "model": {"name": self.info.name, "sha256": self.identity["model"]},
            "settings": {**options.describe_settings(self.options, self.identity), **made_so},
            "versions": manifest.package_versions(),
            **({RANGES: self.identity[RANGES]} if RANGES in self.identity else {}),
        }

    def _diversity(self, samples: Sequence[Sample]) -> float | None:
        """Raises :class:`OutputError` where an image that was made is none any more."""
        files: dict[str, list[Path]] = {}
        for sample in samples:
            files.setdefault(sample.base, []).append(sample.output)
        several = [paths for paths in files.values() if len(paths) > 1]
        step = max(1, len(several) // quality.MEASURED)
        try:
            found = quality.diversity(
                several[::step], self.info.ranges.output, right_half=self.options.side_by_side
            )
        except (OSError, ImageError) as error:  # Pillow's too, which have no number
            reason = getattr(error, "strerror", None) or error
            raise OutputError(
                f"{escape(self.place.image_directory)}: an image that was made cannot be read any "
                f"more ({reason}); run the same command again, which makes it anew"
            ) from error
        return None if found is None else round(found, 4)

    def _card(self, header: Mapping[str, Any]) -> str:
        return card(header["name"], self.options.layout, self.options.license, self.info, header)


def _digests(root: Path, splits: Mapping[str, float]) -> dict[str, str]:
    """Of the files without images; the card is for people to change."""
    tables = [MANIFEST, *(f"{split}/metadata.jsonl" for split in splits)]
    there = [name for name in tables if (root / name).exists()]
    return {**{name: digest_of_file(root / name) for name in there}, CARD: ""}
