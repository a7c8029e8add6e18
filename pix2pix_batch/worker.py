"""What runs on a Dask worker: decode in threads, translate, encode in threads.

Importing this module does not import torch: the client does so to name the tasks.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import stat
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2pix_batch import bundle, images, journal
from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.journal import Record
from pix2pix_batch.noise import dropout_masks, noise_key
from pix2pix_batch.scan import Item
from pix2pix_batch.tiling import Resized, Tiles

if TYPE_CHECKING:
    from pix2pix_batch.engine import Engine
    from pix2pix_batch.generator import UNet

CODEC_THREADS = 2
"""Threads a worker decodes and encodes in, beside its one inference thread."""

READ_AHEAD = 32 << 20
"""Files of up to this many bytes together are decoded ahead of the engine."""

FATAL = journal.FULL | {errno.EROFS}
"""What makes writing on useless for every image, not for one. A disk that is read-only from the
start is wrong use; one that becomes so ends the job as a full one does."""

PSNR_BAR = 40.0
"""A precision whose images are further than this, in dB, from fp32's is not chosen."""

TORCH = "torch"
"""The backend that is always there."""

PROBE_IMAGES = 4
"""How many of the job's first images decide the precision."""


Opener = Callable[["Settings", np.ndarray | None], "tuple[Engine | None, str]"]
"""Opens an engine other than PyTorch's on the worker that calls it, and says in a sentence what
was not to be had and why; ``None`` where PyTorch is to run. Given images of the job, ``uint8
(N, S, S, C)``, it chooses what is left open in the settings (precision ``auto``, no batch size,
backend ``auto``) and checks the engine on them; given none, all is settled, and it raises
:class:`InputError` where it cannot be had. A function of a module, for it travels by its name."""


@dataclass(frozen=True)
class Settings:
    """A job as its workers see it. ``model`` and ``out`` are paths that they can reach.

    ``backend``: ``auto``, ``torch``, or one that ``opener`` knows.
    """

    model: str
    fingerprint: str
    out: str
    fit: str
    size: int
    quality: int | None
    batch_size: int | None
    device: str
    precision: str
    noise: bool
    seed: int
    backend: str = "auto"
    opener: Opener | None = None


@dataclass(frozen=True)
class Decision:
    """What :func:`probe` chose: what all of the job's tasks use."""

    device: str
    precision: str
    batch_size: int
    backend: str
    note: str = ""


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk's items. ``fatal``: why the rest of the job cannot be written."""

    records: list[Record]
    seconds: float
    fatal: str = ""


@dataclass
class Work:
    """One image on its way through the engine."""

    item: Item
    stamp: str
    content: bytes
    tiles: Tiles | Resized
    alpha: np.ndarray | None
    waiting: int


@functools.lru_cache(maxsize=2)
def _loaded(model: str, fingerprint: str) -> tuple[bundle.BundleInfo, UNet]:
    path = Path(model)
    if not path.is_file():
        raise InputError(
            f"{path}: not found on this worker; put the bundle where all workers see it"
        )
    if bundle.fingerprint(path) != fingerprint:
        raise InputError(f"{path}: is another bundle on this worker than where the job was started")
    return bundle.load(path)


@functools.lru_cache(maxsize=2)
def open_engine(
    model: str, fingerprint: str, size: int, batch_size: int, device: str, precision: str
) -> Engine:
    """This worker's engine, opened on first use and kept."""
    import torch

    from pix2pix_batch import onednn
    from pix2pix_batch.engine import TorchEngine

    if device == "cpu":
        # One thread a worker: a reduction split over another number of threads could round
        # otherwise, and then the bytes would depend on --workers.
        torch.set_num_threads(1)
        onednn.keep_freed_memory()
    _, unet = _loaded(model, fingerprint)
    return TorchEngine(unet, size=size, batch_size=batch_size, device=device, precision=precision)


_turn = threading.Lock()
"""Held to use an engine, which has buffers of its own: a user's Dask worker may have several
threads."""

_opened: dict[Settings, Engine] = {}
"""What openers have opened on this worker, oldest first."""


