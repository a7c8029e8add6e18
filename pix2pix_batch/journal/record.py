"""The record of one input, and how it is written as a journal's line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MADE = ".pix2pix-batch-made"
"""Within OUT: the images of a dataset until it is laid out. What reads datasets leaves hidden
directories alone."""

COPY = "/source"
"""Ends the names of the copies of a dataset's inputs, which are no images of it."""

SCHEMA = 2

UNDER = "; "
"""Between the options of one ``under``."""

ITEM_TIMEOUT = "item_timeout"
"""In what a failure is :attr:`Record.under`: that option, which decided it."""

FOUND_WRONG = "its output was"
"""Begins the reason of what ``status --verify`` journals as failed."""

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
# what raw_decode calls, without a call in between, which a million lines are longer for
_decode = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

DONE, FAILED, QUARANTINED, GONE = "done", "failed", "quarantined", "gone"
PART = "part"
"""Of a part of an image that several workers make: never in a journal."""

STATUSES = ("", DONE, FAILED, QUARANTINED, GONE)
"""The statuses of an input, at first none. ``failed``: not converted, for a reason;
``quarantined``: not tried any more, because it killed or hung its workers; ``gone``: in a dataset,
no longer an input or no longer wanted."""


# The fields of a journal's line.
@dataclass(frozen=True)
class Record:
    """The result of one input.

    ``stamp``: the input's size and modification time when it was read. A record that is not
    ``done`` has a stamp if the reason lies in the input itself, which is then not tried again until
    it changes. Without a stamp (the input could not be read, a worker died, somebody else's file is
    in its output's place) the next run tries it again. ``hash``: BLAKE2b of the output's bytes, 128
    bits, hex; ``distance``: how far the input lies from the model's training inputs, 0..100, if the
    bundle can tell; ``unmeasured``: the bundle could tell, but the image is too small; ``warning``:
    what was wrong with an input that could be read nevertheless; ``members``: of a tar, how many of
    its images have records of their own; ``failed``: how many of these failed, if any. If one of
    those has no stamp, the tar has none either, and the next run makes it again. ``litter``: how
    many of its members are left out as no part of it, if any; ``excluded``: how many as the user
    asks; ``unread``: how many images of kinds that cannot be read are copied unchanged. ``under``:
    the options that a failure may depend on
    (:attr:`pix2pix_batch.options.Options.failure_conditions`); with other values the input is tried
    again. ``outdated``: the earlier output in OUT of an input that is not done now. ``beside``: the
    files that go with the output, by their paths in OUT.
    """

    name: str
    status: str
    stamp: str = ""
    output: str = ""
    reason: str = ""
    hash: str = ""
    distance: float | None = None
    input: str = ""
    look: str = ""
    flags: str = ""
    warning: str = ""
    members: int | None = None
    failed: int | None = None
    litter: int | None = None
    excluded: int | None = None
    unread: int | None = None
    under: str = ""
    outdated: str = ""
    unmeasured: bool | None = None
    beside: tuple[str, ...] | None = None

    def line(self) -> bytes:
        """As the journal has it, without what is empty."""
        return to_line({key: value for key, value in vars(self).items() if value not in ("", None)})


def to_line(values: dict[str, Any]) -> bytes:
    """ASCII JSON: names that are no UTF-8 survive as escaped surrogates."""
    return _encode(values).encode() + b"\n"


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The values in a journal's line; ``None`` if the line is incomplete or not JSON."""
    # Without its end a line counts as torn, though it may be whole: what is appended next would
    # stand on the same line.
    if not line.endswith(b"\n"):
        return None
    try:
        values, _ = _decode(line.decode("ascii"), 0)
    except (ValueError, StopIteration):
        return None
    return values if isinstance(values, dict) else None
