"""Convert whole image datasets from one domain to another with pix2pix generators.

>>> import pix2pix_batch
>>> summary = pix2pix_batch.convert("maps/", "aerial/", model="map2aerial")
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pix2pix_batch.options import Options
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.version import __version__

if TYPE_CHECKING:
    from pix2pix_batch.reporting.progress import Progress
    from pix2pix_batch.reporting.summary import Summary
    from pix2pix_batch.synthesis.result import SynthesisResult

__all__ = ["__version__", "convert", "synthesize"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What both functions take besides their options."""

    source: str | os.PathLike[str] = field(kw_only=False)
    out: str | os.PathLike[str] = field(kw_only=False)
    watch: Callable[[Progress], None] | None = None


@dataclass(frozen=True, kw_only=True)
class _Convert(Options, _Call): ...


@dataclass(frozen=True, kw_only=True)
class _Synthesize(SynthesisOptions, _Call): ...


def _takes(
    call: Callable[Parameters, object],
) -> Callable[[Callable[..., Result]], Callable[Parameters, Result]]:
    """Give a function the signature of ``call``, for type checkers, editors and ``help``: so each
    option is declared in one place."""

    def decorate(function: Callable[..., Result]) -> Callable[Parameters, Result]:
        returned = inspect.signature(function).return_annotation
        signature = inspect.signature(call).replace(return_annotation=returned)
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


@_takes(_Convert)
def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    watch: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Summary:
    """Convert the images of ``source`` into the directory ``out``; what the command does.

    ``source``: a directory, a glob, ``"@list.txt"``. ``options``: the fields of
    :class:`pix2pix_batch.options.Options` (``model``, ``fit``, ``format``, ...), which type
    checkers and editors know by their names. ``watch`` is called with the progress a few times a
    second. Guard the call in a script with ``if __name__ == "__main__":``, since the workers are
    processes of their own.

    Raises :class:`~pix2pix_batch.errors.InputError` and
    :class:`~pix2pix_batch.errors.OutputError` before anything is converted. One bad image only
    fails itself: see the summary's ``failed`` and ``failures``.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.execution import job

    return job.convert(source, out, Options(**options), watch=watch, opener=backends.open_best)


@_takes(_Synthesize)
def synthesize(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    watch: Callable[[Progress], None] | None = None,
    **options: Any,
) -> SynthesisResult:
    """Make a dataset of the images of ``source`` in the directory ``out``; what the command does.

    ``options``: the fields of :class:`pix2pix_batch.synthesis.options.SynthesisOptions`
    (``variants``, ``layout``, ``split``, ...). Else as :func:`convert`.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.synthesis import synthesize

    chosen = SynthesisOptions(**options)
    return synthesize.synthesize(source, out, chosen, watch=watch, opener=backends.open_best)