def engine_of(settings: Settings) -> Engine:
    """This worker's engine for settings in which all is settled, opened on first use and kept."""
    if settings.opener is None or settings.backend in ("auto", TORCH):
        assert settings.batch_size is not None
        return open_engine(
            settings.model, settings.fingerprint, settings.size, settings.batch_size,
            settings.device, settings.precision,
        )  # fmt: skip
    if (engine := _opened.get(_same(settings))) is None:
        engine, reason = settings.opener(settings, None)
        if engine is None:
            raise InputError(f"--backend {settings.backend}: {reason}")
        _keep(settings, engine)
    return engine


def _keep(settings: Settings, engine: Engine) -> None:
    while len(_opened) >= 2:
        _opened.pop(next(iter(_opened)))
    _opened[_same(settings)] = engine


def _same(settings: Settings) -> Settings:
    """The settings without what engines do not depend on."""
    return replace(settings, out="", fit="", quality=None, seed=0)


def family(backend: str) -> str:
    """What ``--backend`` calls an engine's backend: ``torch-onednn`` is of ``torch``."""
    return TORCH if backend.startswith(TORCH) else backend


def convert_chunk(settings: Settings, items: Sequence[Item]) -> ChunkResult:
    """Convert ``items``; one record each, in any order. Running it twice does no harm."""
    start = time.perf_counter()
    converter = Converter(settings)
    converter.run(items)
    return ChunkResult(converter.records, time.perf_counter() - start, converter.fatal)


