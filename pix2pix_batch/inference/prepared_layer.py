"""A layer of a generator on the CPU: a prepacked convolution, or one as matrix products, its norm
and what comes after that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pix2pix_batch.generators.layers import Convolution, Sized
from pix2pix_batch.generators.unet_network import NORM_EPS, BatchNorm, Block
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.feature_plan import Place, Size, Way
from pix2pix_batch.inference.packed_convolution import NONE, PackedConvolution
from pix2pix_batch.inference.thin_plain import ThinPlainConvolution
from pix2pix_batch.inference.winograd_3x3 import Winograd3x3
from pix2pix_batch.inference.workspace import Workspace

CACHED = 1 << 20
"""Bytes of features that are gone through several times while they are in the cache: half of the
second level of a core's, as CPUs with AVX-512 have it."""

Products = Winograd3x3 | ThinPlainConvolution


# Everything that a call needs is worked out once, before it.
class PreparedLayer:
    """A convolution whose weights are laid out for one way of running it, for images of any
    size."""

    def __init__(
        self, layer: Convolution, block: Block, dtype: torch.dtype, way: Way, before: Size
    ) -> None:
        """Lay out the weights of a convolution.

        Args:
            layer: Its description.
            block: Its module.
            dtype: The type that it computes in.
            way: How it runs.
            before: The input's usual height and width, for which oneDNN lays out the weights.
        """
        self.layer, self.way = layer, way
        weight, bias, self.norm = onednn.fold_norm(block)
        self.scale = self.shift = None
        if isinstance(self.norm, BatchNorm):
            self.scale, self.shift = (
                one.detach().float() for one in (self.norm.weight, self.norm.bias)
            )
        # An image's mean takes a bias away again.
        self.bias = None if bias is None or self.norm is not None else bias.to(dtype)
        self.fused = NONE
        if self.norm is None and layer.activation != "none":
            slopes = [layer.slope] if layer.activation == "leaky_relu" else []
            self.fused = (layer.activation, slopes, "")
        if way == "winograd":
            self.kernel = Winograd3x3.transform_kernel(weight)
        elif way == "thin":
            self.kernel = ThinPlainConvolution.order_kernel(weight)
        else:
            self.direct = self._pack(weight.to(dtype), before)

    def _pack(self, weight: Tensor, before: Size) -> PackedConvolution:
        """oneDNN's, with the activation where no norm comes between."""
        layer = self.layer
        margin = 2 * layer.padding if layer.reflects else 0
        return PackedConvolution(
            weight, self.bias, [1, layer.inputs, before[0] + margin, before[1] + margin],
            transposed=layer.transposed, padding=0 if layer.reflects else layer.padding,
            stride=layer.stride, output_padding=layer.output_padding, fused=self.fused,
        )  # fmt: skip


