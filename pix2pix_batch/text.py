"""Names and numbers in messages."""

from __future__ import annotations


def shown(path: object) -> str:
    """A path for people: control characters and undecodable bytes escaped."""
    text = str(path)
    return (
        text if text.isprintable() else text.encode("unicode_escape", "backslashreplace").decode()
    )


def counted(number: int, noun: str) -> str:
    """``1 image``, ``1,000 images``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