class Converter:
    """Converts one chunk on this worker."""

    def __init__(self, settings: Settings) -> None:
        from pix2pix_batch.engine import Overlapping

        assert settings.batch_size is not None
        self.settings = settings
        self.engine = engine_of(settings)
        self.overlapping = self.engine if isinstance(self.engine, Overlapping) else None
        self.flying: deque[list[tuple[Work, int]]] = deque()
        self.architecture = _loaded(settings.model, settings.fingerprint)[0].architecture
        channels = self.architecture.in_channels
        shape = (settings.batch_size, settings.size, settings.size, channels)
        self.buffer = np.zeros(shape, np.uint8)
        self.owners: list[tuple[Work, int]] = []
        self.records: list[Record] = []
        self.writing: deque[Future[Record]] = deque()
        self.fatal = ""

    def run(self, items: Sequence[Item]) -> None:
        """Fill :attr:`records`; stops early, with :attr:`fatal` set, where OUT takes no more."""
        with ThreadPoolExecutor(CODEC_THREADS, "codec") as pool:
            with contextlib.nullcontext() if self.overlapping is None else _turn:
                try:
                    self._run(items, pool)
                finally:
                    self._drop()
            self._collect(0)

    def _run(self, items: Sequence[Item], pool: ThreadPoolExecutor) -> None:
        for work in self._decoded(items, pool):
            if self.fatal:
                return
            if isinstance(work, Record):
                self.records.append(work)
                continue
            for index, tile in enumerate(work.tiles):
                self.buffer[len(self.owners)] = tile
                self.owners.append((work, index))
                if len(self.owners) == len(self.buffer):
                    self._translate(pool)
        if self.owners and not self.fatal:
            self._translate(pool)
        while self.flying:
            self._finish(pool)

    def _drop(self) -> None:
        """The engine lives longer than a chunk: leave nothing of this one in it."""
        while self.overlapping is not None and self.flying:
            self.flying.popleft()
            self.overlapping.finish()

    def _decoded(self, items: Sequence[Item], pool: ThreadPoolExecutor) -> Iterator[Work | Record]:
        """The items' images in order, decoded some way ahead of their use."""
        ahead: deque[tuple[Future[Work | Record], int]] = deque()
        size = 0
        for item in items:
            length = _file_size(item.path)
            while ahead and (len(ahead) >= len(self.buffer) or size + length > READ_AHEAD):
                future, used = ahead.popleft()
                size -= used
                yield future.result()
            ahead.append((pool.submit(self._decode, item), length))
            size += length
        while ahead:
            yield ahead.popleft()[0].result()

    def _decode(self, item: Item) -> Work | Record:
        stamp = ""
        try:
            data, stamp = read_file(item.path)
            picture = images.read(data, self.architecture.in_channels)
            tiles = fitted(picture.pixels, self.settings.fit, self.settings.size)
        except ImageError as error:
            return Record(item.name, "failed", stamp, reason=str(error))
        content = hashlib.sha256(data).digest() if self.settings.noise else b""
        return Work(item, stamp, content, tiles, picture.alpha, len(tiles))

    def _translate(self, pool: ThreadPoolExecutor) -> None:
        """Run the engine on what is in the buffer and hand on the images that are complete.

        An engine that can begins this batch before the one before it is done, so that the GPU
        works while that one's images go on.
        """
        self.buffer[len(self.owners) :] = 0
        masks = self._masks() if self.settings.noise else None
        owners, self.owners = self.owners, []
        if self.overlapping is None:
            with _turn:
                made = self.engine(self.buffer, masks).images
            self._hand_on(owners, made, pool)
            return
        self.overlapping.start(self.buffer, masks)
        self.flying.append(owners)
        if len(self.flying) > 1:
            self._finish(pool)

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        assert self.overlapping is not None
        owners = self.flying.popleft()
        self._hand_on(owners, self.overlapping.finish().images, pool)

    def _hand_on(
        self, owners: list[tuple[Work, int]], made: np.ndarray, pool: ThreadPoolExecutor
    ) -> None:
        for (work, index), tile in zip(owners, made, strict=False):
            work.tiles.put(index, tile)
            work.waiting -= 1
            if work.waiting == 0:
                self._collect(2 * len(self.buffer))
                self.writing.append(pool.submit(self._write, work))

    def _masks(self) -> list[np.ndarray]:
        shapes = self.architecture.mask_shapes(self.settings.size, self.settings.size)
        masks = [np.ones((len(self.buffer), *shape), bool) for shape in shapes]
        for position, (work, index) in enumerate(self.owners):
            key = noise_key(self.settings.seed, work.content, index)
            for mask, value in zip(masks, dropout_masks(key, shapes), strict=True):
                mask[position] = value
        return masks

    def _collect(self, leave: int) -> None:
        while len(self.writing) > leave:
            try:
                self.records.append(self.writing.popleft().result())
            except OutputError as error:
                self.fatal = str(error)

    def _write(self, work: Work) -> Record:
        item = work.item
        assert work.tiles.result is not None
        try:
            picture = images.Picture(work.tiles.result, work.alpha)
            data = images.write(picture, item.form, self.settings.quality)
        except Exception as error:
            reason = f"cannot be written as {item.form}: {error}"
            return Record(item.name, "failed", work.stamp, reason=reason)
        try:
            place(Path(self.settings.out), item.output, data)
        except ImageError as error:
            return Record(item.name, "failed", work.stamp, reason=str(error))
        return Record(item.name, "done", work.stamp, item.output)


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read_file(path: str) -> tuple[bytes, str]:
    """A file's bytes and its :func:`journal.stamp`. Raises :class:`ImageError`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not a regular file")
        with open(path, "rb") as file:
            return file.read(), journal.stamp(os.fstat(file.fileno()))
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error


def fitted(pixels: np.ndarray, fit: str, size: int) -> Tiles | Resized:
    """The image as tiles of the model's size. Raises :class:`ImageError`."""
    if fit == "resize":
        return Resized(pixels, size)
    height, width = pixels.shape[:2]
    if fit == "exact" and (height, width) != (size, size):
        raise ImageError(
            f"is {width}x{height}, the model's size is {size}x{size}; use --fit tile or resize"
        )
    return Tiles(pixels, size)


