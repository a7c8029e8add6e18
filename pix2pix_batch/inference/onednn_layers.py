"""A generator that is described by its layers on the CPU: prepacked convolutions, few passes.

Images run one after the other: their layers are large enough to fill a core, instance norm is each
image's own anyway, and so an image's bits depend on nothing but the image, in every precision.

A feature that is read with mirrored or zero pixels around is put where these have their place, so
that nothing is copied to be padded. Instance norm, ReLU and the addition of a residual block are
done on the way there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pix2pix_batch.generators.layers import IMAGE, Convolution, LayeredDescription, Resample, Sized
from pix2pix_batch.generators.network import LayeredGenerator, pool, resample
from pix2pix_batch.generators.unet_network import NORM_EPS, BatchNorm, Block, multipliers_by_block
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.feature_plan import (
    FeaturePlan,
    Place,
    Room,
    choose_direct,
    choose_way,
    plan_features,
)
from pix2pix_batch.inference.thin_plain import ThinPlainConvolution
from pix2pix_batch.inference.winograd_3x3 import Winograd3x3
from pix2pix_batch.inference.workspace import Workspace

CACHED = 1 << 20
"""Bytes of features that are gone through several times while they are in the cache: half of the
second level of a core's, as CPUs with AVX-512 have it."""

Products = Winograd3x3 | ThinPlainConvolution


class Feature:
    """Room for one layer's result: ``whole``, ``(1, C, H, W)`` channels last, with its margin, and
    ``inner``, the image in it."""

    def __init__(self, room: Room, dtype: torch.dtype) -> None:
        channels, size, place = room
        self.place = place
        shape = (1, channels, *place.padded)
        self.whole = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last).zero_()
        begin = place.margin
        self.inner = self.whole[:, :, begin : begin + size[0], begin : begin + size[1]]

    def fill_margin(self) -> None:
        """Mirror the image's rows, then its columns, about its outermost pixels."""
        if not self.place.reflects:
            return
        margin, (height, width) = self.place.margin, self.inner.shape[2:]
        whole, last = self.whole, (margin + height - 1, margin + width - 1)
        for k in range(1, margin + 1):
            whole[:, :, margin - k] = whole[:, :, margin + k]
            whole[:, :, last[0] + k] = whole[:, :, last[0] - k]
        for k in range(1, margin + 1):
            whole[:, :, :, margin - k] = whole[:, :, :, margin + k]
            whole[:, :, :, last[1] + k] = whole[:, :, :, last[1] - k]


