"""OUT as the place of a dataset: what may lie there, what does, and moving a new one in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import complete
from pix2pix_batch.dataset.complete import Complete
from pix2pix_batch.dataset.plan import Input
from pix2pix_batch.errors import InputError
from pix2pix_batch.files.whole import whole
from pix2pix_batch.records.history import SYNTHESIZE, require_maker
from pix2pix_batch.records.record import DIRECTORY, MADE
from pix2pix_batch.text import counted, shown

ENTRIES = "entries.json"
INPUTS = "inputs.json"
"""Within the journal's directory: what of OUT is the dataset's; of which inputs it was made."""

REPORT = "report.html"


@dataclass(frozen=True)
class Changes:
    """How the inputs differ from those of the dataset before, in numbers. ``relabelled``: those
    that are the same, but of another group or stratum."""

    changed: int
    new: int
    gone: int
    relabelled: int

    def __str__(self) -> str:
        parts = [f"{self.changed:,} changed", f"{self.new:,} new", f"{self.gone:,} gone"]
        if self.relabelled:
            parts.append(f"{self.relabelled:,} in another group or stratum")
        return ", ".join(parts)

    def __bool__(self) -> bool:
        return any(vars(self).values())


class Place:
    """The directory OUT."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.kept, self.made = out / DIRECTORY, out / MADE
        self.fresh = self.kept / "dataset"

    def require(self, mark: Mapping[str, Any], known: Complete | None) -> None:
        """Raises :class:`InputError` where OUT holds something else than this dataset, of
        whatever inputs. ``known``: the one that is not to be replaced."""
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{shown(self.out)}: is a file; OUT must be a directory")
        require_maker(self.out, SYNTHESIZE)
        before = known.mark if known else mark
        for key, value in mark.items():
            if key != "inputs" and before.get(key) != value:
                raise InputError(
                    f"{shown(self.out)}: holds another dataset ({key} was {before.get(key)!r}, "
                    f"now {value!r}); choose another OUT, or pass --overwrite to make it anew"
                )
        ours = {DIRECTORY, MADE, REPORT, *self._entries()}
        others = sorted(set(os.listdir(self.out)) - ours) if self.out.is_dir() else []
        if others:
            raise InputError(
                f"{shown(self.out)}: holds other files ({shown(others[0])}), which would mix with "
                "the dataset; give a new or empty directory"
            )

    def changes(self, inputs: Sequence[Input]) -> Changes | None:
        """How ``inputs`` differ from those of the last dataset here, if there was one."""
        try:
            before = json.loads((self.kept / INPUTS).read_bytes())
        except (OSError, ValueError):
            return None
        changed = new = relabelled = 0
        for one in inputs:
            known = before.pop(one.name, None)
            if known is None:
                new += 1
            elif known[0] != one.stamp:
                changed += 1
            elif known != _told(one):
                relabelled += 1
        return Changes(changed, new, len(before), relabelled)

    def renew(self) -> None:
        """An empty directory for the dataset to be written in. Raises ``OSError``."""
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir()

    def move_in(self, inputs: Sequence[Input], known: Complete) -> None:
        """The new dataset into OUT, entry by entry; an earlier one goes first. Raises
        ``OSError``."""
        for name in self._entries():
            path = self.out / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        names = sorted(os.listdir(self.fresh))
        with whole(self.kept / ENTRIES, sync=True) as file:
            file.write(json.dumps(names).encode())
        shutil.copyfile(self.fresh / complete.MANIFEST, complete.copy_of_manifest(self.out))
        for name in names:
            os.replace(self.fresh / name, self.out / name)
        self.fresh.rmdir()
        with whole(self.kept / INPUTS) as file:
            file.write(json.dumps({one.name: _told(one) for one in inputs}).encode())
        complete.write(self.out, known)

    def clear(self) -> None:
        """The images that were made are in the dataset, and not needed beside it."""
        shutil.rmtree(self.made, ignore_errors=True)

    def _entries(self) -> list[str]:
        try:
            found = json.loads((self.kept / ENTRIES).read_bytes())
        except (OSError, ValueError):
            return []
        return [name for name in found if isinstance(name, str) and os.sep not in name]


def digest(inputs: Sequence[Input]) -> str:
    """Changes when any input does."""
    found = hashlib.sha256()
    for one in inputs:
        found.update(json.dumps([one.name, *_told(one)]).encode())
    return found.hexdigest()


def _told(one: Input) -> list[str]:
    return [one.stamp, one.group, one.stratum]


def mended(gone: Sequence[str]) -> str:
    """What to say of a dataset that lacks files."""
    first = ", ".join(map(shown, gone[:3]))
    more = ", ..." if len(gone) > 3 else ""
    return f"{counted(len(gone), 'file')} of the dataset had gone ({first}{more})"
