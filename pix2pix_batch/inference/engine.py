"""The engine: something that runs a bundle on one device, samples in and samples out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.description import Description
from pix2pix_batch.generators.generator import Generator, NormStatistics
from pix2pix_batch.generators.network import LayeredGenerator
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import convolution_rule, onednn, onednn_layers
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.value_ranges import ValueRange, ValueRanges, eight_bits

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BATCH = 4
"""Images of 256x256 a batch on the CPU: more gain nothing (``benchmarks/convert.py``), and take
memory."""
CUDA_BATCH = 32


class Translated(NamedTuple):
    """``images``: ``(N, S, S, out_channels)`` of the bundle's type, ``uint8`` unless it says
    another; ``embeddings``: ``float32 (N, D)``."""

    images: np.ndarray
    embeddings: np.ndarray


class Engine(Protocol):
    """Runs a bundle on one device.

    ``images``: ``(N, size, size, in_channels)`` of the type that the bundle's inputs have
    (:class:`pix2pix_batch.value_ranges.ValueRange`), ``uint8`` unless it says another, contiguous.
    ``masks``: one ``bool`` array
    ``(N, C, H, W)`` a dropout block, true where a value is kept, or ``None`` for no noise. ``N`` is
    ``batch_size``, or from 1 to that where ``takes_fewer``. An image's result does not depend on
    the others in its batch, nor on their number. ``backend``: by the name that ``--backend`` has
    for it.
    """

    batch_size: int
    takes_fewer: bool
    size: int
    device: str
    backend: str
    precision: str

    def __call__(
        self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None
    ) -> Translated: ...


@runtime_checkable
class Overlapping(Protocol):
    """An :class:`Engine` that can begin a batch before the one before it is done.

    ``start`` takes what a call takes, and is done with the arrays when it returns; ``finish``
    returns the result of the batch begun first. Two batches may be under way.
    """

    def start(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> None: ...

    def finish(self) -> Translated: ...


Masks = Sequence[np.ndarray] | Mapping[int, np.ndarray]


@runtime_checkable
class AnySize(Protocol):
    """An :class:`Engine` whose call takes images of any size that the network does, and that can
    norm several by the same statistics."""

    def measure_norms(self, images: np.ndarray) -> NormStatistics:
        """The statistics that ``images``, ``(N, H, W, in_channels)``, parts of one, are normed
        by."""

    def translate_with(
        self, images: np.ndarray, masks: Masks | None, norms: NormStatistics
    ) -> Translated:
        """Translate images as a call does, but norm all of them by the same statistics.

        Args:
            images: Samples ``(N, H, W, in_channels)``.
            masks: Their noise; ``None`` for none.
            norms: The statistics, as :meth:`measure_norms` returns them.

        Returns:
            The translated images and their embeddings.
        """


class TorchEngine:
    """A bundle's generator in PyTorch on the CPU, through oneDNN where that is there.

    Its ``masks`` may also be multipliers of any decoder blocks, by the block's number:
    ``float32 (N, C, H, W)``. With ones an image is translated as without noise. Where an image's
    bits could depend on the number of images, fewer than ``batch_size`` are padded in here.
    """

    backend = TORCH
    device = "cpu"
    takes_fewer = True

    def __init__(
        self,
        net: Generator,
        *,
        size: int,
        batch_size: int,
        precision: str = "fp32",
        direct: bool = False,
        ranges: ValueRanges | None = None,
    ) -> None:
        """Prepare a generator for the CPU.

        Args:
            net: The generator in float32, in eval mode.
            size: Side of the images in pixels.
            batch_size: The most images in a batch.
            precision: ``fp32`` or ``bf16``.
            direct: Whether no convolution runs as matrix products, which take time and memory to
                prepare; for a few images.
            ranges: The bundle's; ``None`` for images of 8 bits.

        Raises:
            InputError: The precision is fp16, which runs on GPUs only.
        """
        self.size, self.batch_size, self.precision = size, batch_size, precision
        dtype = DTYPES[precision]
        if precision == "fp16":
            raise InputError("fp16 runs on GPUs only; use --precision bf16 or fp32 on the CPU")
        self.dtype = dtype
        self.samples = map_samples(net.architecture, ranges)
        self.run: Callable[..., tuple[Tensor, Tensor]]
        self._measure: Callable[[Tensor], NormStatistics] | None = None
        # Unless it is known that an image's bits do not depend on how many share its batch.
        self._pads = True
        if onednn.available(dtype) and isinstance(net, UNet):
            self.run = onednn.OneDNNUNet(net, batch_size, size, dtype, direct=direct)
            self._pads = not convolution_rule.is_independent_of_batch(precision)
        elif onednn.available(dtype) and isinstance(net, LayeredGenerator):
            layers = onednn_layers.OneDNNLayers(net, (size, size), dtype, direct=direct)
            self.run, self._measure = layers, layers.measure_norms
            self._pads = False  # images run one after the other
        else:
            model = copy.deepcopy(net).to(dtype).to(memory_format=torch.channels_last)
            self.run = model.translate
            if isinstance(model, LayeredGenerator):
                self._measure = model.measure_norms

    def __call__(self, images: np.ndarray, masks: Masks | None = None) -> Translated:
        return self._translate(images, masks)

    def translate_with(
        self, images: np.ndarray, masks: Masks | None, norms: NormStatistics
    ) -> Translated:
        """See :meth:`AnySize.translate_with`."""
        return self._translate(images, masks, norms)

    @torch.inference_mode()
    def measure_norms(self, images: np.ndarray) -> NormStatistics:
        """See :meth:`AnySize.measure_norms`. Raises ``TypeError`` for networks of one size."""
        if self._measure is None:
            raise TypeError("the network takes images of one size")
        return self._measure(self._levels(images))

    @torch.inference_mode()
    def _translate(self, images: np.ndarray, masks: Masks | None, *norms: object) -> Translated:
        count = len(images)
        x = self._levels(self._pad_batch(images))
        y, embedding = self.run(x, None if masks is None else self._multipliers(masks), *norms)
        made, embeddings = self.samples.output.to_values(y[:count]), embedding[:count].float()
        return Translated(made.numpy(), embeddings.numpy())

    def _levels(self, images: np.ndarray) -> Tensor:
        """``(N, C, H, W)`` in [-1, 1]."""
        return self.samples.input.to_levels(torch.from_numpy(images)).to(self.dtype)

    def _pad_batch(self, array: np.ndarray) -> np.ndarray:
        if not self._pads or len(array) >= self.batch_size:
            return array
        rest = np.zeros((self.batch_size - len(array), *array.shape[1:]), array.dtype)
        return np.concatenate((array, rest))

    def _multipliers(self, masks: Masks) -> Sequence[Tensor] | Mapping[int, Tensor]:
        if isinstance(masks, Mapping):
            return {i: torch.from_numpy(self._pad_batch(mask)) for i, mask in masks.items()}
        kept = (torch.from_numpy(self._pad_batch(mask)).to(torch.float32) for mask in masks)
        return [mask.mul_(onednn.KEEP_SCALE) for mask in kept]


class SampleMappings(NamedTuple):
    """Of an engine's inputs and of its outputs."""

    input: ValueMapping
    output: ValueMapping


