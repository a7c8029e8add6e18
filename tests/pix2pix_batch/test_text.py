"""Messages: names of any bytes, and counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.text import escape, format_count, format_distance


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a b/ö.jpg", "a b/ö.jpg"),
        (Path("x/y"), "x/y"),
        ("new\nline", "new\\nline"),
        ("\x1b[31mred", "\\x1b[31mred"),
        (os.fsdecode(b"a\xff.jpg"), "a\\udcff.jpg"),
    ],
)
def test_shown(path: object, text: str) -> None:
    assert escape(path) == text


@given(text=st.text(st.characters() | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)))
def test_shown_is_always_printable(text: str) -> None:
    assert escape(text).isprintable()
    escape(text).encode()


def test_counted() -> None:
    assert [format_count(number, "image") for number in (0, 1, 2, 10_000)] == [
        "0 images",
        "1 image",
        "2 images",
        "10,000 images",
    ]


def test_a_distance_is_never_rounded_to_what_is_doubtful() -> None:
    assert [format_distance(x) for x in (0, 98.97, 99.0, 123.45)] == [
        "0.0",
        "98.9",
        "99.0",
        "123.4",
    ]
