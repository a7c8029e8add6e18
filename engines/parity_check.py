"""The parity gate: no engine runs before its images were compared with fp32 PyTorch's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.engines.cache import Cache, Entry
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError
from pix2pix_batch.inference.autotune import PSNR_BAR
from pix2pix_batch.inference.engine import Engine, TorchEngine, psnr
from pix2pix_batch.noise import dropout_masks
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange

if TYPE_CHECKING:
    from pix2pix_batch.engines.runtime import TensorRTEngine

BAR = PSNR_BAR
"""Under this PSNR, in dB, an engine is set aside: the same bar that half precision has."""

FINEST = 65535
"""Parts of a band's range in which differences of samples of more than 8 bits are told."""

REFERENCE_BATCH = 4
KEY = bytes(16)
"""Of the dropout masks that an engine with noise is checked with: any will do."""


@dataclass(frozen=True)
class Parity:
    """How close an engine's images are to the reference's.

    Attributes:
        psnr: In dB, over all images together.
        greatest: The largest difference of two samples, in parts of ``finest``.
        images: How many images were compared.
        finest: 255 for samples of 8 bits; 65535, parts of their band's range, for finer ones.
    """

    psnr: float
    greatest: int
    images: int
    finest: int = 255

    @property
    def passes(self) -> bool:
        return self.psnr >= BAR

    def as_dict(self) -> dict[str, float]:
        """The values as JSON has them, which has no infinity."""
        values = asdict(self) | {"psnr": round(min(self.psnr, 999.0), 2)}
        return {k: v for k, v in values.items() if (k, v) != ("finest", 255)}

    def __str__(self) -> str:
        return (
            f"{self.psnr:.1f} dB from fp32 PyTorch on {format_count(self.images, 'image')}, "
            f"at most {self.greatest:,} of {self.finest:,}"
        )


def compare(
    engine: Engine,
    reference: Engine,
    images: np.ndarray,
    masks: list[np.ndarray] | None = None,
    side: ValueRange | None = None,
) -> Parity:
    """Compare two engines on the same images.

    Args:
        engine: The engine that is checked.
        reference: The engine that it is compared with. Each gets the images in batches of its own
            size.
        images: ``(N, S, S, C)``, real inputs.
        masks: Dropout masks, one ``bool (C, H, W)`` for each block with dropout, the same for every
            image.
        side: What the outputs mean; ``None`` for images of 8 bits.
    """
    translated, expected = (
        translate_all(translator, images, masks) for translator in (engine, reference)
    )
    return measure_parity(translated, expected, side)


def measure_parity(
    translated: np.ndarray, expected: np.ndarray, side: ValueRange | None = None
) -> Parity:
    """Measure how close images are to those that were expected.

    Args:
        translated: ``(N, S, S, C)`` of the outputs' type.
        expected: The same of the reference.
        side: What the samples mean; ``None`` for images of 8 bits.
    """
    closeness = psnr(translated, expected, side)
    if side is None or side.is_eight_bit:
        # In 16 bits, since uint8 would wrap around below 0.
        greatest = int(np.abs(translated.astype(np.int16) - expected).max())
        return Parity(closeness, greatest, len(translated))
    apart = np.abs(side.to_levels(translated) - side.to_levels(expected)).max()
    return Parity(closeness, round(float(apart) / 2 * FINEST), len(translated), FINEST)


def translate_all(
    engine: Engine, images: np.ndarray, masks: list[np.ndarray] | None = None
) -> np.ndarray:
    """Translate any number of images; the last batch is padded.

    Args:
        engine: Any engine.
        images: ``(N, S, S, C)`` of the inputs' type.
        masks: Dropout masks, one ``bool (C, H, W)`` for each block with dropout, the same for every
            image.

    Returns:
        ``(N, S, S, C)`` of the outputs' type.
    """
    batches, repeated = [], repeat_masks(masks, engine.batch_size)
    for start in range(0, len(images), engine.batch_size):
        batch = images[start : start + engine.batch_size]
        padded = np.zeros((engine.batch_size, *images.shape[1:]), images.dtype)
        padded[: len(batch)] = batch
        batches.append(engine(padded, repeated).images[: len(batch)])
    return np.concatenate(batches)


def repeat_masks(masks: list[np.ndarray] | None, count: int) -> list[np.ndarray] | None:
    """The masks of one image for ``count`` of them, ``bool (N, C, H, W)`` each."""
    return masks and [np.repeat(mask[None], count, axis=0) for mask in masks]


def reference_engine(spec: EngineSpec) -> TorchEngine:
    """fp32 PyTorch on the CPU, where nothing is rounded to TF32."""
    info, net = bundle.load(spec.model)
    return TorchEngine(net, size=spec.size, batch_size=REFERENCE_BATCH, ranges=info.ranges)


def masks_for(spec: EngineSpec) -> list[np.ndarray] | None:
    """Dropout masks to check an engine with, one ``bool (C, H, W)`` for each block with dropout,
    the same for every image; ``None`` if the spec is without noise."""
    if not spec.noise:
        return None
    architecture = spec.info.architecture
    return dropout_masks(KEY, architecture.mask_shapes(spec.size, spec.size))


def check_entry(
    cache: Cache, entry: Entry, engine: Engine, spec: EngineSpec, images: np.ndarray
) -> tuple[Entry, Parity]:
    """Compare an engine with PyTorch and store the result in its sidecar.

    How far the precision alone is from fp32 is stored too: an engine that is much further away has
    a fault of its own.

    Args:
        cache: The cache that has the engine.
        entry: The engine's entry.
        engine: The same engine, running.
        spec: The spec that it was built for.
        images: ``(N, S, S, C)``, real inputs.

    Returns:
        The entry with the result, and the result.

    Raises:
        EngineError: The engine is under :data:`BAR`. It stays in the cache, set aside, so that it
            is neither used nor built again.
    """
    from pix2pix_batch.engines.emulation import emulate

    masks = masks_for(spec)
    expected = translate_all(reference_engine(spec), images, masks)
    side = spec.info.ranges.output
    parity = measure_parity(translate_all(engine, images, masks), expected, side)
    predicted = measure_parity(emulate(spec, images, masks), expected, side)
    refused = ""
    if not parity.passes:
        refused = f"is {parity} (bar {BAR:.0f}; {spec.precision} itself: {predicted.psnr:.1f} dB)"
    entry = cache.update_facts(
        entry, parity=parity.as_dict(), predicted=predicted.as_dict(), refused=refused
    )
    if refused:
        raise EngineError(set_aside(entry))
    return entry, parity


def set_aside(entry: Entry) -> str:
    """Why a refused engine does not run, and what to do."""
    return (
        f"the {entry.key.precision} engine {entry.id[:12]} {entry.refusal}, so it is set aside; "
        f"'pix2pix-batch engine verify --layers' finds the layer"
    )


def load_engine(
    library: Library, entry: Entry, cache: Cache | None = None, output_type: str = "uint8"
) -> TensorRTEngine:
    """Load an engine on the GPU of this machine.

    Args:
        library: The TensorRT package that runs it.
        entry: The engine.
        cache: Where the part that is compiled at load time is stored beside the engine; ``None`` to
            store nothing.
        output_type: The type of the bundle's outputs.

    Raises:
        EngineError: It does not load here.
        InputError: Its file is damaged.
    """
    from pix2pix_batch.engines.runtime import TensorRTEngine

    key = entry.key
    return TensorRTEngine(
        library,
        entry.read(),
        size=key.size,
        batch_size=key.batch_size,
        precision=key.precision,
        runtime_file=None if cache is None else cache.runtime_file(entry),
        output_type=output_type,
    )
