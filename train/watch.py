"""Seeing a run: the progress bar, TensorBoard, sample sheets."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from pix2pix_batch.text import duration
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train.meter import StepRecord
from pix2pix_batch.train.pace import TOLD_AFTER, Pace
from pix2pix_batch.train.watcher import Watcher

LINE_SECONDS = 30.0
"""How often a line is printed where there is no terminal."""

SOON = 5.0
"""Seconds left that nobody needs to be told of."""

LONG = 24 * 3600.0
"""Seconds left from which on a run is warned of: longer than a night and a day."""


class Progress(Watcher):
    """A live bar on a terminal, lines elsewhere; always a line for each validation."""

    def __init__(self, stream: TextIO | None = None, advice: str = "") -> None:
        """``advice``: what would be quicker, for runs that take longer than :data:`LONG`."""
        self.stream, self.advice = UnbrokenStream(stream or sys.stderr), advice
        self.bar: tqdm[Any] | None = None
        self.left = ""

    def note(self, text: str) -> None:
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def start(self, step: int, last: int) -> None:
        if step:
            here = f"step {step:,} of {last:,}"
            done = "all steps are done" if step == last else f"going on after {here}"
            print(done, file=self.stream, flush=True)
        self.last = last
        self.printed = time.monotonic()
        self.bar = tqdm(
            total=last,
            initial=step,
            unit="step",
            file=self.stream,
            disable=not has_width(self.stream),
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]",
            smoothing=0.05,
        )

    def step(self, step: int, losses: dict[str, float]) -> None:
        assert self.bar is not None
        now = time.monotonic()
        if self.bar.disable and now - self.printed > LINE_SECONDS:
            self.printed = now
            text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
            print(
                f"step {step:,} of {self.last:,}  {text}{self.left}", file=self.stream, flush=True
            )
        self.bar.update(step - self.bar.n)
        shown = " ".join(f"{name}={value:.3f}" for name, value in losses.items())
        self.bar.set_postfix_str(shown + self.left, refresh=False)

    def expect(self, pace: Pace) -> None:
        left, each = pace.left(), pace.seconds_a_step()
        if left is None or each is None:
            return
        self.left = f"  {duration(left)} left"
        if pace.count != TOLD_AFTER or left < SOON:
            return
        speed = f"{each:.2g} s a step" if each >= 0.1 else f"{1 / each:.0f} steps/s"
        tqdm.write(f"about {duration(left)} left ({speed})", file=self.stream)
        if left > LONG:
            tqdm.write(f"note: this takes long. {self.advice}".rstrip(), file=self.stream)
        self.stream.flush()

    def record(self, record: StepRecord, sheet: np.ndarray) -> None:
        losses = "  ".join(f"{name} {value:.3f}" for name, value in record.losses.items())
        figures = ", ".join(f"{name} {value:.3g}" for name, value in record.validation.items())
        line = (
            f"step {record.step:,} of {self.last:,}, epoch {record.epoch:.1f}, "
            f"{record.images_per_second:.1f} images/s  {losses}  validation: {figures}"
        )
        tqdm.write(line, file=self.stream)
        self.stream.flush()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class UnbrokenStream(io.TextIOBase):
    """A stream that may go away, as a terminal that is closed and a pipe that nobody reads: then
    nothing is said any more, and the run goes on."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            if self.stream is not None:
                self.stream.write(text)
        except (OSError, ValueError):
            self._leave()
        return len(text)

    def flush(self) -> None:
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError):
            self._leave()

    def isatty(self) -> bool:
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        if self.stream is None:
            raise OSError("there is no stream")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _leave(self) -> None:
        """What is left in its buffer must not make the end of Python fail either."""
        stream, self.stream = self.stream, None
        with suppress(OSError, ValueError):
            assert stream is not None
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def has_width(stream: TextIO | UnbrokenStream) -> bool:
    """Whether ``stream`` is a terminal, and not one that says that it has no columns."""
    if not stream.isatty():
        return False
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return True


class Samples(Watcher):
    """A sheet of samples a validation, ``RUN/samples/<step>.png``: input, output, target."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "samples"

    def record(self, record: StepRecord, sheet: np.ndarray) -> None:
        path, image = self.folder / f"{record.step:08d}.png", Image.fromarray(sheet)
        checkpoint.write_whole(path, lambda file: image.save(file, "PNG"))


class TensorBoard(Watcher):
    """Scalars and sample sheets in ``RUN/tensorboard``."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "tensorboard"

    def start(self, step: int, last: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Steps after the last checkpoint are done again and must not be shown twice.
        self.writer = SummaryWriter(self.folder, purge_step=step + 1)
        self.every = max(1, last // 2000)

    def step(self, step: int, losses: dict[str, float]) -> None:
        if step % self.every == 0:
            for name, value in losses.items():
                self.writer.add_scalar(f"loss/{name}", value, step)

    def record(self, record: StepRecord, sheet: np.ndarray) -> None:
        for name, value in record.validation.items():
            self.writer.add_scalar(f"validation/{name}", value, record.step)
        self.writer.add_scalar("lr", record.lr, record.step)
        self.writer.add_scalar("images_per_second", record.images_per_second, record.step)
        self.writer.add_image("input, output, target", sheet, record.step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class Watchers(Watcher):
    """Tells each of several."""

    def __init__(self, *watchers: Watcher) -> None:
        self.watchers = watchers

    def note(self, text: str) -> None:
        for watcher in self.watchers:
            watcher.note(text)

    def start(self, step: int, last: int) -> None:
        for watcher in self.watchers:
            watcher.start(step, last)

    def step(self, step: int, losses: dict[str, float]) -> None:
        for watcher in self.watchers:
            watcher.step(step, losses)

    def expect(self, pace: Pace) -> None:
        for watcher in self.watchers:
            watcher.expect(pace)

    def record(self, record: StepRecord, sheet: np.ndarray) -> None:
        for watcher in self.watchers:
            watcher.record(record, sheet)

    def close(self) -> None:
        for watcher in self.watchers:
            watcher.close()
