"""The small files beside an image that say where it lies on the ground.

World files (six lines), ``.prj`` (the reference system) and ``.aux.xml`` (GDAL's own). Each goes
with its image's output, under the name that programs look for there.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.storage.local import AUXILIARY as AUXILIARY
from pix2pix_batch.storage.local import open_descriptor

PLAIN = (".wld", ".prj")
"""Suffixes that are the same whatever the image's format."""

LARGEST = 1 << 20
"""Bytes of a sidecar or a tile set's description; a world file has about 100."""

_LIKELY = re.compile(r"\.(\w{2,}w|wld|prj|aux\.xml)$", re.IGNORECASE)


def may_be_sidecar(name: str) -> bool:
    """Whether a file may be a sidecar, by its name alone."""
    return _LIKELY.search(name) is not None


def names(image: str) -> tuple[str, ...]:
    """The names that sidecars of the file ``image`` may have, in lower or in upper case."""
    stem, suffix = os.path.splitext(image)
    plain = [*_world_suffixes(suffix.lower()), *PLAIN]
    return (
        *(stem + suffix for suffix in plain),
        *(stem + suffix.upper() for suffix in plain),
        image + AUXILIARY,
    )


def _world_suffixes(suffix: str) -> tuple[str, ...]:
    """The suffixes of world files: ``.pgw`` and ``.pngw`` for ``.png``, by GDAL's rule."""
    if len(suffix) < 3:
        return ()
    return tuple(dict.fromkeys((f".{suffix[1]}{suffix[-1]}w", f"{suffix}w")))


def output_name(sidecar: str, image: str, output: str) -> str:
    """Name the sidecar of an output.

    ``a.jgw`` of ``a.jpg`` becomes ``b.pgw`` for ``b.png``, and ``a.JPGW`` becomes ``b.PNGW``; a
    ``.wld`` keeps its suffix.

    Args:
        sidecar: The name of an input's sidecar, one of :func:`names`.
        image: The name of the input.
        output: The output's path, beside which the sidecar is to lie.
    """
    if sidecar == image + AUXILIARY:
        return output + AUXILIARY
    own = sidecar[len(os.path.splitext(image)[0]) :]
    stem, suffix = os.path.splitext(output)
    if own.lower() not in PLAIN:
        long = own.lower() == os.path.splitext(image)[1].lower() + "w"
        other = _world_suffixes(suffix.lower())[-1 if long else 0]
        own = other if own.islower() else other.upper()
    return stem + own


def is_world(sidecar: str) -> bool:
    return sidecar.lower().endswith("w") or sidecar.lower().endswith(".wld")


def world_name(output: str) -> str:
    """The world file of the file ``output``: ``a.pgw`` of ``a.png``."""
    stem, suffix = os.path.splitext(output)
    return stem + _world_suffixes(suffix.lower())[0]


def paths(image: str, beside: Iterable[str]) -> list[str]:
    """The paths of the sidecars ``beside`` the file ``image``."""
    directory = os.path.dirname(image)
    return [os.path.join(directory, name) for name in beside]


GEOREFERENCED = (".tif", ".tiff", ".jp2", ".j2k", ".jpx")
"""Suffixes of files that may say themselves where they lie: GeoTIFF, GeoJP2."""


def outputs(image: str, beside: Iterable[str], output: str, form: str) -> list[str]:
    """List the sidecars that an output may have.

    Args:
        image: The path of the input.
        beside: The names of the sidecars of the input.
        output: The path of the output.
        form: The output's format, a key of :data:`OUTPUT_FORMATS`.

    Returns:
        Paths of those that are carried over, and of those that are made for a format that cannot
        say itself where it lies.
    """
    own = [output_name(name, os.path.basename(image), output) for name in beside]
    output_format = OUTPUT_FORMATS[form]
    if not output_format.holds_georeference and image.lower().endswith(GEOREFERENCED):
        own += [world_name(output), output + AUXILIARY]
    elif not output_format.has_world_files and own:
        own.append(output + AUXILIARY)
    return own


def list_sidecars(path: str, root: str | os.PathLike[str]) -> tuple[str, ...]:
    """The names of the sidecars that the image at ``path`` has, of those :func:`is_allowed`."""
    directory, image = os.path.split(path)
    return tuple(name for name in names(image) if is_allowed(os.path.join(directory, name), root))


def is_allowed(path: str, root: str | os.PathLike[str]) -> bool:
    """Whether a small regular file is there; a link only counts where it leads to one in ``root``.

    Else a data set from elsewhere could have any file copied to OUT.
    """
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            real = os.path.realpath(path)
            if not real.startswith(os.path.join(os.path.realpath(root), "")):
                return False
            status = os.stat(real)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST


def read(path: str, what: str) -> tuple[bytes, int]:
    """A sidecar's bytes and modification time, in nanoseconds. Raises :class:`ImageError`.

    ``what``: what it is called in messages.
    """
    try:
        descriptor, status = open_descriptor(path)
        with open(descriptor, "rb") as file:
            data = file.read(LARGEST + 1)
    except (ImageError, IsADirectoryError) as error:
        raise ImageError(f"{what} is no regular file; {REMEDY}") from error
    except OSError as error:
        raise ImageError(f"{what} cannot be read ({error.strerror}); {REMEDY}") from error
    if len(data) > LARGEST:
        raise ImageError(f"{what} is larger than {LARGEST:,} bytes; {REMEDY}")
    return data, status.st_mtime_ns


REMEDY = "mend it, then run again"
