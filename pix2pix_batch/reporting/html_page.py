"""``OUT/report.html``: a job on one page that needs nothing else. ``docs/page.md``."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import state
from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.journal.history import DIRECTORY_OF_NAMES, OUT_OF_JOURNAL, RANGES
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.reporting import template
from pix2pix_batch.reporting.chart import chart
from pix2pix_batch.reporting.dataset_page import Dataset
from pix2pix_batch.reporting.gallery import (
    LONGEST_NAME,
    LONGEST_TEXT,
    Card,
    Failure,
    Gallery,
    printable,
    shorten,
)
from pix2pix_batch.reporting.statistics import BEYOND, DOUBT, Statistics, Values
from pix2pix_batch.storage import common, destination, files, remote
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import duration, escape
from pix2pix_batch.version import __version__

NAME = "report.html"

LIMIT = 5_000_000
"""Bytes of the page at most."""

EXAMPLES = (20, 5, 1, 0)
"""Failures of a group that are named: as many as the page has room for."""

FOLDERS = 200
"""Folders to choose from."""

SETTINGS = 60
WORDS = {
    "model": "SHA-256 of the model",
    "model_name": "model",
    DIRECTORY_OF_NAMES: "relative paths from",
    "overwrite": "times overwritten",
    "keep_exif": "keep EXIF",
}
"""What settings are called that are not called by an option's name in words."""

UNTOLD = ("schema", "kind", "beside", OUT_OF_JOURNAL, RANGES)
"""Settings that say nothing to people, or nothing that another does not."""

BARS = 20

HEAD = 1024
"""Bytes in which a page of ours says so."""

SAYS_SO = b'<meta name="generator" content="pix2pix-batch">'


@dataclass(frozen=True)
class Bar:
    """Of the histogram of distances. ``height``: in percent of the highest."""

    count: int
    height: float


def write(out: Path, outputs: str | None = None, dataset: Values | None = None) -> Path:
    """Write the page of the job whose journal lies in ``out``; its path.

    ``outputs``: where its outputs lie, if that is a URL; ``dataset``: what is known of one that
    is not finished, as its header would have it. Deterministic for a given journal and files.
    Raises :class:`InputError` where there is no journal or the place is another's,
    :class:`OutputError` where the page cannot be written.
    """
    path = out / NAME
    _require_free(path)
    state = _state(out)  # before it is read: a run may be adding to it
    tally = Statistics(read_events(out))
    _require_not_laid_out(out, tally)
    place = outputs if outputs and not store_of(outputs).is_local else str(out.resolve())
    gallery = Gallery(out, place, tally)
    about = Dataset.of(out, dataset) if tally.is_dataset else None
    text = _text(gallery, about, state)
    with suppress(OSError):  # an OUT that was copied may lack it
        (out / common.DIRECTORY / "tmp").mkdir(exist_ok=True)
    try:
        destination.place(out, NAME, text.encode())
    except ImageError as error:
        raise OutputError(f"{escape(path)}: {error}") from error
    return path


def publish(out: Path, outputs: str = "", dataset: Values | None = None) -> str:
    """As :func:`write`, and where the outputs lie behind a URL, there too; the page's place."""
    path = write(out, outputs, dataset)
    if store_of(outputs).is_local:
        return str(path)
    url = files.join(outputs, NAME)
    try:
        _require_free_there(url)
        destination.place(outputs, NAME, path.read_bytes())
    except ImageError as error:
        raise OutputError(f"{escape(remote.redact(url))}: {error}") from error
    return remote.redact(url)


def attempt(out: Path, outputs: str = "", dataset: Values | None = None) -> tuple[str, str]:
    """As :func:`publish`, at the end of a job, unless the page is of the journal as it is.

    Its path, and nothing or a note why there is none: what is wrong with the page is no fault of
    the job.
    """
    path = out / NAME
    try:
        if store_of(outputs).is_local and _is_current(path, out):
            return str(path), ""
        return publish(out, outputs, dataset), ""
    except (InputError, OutputError) as error:
        return "", f"no report: {error}"
    except KeyboardInterrupt:
        return "", f"no report: interrupted; 'pix2pix-batch report {escape(out)}' writes it"
    except Exception as error:  # hours of work stand behind a job
        why = " ".join(str(error).split())[:LONGEST_TEXT]
        return "", f"no report: {type(error).__name__}: {escape(why)}"


def _is_current(path: Path, out: Path) -> bool:
    """Whether the page was made by this version of the journals as they now are."""
    try:
        with path.open("rb") as file:
            return f'<meta name="state" content="{_state(out)}">'.encode() in file.read(HEAD)
    except OSError:
        return False


def _state(out: Path) -> str:
    """Changes with whatever is added to the journals."""
    journals = sorted((out / common.DIRECTORY).glob("journal*.jsonl"))
    sizes = []
    for path in journals:
        with suppress(FileNotFoundError):  # of a shard, which was merged this moment
            sizes.append((path.name, path.stat().st_size))
    with suppress(OSError):
        sizes.append((str(state.path_of(out)), state.path_of(out).stat().st_mtime_ns))
    return hashlib.sha256(repr((__version__, sizes)).encode()).hexdigest()


