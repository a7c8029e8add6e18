"""Stores behind URLs, such as ``s3://`` and ``https://``, through fsspec."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.storage.retry import retry as try_again

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PAUSES = (0.5, 2.0, 8.0)
"""Seconds before each new try of what failed for a reason that may pass."""

WEB = frozenset({"http", "https"})
"""Stores that can only be read, one URL at a time: they have no directories."""

MEMORY = "memory"
"""The store that lives in one process, for tests."""

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", MEMORY})
"""Object stores, in which what is put appears whole or not at all. In others a file is written
beside its place and moved there."""

PERMANENT_ERRORS = (
    FileExistsError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
    TypeError,
    ValueError,
)
"""What the same request would meet again."""

CIRCLE = "TooManyRedirects"
PERMANENT_ERROR_NAMES = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", CIRCLE}
)
"""The same of botocore and aiohttp, which need not be installed."""

TRANSIENT_STATUS = frozenset({408, 425, 429})
"""HTTP errors that are the client's by their number but may pass."""

SECRET = re.compile(
    r"(?i)(?<=[?&])(?:(?:x-(?:amz|goog)-[\w-]*|[\w-]*(?:signature|token|secret|password|passwd|"
    r"credential|apikey|api[-_]key|accesskeyid|accessid)|sig|key|auth|jwt|expires|policy|"
    r"key-pair-id)=[^&#\s'\"]*&?)"
)
USER = re.compile(r"(?<=://)[^/@\s'\"]*@")

PIECE = 1 << 20
"""Bytes read at a time."""

FILE = re.compile("file:/", re.IGNORECASE)
"""The beginning of a URL of this machine."""

LOCALHOST = "localhost"

Result = TypeVar("Result")


SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_url(text: object) -> bool:
    """Whether a path is a URL of a store; ``file://`` is too, see :func:`normalise`."""
    name = str(text)
    return "://" in name and SCHEME.match(name) is not None


def strip_scheme(text: str) -> str:
    """A URL without the ``s3://``, a path as it stands."""
    return SCHEME.sub("", text, count=1) if "://" in text else text


def join(url: str, name: str) -> str:
    """The URL of ``name`` within ``url``."""
    return f"{url.rstrip('/')}/{name}"


def normalise(text: str) -> str:
    """A path or URL as it is used here: ``file:///a%20b`` is ``/a b``, no URL ends in a slash.

    A file whose name holds the ``%20`` itself is found too, where there is none of the other.
    """
    if text.endswith("://"):
        return text
    if FILE.match(text):
        decoded, literal = paths_of(text)
        return literal if not os.path.lexists(decoded) and os.path.lexists(literal) else decoded
    return text.rstrip("/") if is_url(text) else text


def paths_of(url: str) -> tuple[str, str]:
    """The path of a ``file:`` URL (RFC 8089), decoded and as it stands.

    A host other than this one is taken for the beginning of a relative path, as fsspec has it.
    """
    path = url[len("file:") :]
    if path.startswith("//"):
        path = path[2:]
        if host_of(url) == LOCALHOST:
            path = path[len(LOCALHOST) :]
    return unquote_url(path), path


def host_of(url: str) -> str:
    """The machine that a ``file:`` URL names, in lower case; empty where it names none."""
    rest = url[len("file:") :]
    return rest[2:].partition("/")[0].lower() if rest.startswith("//") else ""


def unquote_url(text: str) -> str:
    """With ``%20`` and the like decoded; what would be no name stays."""
    decoded = os.fsdecode(unquote_to_bytes(os.fsencode(text)))
    return text if "\0" in decoded else decoded


def scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def redact(text: object) -> str:
    """A URL, or a text with URLs in it, without user, password and signatures."""
    if "://" not in str(text):
        return str(text)
    bare = SECRET.sub("", USER.sub("", str(text)))
    return re.sub(r"[?&]+(?=$|[#\s'\"])", "", bare)


def open_store(url: str) -> tuple[AbstractFileSystem, str]:
    """The store of ``url`` and what it calls that place.

    How to reach it, credentials above all, comes from the store's own package and from fsspec's
    configuration. Raises :class:`InputError` where there is no such store or its package is
    missing.
    """
    parts = urlsplit(url)
    found = _store(f"{parts.scheme}://{parts.netloc}")
    return found, found._strip_protocol(url)


