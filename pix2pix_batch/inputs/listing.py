"""Lists of files as editors, spreadsheets and other systems write them: their text, their lines,
and the path that a line means. ``docs/storage.md`` says what is read."""

from __future__ import annotations

import codecs
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import kinds, pages
from pix2pix_batch.storage import remote

LONGEST = 1 << 16
"""Bytes of a line of a list: more than paths have, less than a file that is no list."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, and the encodings that they tell."""

ENDS = (b"\n", b"\r", "\x85".encode(), "\u2028".encode(), "\u2029".encode())
"""What lines may end with, in UTF-8: that which a file has first in this order. CR alone is Excel's
"CSV (Macintosh)", NEL that of mainframes, the others those of some editors."""

QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb"}
"""Opening and closing ones, of spreadsheets, shells and word processors."""

INVISIBLE = "\ufeff\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x1a"
"""Marks of byte order, of zero width and of direction, which Windows' "copy as path" and web pages
add, and the end of file of DOS."""

HEADINGS = frozenset(
    {
        "file", "filename", "filenames", "filepath", "files", "image", "imagepath", "images",
        "input", "location", "name", "path", "paths", "source", "src", "uri", "url", "urls",
    }
)  # fmt: skip
"""What a table's only column may be called, in its first line."""

BINARY = (
    (b"PK\x03\x04", "a spreadsheet or an archive (ZIP)"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet of Excel 97"),
    (b"\x93NUMPY", "an array (NumPy)"),
    (b"\x80\x02", "an object of Python (pickle)"),
    (b"\x80\x03", "an object of Python (pickle)"),
    (b"\x80\x04", "an object of Python (pickle)"),
    (b"\x80\x05", "an object of Python (pickle)"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"\x1f\x8b", "a file that gzip compressed"),
    (b"%PDF-", "a PDF document"),
    (b"PAR1", "a table of Parquet"),
    (b"SQLite format 3", "a database"),
    (b"<!DOCTYPE", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
)
"""How files begin that are given for lists and are none, and what they are."""

PLAIN = re.compile(r"[!$&(-+./0-9;-\[\]-_a-z{-}-]+[\w)]", re.ASCII)
"""Most lines: nothing in them can mean anything but itself."""

COMMENT = re.compile(r"\s*(?:#(?:[\s#!]|$)|//\s)")

DRIVE = re.compile(r"([A-Za-z]):[\\/]")

WINDOWS = "a path of Windows, which this machine does not have; write where the file is here"
ELSEWHERE = "a file of another machine ({}); mount it, and write where it is here"


class Located(NamedTuple):
    """What a line names: a ``path`` or URL; ``refusal``: why it may not be read; ``comment``:
    whether it names nothing."""

    path: str
    refusal: str = ""
    comment: bool = False


def marked_encoding(start: bytes) -> tuple[str, int]:
    """The encoding that a text says it has, and the length of the mark."""
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    return "", 0


class Lines:
    """The lines of a list, one by one, blank ones left out.

    Text without a byte order mark is in the file system's own encoding. Lines that end with a NUL
    byte (``find -print0``) are taken as they stand: :attr:`exact`.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        """``name``: of the list, for errors."""
        self._name = name
        # what has arrived, without waiting for more
        self._raw_read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        self._number = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self.exact = False

    def __iter__(self) -> Iterator[str]:
        """Raises :class:`InputError` where it is no list."""
        start = raw = self._read_first()
        encoding, length = marked_encoding(start)
        if not encoding:
            encoding = unmarked_encoding(start)
        start = start[length:]
        # All is turned into UTF-8 first: in UTF-16 a byte 10 may be half of another letter, so
        # lines cannot be cut there.
        if encoding not in ("", "utf-8"):
            self._decoder = codecs.getincrementaldecoder(encoding)()
            start = self._utf8(start)
            while self._lacks_end(start) and (more := self._more()):
                start += more
        decode = _from_utf8 if encoding else os.fsdecode
        first, nul, _ = start.partition(b"\0")
        # a name with a line break in it is one only where such a file is there
        self.exact = bool(nul) and (b"\n" not in first or _exists(decode(first)))
        self._require_list(raw, decode(re.split(rb"[\r\n]", start.lstrip(), maxsplit=1)[0]))
        end = b"\0" if self.exact else next((one for one in ENDS if one in start), b"\n")
        for raw in self._records(start, end):
            self._number += 1
            if len(raw) >= LONGEST:
                raise self._no_list(f"has {LONGEST:,} bytes or more")
            if self.exact:
                if raw.strip():
                    yield decode(raw)
                continue
            if b"\0" in raw:
                raise self._no_list("holds a NUL byte")
            # Lists that were joined, as by 'cat', have such a mark in their midst too.
            line = decode(raw.rstrip(b"\r\n")).removeprefix("\ufeff")
            if line.strip().strip(INVISIBLE):
                yield line

    def _require_list(self, start: bytes, line: str) -> None:
        """Raises :class:`InputError` for what people have in place of lists, by its beginning.
        ``line``: the first of the text that is not blank."""
        line = line.strip()
        if _exists(line) or remote.is_url(line):
            return
        what = next((what for known, what in BINARY if start.startswith(known)), "")
        if not what and (line in ("[", "{") or _is_json(line)):
            what = "JSON, of which a program such as jq takes the paths"
        if not what:
            name = _find_column(line)
            what = f"a table, of which a list has the column {name!r} alone" if name else ""
        if what:
            raise InputError(
                f"{self._name}: is no list of files but {what}; give a text file with a path a line"
            )

    def _no_list(self, what: str) -> InputError:
        return InputError(
            f"{self._name}: line {self._number} {what}; give a path a line, in the file system's "
            "own encoding or with a byte order mark"
        )

    def _read_first(self) -> bytes:
        """As much as tells the encoding and how lines end."""
        start = b""
        while (len(start) < 4 or self._lacks_end(start)) and (more := self._raw()):
            start += more
        return start

    def _lacks_end(self, start: bytes) -> bool:
        return len(start) < LONGEST and b"\n" not in start and b"\0" not in start

    def _raw(self) -> bytes:
        return self._raw_read(LONGEST)

    def _more(self) -> bytes:
        if self._decoder is None:
            return self._raw()
        while raw := self._raw():
            if text := self._utf8(raw):
                return text
        # Raises where the text ends in the midst of a letter, which would else be lost silently.
        return self._utf8(b"", final=True)

    def _utf8(self, raw: bytes, final: bool = False) -> bytes:
        assert self._decoder is not None
        try:
            return self._decoder.decode(raw, final).encode("utf-8", "surrogatepass")
        except UnicodeError as error:
            self._number += 1
            raise self._no_list(f"or one after it is damaged ({error})") from error

    def _records(self, held: bytes, end: bytes) -> Iterator[bytes]:
        while True:
            *whole, held = held.split(end)
            yield from whole
            # Given on as it is: who takes the line refuses it, with its number.
            if len(held) >= LONGEST:
                break
            more = self._more()
            if not more:
                break
            held += more
        if held:
            yield held


def _from_utf8(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def unmarked_encoding(start: bytes) -> str:
    """UTF-16 without a mark, as some programs of Windows write it: of the two bytes of an end of
    line one is 0, and of most letters of a path too."""
    for encoding, place in (("utf-16-le", 1), ("utf-16-be", 0)):
        high, low = start[place::2], start[1 - place :: 2]
        if 0 in low or len(high) < 4:
            continue
        ends = any(end.encode(encoding) in start for end in "\n\r")
        if high.count(0) * (4 if ends else 2) > len(high):
            return encoding
    return ""


def _is_json(line: str) -> bool:
    """Whether a line is an object or array of JSON; ``[1]`` may be a file's name."""
    try:
        value = json.loads(line)
    except ValueError:
        return False
    if isinstance(value, list):
        return not value or any(isinstance(part, str | list | dict) for part in value)
    return isinstance(value, dict)


def _find_column(line: str) -> str:
    """The name of the column of paths in the first line of a table that has several."""
    for delimiter in ",;\t|":
        names = [name.strip().strip('"') for name in line.split(delimiter)]
        plain = [re.sub(r"[\s_-]", "", name.lower()) for name in names]
        if len(names) > 1 and all(re.fullmatch(r"[\w .-]*", name) for name in names):
            found = next((n for n, one in zip(names, plain, strict=True) if one in HEADINGS), "")
            if found and not any(kinds.suffix_of(n) in kinds.suffixes() for n in names):
                return found
    return ""


def is_heading(line: str) -> bool:
    """Whether a list's first line is the name of a table's column."""
    text = re.sub(r"[\s_-]", "", _tidy(line).rstrip(",;").lower())
    return text in HEADINGS and not os.path.lexists(line)


def locate(line: str, anywhere: bool = False) -> Located:
    """What a line of a list means; ``anywhere``: the list lies elsewhere, and its files too.

    What names a file as it stands is that. Else quotes, blanks and separators around it are
    dropped, ``file:`` URLs decoded, ``~`` is the home directory, ``\\`` may be ``/``, and what
    begins with ``#``, names nothing and is no picture's name is a comment, and so is what begins
    with ``//`` and a blank.
    """
    # Without looking at the disk: a list may have ten million lines, perhaps of a network mount.
    if PLAIN.fullmatch(line):
        return Located(line)
    tidy = _tidy(line)
    if remote.is_url(tidy) and not remote.FILE.match(tidy):
        return Located(tidy)
    for reading in () if anywhere else _readings(line, tidy):
        if _exists(reading):
            return Located(reading)
    return _guess(line, tidy) if anywhere else _locate_page(tidy, "") or _guess(line, tidy)


def _locate_page(tidy: str, folder: str) -> Located | None:
    """What names a page of a file that is there."""
    file, mark, number = pages.split_name(tidy)
    for reading in _readings(file, file) if number else ():
        if _exists(os.path.join(folder, reading)):
            return Located(f"{reading}{mark}{number}")
    refusal = pages.explain_misnumbered(tidy, folder)
    return Located(tidy, refusal=refusal) if refusal else None


def _tidy(line: str) -> str:
    """Without blanks, quotes and separators around it."""
    text = line.strip().strip(INVISIBLE).strip()
    bare = text.rstrip(",;\t ")
    for one in (text, bare):
        if (unquoted := _unquote(one)) != one:
            return unquoted
    # Only where an image's suffix shows what was meant: names may end with a comma.
    return bare if kinds.suffix_of(bare) in kinds.suffixes() else text


def _unquote(text: str) -> str:
    if len(text) < 2 or QUOTES.get(text[0]) != text[-1]:
        return text
    inner, quote = text[1:-1], text[-1]
    doubled = quote * 2
    if quote in inner.replace(doubled, ""):
        return text
    return inner.replace(doubled, quote)


def _readings(line: str, tidy: str) -> Iterator[str]:
    """What a line may mean on this machine, the most literal first."""
    yield line
    if remote.FILE.match(tidy):
        yield from remote.paths_of(tidy)
        return
    for text in (tidy, tidy.strip(), tidy.rstrip(",;\t ")):
        yield text
        if text.startswith("~"):
            yield os.path.expanduser(text)
        if drive := DRIVE.match(text):  # the Windows subsystem for Linux
            yield f"/mnt/{drive[1].lower()}/" + text[3:].replace("\\", "/")
        if "\\" in text:
            yield text.replace("\\", "/")
        if "\\" in text or "'" in text or '"' in text:
            with suppress(ValueError):  # as a shell quotes them
                yield from shlex.split(text)[:1] if len(shlex.split(text)) == 1 else ()
        if "%" in text:
            yield remote.unquote_url(text)
        if not text.isascii():
            yield from _written_otherwise(text)


def _written_otherwise(text: str) -> Iterator[str]:
    """As macOS and others compose letters with accents, and as Windows encoded them."""
    for form in ("NFC", "NFD"):
        yield unicodedata.normalize(form, text)
    if not text.isprintable():
        with suppress(UnicodeError):
            yield os.fsencode(text).decode("cp1252")
    with suppress(UnicodeError):  # names that were copied byte by byte from there
        yield os.fsdecode(text.encode("cp1252"))


def _guess(line: str, tidy: str) -> Located:
    """What a line means that names nothing here."""
    if COMMENT.match(line) or (line[0] == "#" and kinds.suffix_of(tidy) not in kinds.suffixes()):
        return Located(line, comment=True)
    if remote.FILE.match(tidy):
        path = remote.paths_of(tidy)[0]
        host = remote.host_of(tidy)
        if host not in ("", remote.LOCALHOST):
            return Located(path, ELSEWHERE.format(host))
        if DRIVE.match(path.lstrip("/")):
            return Located(path, WINDOWS)
        return Located(path)
    if DRIVE.match(tidy) or tidy.startswith("\\\\"):
        return Located(tidy, WINDOWS)
    if "\\" in tidy and "/" not in tidy:
        return Located(tidy.replace("\\", "/"))
    return Located(os.path.expanduser(tidy) if tidy.startswith("~") else tidy)


def _exists(path: str) -> bool:
    return bool(path) and "\0" not in path and os.path.lexists(path)


def locate_in_table(cell: str, folder: Path) -> Located:
    """What a cell of a table names that lies in ``folder``, from which relative paths are meant: as
    :func:`locate` reads a line, but that it is never a comment. A relative path stays one."""
    tidy = _tidy(cell)
    for reading in _readings(cell, tidy):
        if reading and _exists(os.path.join(folder, reading)):
            return Located(reading)
    named = _locate_page(tidy, os.fspath(folder)) or _guess(cell, tidy)
    return named._replace(comment=False)