def _require_free(path: Path) -> None:
    """Nothing that another program made is replaced."""
    try:
        with path.open("rb") as file:
            if SAYS_SO in file.read(HEAD):
                return
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(
            f"{escape(path)}: is there and cannot be read ({error.strerror})"
        ) from error
    raise InputError(f"{escape(path)}: is there and not of this program; move it away")


def _require_free_there(url: str) -> None:
    """The same of a page in a store. Raises :class:`ImageError` where nobody can tell."""
    try:
        head = remote.read(url, HEAD)
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return
        raise
    if SAYS_SO not in head:
        raise InputError(
            f"{escape(remote.redact(url))}: is there and not of this program; move it away"
        )


def _require_not_laid_out(out: Path, tally: Statistics) -> None:
    """A dataset's report is made while its images lie apart; later it would show none."""
    made = [out / str(values.get("output", "")) for values in tally.samples]
    if tally.is_dataset and made and not any(path.exists() for path in made):
        raise InputError(
            f"{escape(out)}: holds a finished dataset, whose report was made with it; the next "
            "'synthesize' that changes the dataset makes it again"
        )


def _text(gallery: Gallery, about: Dataset | None, state: str) -> str:
    """The page, with as many failures named as there is room for."""
    tally, outputs = gallery.tally, gallery.outputs
    samples, doubtful, odd = gallery.cards()
    text = ""
    for most in EXAMPLES:
        failures = gallery.failures(most)
        text = template.render(
            Path(__file__).with_suffix(".html"),
            title=shorten(printable(outputs).rstrip("/").rpartition("/")[2] or "/", LONGEST_NAME),
            out=shorten(outputs, LONGEST_TEXT),
            far=gallery.is_remote,
            tally=tally,
            chart=chart(tally.pace.curve()),
            samples=samples,
            doubtful=doubtful,
            odd=odd,
            warnings=_warnings(tally),
            failures=failures,
            reasons=[shorten(group.said, LONGEST_TEXT) for group in tally.groups],
            bars=_bars(tally),
            alike=_alike(tally),
            folders=_folders(samples, doubtful, odd, *(named for _, named in failures)),
            about=about,
            settings=_settings(
                tally.job | gallery.rasters.describe() | (about.settings if about else {})
            ),
            legends=gallery.rasters.list_legends(),
            doubt=DOUBT,
            lead=_describe_job(tally),
            unfinished=_describe_unfinished(tally),
            worked=duration(tally.pace.seconds),
            version=__version__,
            state=state,
        )
        if len(text.encode()) <= LIMIT:
            break
    return text


def _folders(*kinds: Sequence[Card | Failure]) -> list[str]:
    """Those that there are to choose from, where there is a choice."""
    found = sorted({one.folder for one in chain(*kinds)})
    return found[:FOLDERS] if len(found) > 1 else []


def _settings(job: Values) -> dict[str, str]:
    """The journal's first line, and what a dataset's header adds, for people."""
    return {
        shorten(WORDS.get(key, key.replace("_", " ")), LONGEST_NAME): shorten(
            _describe_value(value), LONGEST_TEXT
        )
        for key, value in list(job.items())[:SETTINGS]
        if value is not None and key not in UNTOLD
    }


def _describe_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_describe_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_describe_value(part)}" for key, part in value.items())
    return str(value)


def _warnings(tally: Statistics) -> list[tuple[str, str]]:
    """Inputs that were read although something was wrong with them, and what."""
    return [
        (shorten(str(values["name"]), LONGEST_NAME), shorten(str(values["warning"]), LONGEST_TEXT))
        for values in sorted(tally.warnings, key=lambda values: str(values["name"]))
    ]


def _bars(tally: Statistics) -> list[Bar]:
    """Twenty parts of 0 to 100, and what lies beyond."""
    width = BEYOND // BARS
    counts = [sum(tally.distances[i : i + width]) for i in range(0, BEYOND, width)]
    counts.append(tally.distances[BEYOND])
    most = max(counts) or 1
    return [Bar(count, round(100 * count / most, 2)) for count in counts]


def _alike(tally: Statistics) -> float:
    """The height that all bars would have for images like the training inputs."""
    return round(100 * tally.measured / BARS / (max(bar.count for bar in _bars(tally)) or 1), 2)


def _describe_job(tally: Statistics) -> str:
    """By which model, and when."""
    model = str(tally.job.get("model_name", ""))
    parts = [f"Made by {shorten(model, LONGEST_NAME)}"] if model else []
    if math.isfinite(tally.pace.begun):
        begun, ended = (
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
            for at in (tally.pace.begun, tally.pace.ended)
        )
        day = begun[:11]
        parts.append(begun if begun == ended else f"{begun} to {ended.removeprefix(day)}")
        parts[-1] += " UTC"
    return ", ".join(parts)


def _describe_unfinished(tally: Statistics) -> str:
    """What there is to say where the last run has not come to its end."""
    left = set(tally.outcomes) - {"finished", ""}
    if not left:
        return ""
    how = "is still running, or was killed" if "begun" in left else "was interrupted or stopped"
    return f"Not finished: the last run {how}. The same command goes on from there."
