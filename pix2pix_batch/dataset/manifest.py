"""``manifest.jsonl``: how a dataset was made, and where each of its images came from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.journal.record import to_line
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import escape
from pix2pix_batch.version import __version__

SCHEMA = 1


def count_images(
    samples: Iterable[Sample], rejected: Mapping[str, str], splits: Iterable[str]
) -> dict[str, Any]:
    """How many images are where, and what is odd about how many."""
    samples = list(samples)
    places = Counter(sample.split for sample in samples)
    flags = Counter(flag for sample in samples for flag in sample.facts["flags"])
    return {
        "splits": {split: places[split] for split in splits},
        "rejected": dict(sorted(Counter(rejected.values()).items())),
        "flagged": dict(sorted(flags.items())),
    }


def package_versions() -> dict[str, str]:
    return {"pix2pix-batch": __version__, "torch": version("torch")}


def write_manifest(
    path: Path, header: dict[str, Any], samples: Iterable[Sample], rejected: Mapping[str, str]
) -> None:
    """Raises ``OSError``."""
    with whole(path) as file:
        file.write(to_line(header))
        for sample in samples:
            facts = {key: value for key, value in sample.facts.items() if key != "look"}
            file.write(to_line({"split": sample.split, **facts}))
        for key, reason in sorted(rejected.items()):
            file.write(to_line({"rejected": key, "reason": reason}))


def read_manifest(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """The first line, and those of the images that follow. Raises ``OSError``, ``ValueError``."""
    lines = _lines(path)
    header = next(lines, {})
    return header, (line for line in lines if "file" in line)


def read_rejected(path: Path) -> Iterator[tuple[str, str]]:
    """The images that were left out, and why. Raises ``OSError``."""
    with path.open("rb") as file:
        for line in file:
            if line.startswith(b'{"rejected"'):  # else it need not be read
                values = json.loads(line)
                yield str(values["rejected"]), str(values.get("reason", ""))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError(f"{escape(path)}: a line is no object")
            yield values
