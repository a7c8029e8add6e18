"""The U-Net on the CPU: oneDNN's convolutions with prepacked weights and fused activations.

These are the operators that ``torch.compile`` puts into a frozen graph. Called directly they
are as fast, need no compiler and no compile time, and are the same for short and long jobs, so
that a job's bytes do not depend on its length. ``benchmarks/convert.py`` compares the two.

In float32, layers for which that is faster are matrix products instead (:func:`prepare`): by
Winograd's algorithm, or as a thin convolution.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pix2pix_batch.generators.generator import DROPOUT_RATE, multipliers_by_block
from pix2pix_batch.generators.unet_network import (
    LEAKY_SLOPE,
    NORM_EPS,
    BatchNorm,
    Block,
    UNet,
)
from pix2pix_batch.inference import convolution_rule
from pix2pix_batch.inference.convolution_rule import Way
from pix2pix_batch.inference.few_pixel_winograd import FewPixelWinograd
from pix2pix_batch.inference.packed_convolution import NONE, Activation, PackedConvolution
from pix2pix_batch.inference.patch_convolution import PatchConvolution
from pix2pix_batch.inference.strided_layer import StridedLayer
from pix2pix_batch.inference.thin_convolution import ThinConvolution
from pix2pix_batch.inference.winograd import WinogradConvolution
from pix2pix_batch.inference.winograd_tiling import BLOCKS
from pix2pix_batch.inference.workspace import Workspace

KEEP_SCALE = 1 / (1 - DROPOUT_RATE)
RELU: Activation = ("relu", [], "")
TANH: Activation = ("tanh", [], "")
LEAKY_RELU: Activation = ("leaky_relu", [LEAKY_SLOPE], "")
ISAS_WITHOUT_BF16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)
"""oneDNN's names of the instruction sets that do not multiply bfloat16 (AVX2_VNNI_2 only converts
it)."""
OUTERMOST = 2
"""Blocks of the encoder whose features, of an image of 256x256, fill the cache of a core."""
INTO: Mapping[str, Callable[..., Tensor] | None] = {
    "none": None,
    "relu": partial(torch.clamp_min, min=0),
    "tanh": torch.tanh,
    "leaky_relu": partial(torch.ops.aten.leaky_relu.out, negative_slope=LEAKY_SLOPE),
}
"""Each activation as a function of a tensor and ``out``."""


def instruction_set() -> str:
    """What PyTorch's own kernels and matrix products use on this CPU, where Winograd's and thin
    convolutions were measured: ``AVX2`` or ``AVX512``, or nothing.

    Heeds ``ATEN_CPU_CAPABILITY``. The products are MKL's.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    known = torch.backends.mkl.is_available() and capability in convolution_rule.ENOUGH_CHANNELS
    return capability if known else ""


def available(dtype: torch.dtype) -> bool:
    """Whether this PyTorch and this CPU have the operators for ``dtype``."""
    if not torch.backends.mkldnn.is_available():
        return False
    operators = ("_convolution_pointwise", "_convolution_transpose_pointwise")
    if not all(hasattr(torch.ops.mkldnn, name) for name in operators):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def bf16_is_fast() -> bool:
    """Whether oneDNN multiplies bfloat16 faster than float32 here: by AMX, or AMD's AVX-512 BF16.

    Intel's AVX-512 BF16, which is what is left where a virtual machine hides AMX, multiplies at
    half the rate of float32 (161 against 318 GFLOP/s on a Xeon of the fifth generation, and the
    engine takes 76 against 45 ms an image: ``benchmarks/convert.py``). Elsewhere bf16 is emulated,
    which takes many times as long as fp32. A limit that the user sets by ``ONEDNN_MAX_CPU_ISA``
    (oneDNN's documentation, "CPU Dispatcher Control") counts as the CPU of that kind.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    if limit.upper() in ISAS_WITHOUT_BF16:
        return False
    may_use_amx = limit.upper() in ("DEFAULT", "ALL") or "AMX" in limit.upper()
    if may_use_amx and torch.cpu._is_amx_tile_supported():
        return True
    return bool(torch.cpu._is_avx512_bf16_supported()) and not is_intel()


@cache
def is_intel() -> bool:
    """Whether the CPU is one of Intel's, as far as Linux tells."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def fold_norm(block: Block) -> tuple[Tensor, Tensor | None, nn.Module | None]:
    """A block's weight, bias and what norm is left: running statistics fold into the weights.

    In float32, whatever the weights are stored as.
    """
    conv, norm = block.conv, block.norm
    weight = conv.weight.detach().float()
    if isinstance(norm, BatchNorm) and not norm.per_image:
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=isinstance(conv, nn.ConvTranspose2d),
        )
        return weight.detach(), bias.detach(), None
    plain = None if conv.bias is None else conv.bias.detach()
    return weight, plain, norm


