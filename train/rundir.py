"""A training run's directory: whose it is, and what it has recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import torch
import yaml
from torch import Tensor

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.whole import remove_unfinished
from pix2pix_batch.text import format_count
from pix2pix_batch.train import checkpoint, signature
from pix2pix_batch.train.meter import StepRecord
from pix2pix_batch.train.recipe import Recipe, parse_recipe
from pix2pix_batch.train.signature import Part
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

KEEP = 3
"""Checkpoints kept; each is about 12 bytes a weight."""

MODEL = "model.safetensors"

LOCK, RECIPE = ".lock", "recipe.yaml"

BEGUN_FROM = "begun_from"
"""In the run's record: the model that the recipe's ``init`` named when the run began."""

LENGTH = ("epochs", "decay_epochs")
"""Keys of the recipe that may change when a run goes on."""


class RunDirectory:
    """Checkpoints in ``checkpoints/``, the recipe in ``recipe.yaml``, ``metrics.jsonl``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the directory for one run at a time. Raises :class:`InputError`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout as error:
            raise InputError(
                f"{self.path}: another run is training there now; give a new directory"
            ) from error
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written to ({error.strerror})") from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, parts: Sequence[Part], mine: dict[str, Any], last: int) -> list[str]:
        """See that the directory is new, or holds the very run that ``mine`` describes, on the
        data ``parts``, or one that ended before anything was made; what of its length, which is
        ``last`` steps now, has changed, for people.

        Raises :class:`InputError`.
        """
        path = self.path / RECIPE
        if not self.has_checkpoint():  # its weights come from there now
            mine = {**mine, BEGUN_FROM: describe_init(mine["recipe"].get("init", ""))}
        if not path.exists():
            if others := sorted(p.name for p in self.path.iterdir() if p.name != LOCK):
                raise InputError(
                    f"{self.path}: holds {others[0]!r} and no training run; give a new directory"
                )
        elif self.has_begun():
            changes = self._go_on(path, parts, mine, last)
            for directory in (self.path, self.checkpoints, self.path / "samples"):
                remove_unfinished(directory)
            return changes
        else:
            read_run(path)  # a file of the user's may have this name
        self._record({"data": signature.data_signature(parts), **mine})
        return []

    def has_begun(self) -> bool:
        """Whether there is more of a run than its record of itself: figures, a checkpoint or a
        bundle, which another run would replace."""
        has_figures = self.metrics.exists() and self.metrics.stat().st_size > 0
        has_saved = self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
        return has_figures or has_saved or (self.path / MODEL).exists()

    def has_checkpoint(self) -> bool:
        """Whether all weights come from a checkpoint, and none from the recipe's ``init``."""
        return bool(checkpoint.list_checkpoints(self.checkpoints))

    def _go_on(
        self, path: Path, parts: Sequence[Part], mine: dict[str, Any], last: int
    ) -> list[str]:
        """What of the run's length has changed, for people. Raises :class:`InputError` where
        ``path`` records another run, or one that cannot go on."""
        require_same(path, parts, mine)
        if (self.path / MODEL).exists() and not self.has_checkpoint():
            raise InputError(
                f"{self.path}: holds a finished run ({MODEL}) whose checkpoints are gone, so that "
                "it cannot go on, and to start again would replace it; give a new directory"
            )
        theirs = read_run(path)
        if theirs | mine == theirs:
            return []
        there, here = theirs["recipe"], mine["recipe"]
        changes = [
            f"{key} was {there.get(key)!r} and is {here.get(key)!r}"
            for key in LENGTH
            if there.get(key) != here.get(key)
        ]
        outcome = self._require_unfinished(changes, last) if changes else ""
        self._record(theirs | mine)
        return [f"{change} from here on; {outcome}" for change in changes]

    def _require_unfinished(self, changes: list[str], last: int) -> str:
        """What becomes of a run that is to have ``last`` steps from here on. Raises
        :class:`InputError` where it has so many, and its model is made of them."""
        saved = checkpoint.list_checkpoints(self.checkpoints)
        step = checkpoint.step_of(saved[-1]) if saved else 0
        if last > step:
            return "the learning rate falls accordingly"
        if self._model_step() == step:
            raise InputError(
                f"{self.path}: is finished, after {format_count(step, 'step')}, and is to have "
                f"{last:,}: {'; '.join(changes)}. Nothing was changed; it goes on only with epochs "
                "that make more steps"
            )
        return f"the run is past that already and ends after step {step:,}"

    def describe_changed_data(self, parts: Sequence[Part]) -> str:
        """That the data is not what the run began with; empty where it is."""
        with suppress(InputError):  # of files that are gone
            if read_run(self.path / RECIPE)["data"] == signature.data_signature(parts):
                return ""
        return (
            "the data has changed since the run began, which read some files before that and some "
            "after; train anew if that was not meant"
        )

    def _model_step(self) -> int | None:
        """The step that the run's model is of; ``None`` where there is none, or a damaged one,
        which is made anew."""
        try:
            provenance = bundle.read_info(self.path / MODEL).provenance
        except InputError:
            return None
        step: int | None = provenance.get("training", {}).get("step")
        return step

    def _record(self, run: dict[str, Any]) -> None:
        text = yaml.safe_dump(run, sort_keys=False, allow_unicode=True)
        path = self.path / RECIPE
        checkpoint.write_whole(path, lambda file: file.write(text.encode()))

    def save(self, step: int, state: dict[str, Any], keep: int) -> None:
        """Write a checkpoint, then remove old ones; see
        :func:`pix2pix_batch.train.checkpoint.save`.

        Args:
            step: The number of steps that are done.
            state: What is saved.
            keep: How many of the last checkpoints stay.

        Raises:
            OutputError: It cannot be written; those before stay.
        """
        checkpoint.save(self.checkpoints, step, state, keep)

    def save_best(self, step: int, generator: dict[str, Tensor]) -> None:
        """The generator that validated best so far. Raises :class:`OutputError`."""
        state = {"step": step, "generator": generator}
        checkpoint.write_whole(self.checkpoints / "best.pt", lambda file: torch.save(state, file))

    def last_checkpoint(self) -> tuple[dict[str, Any] | None, list[Path]]:
        """The newest checkpoint that can be read, and the newer ones that cannot. Raises
        :class:`InputError`."""
        return checkpoint.load_last(self.checkpoints)

    def add_record(self, record: StepRecord) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            # Not written whole: forget_after drops a line that a crash has torn.
            file.write(json.dumps(record.as_dict()) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop what was recorded after ``step``: those steps are done again."""
        if not self.metrics.exists():
            return
        kept = (record for record in read_records(self.metrics) if record["step"] <= step)
        lines = [json.dumps(record) + "\n" for record in kept]
        checkpoint.write_whole(self.metrics, lambda file: file.write("".join(lines).encode()))


def read_records(metrics: Path) -> Iterator[dict[str, Any]]:
    """The records in a ``metrics.jsonl``; lines that a crash has torn are passed over. Raises
    ``OSError``."""
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and {"step", "losses", "validation"} <= record.keys():
                yield record


def read_run(path: Path) -> dict[str, Any]:
    """A run's ``recipe.yaml``: the data's signature and path, the processes and the recipe.

    Raises :class:`InputError`.
    """
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(record["recipe"], dict) and isinstance(record["data"], str):
            return dict(record)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: is damaged; give a new directory")


def describe_init(init: str) -> dict[str, Any]:
    """What a bundle says of the model that a recipe's ``init`` names. Raises :class:`InputError`
    where that is not there."""
    if not init:
        return {"init": ""}
    path = bundle.resolve(init)
    return {
        "init": bundle.fingerprint(path),
        "init_provenance": bundle.read_info(path).provenance,
    }


def recall_init(record: dict[str, Any]) -> dict[str, Any]:
    """The same of the model as it was when the run of that record began, which may be another by
    now; only its name where a run of an earlier version kept none, and its file is gone."""
    if isinstance(found := record.get(BEGUN_FROM), dict):
        return found
    init = record["recipe"].get("init", "")
    try:
        return describe_init(init)
    except InputError:
        return {"init": init}


def read_ranges(run: Path, recipe: Recipe) -> ValueRanges | None:
    """What a run found that samples mean, if it has begun and is one of the same ranges and bands;
    ``None`` where that is to be measured."""
    path = run / RECIPE
    if not recipe.takes_rasters or not path.is_file() or not RunDirectory(run).has_begun():
        return None
    keys = ("input_range", "output_range", "in_channels", "out_channels", "direction", "seed")
    try:
        record = read_run(path)
        mine = recipe.as_dict()
        if any(record["recipe"].get(key) != mine.get(key) for key in keys):
            return None
        ranges = record["ranges"]
        return ValueRanges(*(ValueRange.from_dict(ranges[side]) for side in ValueRanges._fields))
    except (InputError, KeyError, TypeError, ValueError):  # claiming the directory tells of it
        return None


def require_same(path: Path, parts: Sequence[Part], mine: dict[str, Any]) -> None:
    """Refuse to go on with a run that was begun with something else.

    Args:
        path: What the run's record of itself is in.
        parts: What is compared. The run's length (:data:`LENGTH`) may differ.
        mine: What this run is to be.

    Raises:
        InputError: They differ; says in what.
    """
    theirs = read_run(path)
    there, here = theirs["recipe"], mine["recipe"]
    # One of an earlier version lacks keys that have come since: it had their defaults. Of one that
    # is no recipe any more, what differs is told as it stands.
    with suppress(InputError):
        there = parse_recipe(there, str(path)).as_dict()
    changed = [
        f"{key} was {there.get(key)!r} and is {here.get(key)!r}"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key) and key not in LENGTH
    ]
    processes = theirs.get("processes", 1)
    if processes != mine["processes"]:
        changed.append(f"processes was {processes} and is {mine['processes']}")
    if theirs["data"] != signature.data_signature(parts):
        changed.append("the data has changed: files were added, removed, renamed or changed")
    if changed:
        raise InputError(
            f"{path.parent}: holds a run that differs: {'; '.join(changed)}. Give a new "
            "directory, or the same recipe, data and number of processes to go on (epochs "
            "may change)"
        )