class Step:
    """A prepared layer for images of one size."""

    def __init__(
        self, prepared: PreparedLayer, sized: Sized, input_place: Place, workspace: Workspace
    ) -> None:
        """Prepare a layer for one size of images.

        Args:
            prepared: The layer, with its weights.
            sized: The layer, with the sizes of its input and output.
            input_place: How it reads its input.
            workspace: Buffers that the convolutions use in turn.
        """
        self.prepared, self.layer = prepared, prepared.layer
        self.size, self.input_place = sized.after, input_place
        self.products: Products | None = None
        if prepared.way == "winograd":
            self.products = Winograd3x3(prepared.kernel, self.size, workspace)
        elif prepared.way == "thin":
            self.products = ThinPlainConvolution(prepared.kernel, self.size, workspace)

    @property
    def is_normed(self) -> bool:
        """Whether a norm by the image's own statistics follows."""
        return self.prepared.norm is not None

    def convolve(self, x: Tensor) -> Tensor:
        """``x``: the whole of the input, as it is wanted. With the activation where no norm comes
        between."""
        prepared = self.prepared
        if self.products is None:
            return prepared.direct(x)
        y = torch.empty((*self.size, self.layer.outputs))
        self.products(x[0].permute(1, 2, 0), y)
        if prepared.bias is not None:
            y.add_(prepared.bias)
        activate_in_place(y, prepared.fused[0], self.layer.slope)
        return y.permute(2, 0, 1)[None]

    def finish(
        self,
        y: Tensor,
        statistics: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        added: Tensor | None,
        out: Tensor,
    ) -> None:
        """Norm, activate, multiply by noise and add, some rows at a time, which stay in the cache
        for one after the other.

        Args:
            y: What :meth:`convolve` returned.
            statistics: Mean and variance of each channel; ``None`` if the layer is not normed by
                them.
            mask: Multipliers of the result; ``None`` for no noise.
            added: What is added to the result; ``None`` for nothing.
            out: Takes the result.
        """
        if statistics is not None:
            factor, offset = self._factor_and_offset(*statistics)
        for rows in cut_rows(y):
            made = out[:, :, rows]
            if statistics is None:
                made.copy_(y[:, :, rows])
            else:
                scale_and_shift(y[:, :, rows], factor, offset, made)
                activate_in_place(made, self.layer.activation, self.layer.slope)
            if mask is not None:
                made.mul_(mask[:, :, rows].to(out.dtype))
            if added is not None:
                made.add_(added[:, :, rows])

    def _factor_and_offset(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """What instance norm multiplies each channel by, and adds then; in float32."""
        scale, shift = self.prepared.scale, self.prepared.shift
        factor = torch.rsqrt(variance + NORM_EPS)
        factor = factor if scale is None else factor * scale
        shift = torch.zeros_like(mean) if shift is None else shift
        offset = torch.addcmul(shift, mean, factor, value=-1)
        return factor.view(1, -1, 1, 1), offset.view(1, -1, 1, 1)


def activate_in_place(x: Tensor, activation: str, slope: float) -> None:
    """Apply an activation to a tensor itself.

    Args:
        x: The tensor.
        activation: ``relu``, ``leaky_relu`` or ``tanh``; others change nothing.
        slope: The slope of a leaky ReLU below 0.
    """
    if activation == "relu":
        x.clamp_min_(0)
    elif activation == "leaky_relu":
        torch.nn.functional.leaky_relu_(x, slope)
    elif activation == "tanh":
        x.tanh_()


def cut_rows(y: Tensor) -> list[slice]:
    """Equal parts of an image's rows, of :data:`CACHED` bytes at most if there are such."""
    height, row = y.shape[2], y.shape[1] * y.shape[3] * y.element_size()
    rows = next(n for n in range(height, 0, -1) if height % n == 0 and n * row <= max(CACHED, row))
    return [slice(first, first + rows) for first in range(0, height, rows)]


def statistics_of_all(images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of images of one size, ``float32 (C,)``.

    Of equal parts first: the whole's variance is the mean of theirs, and their means' variance.
    """
    parts = [
        torch.ops.aten.batch_norm_update_stats(y[:, :, rows].float(), None, None, 0.0)
        for y in images
        for rows in cut_rows(y)
    ]
    # In float64: the means' variance is a small difference of large numbers.
    means, variances = (torch.stack(one).double() for one in zip(*parts, strict=True))
    variance = variances.mean(0) + means.var(0, correction=0)
    return means.mean(0).float(), variance.float()


def scale_and_shift(y: Tensor, factor: Tensor, offset: Tensor, out: Tensor) -> None:
    """Compute ``y * factor + offset`` in float32.

    Args:
        y: An image, ``(1, C, H, W)``.
        factor: Of each channel, ``(1, C, 1, 1)``.
        offset: Of each channel, ``(1, C, 1, 1)``.
        out: Takes the result, in its own type.
    """
    if out.dtype == torch.float32:
        torch.addcmul(offset, y, factor, out=out)
    else:
        out.copy_(torch.addcmul(offset, y.float(), factor))