def instance_norm(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Norm channels-last images by their own statistics, which are in float32.

    PyTorch's own instance norm turns the layout around. Group norm with one channel a group is the
    same and has a channels-last kernel, but one that is some 30 times slower under 1024 pixels than
    batch norm of one image after the other.

    Args:
        x: Images ``(N, C, H, W)``.
        scale: Factor of each channel; ``None`` for 1.
        shift: What is added to each channel; ``None`` for 0.

    Returns:
        The normed images.
    """
    if x.shape[2] * x.shape[3] >= 1024:
        return torch.group_norm(x, x.shape[1], scale, shift, NORM_EPS)
    normalised = torch.empty_like(x)
    for i in range(len(x)):
        # One image at a time: batch norm would else mix the statistics of the batch.
        normalised[i : i + 1] = torch.batch_norm(
            x[i : i + 1], scale, shift, None, None, True, 0.0, NORM_EPS, False
        )
    return normalised


class Convolution:
    """One convolution, its norm and its activation: oneDNN's, its weights prepacked."""

    def __init__(
        self, block: Block, shape: tuple[int, int, int], dtype: torch.dtype, activation: Activation
    ) -> None:
        """Fold the norm if it is fixed, and pack the weights. The arguments are those of
        :func:`prepare`."""
        weight, bias, norm = fold_norm(block)
        self.transposed = isinstance(block.conv, nn.ConvTranspose2d)
        self.norm, self.activation = norm, activation
        self.fused = NONE if norm is not None else activation
        if norm is not None:
            self.scale = None if not isinstance(norm, BatchNorm) else norm.weight.detach().float()
            self.shift = None if not isinstance(norm, BatchNorm) else norm.bias.detach().float()
        self._prepare(weight.to(dtype), None if bias is None else bias.to(dtype), shape)

    def _prepare(self, weight: Tensor, bias: Tensor | None, shape: tuple[int, int, int]) -> None:
        channels = weight.shape[0 if self.transposed else 1]
        self.direct = PackedConvolution(
            weight, bias, [shape[0], channels, *shape[1:]],
            transposed=self.transposed, padding=1, stride=2, fused=self.fused,
        )  # fmt: skip

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """The result, in ``out`` if that is given."""
        if self.norm is None:
            return self._convolve(x, out)
        y = self._normalise(self._convolve(x, None))
        return y if out is None else out.copy_(y)

    def _convolve(self, x: Tensor, out: Tensor | None) -> Tensor:
        y = self.direct(x)
        return y if out is None else out.copy_(y)

    def _normalise(self, x: Tensor) -> Tensor:
        x = instance_norm(x, self.scale, self.shift)
        # In place: the result is ours, and a copy would be a pass through memory more.
        if self.activation is LEAKY_RELU:
            return F.leaky_relu_(x, LEAKY_SLOPE)
        return x.relu_() if self.activation is RELU else x


class ProductConvolution(Convolution):
    """One that is matrix products: Winograd's, a thin one, or one of patches."""

    def __init__(
        self,
        block: Block,
        shape: tuple[int, int, int],
        activation: Activation,
        workspace: Workspace,
        way: Way,
    ) -> None:
        """Lay out the weights for the products.

        Args:
            block: A block of the U-Net.
            shape: Batch size, and height and width of its input.
            activation: What follows the norm.
            workspace: Buffers that the convolutions use in turn.
            way: Which kind of product.
        """
        self.workspace, self.way = workspace, way
        super().__init__(block, shape, torch.float32, activation)

    def _prepare(self, weight: Tensor, bias: Tensor | None, shape: tuple[int, int, int]) -> None:
        self.run: WinogradConvolution | FewPixelWinograd | ThinConvolution | PatchConvolution
        layer = StridedLayer(
            weight, bias, shape, self.transposed, INTO[self.fused[0]], self.workspace
        )
        if self.way == "thin":
            self.run = ThinConvolution(layer)
        elif self.way == "winograd":
            blocks = BLOCKS.get(instruction_set(), BLOCKS["AVX512"])
            self.run = WinogradConvolution(layer, blocks)
        elif self.way == "few-pixel winograd":
            self.run = FewPixelWinograd(layer)
        else:
            self.run = PatchConvolution(layer)

    def _convolve(self, x: Tensor, out: Tensor | None) -> Tensor:
        if out is None:
            n, _, height, width = x.shape
            half = (2 * height, 2 * width) if self.transposed else (height // 2, width // 2)
            out = torch.empty((n, self.run.outputs, *half), memory_format=torch.channels_last)
        return self.run(x, out)


def prepare(
    block: Block,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    activation: Activation,
    workspace: Workspace | None,
) -> Convolution:
    """Prepare a convolution for the way that is the fastest for its shape, precision and CPU.

    Args:
        block: A block of the U-Net.
        shape: Batch size, and height and width of its input.
        dtype: The type that it computes in.
        activation: What follows its norm.
        workspace: Buffers that the convolutions use in turn; ``None`` for oneDNN's direct
            convolution.

    Returns:
        The convolution.
    """
    conv = block.conv
    transposed = isinstance(conv, nn.ConvTranspose2d)
    channels, isa = (conv.in_channels, conv.out_channels), instruction_set()
    if workspace is not None and dtype == torch.float32 and isa:
        way = convolution_rule.choose_way(*channels, shape[1:], transposed, isa)
        if way != "direct":
            return ProductConvolution(block, shape, activation, workspace, way)
    return Convolution(block, shape, dtype, activation)


class OneDNNUNet:
    """A :class:`UNet` for batches of up to ``batch`` images of one size, on the CPU.

    Called like :meth:`UNet.translate`; bfloat16 or float32, channels last. The weights are laid
    out for ``batch`` images, and serve fewer as well. The result is only valid until the next
    call where it is a view of a reused buffer.
    """

    def __init__(
        self, unet: UNet, batch: int, size: int, dtype: torch.dtype, *, direct: bool = False
    ) -> None:
        """Prepare all blocks of a U-Net.

        Args:
            unet: The network in float32, in eval mode.
            batch: The most images in a batch.
            size: Side of the images in pixels.
            dtype: The type that it computes in.
            direct: Whether no convolution runs as matrix products.
        """
        a = self.architecture = unet.architecture
        self.dtype = dtype
        workspace = None if direct else Workspace()
        last = a.downs - 1
        wanted: list[tuple[Block, int, Activation]] = [
            *(
                (block, size >> i, LEAKY_RELU if i < last else NONE)
                for i, block in enumerate(unet.down)
            ),
            *((block, size >> (i + 1), RELU if i else TANH) for i, block in enumerate(unet.up)),
        ]
        prepared: dict[Block, Convolution] = {}
        # The largest first: what laying out a layer takes for a while, several times its weight,
        # never comes on top of all the others.
        for block, side, activation in sorted(
            wanted, key=lambda one: one[0].conv.weight.numel(), reverse=True
        ):
            prepared[block] = prepare(block, (batch, side, side), dtype, activation, workspace)
        self.down = [prepared[block] for block in unet.down]
        self.up = [prepared[block] for block in unet.up]
        self.joined = [
            torch.empty(
                (batch, 2 * a.width(i), size >> (i + 1), size >> (i + 1)),
                dtype=dtype,
                memory_format=torch.channels_last,
            )
            for i in range(last if a.skips else 0)
        ]

    def __call__(
        self, x: Tensor, masks: Sequence[Tensor] | Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        a, count = self.architecture, len(x)
        mask_of = multipliers_by_block(a, masks)
        # the decoder's ReLU is applied before joining: it commutes with that and with the masks
        joined = [both[:count] for both in self.joined]
        # Half as large in bfloat16, where it was not measured.
        first = OUTERMOST if self.dtype == torch.float32 else 0
        if first:
            x = self._encode_outermost(x, joined)
        for i in range(first, a.downs):
            x = self._encode(i, x, joined)
        # Before the ReLU below, which works in place and would change what is averaged.
        embedding = x.mean(dim=(2, 3), dtype=torch.float32)
        x = x.relu_()
        for i in range(len(self.up) - 1, 0, -1):
            x = self.up[i](x, joined[i - 1][:, a.width(i - 1) :] if joined else None)
            if i in mask_of:
                x = x.mul_(mask_of[i].to(self.dtype))
            if joined:
                x = joined[i - 1]
        return self.up[0](x), embedding

    def _encode_outermost(self, x: Tensor, joined: Sequence[Tensor]) -> Tensor:
        """The first blocks, whose features are large, one image after the other: so less of them is
        held, and no slower (``benchmarks/convert.py``)."""
        made = []
        for k in range(len(x)):
            image, into = x[k : k + 1], [both[k : k + 1] for both in joined]
            for i in range(OUTERMOST):
                image = self._encode(i, image, into)
            made.append(image)
        return torch.cat(made)

    def _encode(self, i: int, x: Tensor, joined: Sequence[Tensor]) -> Tensor:
        x = self.down[i](x)
        if i < len(joined):
            torch.clamp_min(x, 0, out=joined[i][:, : self.architecture.width(i)])
        return x