def place(out: Path, output: str, data: bytes) -> None:
    """Write ``data`` to ``out / output``, whole or not at all, and never outside ``out``.

    Raises :class:`ImageError`, or :class:`OutputError` where nothing more can be written.
    """
    target = out / output
    temporary = out / journal.DIRECTORY / "tmp" / uuid.uuid4().hex
    try:
        if not target.parent.resolve().is_relative_to(out.resolve()):
            raise ImageError("its output would lie outside OUT, through a link in OUT")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in FATAL:
            raise OutputError(
                f"{out}: {error.strerror}; make room there, then run the same command again: "
                "it goes on where this run stopped"
            ) from error
        raise ImageError(f"its output cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def probe(settings: Settings, items: Sequence[Item]) -> Decision:
    """Choose device, backend, precision and batch size for a job, on the worker it runs on.

    On a GPU the settings' ``opener`` is asked first. PyTorch with precision ``auto`` runs bf16 on
    a CPU that has it in hardware, fp16 on a GPU, where that is within :data:`PSNR_BAR` of fp32 on
    the first images that can be decoded; else fp32. Nothing is timed, so the choice, and with it
    the bytes, are the same every time. Raises :class:`InputError` for a device, backend or
    precision that this worker does not have.
    """
    import torch

    from pix2pix_batch.engine import default_batch_size

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    settings = replace(settings, device=device)
    engine, first_note = _open_other(settings, items)
    if engine is not None:
        decision = Decision(device, engine.precision, engine.batch_size, engine.backend, first_note)
        _keep(settle(settings, decision), engine)
        return decision
    batch_size = settings.batch_size or default_batch_size(device, settings.size)
    note = ""
    precision = settings.precision
    if precision == "auto":
        fast = "fp16" if device == "cuda" else "bf16"
        precision, note = _choose_precision(settings, items, fast)
    engine = open_engine(
        settings.model, settings.fingerprint, settings.size, batch_size, device, precision
    )
    notes = "; ".join(filter(None, (first_note, note)))
    return Decision(device, precision, batch_size, engine.backend, notes)


def settle(settings: Settings, decision: Decision) -> Settings:
    """The settings with what was decided in place of what was open."""
    return replace(
        settings,
        device=decision.device,
        precision=decision.precision,
        batch_size=decision.batch_size,
        backend=family(decision.backend),
    )


def _open_other(settings: Settings, items: Sequence[Item]) -> tuple[Engine | None, str]:
    """An engine other than PyTorch's, where one is asked for or may be faster."""
    if settings.backend == TORCH or (settings.backend == "auto" and settings.device == "cpu"):
        return None, ""
    if settings.opener is None:
        if settings.backend == "auto":
            return None, ""
        raise InputError(
            f"--backend {settings.backend}: cannot be opened from here; use pix2pix_batch.convert"
        )
    channels = _loaded(settings.model, settings.fingerprint)[0].architecture.in_channels
    tiles = _probe_tiles(settings, items, channels)
    if tiles is None:  # nothing to look at, nor to convert; what runs then does not matter
        tiles = np.zeros((1, settings.size, settings.size, channels), np.uint8)
    return settings.opener(settings, tiles)


def _choose_precision(settings: Settings, items: Sequence[Item], fast: str) -> tuple[str, str]:
    """``fast`` or ``fp32``, and a note where ``fast`` was refused for its error."""
    from pix2pix_batch import onednn
    from pix2pix_batch.engine import DTYPES, psnr

    if settings.device == "cpu" and not (onednn.bf16_is_fast() and onednn.available(DTYPES[fast])):
        return "fp32", ""
    channels = _loaded(settings.model, settings.fingerprint)[0].architecture.in_channels
    tiles = _probe_tiles(settings, items, channels)
    if tiles is None:
        return fast, ""
    outputs = {}
    for precision in ("fp32", fast):
        engine = open_engine.__wrapped__(
            settings.model,
            settings.fingerprint,
            settings.size,
            len(tiles),
            settings.device,
            precision,
        )
        outputs[precision] = engine(tiles).images
    closeness = psnr(outputs[fast], outputs["fp32"])
    if closeness < PSNR_BAR:
        return "fp32", (
            f"{fast} differs from fp32 by {closeness:.1f} dB on this model (bar {PSNR_BAR:.0f}), "
            "so fp32 runs"
        )
    return fast, ""


def _probe_tiles(settings: Settings, items: Sequence[Item], channels: int) -> np.ndarray | None:
    tiles = []
    for item in items:
        try:
            picture = images.read(read_file(item.path)[0], channels)
            tiles.append(next(iter(fitted(picture.pixels, settings.fit, settings.size))))
        except ImageError:
            continue
        if len(tiles) == PROBE_IMAGES:
            break
    return np.ascontiguousarray(np.stack(tiles)) if tiles else None
