"""What is made of image files that are not as they should be."""

from __future__ import annotations

from dataclasses import dataclass

from pix2pix_batch.errors import InputError

LARGE = 89_478_485
"""Pixels of the largest picture that is taken unasked, a quarter of a gigabyte in RGB: the bound
that Pillow has (``Image.MAX_IMAGE_PIXELS``), unless that was set otherwise."""


@dataclass(frozen=True)
class Tolerance:
    """What is made of damaged and of large files.

    Attributes:
        lenient: Whether what is there is taken of files that are cut short or damaged.
        strict: Whether files that give a warning are refused.
        max_pixels: Pixels of the largest picture that is read; ``None`` for Pillow's bound.
    """

    lenient: bool = False
    strict: bool = False
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        """Raises :class:`InputError` if both ``strict`` and ``lenient`` are set."""
        if self.strict and self.lenient:
            raise InputError(
                "--strict refuses what --lenient takes: damaged images; choose one of them"
            )

    @property
    def journal_entry(self) -> str:
        """What decides which are refused, for the journal: ``max_pixels=89478485 strict``."""
        most = self.max_pixels if self.max_pixels is not None else LARGE
        return f"max_pixels={most}" + (" strict" if self.strict else "")


USUAL = Tolerance()