@lru_cache(64)
def _store(base: str) -> AbstractFileSystem:
    require_store(base)
    try:
        import fsspec

        return fsspec.core.url_to_fs(base)[0]
    except Exception as error:  # the stores' own packages raise what they please
        raise _open_error(base, error) from error


def require_store(url: str) -> None:
    """Raises :class:`InputError` where there is no such store as that of ``url``, or its package
    is missing. Nothing is asked of the store itself."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}"
    try:
        import fsspec

        fsspec.get_filesystem_class(parts.scheme)
    except ImportError as error:
        raise InputError(
            f"{redact(base)}: needs a package that is not installed ({error}); "
            "pip install 'pix2pix-batch[remote]'"
        ) from error
    except Exception as error:
        raise _open_error(base, error) from error


def _open_error(base: str, error: Exception) -> InputError:
    return InputError(f"{redact(base)}: cannot be opened as a store ({explain_error(error)})")


def explain_error(error: BaseException) -> str:
    """Why a store refused, in a line without secrets; the web's answers by their number."""
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) and scheme(str(error)) in WEB:  # fsspec's of a 404
        status = HTTPStatus.NOT_FOUND
    if _is_malformed(error):
        text = getattr(error, "message", "") or getattr(error.__cause__, "message", "") or error
        said = redact(" ".join(str(text).split()))
        if CUT_SHORT.match(said):
            return "the server's answer ended before all of it was there; try again"
        return f"the server's answer is malformed: {said}"[:200]
    if isinstance(status, int) and status in set(HTTPStatus):
        return f"HTTP {int(status)} {HTTPStatus(status).phrase}"
    if type(error).__name__ == CIRCLE:
        return "its address leads round in a circle, HTTP redirects without end"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return redact(" ".join(str(text).split()))[:200]


CUT_SHORT = re.compile(r"Not enough data (to|for) satisfy ")
"""How aiohttp begins to say that an answer is shorter than its length, or lacks its last chunk."""


def _is_malformed(error: BaseException) -> bool:
    """Whether aiohttp did not understand an answer, which it gives the number 400."""
    cause = error.__cause__
    return cause is not None and type(cause).__module__.startswith("aiohttp.http")


