"""What a job converts: one input, and where its output goes."""

from __future__ import annotations

import string
from dataclasses import dataclass


# The fields of one input that are sent to a worker.
@dataclass(frozen=True, slots=True)
class Item:
    """One input and where its output goes: an image, or a tar of them.

    ``path``: the file to read, or its URL; ``name``: its path within the input, which names it in
    the journal; ``output``: the path of its output within OUT; ``form``: the output's format, of a
    tar as it was asked for; ``sidecars``: the names of the files beside it that go with it;
    ``stamp``: where a store has told it already; ``refusal``: why it may not be read; ``content``:
    its bytes, of a tar's member; ``variant``: which of several outputs it is
    (:mod:`pix2pix_batch.noise`); ``rows``: of an image that does not fit in memory, the first row
    of tiles that is to be made and the one behind the last; the output is not put together then;
    ``page``: which page of its file it is, from 1; 0 for the first picture of any file.
    """

    path: str
    name: str
    output: str
    form: str
    sidecars: tuple[str, ...] = ()
    stamp: str = ""
    refusal: str = ""
    tar: bool = False
    content: bytes | None = None
    variant: int | None = None
    rows: tuple[int, int] | None = None
    page: int = 0

    @property
    def file_name(self) -> str:
        """Its name without the page or the variant that it is: that which has the file's suffix."""
        name = self.name if self.variant is None else self.name.rpartition("/")[0]
        return name.rstrip(string.digits).rstrip("#") if self.page else name
