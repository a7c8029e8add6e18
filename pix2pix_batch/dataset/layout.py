"""How samples lie on disk: what image folders, WebDataset, Parquet and pix2pix trainers read.

Each layout writes one split's samples, in order, and says where each went: its ``file``, within
the dataset. Equal samples give equal bytes.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.record import to_line
from pix2pix_batch.storage.whole import whole

CARD = "README.md"
"""The name of a dataset's card, which Hugging Face looks for."""

SHARD_BYTES = 256 << 20
"""Of a WebDataset shard or a Parquet file, roughly: what tools recommend lies around it."""

ROW_GROUP = 100
"""Rows of a Parquet row group, as the Hugging Face libraries write images."""

Writer = Callable[[Path, str, Sequence[Sample]], None]


def image_folder(root: Path, split: str, samples: Sequence[Sample]) -> None:
    """``SPLIT/KEY.png`` with ``SPLIT/metadata.jsonl``, as the ``imagefolder`` of Hugging Face
    ``datasets`` reads it; the inputs lie in ``SPLIT/inputs/``."""
    with whole(root / split / "metadata.jsonl") as table:
        for sample in samples:
            inside = f"images/{sample.key}{sample.suffix}"
            link(sample.output, root / split / inside)
            sample.facts["file"] = f"{split}/{inside}"
            row = {"file_name": inside}
            if sample.source is not None:
                row["source_file_name"] = f"inputs/{sample.base}{sample.source_suffix}"
                link(sample.source, root / split / row["source_file_name"])
            table.write(to_line({**row, **column_values(sample.facts)}))


def side_by_side(root: Path, split: str, samples: Sequence[Sample]) -> None:
    """``SPLIT/KEY.png``, input to the left and output to the right."""
    for sample in samples:
        sample.facts["file"] = f"{split}/{sample.key}{sample.suffix}"
        link(sample.output, root / sample.facts["file"])


def folders(root: Path, split: str, samples: Sequence[Sample]) -> None:
    """``A/SPLIT/KEY.png``, the input, and ``B/SPLIT/KEY.png``, the output."""
    for sample in samples:
        assert sample.source is not None
        sample.facts["file"] = f"B/{split}/{sample.key}{sample.suffix}"
        link(sample.output, root / sample.facts["file"])
        link(sample.source, root / "A" / split / f"{sample.key}{sample.source_suffix}")


def web_dataset(root: Path, split: str, samples: Sequence[Sample]) -> None:
    """``SPLIT-000000.tar`` and on, for the ``webdataset`` library: ``png``, ``source.png`` and
    ``json`` of each sample under one key."""
    number = 0
    for shard, part in enumerate(_parts(samples)):
        name = f"{split}-{shard:06d}.tar"
        with whole(root / name) as file, tarfile.open(fileobj=file, mode="w|") as tar:
            for sample in part:
                key, number = f"{number:09d}", number + 1
                sample.facts |= {"file": name, "key": key}
                _add(tar, key + sample.suffix, sample.output.read_bytes())
                if sample.source is not None:
                    _add(tar, f"{key}.source{sample.source_suffix}", sample.source.read_bytes())
                _add(tar, f"{key}.json", to_line(column_values(sample.facts)))


def parquet(root: Path, split: str, samples: Sequence[Sample]) -> None:
    """``data/SPLIT-00000-of-00003.parquet``: images as Hugging Face ``datasets`` stores them, a
    struct of ``bytes`` and ``path``, and what is known of them in columns."""
    import pyarrow
    import pyarrow.parquet

    schema = parquet_schema(samples)
    parts = list(_parts(samples))
    for number, part in enumerate(parts):
        name = f"data/{split}-{number:05d}-of-{len(parts):05d}.parquet"
        with whole(root / name) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for at in range(0, len(part), ROW_GROUP):
                rows = [_row(sample) for sample in part[at : at + ROW_GROUP]]
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        for row, sample in enumerate(part):
            sample.facts |= {"file": name, "row": row}