def is_transient(error: Exception) -> bool:
    """Whether to try again: what lies in the network or in a busy store, not in the request."""
    if isinstance(error, PERMANENT_ERRORS) or type(error).__name__ in PERMANENT_ERROR_NAMES:
        return False
    status = getattr(error, "status", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in TRANSIENT_STATUS
    return getattr(error, "errno", None) not in (errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSPC)


def retry(action: Callable[[], Result], pauses: tuple[float, ...] | None = None) -> Result:
    """What ``action`` returns, tried anew after each pause while its error may pass."""
    return try_again(action, PAUSES if pauses is None else pauses, is_transient, jitter=0.5)


STAMPS = (
    "etag", "generation", "md5hash", "contentmd5", "lastmodified", "mtime", "updated", "modified",
    "created",
)  # fmt: skip
"""What the stores call that which changes with a file, the best first."""


def stamp(info: dict[str, Any]) -> str:
    """Size, and ETag or modification time, from what a store says of a file."""
    known = {key.lower().replace("-", "").replace("_", ""): value for key, value in info.items()}
    mark = next((known[name] for name in STAMPS if known.get(name)), "")
    return f"{info.get('size')}:{str(mark).strip(chr(34))}"


@contextmanager
def _read_errors() -> Iterator[None]:
    """What a store raises inside, as :class:`ImageError`."""
    try:
        yield
    except Exception as error:
        raise ImageError(f"cannot be read ({explain_error(error)})") from error


def stamp_of(url: str) -> str:
    """Raises :class:`ImageError`."""
    with _read_errors():
        fs, path = open_store(url)
        return stamp(retry(lambda: fs.info(path)))


def read(url: str, largest: int) -> bytes:
    """The first ``largest`` bytes of a file. Raises :class:`ImageError`."""
    take = _read_streamed if scheme(url) in WEB else _read_range
    with _read_errors():
        fs, path = open_store(url)
        return retry(lambda: take(fs, path, largest))


def _read_streamed(fs: AbstractFileSystem, path: str, largest: int) -> bytes:
    pieces, left = [], largest
    with open_web_file(fs, path) as file:
        while left > 0 and (piece := file.read(min(left, PIECE))):
            pieces.append(piece)
            left -= len(piece)
    return b"".join(pieces)


def open_web_file(fs: AbstractFileSystem, path: str) -> IO[bytes]:
    """A file as one answer. Servers need not know ranges, nor the size before: any size given
    keeps fsspec from asking for it."""
    file: IO[bytes] = fs.open(path, "rb", block_size=0, size=1)
    return file


def _read_range(fs: AbstractFileSystem, path: str, largest: int) -> bytes:
    """In one request; stores refuse a range of a file that is empty."""
    try:
        data: bytes = fs.cat_file(path, start=0, end=largest)
    except OSError as error:
        if is_transient(error) or error.errno != errno.EINVAL or fs.info(path)["size"]:
            raise
        return b""
    return data


def size_of(url: str) -> int:
    """Raises :class:`ImageError`."""
    with _read_errors():
        fs, path = open_store(url)
        return int(retry(lambda: fs.info(path))["size"])


def read_range(url: str, start: int, end: int) -> bytes:
    """The bytes of a store's file from ``start`` to ``end``, both within it. Raises
    :class:`ImageError`."""
    with _read_errors():
        fs, path = open_store(url)
        data: bytes = retry(lambda: fs.cat_file(path, start=start, end=end))
        return data


def exists(url: str) -> bool:
    """Whether a store has such a file, as far as it can be seen."""
    try:
        return is_file(url)
    except InputError:
        return False


@dataclass(frozen=True)
class Listing:
    """What lies right below a place: ``files`` with their stamps, and ``directories``.

    ``odd``: names that no directory of a file system can hold, such as an empty one.
    """

    files: dict[str, str]
    directories: list[str]
    odd: list[str]


def list_directory(url: str) -> Listing:
    """Raises ``OSError`` or what else the store does; ``FileNotFoundError`` where nothing is."""
    fs, path = open_store(url)
    path = path.rstrip("/")

    def fresh() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = fs.ls(path, detail=True)
        fs.invalidate_cache()  # which would grow with the store
        return found

    files, directories, odd = {}, set(), []
    for entry in retry(fresh):
        name = entry["name"].removeprefix(path).removeprefix("/")
        if not name:  # the mark of a directory, or of a key with an empty part
            odd += [name] if entry["type"] == "directory" else []
            continue
        name = name.rstrip("/") if entry["type"] == "directory" else name
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            odd.append(name)
        elif entry["type"] == "directory":
            directories.add(name)
        else:
            files[name] = stamp(entry)
    return Listing(files, sorted(directories), odd)


def is_file(url: str) -> bool:
    """Raises :class:`InputError` where there is nothing, or nothing can be seen."""
    if scheme(url) in WEB:
        return True
    fs, path = open_store(url)
    try:
        return bool(retry(lambda: fs.info(path))["type"] == "file")
    except FileNotFoundError as error:
        raise InputError(f"{redact(url)}: no such file, directory or bucket") from error
    except Exception as error:
        raise InputError(f"{redact(url)}: cannot be read ({explain_error(error)})") from error


def write(url: str, put: Callable[[AbstractFileSystem, str], None]) -> None:
    """Have ``put(store, path)`` make the file at ``url``, whole or not at all.

    Raises :class:`ImageError`, or :class:`OutputError` where nothing can be written.
    """
    try:
        fs, path = open_store(url)
    except InputError as error:
        raise OutputError(str(error)) from error
    target = path if scheme(url) in ATOMIC else f"{path}.{uuid.uuid4().hex}.part"

    def make() -> None:
        if target == path:
            put(fs, path)
            return
        fs.makedirs(fs._parent(path), exist_ok=True)
        put(fs, target)
        fs.mv(target, path)

    try:
        retry(make)
    except Exception as error:
        if target != path:
            with suppress(Exception):  # what is left of it
                fs.rm_file(target)
        if isinstance(error, FileNotFoundError | PermissionError | NotImplementedError):
            raise OutputError(
                f"{redact(url)}: cannot be written ({explain_error(error)}); check the bucket's "
                "name and your permissions, then run the same command again: it goes on where "
                "this run stopped"
            ) from error
        raise ImageError(f"its output cannot be written ({explain_error(error)})") from error


def remove(url: str) -> None:
    """Remove the file at ``url``, if it is there. Raises :class:`ImageError`."""
    try:
        fs, path = open_store(url)
        with suppress(FileNotFoundError):
            retry(lambda: fs.rm_file(path))
    except Exception as error:
        raise ImageError(f"{redact(url)}: cannot be removed ({explain_error(error)})") from error
