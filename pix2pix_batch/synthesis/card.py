"""The dataset card: README.md with the metadata that the Hugging Face hub reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.imaging.output_formats import SUFFIXES
from pix2pix_batch.journal.history import RANGES
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange

SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"),
)  # fmt: skip
"""The hub's size categories, each with the number of images below which it applies."""

FILES = {
    "imagefolder": "{}/**",
    "webdataset": "{}-*.tar",
    "parquet": "data/{}-*.parquet",
}
"""Where the hub's loader finds a split of a layout."""

CONTENTS = {
    "imagefolder": "`images/` holds the outputs, `inputs/` the inputs; `metadata.jsonl` has both.",
    "webdataset": "Each key has the output (`png`, or its format), the input (`source.png`) and "
    "`json`.",
    "parquet": "`image` holds the output, `source` the input.",
    "side-by-side": "Each image has the input to the left and the output to the right.",
    "a-b": "`A/` holds the inputs, `B/` the outputs, under the same names.",
}


def card(
    name: str, layout: str, license: str, info: BundleInfo, manifest: Mapping[str, Any]
) -> str:
    """The card's text. ``manifest``: the manifest's first line."""
    counts: Mapping[str, int] = manifest["splits"]
    total = sum(counts.values())
    lines = [
        "---",
        *_write_front_matter(name, layout, license, list(counts), total),
        "---",
        "",
        f"# {name}",
        "",
        f"{format_count(total, 'synthetic image')}, made by the pix2pix model `{info.name}`"
        f"{_describe_domains(info)} with pix2pix-batch {manifest['versions']['pix2pix-batch']}. "
        "No camera took them: do not take them for evidence of anything.",
        "",
        "| split | images |",
        "| --- | --- |",
        *(f"| {split} | {count:,} |" for split, count in counts.items()),
        "",
        _describe_contents(layout, manifest["settings"]),
        "`manifest.jsonl` tells of each image its input, the input's hash, the variant and the "
        "distance from the model's training inputs.",
        "",
        *_describe_values(manifest),
        "## How it was made",
        "",
        *_write_table(manifest),
        "",
        "## Quality control",
        "",
        *_describe_quality(manifest),
        "",
        "## The model",
        "",
        *_describe_model(info, manifest),
        "",
    ]
    return "\n".join(lines)


def _describe_contents(layout: str, settings: Mapping[str, Any]) -> str:
    copy = settings.get("source_format")
    return (
        CONTENTS[layout].replace("source.png", f"source{SUFFIXES[copy]}")
        if copy
        else CONTENTS[layout]
    )


def _write_front_matter(
    name: str, layout: str, license: str, splits: Sequence[str], total: int
) -> Iterator[str]:
    """The YAML front matter. Values are written as JSON, which is valid YAML."""
    size = next((word for most, word in SIZES if total < most), "100M<n<1B")
    values: dict[str, Any] = {
        "pretty_name": name,
        "license": license,
        "task_categories": ["image-to-image"],
        "tags": ["synthetic", "pix2pix", "image-to-image", "pix2pix-batch"],
        "size_categories": [size],
    }
    if layout in FILES:
        files = [{"split": split, "path": FILES[layout].format(split)} for split in splits]
        values["configs"] = [{"config_name": "default", "data_files": files}]
    for key, value in values.items():
        yield f"{key}: {json.dumps(value)}"


def _describe_domains(info: BundleInfo) -> str:
    if not (info.source_domain and info.target_domain):
        return ""
    return f" ({info.source_domain} to {info.target_domain})"


def _describe_values(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What the samples of rasters mean."""
    if not (sides := manifest.get(RANGES)):
        return
    yield "## What the values mean"
    yield ""
    for word, told in sides.items():
        side = ValueRange.from_dict(told).describe()
        yield f"- {word}s: " + "; ".join(f"{key} {_cell(value)}" for key, value in side.items())
    yield ""
    yield "Values beyond a band's range count as its ends; `manifest.jsonl` tells all this, too."
    yield ""


def _write_table(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "| setting | value |"
    yield "| --- | --- |"
    for key, value in {**manifest["settings"], **manifest["versions"]}.items():
        yield f"| {key} | {_cell(value)} |"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _describe_quality(manifest: Mapping[str, Any]) -> Iterator[str]:
    for title, counts in (("rejected", manifest["rejected"]), ("flagged", manifest["flagged"])):
        told = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
        yield f"- {title}: {told or 'none'}"
    if manifest["inputs_failed"]:
        yield f"- inputs that could not be used: {manifest['inputs_failed']:,}"
    if (diversity := manifest["diversity"]) is not None:
        yield f"- mean absolute difference between variants of an input: {diversity:.2f} of 255"


def _describe_model(info: BundleInfo, manifest: Mapping[str, Any]) -> Iterator[str]:
    yield f"- name: {info.name}"
    yield f"- SHA-256: {manifest['model']['sha256']}"
    data = info.provenance.get("data")
    if isinstance(data, dict):
        for key in ("source", "license"):
            if data.get(key):
                yield f"- training data, {key}: {_cell(data[key])}"