def parquet_schema(samples: Sequence[Sample]) -> Any:
    """The columns' types, also in ``datasets``' own terms, so that it shows images."""
    import pyarrow

    image = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    columns = {"image": image}
    if samples and samples[0].source is not None:
        columns["source"] = image
    rasters = {
        "image": any(not one.is_picture for one in samples[:1]),
        "source": any(one.source_form != "png" for one in samples[:1]),
    }
    terms: dict[str, Any] = {name: BYTES if rasters[name] else IMAGE for name in columns}
    for name, kind in COLUMNS.items():
        columns[name] = kinds[kind]
        terms[name] = {"dtype": DTYPES[kind], "_type": "Value"}
    about = json.dumps({"info": {"features": terms}})
    return pyarrow.schema(columns, metadata={"huggingface": about})


def _row(sample: Sample) -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": {"bytes": sample.output.read_bytes(), "path": sample.key + sample.suffix}
    }
    if sample.source is not None:
        row["source"] = {
            "bytes": sample.source.read_bytes(),
            "path": sample.base + sample.source_suffix,
        }
    return row | column_values(sample.facts)


LAYOUTS: dict[str, Writer] = {
    "imagefolder": image_folder,
    "webdataset": web_dataset,
    "parquet": parquet,
    "side-by-side": side_by_side,
    "a-b": folders,
}

IMAGE = {"_type": "Image"}
BYTES = {
    "bytes": {"dtype": "binary", "_type": "Value"},
    "path": {"dtype": "string", "_type": "Value"},
}
"""An image's column as ``datasets`` calls it, and that of a raster, which it cannot open."""

PAIRED = ("side-by-side", "a-b")
"""Those that pix2pix trainers read: they hold the inputs in any case."""


COLUMNS = {
    "input": str, "input_hash": str, "variant": int, "hash": str, "group": str,
    "distance": float, "flags": str,
}  # fmt: skip
"""What metadata says of each image, and of what type. There are no nulls and no lists: libraries
take a column's type from what they find in it, and may find nothing else in one split."""

DTYPES = {str: "string", int: "int64", float: "float64"}
"""As ``datasets`` calls them."""

UNKNOWN = -1.0
"""A distance that is not known."""


def column_values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A sample's :data:`COLUMNS`. ``facts``: as the manifest has them too."""
    distance = facts["distance"]
    return {
        **{name: facts[name] for name in ("input", "input_hash", "variant", "hash")},
        "group": facts["group"] or "",
        "distance": UNKNOWN if distance is None else float(distance),
        "flags": ",".join(facts["flags"]),
    }


def _parts(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Consecutive samples of about :data:`SHARD_BYTES` together."""
    part: list[Sample] = []
    size = 0
    for sample in samples:
        length = sample.output.stat().st_size
        length += sample.source.stat().st_size if sample.source is not None else 0
        if part and size + length > SHARD_BYTES:
            yield part
            part, size = [], 0
        part.append(sample)
        size += length
    if part:
        yield part


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """With no time and no owner, which would differ from run to run."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def link(file: Path, target: Path) -> None:
    """``file`` also at ``target``: without another copy where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(file, target)
    except OSError:
        with whole(target) as copy, file.open("rb") as data:
            shutil.copyfileobj(data, copy)


def require_library(layout: str) -> None:
    """Raises :class:`InputError` where the library that a layout needs is not installed."""
    try:
        import imagehash  # noqa: F401

        if layout == "parquet":
            import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"synthesize needs {error.name}: pip install 'pix2pix-batch[synthesize]'"
        ) from error


def require_splits(layout: str, names: Iterable[str]) -> None:
    """Raises :class:`InputError` for splits that a layout's readers would not see."""
    if layout in PAIRED and (others := [name for name in names if name not in TRAINED]):
        raise InputError(
            f"--split: pix2pix trainers read train, val and test, not {others[0]!r}; use these "
            f"with --layout {layout}"
        )


TRAINED = ("train", "val", "test")
