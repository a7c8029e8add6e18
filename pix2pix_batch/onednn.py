"""The U-Net on the CPU: oneDNN's convolutions with prepacked weights and fused activations.

These are the operators that ``torch.compile`` puts into a frozen graph. Called directly they
are as fast, need no compiler and no compile time, and are the same for short and long jobs, so
that a job's bytes do not depend on its length. ``benchmarks/convert.py`` compares the two.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pix2pix_batch.generator import (
    DROPOUT_RATE,
    LEAKY_SLOPE,
    NORM_EPS,
    BatchNorm,
    Block,
    UNet,
    by_block,
)

PADDING, STRIDE, DILATION, NO_OUTPUT_PADDING = [1, 1], [2, 2], [1, 1], [0, 0]
KEEP_SCALE = 1 / (1 - DROPOUT_RATE)
Activation = tuple[str, list[float], str]
NONE: Activation = ("none", [], "")
RELU: Activation = ("relu", [], "")
TANH: Activation = ("tanh", [], "")
LEAKY_RELU: Activation = ("leaky_relu", [LEAKY_SLOPE], "")
ISAS_WITHOUT_BF16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)
"""oneDNN's names of the instruction sets that do not multiply bfloat16 (AVX2_VNNI_2 only converts
it)."""


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
    """Whether oneDNN multiplies bfloat16 in hardware here: by AMX, or AVX-512 BF16.

    Elsewhere it emulates it, which takes many times as long as fp32. A limit that the user sets
    by ``ONEDNN_MAX_CPU_ISA`` (oneDNN's documentation, "CPU Dispatcher Control") counts as the CPU
    of that kind. ``benchmarks/convert.py`` measures both precisions.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    if limit.upper() in ISAS_WITHOUT_BF16:
        return False
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, in this process, instead of giving it back.

    An image's activations are some 40 MB, allocated and freed layer by layer; returning them
    to the system and faulting them in again costs about a fifth of the time. glibc only.
    """
    if sys.platform != "linux":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # <malloc.h>
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**31 - 1)


def folded(block: Block) -> tuple[Tensor, Tensor | None, nn.Module | None]:
    """A block's weight, bias and what norm is left: running statistics fold into the weights."""
    conv, norm = block.conv, block.norm
    if isinstance(norm, BatchNorm) and not norm.per_image:
        assert norm.running_mean is not None and norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight,
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
    return conv.weight.detach(), plain, norm


def instance_norm(x: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """Instance norm of channels-last images, statistics in float32.

    PyTorch's own turns the layout around. Group norm with one channel a group is the same and
    has a channels-last kernel, but one that is some 30 times slower under 1024 pixels than
    batch norm of one image after the other.
    """
    if x.shape[2] * x.shape[3] >= 1024:
        return torch.group_norm(x, x.shape[1], scale, shift, NORM_EPS)
    normalised = torch.empty_like(x)
    for i in range(len(x)):
        normalised[i : i + 1] = torch.batch_norm(
            x[i : i + 1], scale, shift, None, None, True, 0.0, NORM_EPS, False
        )
    return normalised


class Convolution:
    """One prepacked convolution, its norm and its activation."""

    def __init__(
        self, block: Block, shape: tuple[int, int, int], dtype: torch.dtype, activation: Activation
    ) -> None:
        """``shape``: batch size, height and width of the input."""
        weight, bias, norm = folded(block)
        self.transposed = isinstance(block.conv, nn.ConvTranspose2d)
        self.norm, self.activation = norm, activation
        self.fused = NONE if norm is not None else activation
        self.bias = None if bias is None else bias.to(dtype)
        if norm is not None:
            self.scale = None if not isinstance(norm, BatchNorm) else norm.weight.detach().float()
            self.shift = None if not isinstance(norm, BatchNorm) else norm.bias.detach().float()
        weight = weight.to(dtype)
        size = [shape[0], block.conv.in_channels, shape[1], shape[2]]
        pack = torch.ops.mkldnn
        if self.transposed:
            self.weight = pack._reorder_convolution_transpose_weight(
                weight, PADDING, NO_OUTPUT_PADDING, STRIDE, DILATION, 1, size
            )
        else:
            self.weight = pack._reorder_convolution_weight(
                weight, PADDING, STRIDE, DILATION, 1, size
            )

    def __call__(self, x: Tensor) -> Tensor:
        if self.transposed:
            x = torch.ops.mkldnn._convolution_transpose_pointwise(
                x, self.weight, self.bias, PADDING, NO_OUTPUT_PADDING, STRIDE, DILATION, 1,
                *self.fused,
            )  # fmt: skip
        else:
            x = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, PADDING, STRIDE, DILATION, 1, *self.fused
            )
        return x if self.norm is None else self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        x = instance_norm(x, self.scale, self.shift)
        if self.activation is LEAKY_RELU:
            return F.leaky_relu_(x, LEAKY_SLOPE)
        return x.relu_() if self.activation is RELU else x


class OneDNNUNet:
    """A :class:`UNet` for one fixed batch and image size, on the CPU.

    Called like :meth:`UNet.translate`; bfloat16 or float32, channels last. The result is only
    valid until the next call where it is a view of a reused buffer.
    """

    def __init__(self, unet: UNet, batch: int, size: int, dtype: torch.dtype) -> None:
        a = self.architecture = unet.architecture
        self.dtype = dtype
        last = a.downs - 1
        self.down = [
            Convolution(
                block, (batch, size >> i, size >> i), dtype, LEAKY_RELU if i < last else NONE
            )
            for i, block in enumerate(unet.down)
        ]
        self.up = [
            Convolution(
                block, (batch, size >> (i + 1), size >> (i + 1)), dtype, RELU if i else TANH
            )
            for i, block in enumerate(unet.up)
        ]
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
        mask_of = by_block(self.architecture, masks)
        skips = []
        for convolution in self.down:
            x = convolution(x)
            skips.append(x)
        embedding = x.mean(dim=(2, 3), dtype=torch.float32)
        x = skips.pop().relu_()
        for i in range(len(self.up) - 1, 0, -1):
            # the decoder's ReLU is already applied: it commutes with the masks and with joining
            x = self.up[i](x)
            if i in mask_of:
                x = x.mul_(mask_of[i].to(self.dtype))
            if self.architecture.skips:
                x = torch.cat((skips.pop().relu_(), x), dim=1, out=self.joined[i - 1])
        return self.up[0](x), embedding
