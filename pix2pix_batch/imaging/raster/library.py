"""rasterio, which brings GDAL: imported where a raster is opened, for it is an extra."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.raster.gdal_messages import clean, explain

SETTINGS = {
    # Half a gigabyte and more would else be kept of what was read: a share of the memory.
    "GDAL_CACHEMAX": "64",
    # The order in which threads are done would decide where in a file its blocks lie.
    "GDAL_NUM_THREADS": "1",
    # A VRT may hold programs.
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # A mask within the file, not beside it.
    "GDAL_TIFF_INTERNAL_MASK": "YES",
    # Its other way of reading PNG takes files that are cut short for whole ones.
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    # Errors of libraries have no place on the terminal: they are in the records.
    "CPL_LOG": os.devnull,
}
"""GDAL's configuration (its "Configuration options"), unless the environment says otherwise."""

PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
"""Which tell PROJ where its data are: since version 9.1, and before."""

DRIVERS = ("GTiff", "VRT", "JP2OpenJPEG", "PNG", "JPEG", "WEBP", "BMP", "HFA", "ENVI")
"""GDAL's names of the formats that are opened. Others may reach beyond the file or run programs."""


def rasterio() -> Any:
    """The module. Raises :class:`InputError` where it is not installed."""
    module = _import()
    # each time: whoever catches warnings restores the filters that were there before
    warnings.filterwarnings("ignore", category=module.errors.NotGeoreferencedWarning)
    return module


@functools.cache
def _import() -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _forget_foreign_data()
    try:
        import rasterio
        import rasterio.enums
        import rasterio.errors
        import rasterio.io
        import rasterio.shutil
        import rasterio.windows
    except ImportError as error:
        raise InputError(
            f"rasters need the package rasterio ({error}); pip install 'pix2pix-batch[raster]'"
        ) from error
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    return rasterio


def _forget_foreign_data() -> None:
    """Where rasterio brings data of PROJ of its own, it is to take those for the whole process, and
    not what a variable of another installation (QGIS, PostGIS, conda) names: of another version, or
    gone, coordinate systems then lose their codes without an error."""
    spec = importlib.util.find_spec("rasterio")
    places = (spec.submodule_search_locations if spec else None) or []
    if any(Path(place, "proj_data", "proj.db").exists() for place in places):
        for name in PROJ_VARIABLES:
            os.environ.pop(name, None)


def open_dataset(path: str) -> Any:
    """rasterio's dataset, of one of :data:`DRIVERS`. Raises what rasterio raises, and
    :class:`InputError`."""
    module = rasterio()
    with module.Env():  # not rasterio.open, which takes one driver alone
        return module.io.DatasetReader(path, driver=list(DRIVERS))


WRITTEN = "written"
"""Of what cannot be, where it is no file's fault (:func:`explain_errors`)."""


def is_installed() -> bool:
    try:
        rasterio()
    except InputError:
        return False
    return True


@contextlib.contextmanager
def explain_errors(what: str) -> Iterator[None]:
    """What GDAL raises as :class:`ImageError`: that the raster cannot be ``what``."""
    try:
        yield
    except (ImageError, InputError, MemoryError):
        raise
    except Exception as error:  # rasterio's, GDAL's own, and those of what they call
        tell = clean if what == WRITTEN else explain
        raise ImageError(f"cannot be {what}: {tell(describe(error))}") from error


def describe(error: BaseException) -> str:
    """What GDAL says, which stands at the bottom of the errors that led to one another."""
    said: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(said) < 8:
        text = " ".join(str(seen).split())
        if text and text != "Read failed. See previous exception for details.":
            said.append(text)
        seen = seen.__cause__ or seen.__context__
    return said[-1] if said else type(error).__name__
