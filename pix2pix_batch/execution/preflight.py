"""What a worker of somebody's cluster must have before it gets work."""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Container, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pix2pix_batch import bundle
from pix2pix_batch.errors import ImageError, InputError, SchedulerGone
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.storage import files
from pix2pix_batch.storage.common import FULL
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.version import __version__

PACKAGES = (
    "torch", "numpy", "pillow", "simplejpeg", "tifffile", "imagecodecs", "distributed",
)  # fmt: skip
"""What decides an image's bytes, or whether a worker understands what it is sent."""

ASKED = 3
"""Times that all workers are asked where some leave meanwhile. Each is looked at before its first
chunk too."""

ANSWER_SECONDS = 10
"""How long a scheduler may take to say who works for it."""

SHOWN = 8
"""Unfit workers that a message lists."""


@dataclass(frozen=True)
class WorkerRequirements:
    """What the job's workers must have.

    ``versions``: of the machine the job was started on; ``readable``: an input that can be read
    there, if any can; ``beginning``: the digest of its beginning; ``directory``: one that this
    run has made in OUT, empty where OUT is no directory.
    """

    versions: tuple[tuple[str, str], ...]
    readable: str = ""
    beginning: str = ""
    directory: str = ""


def package_versions() -> tuple[tuple[str, str], ...]:
    """By name. Builds of one version (``2.9.0+cu130``, ``2.9.0+cpu``) count as the same."""
    found = [("Python", ".".join(platform.python_version_tuple()[:2]))]
    found.append(("pix2pix-batch", __version__))
    for name in PACKAGES:
        version = "none"
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name).partition("+")[0]
        found.append((name, version))
    return tuple(found)


def find_readable(paths: Iterable[str]) -> tuple[str, str]:
    """The first of the inputs that can be read here and the digest of its beginning; empty where
    none can."""
    for path in paths:
        with contextlib.suppress(ImageError):
            return path, files.digest_beginning(path)
    return "", ""


def find_problems(settings: Settings, needs: WorkerRequirements) -> list[str]:
    """What this worker lacks for the job, and what to do about it; empty if it is fit."""
    here = dict(package_versions())
    found = [
        f"has {name} {here.get(name, 'none')}, not {version}: install the same there"
        for name, version in needs.versions
        if here.get(name) != version
    ]
    found += filter(None, (_model(settings), _input(needs), _output(settings, needs)))
    return found


def _model(settings: Settings) -> str:
    path = Path(settings.model)
    try:
        if bundle.fingerprint(path) == settings.fingerprint:
            return ""
    except (InputError, OSError):
        return f"cannot read the model {escape(path)}: put the bundle where all workers see it"
    return f"has another bundle as {escape(path)}: put the same one there"


def _input(needs: WorkerRequirements) -> str:
    if not needs.readable:
        return ""
    try:
        found = files.digest_beginning(needs.readable)
    except ImageError as error:
        return (
            f"cannot read the input {escape(needs.readable)} ({error}): mount IN there at the "
            "same path, for the same user"
        )
    if found != needs.beginning:
        return (
            f"has another file as the input {escape(needs.readable)}: mount the same IN there at "
            "the same path"
        )
    return ""


def _output(settings: Settings, needs: WorkerRequirements) -> str:
    if not needs.directory:
        return ""
    if not os.path.isdir(needs.directory):
        return (
            f"does not see the OUT of this run, {escape(settings.out)}: mount the same file "
            "system there at the same path"
        )
    trial = Path(needs.directory) / f"trial-{uuid.uuid4().hex}"
    try:
        trial.write_bytes(b"may be removed")
        trial.unlink()
    except OSError as error:
        remedy = "make room" if error.errno in FULL else "let it write"
        return f"cannot write in OUT, {escape(settings.out)} ({error.strerror}): {remedy} there"
    return ""


# Only who is fit is remembered: what was lacking may be mended while the job runs.
_fit: set[tuple[str, WorkerRequirements]] = set()
"""The models and runs that this worker was found fit for."""


def find_problems_once(settings: Settings, needs: WorkerRequirements) -> list[str]:
    """As :func:`find_problems`, but not repeated once there were none."""
    key = (settings.fingerprint, needs)
    if key in _fit:
        return []
    found = find_problems(settings, needs)
    if not found:
        _fit.add(key)
    return found


def find_unfit(client: Any, settings: Settings, needs: WorkerRequirements) -> dict[str, list[str]]:
    """What the workers of ``client`` lack, by their address; empty where all are fit.

    Raises :class:`SchedulerGone`.
    """
    answers: dict[str, Any] = {}
    for attempt in range(ASKED):
        time.sleep(attempt)  # until the scheduler knows that the ones asked before have left
        try:
            # "return": else the first worker that fails would hide what the others say.
            answers = client.run(find_problems, settings, needs, on_error="return")
        except OSError:
            _list_workers(client)
            continue
        if not any(map(_is_unreached, answers.values())):
            break
    else:
        there = _list_workers(client)
        answers = {
            address: answer
            for address, answer in answers.items()
            if address in there or not _is_unreached(answer)
        }
    return {
        address: _explain(answer) if isinstance(answer, BaseException) else answer
        for address, answer in answers.items()
        if answer
    }


def _is_unreached(answer: Any) -> bool:
    """Whether the answer means that the worker is gone or behind a firewall."""
    return isinstance(answer, OSError)  # which a closed connection's error is as well


def _list_workers(client: Any) -> Container[str]:
    """The addresses of the workers that are there. Raises :class:`SchedulerGone`."""
    try:
        found: Container[str] = client.sync(
            client.scheduler.ncores, callback_timeout=ANSWER_SECONDS
        )
        return found
    except Exception as error:  # the kinds of errors of a lost connection are many
        raise SchedulerGone from error


def _explain(error: BaseException) -> list[str]:
    if isinstance(error, ModuleNotFoundError | AttributeError | TypeError):
        return [
            f"does not have pix2pix-batch {__version__} ({error}): install it in the "
            "environment that its workers run in"
        ]
    return [f"cannot be asked ({type(error).__name__}: {error}): restart it"]


def require_fit(client: Any, settings: Settings, needs: WorkerRequirements) -> None:
    """Raises :class:`InputError` that names each worker that cannot do the job, and why."""
    if found := find_unfit(client, settings, needs):
        raise InputError(format_unfit(found))


def format_unfit(found: dict[str, list[str]]) -> str:
    """The unfit workers for people, one a line."""
    lines = [f"{address}: {'; '.join(reasons)}" for address, reasons in sorted(found.items())]
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    verb = "is" if len(found) == 1 else "are"
    return "\n  ".join(
        [
            f"{format_count(len(found), 'worker')} {verb} not fit for this job:",
            *lines[:SHOWN],
            *more,
        ]
    )