class Step:
    """One layer, prepared for images of one size."""

    def __init__(
        self,
        layer: Convolution,
        sized: Sized,
        wanted: Place,
        block: Block,
        dtype: torch.dtype,
        workspace: Workspace | None,
    ) -> None:
        """``wanted``: how it reads its input. Without a ``workspace`` it is never matrix
        products."""
        self.layer, self.before, self.size = layer, sized.before, sized.after
        self.wanted = wanted
        weight, bias, self.norm = onednn.fold_norm(block)
        self.scale = self.shift = None
        if isinstance(self.norm, BatchNorm):
            self.scale, self.shift = (
                one.detach().float() for one in (self.norm.weight, self.norm.bias)
            )
        # An image's mean takes a bias away again.
        self.bias = None if bias is None or self.norm is not None else bias.to(dtype)
        self.fused = onednn.NONE
        if self.norm is None and layer.activation != "none":
            self.fused = onednn.RELU if layer.activation == "relu" else onednn.TANH
        self.products: Products | None = None
        if workspace is not None:
            self.products = self._as_products(weight, workspace)
        if self.products is None:
            self._pack(weight.to(dtype))

    def _as_products(self, weight: Tensor, workspace: Workspace) -> Products | None:
        """The convolution as matrix products, where that is faster."""
        way = choose_way(self.layer, self.size)
        if way == "winograd":
            return Winograd3x3(weight, self.size, workspace)
        return ThinPlainConvolution(weight, self.size, workspace) if way == "thin" else None

    def _pack(self, weight: Tensor) -> None:
        layer, before = self.layer, self.before
        self.padding = [0, 0] if layer.reflects else [layer.padding] * 2
        self.stride, self.dilation = [layer.stride] * 2, [1, 1]
        self.output_padding = [layer.stride - 1] * 2
        margin = 2 * layer.padding if layer.reflects else 0
        size = [1, layer.inputs, before[0] + margin, before[1] + margin]
        pack = torch.ops.mkldnn
        if layer.transposed:
            self.weight = pack._reorder_convolution_transpose_weight(
                weight, self.padding, self.output_padding, self.stride, self.dilation, 1, size
            )
        else:
            self.weight = pack._reorder_convolution_weight(
                weight, self.padding, self.stride, self.dilation, 1, size
            )

    def convolve(self, x: Tensor) -> Tensor:
        """``x``: the whole of the input, as it is wanted. With the activation where no norm comes
        between."""
        if self.products is not None:
            return self._multiply(self.products, x)
        operators = torch.ops.mkldnn
        if self.layer.transposed:
            y: Tensor = operators._convolution_transpose_pointwise(
                x, self.weight, self.bias, self.padding, self.output_padding, self.stride,
                self.dilation, 1, *self.fused,
            )  # fmt: skip
        else:
            y = operators._convolution_pointwise(
                x, self.weight, self.bias, self.padding, self.stride, self.dilation, 1, *self.fused
            )
        return y

    def _multiply(self, products: Products, x: Tensor) -> Tensor:
        y = torch.empty((*self.size, self.layer.outputs))
        products(x[0].permute(1, 2, 0), y)
        if self.bias is not None:
            y.add_(self.bias)
        if (activate := onednn.INTO[self.fused[0]]) is not None:
            activate(y, out=y)
        return y.permute(2, 0, 1)[None]

    def finish(self, y: Tensor, mask: Tensor | None, added: Tensor | None, out: Tensor) -> None:
        """Norm, activation, noise and sum, into ``out``: some rows at a time, which stay in the
        cache for one after the other."""
        if self.norm is not None:
            factor, offset = self._factor_and_offset(y)
        for rows in cut_rows(y):
            made = out[:, :, rows]
            if self.norm is None:
                made.copy_(y[:, :, rows])
            else:
                scale_and_shift(y[:, :, rows], factor, offset, made)
                if self.layer.activation == "relu":
                    made.clamp_min_(0)
                elif self.layer.activation == "tanh":
                    made.tanh_()
            if mask is not None:
                made.mul_(mask[:, :, rows].to(out.dtype))
            if added is not None:
                made.add_(added[:, :, rows])

    def _factor_and_offset(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """What instance norm multiplies each channel by, and adds then; in float32."""
        mean, variance = channel_statistics(y)
        factor = torch.rsqrt(variance + NORM_EPS)
        factor = factor if self.scale is None else factor * self.scale
        shift = torch.zeros_like(mean) if self.shift is None else self.shift
        offset = torch.addcmul(shift, mean, factor, value=-1)
        return factor.view(1, -1, 1, 1), offset.view(1, -1, 1, 1)


def cut_rows(y: Tensor) -> list[slice]:
    """Equal parts of an image's rows, of :data:`CACHED` bytes at most if there are such."""
    height, row = y.shape[2], y.shape[1] * y.shape[3] * y.element_size()
    rows = next(n for n in range(height, 0, -1) if height % n == 0 and n * row <= max(CACHED, row))
    return [slice(first, first + rows) for first in range(0, height, rows)]


def channel_statistics(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of one image, ``float32 (C,)``.

    Of equal parts first: the whole's variance is the mean of theirs, and their means' variance.
    """
    parts = [
        torch.ops.aten.batch_norm_update_stats(y[:, :, rows].float(), None, None, 0.0)
        for rows in cut_rows(y)
    ]
    means, variances = (torch.stack(one).double() for one in zip(*parts, strict=True))
    variance = variances.mean(0) + means.var(0, correction=0)
    return means.mean(0).float(), variance.float()


def scale_and_shift(y: Tensor, factor: Tensor, offset: Tensor, out: Tensor) -> None:
    if out.dtype == torch.float32:
        torch.addcmul(offset, y, factor, out=out)
    else:
        out.copy_(torch.addcmul(offset, y.float(), factor))


class OneDNNLayers:
    """A :class:`LayeredGenerator` for images of one size, on the CPU.

    Called like :meth:`LayeredGenerator.translate`; bfloat16 or float32. The weights are laid out
    anew; the network's own are not kept.
    """

    def __init__(
        self, net: LayeredGenerator, size: tuple[int, int], dtype: torch.dtype, *, direct: bool
    ) -> None:
        """``size``: the images' height and width. ``direct``: no convolution as matrix products."""
        self.architecture: LayeredDescription = net.architecture
        self.dtype = dtype
        products = dtype == torch.float32 and not direct and bool(onednn.instruction_set())
        workspace = Workspace() if products else None
        self.sized = list(self.architecture.sized(*size))
        plan = plan_features(self.architecture, size, choose_way if products else choose_direct)
        self.steps = [
            self._prepare(net, sized, plan, workspace)
            if isinstance(sized.layer, Convolution)
            else None
            for sized in self.sized
        ]
        buffers = [Feature(room, dtype) for room in plan.rooms]
        self.features = {name: buffers[number] for name, number in plan.buffers.items()}

    def _prepare(
        self, net: LayeredGenerator, sized: Sized, plan: FeaturePlan, workspace: Workspace | None
    ) -> Step:
        layer = sized.layer
        assert isinstance(layer, Convolution)
        wanted, block = plan.wanted[layer.name], net.find_block(layer.name)
        return Step(layer, sized, wanted, block, self.dtype, workspace)

    def __call__(
        self, x: Tensor, masks: Sequence[Tensor] | Mapping[int, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        mask_of = multipliers_by_block(self.architecture, masks)
        made, embeddings = [], []
        for k in range(len(x)):
            y, embedding = self._translate(
                x[k : k + 1], {number: mask[k : k + 1] for number, mask in mask_of.items()}
            )
            made.append(y.clone())
            embeddings.append(embedding)
        return torch.cat(made), torch.cat(embeddings)

    def _translate(self, x: Tensor, masks: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        image = self.features[IMAGE]
        image.inner.copy_(x)
        image.fill_margin()
        embedding = None
        for step, sized in zip(self.steps, self.sized, strict=True):
            layer, source = sized.layer, self.features[sized.layer.source]
            feature = self.features[layer.name]
            if isinstance(layer, Resample):
                feature.inner.copy_(resample(source.inner, layer.kind))
            else:
                assert step is not None
                added = self.features[layer.added].inner if layer.added else None
                y = step.convolve(read_as(source, step.wanted, self.dtype))
                mask = None if layer.noise_block is None else masks.get(layer.noise_block)
                step.finish(y, mask, added, feature.inner)
            feature.fill_margin()
            if layer.name == self.architecture.embedded:
                embedding = pool(feature.inner)
        assert embedding is not None
        return feature.inner, embedding


def read_as(feature: Feature, wanted: Place, dtype: torch.dtype) -> Tensor:
    """The feature with what is around it, copied where it is not held so."""
    if feature.place == wanted:
        return feature.whole
    channels, height, width = feature.inner.shape[1:]
    other = Feature(Room(channels, (height, width), wanted), dtype)
    other.inner.copy_(feature.inner)
    other.fill_margin()
    return other.whole
