"""What ``engine list`` shows of engines, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pix2pix_batch.engines.cache import Entry
from pix2pix_batch.text import escape

COLUMNS = (
    "id", "model", "target", "precision", "size", "batch", "library", "bytes", "built", "parity",
)  # fmt: skip
LEAST = ("built", "bytes", "library", "size")
"""The columns that a narrow terminal does without, the first one first."""


def make_row(entry: Entry) -> dict[str, Any]:
    """What ``engine list`` shows of an engine."""
    key, facts = entry.key, entry.facts
    return {
        "id": entry.id,
        "model": facts.get("model", ""),
        "target": key.capability,
        "gpu": key.gpu,
        "precision": key.precision,
        "size": key.size,
        "batch_size": key.batch_size,
        "noise": key.noise,
        "library": key.library,
        "version": key.version,
        "bytes": facts["bytes"],
        "built": facts["built"],
        "parity": facts["parity"],
        "refused": entry.refusal,
    }


def format_table(rows: Sequence[dict[str, Any]], width: int | None = None) -> Iterator[str]:
    """The rows for people, in columns; without :data:`LEAST`, as far as they exceed ``width``."""
    if not rows:
        return
    cells = [COLUMNS]
    for row in rows:
        parity = f"{row['parity']['psnr']:.1f} dB" if row["parity"] else "not checked"
        cells.append(
            (
                row["id"][:12],
                escape(row["model"]),
                row["target"],
                row["precision"] + ("+noise" if row["noise"] else ""),
                str(row["size"]),
                str(row["batch_size"]),
                f"{row['library']} {row['version']}",
                f"{row['bytes']:,}",
                row["built"],
                f"{parity}, set aside" if row["refused"] else parity,
            )
        )
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for name in LEAST:
        place = next(i for i, column in enumerate(columns) if column[0] == name)
        if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
            del columns[place], widths[place]
    for line in zip(*columns, strict=True):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
