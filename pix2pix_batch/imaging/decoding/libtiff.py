"""What libtiff complains of while it decodes strips and tiles, which Pillow does not pass on.

Of rows of faxes that are no code, or too long or short, and of JPEG data that libjpeg stumbles
over, it complains and goes on. So the library that Pillow has loaded reads them once more, with a
handler of this file's own (libtiff's TIFFOpenOptions).
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

MODULES = re.compile(rb"Fax|JPEGLib")
"""Of libtiff, whose complaints are about data: others tell of tags, and of nothing that is lost."""

_Handler = ctypes.CFUNCTYPE(
    ctypes.c_int, *[ctypes.c_void_p] * 2, *[ctypes.c_char_p] * 2, ctypes.c_void_p
)
"""TIFFErrorHandlerExtR: of a file, the user's data, a module, a format and its arguments; what it
returns says that no other handler is asked."""


def find_libraries() -> list[str]:
    """The paths of those that this process has loaded."""
    try:
        maps = Path("/proc/self/maps").read_text(errors="surrogateescape")
    except OSError:
        return []
    return sorted(set(re.findall(r"/\S*/libtiff[-.]\S*", maps)))


@cache
def _load() -> ctypes.CDLL | None:
    """``None`` where it is older than 4.5, which has no handlers of one file alone."""
    for path in find_libraries():
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            pointer, size = ctypes.c_void_p, ctypes.c_ssize_t
            library.TIFFOpenOptionsAlloc.restype = pointer
            library.TIFFOpenOptionsFree.argtypes = [pointer]
            for name in ("Error", "Warning"):
                function = getattr(library, f"TIFFOpenOptionsSet{name}HandlerExtR")
                function.argtypes = [pointer, _Handler, pointer]
            library.TIFFFdOpenExt.argtypes = [ctypes.c_int, *[ctypes.c_char_p] * 2, pointer]
            library.TIFFFdOpenExt.restype = pointer
            library.TIFFClose.argtypes = library.TIFFIsTiled.argtypes = [pointer]
            for kind in ("Strip", "Tile"):
                getattr(library, f"TIFFNumberOf{kind}s").argtypes = [pointer]
                getattr(library, f"TIFFNumberOf{kind}s").restype = ctypes.c_uint32
                getattr(library, f"TIFF{kind}Size").argtypes = [pointer]
                getattr(library, f"TIFF{kind}Size").restype = size
                read = getattr(library, f"TIFFReadEncoded{kind}")
                read.argtypes = [pointer, ctypes.c_uint32, pointer, size]
                read.restype = size
            return library
    return None


def has_faulty_blocks(data: bytes) -> bool:
    """Whether a strip or tile of the first picture cannot be decoded, or not without complaint."""
    library = _load()
    if library is None:
        return False
    complaints: list[bytes] = []

    def hear(_file: int, _data: int, module: bytes, what: bytes, _arguments: int) -> int:
        if MODULES.match(module or b""):
            complaints.append(what)
        return 1

    # Held here until the file is closed: libtiff knows only its address, and Python would free it.
    handler = _Handler(hear)
    options = library.TIFFOpenOptionsAlloc()
    try:
        library.TIFFOpenOptionsSetErrorHandlerExtR(options, handler, None)
        library.TIFFOpenOptionsSetWarningHandlerExtR(options, handler, None)
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.seek(0)  # and write what is not yet
            # A copy of its own, which TIFFClose closes.
            descriptor = os.dup(file.fileno())
            opened = library.TIFFFdOpenExt(descriptor, b"", b"rm", options)
            if not opened:
                os.close(descriptor)
                return False  # Pillow has read it, in a way of its own
            try:
                return not _read_blocks(library, opened) or bool(complaints)
            finally:
                library.TIFFClose(opened)
    finally:
        library.TIFFOpenOptionsFree(options)


def _read_blocks(library: ctypes.CDLL, opened: int) -> bool:
    """Whether all could be read."""
    kind = "Tile" if library.TIFFIsTiled(opened) else "Strip"
    read = getattr(library, f"TIFFReadEncoded{kind}")
    size = getattr(library, f"TIFF{kind}Size")(opened)
    if size <= 0:
        return True
    room = ctypes.create_string_buffer(size)
    count = getattr(library, f"TIFFNumberOf{kind}s")(opened)
    return all(read(opened, number, room, size) >= 0 for number in range(count))
