"""What decoding needs of the whole process, made safe for threads that decode side by side."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from PIL import Image, ImageFile

from pix2pix_batch.imaging.decoding.libtiff import find_libraries

_changed = threading.Condition()
_decoding = 0
_waiting = 0
_alone = False


@contextmanager
def decode_concurrently() -> Iterator[None]:
    """Decode while other threads do, but not while one of them is in :func:`decode_incomplete`, or
    waits for it: one after another, they could keep it waiting for ever. Not to be nested."""
    global _decoding
    with _changed:
        while _alone or _waiting:
            _changed.wait()
        _decoding += 1
    try:
        yield
    finally:
        with _changed:
            _decoding -= 1
            if not _decoding:
                _changed.notify_all()


@contextmanager
def decode_incomplete() -> Iterator[None]:
    """Decode while no other thread does, for Pillow has one switch for all of them: it then takes
    what is there of files that are cut short."""
    global _alone, _waiting
    with _changed:
        _waiting += 1
        try:
            while _alone or _decoding:
                _changed.wait()
        finally:
            _waiting -= 1
        _alone = True
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
        with _changed:
            _alone = False
            _changed.notify_all()


@cache
def hush_libraries() -> None:
    """Keep libraries from printing to standard error, where nobody knows of which file they speak.

    What they say is in the reason of the image's own record: libtiff's line in that Pillow then
    fails, the loggers' in the errors that follow. libtiff prints from C; its handler, which
    Pillow leaves as it is, is taken out in the very library that Pillow has loaded.
    """
    for name in ("PIL", "tifffile"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with suppress(OSError):
        for path in find_libraries():
            with suppress(OSError, AttributeError):
                library = ctypes.CDLL(path)
                for handler in (library.TIFFSetErrorHandler, library.TIFFSetErrorHandlerExt):
                    handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                    handler(None)


_MODULES = r"(PIL|tifffile)\b"
_HUSHED = [
    ("ignore", None, category, re.compile(_MODULES), 0)
    for category in (UserWarning, Image.DecompressionBombWarning)
]


def hush_warnings() -> None:
    """Keep :mod:`warnings` from printing what libraries say of damaged files, such as of their
    EXIF. Others that change the filters for a while may take this one away with theirs, so it is
    looked for each time."""
    for rule in _HUSHED:
        if rule not in warnings.filters:
            warnings.filterwarnings("ignore", category=rule[2], module=_MODULES)
