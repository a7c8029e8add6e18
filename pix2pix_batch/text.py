"""Names and numbers in messages."""

from __future__ import annotations


def escape(path: object) -> str:
    """A path for people: control characters and undecodable bytes escaped."""
    text = str(path)
    return (
        text if text.isprintable() else text.encode("unicode_escape", "backslashreplace").decode()
    )


def describe_error(error: Exception, longest: int | None = 200) -> str:
    """What it says, on one line and of up to ``longest`` characters; its type where it says
    nothing."""
    return " ".join(str(error).split())[:longest] or type(error).__name__


def format_count(number: int, noun: str, nouns: str = "") -> str:
    """``1 image``, ``1,000 images``. ``nouns``: the plural, where it is not made with an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {nouns or noun + 's'}"


def format_distance(distance: float) -> str:
    """With one digit, rounded down: what is not called doubtful must not look as if it were."""
    return f"{int(distance * 10 + 1e-9) / 10:.1f}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``5 h 12 min``, ``3 days 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"
