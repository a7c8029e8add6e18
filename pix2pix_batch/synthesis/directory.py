"""OUT as the place of a dataset: checks what lies there, and moves a new dataset in."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import reader, state
from pix2pix_batch.dataset.layout import CARD
from pix2pix_batch.dataset.state import Complete
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.journal.events import SYNTHESIZE
from pix2pix_batch.journal.history import describe_changed_model
from pix2pix_batch.journal.integrity import digest_of_file
from pix2pix_batch.journal.reader import read_first_lines, require_maker
from pix2pix_batch.journal.record import MADE
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.synthesis.plan import Input
from pix2pix_batch.text import escape, format_count

ENTRIES = "entries.json"
INPUTS = "inputs.json"
"""Within the journal's directory: what of OUT is the dataset's; of which inputs it was made."""

REPORT = "report.html"

LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What file managers of macOS and Windows leave in a directory that was looked at. It goes with
the dataset's files."""


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


class DatasetDirectory:
    """The directory OUT. ``card_stays``: whether a card that somebody had changed was left."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.state_directory, self.image_directory = out / DIRECTORY, out / MADE
        self.staging = self.state_directory / "dataset"
        self.card_stays = False

    def require_usable(self) -> None:
        """Raises :class:`InputError` where nothing may be written or removed in OUT."""
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"{escape(self.out)}: is a file; OUT must be a directory")
        require_maker(self.out, read_first_lines(self.out), SYNTHESIZE)
        for path in (self.state_directory, self.image_directory):
            if path.is_symlink():
                raise InputError(
                    f"{escape(path)}: is a link, and what is written or removed there might lie "
                    "elsewhere; remove it"
                )

    def require_this_dataset(
        self, mark: Mapping[str, Any], previous: Complete | None, name: str = ""
    ) -> None:
        """Raises :class:`InputError` where OUT holds something else than this dataset, of
        whatever inputs. ``previous``: the one that is not to be replaced; ``name``: the model's."""
        before = previous.mark if previous else mark
        differences = []
        for key, value in mark.items():
            if key == "inputs" or before.get(key) == value:
                continue
            if key == "model" and previous is not None:
                differences.append(_other_model(previous, str(value), name))
            else:
                differences.append(f"{key} was {before.get(key)!r}, now {value!r}")
        if differences:
            raise InputError(
                f"{escape(self.out)}: holds another dataset ({'; '.join(differences)}); choose "
                "another OUT, or pass --overwrite to make it anew"
            )
        ours = {DIRECTORY, MADE, REPORT, *LITTER, *self._entries()}
        try:
            others = sorted(set(os.listdir(self.out)) - ours) if self.out.is_dir() else []
        except OSError as error:
            raise self._unreadable(error) from error
        if others:
            raise InputError(
                f"{escape(self.out)}: holds other files ({escape(others[0])}), which would mix "
                "with the dataset; move them away, or give a new or empty directory"
            )

    def require_same_engine(self, previous: Complete, settings: Settings) -> None:
        """Raises :class:`InputError` where another precision or backend is asked for than the one
        that made the dataset ``previous``, as ``convert`` does, even if nothing is left to make."""
        made_so = previous.header.get("settings")
        for key in ("precision", "backend"):
            asked = getattr(settings, key)
            before = made_so.get(key) if isinstance(made_so, dict) else None
            if before is not None and asked not in ("auto", before):
                raise InputError(
                    f"{escape(self.out)}: was begun with --{key} {before}; go on with it, choose "
                    "another OUT, or pass --overwrite to make it anew"
                )

    def require_own(self) -> None:
        """Raises :class:`InputError` where something lies among the dataset's files that is not
        one of them: it would go with them."""
        own = reader.list_files(self.out)
        for file in self._files():
            if own is None and file not in (state.MANIFEST, CARD):
                raise InputError(
                    f"{escape(self.out)}: its manifest is damaged, and nothing tells which files "
                    f"are the dataset's; move {escape(file.partition('/')[0])} away"
                )
            if own is not None and file not in own and posixpath.basename(file) not in LITTER:
                raise InputError(
                    f"{escape(self.out)}: holds {escape(file)}, which is not the dataset's; move "
                    "it away"
                )

    def _files(self) -> Iterator[str]:
        """The files in the dataset's entries, in any order."""
        left = [name for name in self._entries() if os.path.lexists(self.out / name)]
        while left:
            name = left.pop()
            path = self.out / name
            if path.is_symlink() or not path.is_dir():
                yield name
                continue
            try:
                left += sorted((f"{name}/{one}" for one in os.listdir(path)), reverse=True)
            except OSError as error:
                raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> InputError:
        where = self.out if error.filename is None else error.filename
        return InputError(
            f"{escape(where)}: cannot be listed ({error.strerror}); check its permissions, or give "
            "another directory as OUT"
        )

    def has_own_card(self) -> bool:
        """Whether somebody has changed the card of the dataset that is there."""
        previous, path = state.read_last(self.out), self.out / CARD
        if previous is None or not previous.card or path.is_symlink() or not path.is_file():
            return False
        return digest_of_file(path) != previous.card

    def changes(self, inputs: Sequence[Input]) -> Changes | None:
        """How ``inputs`` differ from those of the last dataset here, if there was one."""
        try:
            before = json.loads((self.state_directory / INPUTS).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(before, dict):
            return None
        changed = new = relabelled = 0
        for one in inputs:
            earlier = before.pop(one.name, None)
            if earlier is None:
                new += 1
            elif earlier != _input_facts(one):
                same = isinstance(earlier, list) and earlier[:1] == [one.stamp]
                changed, relabelled = changed + (not same), relabelled + same
        return Changes(changed, new, len(before), relabelled)

    def create_empty(self) -> None:
        """Create an empty directory for the new dataset. Raises ``OSError``."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()

    def move_in(self, inputs: Sequence[Input], complete: Complete) -> None:
        """Move the new dataset into OUT, entry by entry. An earlier one is removed first, except
        for a card that somebody has changed. Raises ``OSError``."""
        self.card_stays = self.has_own_card()
        stays = {CARD} if self.card_stays else set()
        for name in set(self._entries()) - stays:
            path = self.out / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        names = sorted(os.listdir(self.staging))
        # Before anything is moved in: after a crash the next run knows these entries as the
        # dataset's own, and may replace them.
        with whole(self.state_directory / ENTRIES, sync=True) as file:
            file.write(json.dumps(names).encode())
        with (
            whole(state.copy_of_manifest(self.out), sync=True) as copy,
            (self.staging / state.MANIFEST).open("rb") as file,
        ):
            shutil.copyfileobj(file, copy)
        # from here on what lies in OUT is the new one's, should it end here
        state.write(self.out, replace(complete, is_whole=False))
        for name in names:
            if name in stays:
                (self.staging / name).unlink()
            else:
                os.replace(self.staging / name, self.out / name)
        self.staging.rmdir()
        with whole(self.state_directory / INPUTS) as file:
            file.write(json.dumps({one.name: _input_facts(one) for one in inputs}).encode())
        # Last: only what lies in its place whole counts as a dataset.
        state.write(self.out, complete)

    def clear(self) -> None:
        """Remove the images beside the dataset, which contains them now."""
        shutil.rmtree(self.image_directory, ignore_errors=True)

    def _entries(self) -> list[str]:
        try:
            found = json.loads((self.state_directory / ENTRIES).read_bytes())
        except (OSError, ValueError):
            return []
        return [name for name in found if _is_entry(name)] if isinstance(found, list) else []


def _other_model(previous: Complete, now: str, name: str) -> str:
    """The message for a dataset that was made by another model than ``name``."""
    model = previous.header.get("model")
    before = model.get("name") if isinstance(model, dict) else None
    if before is not None and before != name:
        return f"its model was {before!r}, now {name!r}"
    return describe_changed_model(name, previous.mark.get("model"), now)


def _is_entry(name: Any) -> bool:
    """Whether the dataset may have written, and may remove, what has this name in OUT."""
    if not isinstance(name, str) or os.sep in name or "\0" in name:
        return False
    return name not in ("", os.curdir, os.pardir, DIRECTORY, MADE)


def digest_inputs(inputs: Sequence[Input]) -> str:
    """A digest that changes when any input does."""
    found = hashlib.sha256()
    for one in inputs:
        found.update(json.dumps([one.name, *_input_facts(one)]).encode())
    return found.hexdigest()


def _input_facts(one: Input) -> list[str]:
    return [one.stamp, one.group, one.stratum]


def describe_missing(gone: Sequence[str]) -> str:
    """The message for a dataset that lacks files."""
    first = ", ".join(map(escape, gone[:3]))
    more = ", ..." if len(gone) > 3 else ""
    return f"{format_count(len(gone), 'file')} of the dataset had gone ({first}{more})"
