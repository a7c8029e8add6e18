"""Which kind of input a job is given, and the source that finds its images."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.inputs import folder
from pix2pix_batch.inputs.choice import TAKEN, TARS, InputFilter, is_tar
from pix2pix_batch.inputs.directory_source import LocalDirectory, StoreDirectory
from pix2pix_batch.inputs.glob_source import GlobSource
from pix2pix_batch.inputs.named_source import BracesSource, ListSource
from pix2pix_batch.inputs.pattern import has_braces
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape


def open_inputs(source: str, options: ScanOptions) -> InputSource:
    """The inputs that ``source`` names: a directory, a glob, a file, braces, ``@LIST``, ``-``, or
    a URL of one of these.

    A name of a raster's suffix stands for ``rasters``. Raises :class:`InputError` where it cannot
    be scanned into OUT.
    """
    if source == "-" or source.startswith("@"):
        return ListSource(source, options)
    options = replace(options, rasters=options.rasters or suffix_of(source) in RASTERS)
    source = remote.normalise(source)
    return (_open_local if store_of(source).is_local else _open_remote)(source, options)


def _open_local(source: str, options: ScanOptions) -> InputSource:
    path, tars = Path(source), source.lower().endswith(TARS)
    pattern = braces = False
    # A file that is called like a pattern, such as a[1].png, is meant itself.
    if not path.exists():
        pattern = glob.has_magic(source)
        braces = not pattern and (has_braces(source) or pages.locate(source)[1] > 0)
    root = _root_of(path) if pattern or braces else path
    if not root.exists():
        why = pages.explain_misnumbered(source) or "no such file or directory"
        raise InputError(f"{escape(root)}: {why}")
    if root.is_file():
        pattern, root = True, path.parent
    if not os.access(root, os.R_OK | os.X_OK):
        raise InputError(f"{escape(root)}: cannot be read; check its permissions")
    if pattern:
        return GlobSource(source, options, os.fspath(root), tars)
    if braces:
        return BracesSource(source, options, os.fspath(root), tars)
    tars = folder.holds_tars(root, options.make_filter())
    return LocalDirectory(os.fspath(root), options, tars)


def _open_remote(source: str, options: ScanOptions) -> InputSource:
    is_web, tars = remote.scheme(source) in remote.WEB, source.lower().endswith(TARS)
    braces, wild = has_braces(source), glob.has_magic(source) and not is_web
    root, inside = source, ""
    if braces or wild:
        root, inside = _root_of_url(source)
    elif pages.locate(source)[1] or remote.is_file(source):
        braces, root = True, source.rpartition("/")[0]
    if braces:
        return BracesSource(source, options, root, tars)
    if is_web:
        raise InputError(
            f"{escape(remote.redact(source))}: the web has no directories; give a list (@urls.txt)"
        )
    if not wild:
        tars = _holds_tars(source, options.make_filter())
    return StoreDirectory(source, options, root, inside, tars)


def _holds_tars(url: str, choice: InputFilter) -> bool:
    """Whether the directory of a store holds tars and no image."""
    try:
        names = remote.list_directory(url).files
    except Exception as error:
        raise InputError(
            f"{escape(remote.redact(url))}: cannot be listed ({remote.explain_error(error)})"
        ) from error
    is_wanted = any(
        choice.classify_file(name, partial(folder.open_beginning, f"{url}/{name}")) == TAKEN
        for name in names
    )
    return not is_wanted and any(map(is_tar, names))


def _root_of(pattern: Path) -> Path:
    """The directory of a pattern that holds no wildcard and no brace."""
    plain = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part) or "{" in part:
            break
        plain.append(part)
    return Path(*plain)


def _root_of_url(url: str) -> tuple[str, str]:
    """The same of a URL, and the rest of it."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    count = next(i for i, part in enumerate(parts) if glob.has_magic(part) or "{" in part)
    count = min(count, len(parts) - 1)
    if count == 0:
        raise InputError(f"{escape(remote.redact(url))}: name the bucket or host in full")
    return f"{scheme}://{'/'.join(parts[:count])}", "/".join(parts[count:])