def map_samples(architecture: Description, ranges: ValueRanges | None) -> SampleMappings:
    """``ranges``: the bundle's; ``None`` for images of 8 bits."""
    if ranges is None:
        sides = eight_bits(architecture.in_channels), eight_bits(architecture.out_channels)
        ranges = ValueRanges(*sides)
    return SampleMappings(ValueMapping(ranges.input), ValueMapping(ranges.output))


def to_bytes(y: Tensor) -> Tensor:
    """``(N, C, H, W)`` in [-1, 1] to ``uint8 (N, H, W, C)``, rounded to nearest."""
    return ValueMapping(eight_bits(y.shape[1])).to_values(y)


def default_batch_size(device: str, size: int) -> int:
    """As many images as have the pixels of :data:`CPU_BATCH` or :data:`CUDA_BATCH` small ones."""
    standard = CPU_BATCH if device == "cpu" else CUDA_BATCH
    return max(1, standard * 256 * 256 // (size * size))


def psnr(output: np.ndarray, reference: np.ndarray, side: ValueRange | None = None) -> float:
    """Compute the peak signal-to-noise ratio.

    Args:
        output: Samples of any shape whose last axis is the bands.
        reference: Samples of the same shape.
        side: What the samples mean; each band's range is the peak. ``None`` for ``uint8``.

    Returns:
        The ratio in dB; infinite if the two are equal.
    """
    if side is not None and not side.is_eight_bit:
        output, reference = ((side.to_levels(one) + 1) * 127.5 for one in (output, reference))
    # In float64, since uint8 would wrap around where the output is darker.
    error = float(np.square(output.astype(np.float64) - reference).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
