"""Convolutions that are trained on CPUs in full precision: fewer products, forward and backward.

pix2pix's convolutions are 4x4, of stride 2 (down, or up where transposed) or 1. All are one
bilinear map of three arrays: the big image ``(N, H, W, B)``, the small one ``(N, h, w, S)`` and
the weights ``(S, B, 4, 4)``. Two of them give the third:

===================  ==========  ==========  =======
                     big         small       weights
===================  ==========  ==========  =======
convolution          given       wanted      given
its input gradient   wanted      given       given
transposed           wanted      given       given
its input gradient   given       wanted      given
weight gradients     given       given       wanted
===================  ==========  ==========  =======

So three functions serve both kinds of layer and both directions, each in three forms:

*product*: one matrix product with the patches of the big image (im2col), for layers of few
pixels, whose time is that of reading their weights, and for those of few channels.

*tiles*: Winograd's minimal filtering (Lavin and Gray 2016, arXiv 1509.09308) on tiles of 4x4
pixels of the small image, or of 2x2 where there are few pixels, whose weights need fewer points. A
4x4 kernel of stride 2 is four kernels of 2x2 on the four phases of the big image, and F(4x4, 2x2)
needs 25 products a channel where the definition has 64, F(2x2, 2x2) 9 for 16; one of stride 1
needs 49 where it has 256, F(4x4, 4x4). The gradient of the weights is the same algorithm
transposed.

*thin*: one product with the pixels of the big image, for a small image of one channel.

:func:`choose_tile` decides between them by shapes alone, so that a run does the same each time.
All images are channels last. What is rounded otherwise than in a direct sum is some 1e-6 of the
result's size (measured by the tests), a thousandth of what TF32 rounds.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.train.tiles import KERNEL, PADDING, Shape, Tiles, crop, pad

TILES = (4, 2)
"""Pixels along a tile's side that there are to choose from: few products, or few points of
weights."""
MOVED = 40
"""What it costs to bring one number to a form's points or patches, in multiplications.

Measured by ``benchmarks/train_layers.py`` on one core of an Intel Xeon, kept to AVX2: 28 to 48 take
the fastest forms. Less would take tiles in the encoder's first layer, where they do not pay; more
would take those of 2x2 in the decoder's layer of 16x16 pixels and four images.
"""


def choose_tile(shape: Shape) -> int | None:
    """The side of the tiles that are fastest, by the products they save and the numbers they move;
    ``None`` where one product is faster."""
    if is_thin(shape):
        return None
    pixels = shape.images * shape.height * shape.width
    costs: dict[int | None, int] = {
        None: pixels * KERNEL**2 * shape.big * (shape.small + MOVED),
        **{side: _cost(Tiles(shape, side)) for side in TILES},
    }
    return min(costs, key=costs.__getitem__)


def is_thin(shape: Shape) -> bool:
    """Whether it is a discriminator's last layer, which has a form of its own."""
    return shape.small == 1 and shape.stride == 1


def _cost(form: Tiles) -> int:
    weights = form.shape.small * form.shape.channels
    moved = form.count * (form.shape.small + form.shape.channels) + weights
    return form.points**2 * (form.count * weights + MOVED * moved)


class Product:
    """Patches of the big image, pixels of the small one, and a matrix of weights."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def big(self, x: Tensor) -> Tensor:
        """The patches of the big image: ``(N, B, H, W)`` to ``(N * h * w, 16 * B)``."""
        shape = self.shape
        s, b = shape.stride, shape.big
        x = pad(x, PADDING, *(side + 2 * PADDING for side in shape.sides))
        n, height, width, _ = x.shape
        size = (n, shape.height, shape.width, KERNEL, KERNEL * b)
        step = (height * width * b, s * width * b, s * b, width * b, 1)
        return x.as_strided(size, step).reshape(-1, KERNEL * KERNEL * b)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        shape = self.shape
        s, r, n = shape.stride, shape.taps, shape.images
        patches = (small @ weights).view(n, shape.height, shape.width, r, s, r, s * shape.big)
        height, width = (side + 2 * PADDING for side in shape.sides)
        x = patches.new_zeros(n, height // s, s, width // s, s * shape.big)
        for i in range(r):
            for j in range(r):
                part = x[:, i : i + shape.height, :, j : j + shape.width]
                part.add_(patches[:, :, :, i, :, j].transpose(2, 3))
        big = crop(x.view(n, height, width, shape.big), shape).permute(0, 3, 1, 2)
        return big.contiguous(memory_format=torch.channels_last)

    def small(self, x: Tensor) -> Tensor:
        """The pixels of the small image: ``(N, S, h, w)`` to ``(N * h * w, S)``."""
        return x.permute(0, 2, 3, 1).reshape(-1, self.shape.small)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        shape = self.shape
        x = (big @ weights.T).view(shape.images, shape.height, shape.width, shape.small)
        return x.permute(0, 3, 1, 2)

    def weights(self, weight: Tensor) -> Tensor:
        """The weights as a matrix: ``(S, B, 4, 4)`` to ``(S, 16 * B)``, without a copy if they are
        channels last."""
        return weight.permute(0, 2, 3, 1).reshape(self.shape.small, -1)

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        shape = self.shape
        weights = (small.T @ big).view(shape.small, KERNEL, KERNEL, shape.big)
        return weights.permute(0, 3, 1, 2)


class Thin:
    """Pixels of the big image, and 16 values of a small image of one channel: those that a pixel
    has a part in. Stride 1. What is gathered has 16 channels, and not 16 times as many as the big
    image's."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def big(self, x: Tensor) -> Tensor:
        """The pixels of the big image: ``(N, B, H, W)`` to ``(N * H * W, B)``."""
        return x.permute(0, 2, 3, 1).reshape(-1, self.shape.big)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        x = (small @ weights).view(self.shape.images, *self.shape.sides, self.shape.big)
        return x.permute(0, 3, 1, 2)

    def small(self, x: Tensor) -> Tensor:
        """What each pixel of the big image has a part in: ``(N, 1, h, w)`` to ``(N * H * W,
        16)``."""
        padded = F.pad(x[:, 0], [KERNEL - 1 - PADDING] * 4)
        return self._windows(padded).reshape(-1, KERNEL**2)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        n, height, width, margin = *self.shape[:3], KERNEL - 1 - PADDING
        values = (big @ weights.T).view(n, *self.shape.sides, KERNEL, KERNEL)
        padded = values.new_zeros(n, height + 2 * margin, width + 2 * margin)
        rows, columns = self.shape.sides
        for i in range(KERNEL):
            for j in range(KERNEL):
                padded[:, i : i + rows, j : j + columns].add_(values[..., i, j])
        return padded[:, None, margin : margin + height, margin : margin + width].contiguous()

    def weights(self, weight: Tensor) -> Tensor:
        """The weights from the last tap to the first: ``(1, B, 4, 4)`` to ``(16, B)``."""
        return weight[0].flip(1, 2).flatten(1).T

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        taps = (small.T @ big).T.view(1, self.shape.big, KERNEL, KERNEL)
        return taps.flip(2, 3)

    def _windows(self, padded: Tensor) -> Tensor:
        """View ``(N, height, width)`` as each pixel's: ``(N, H, W, 4, 4)``."""
        return padded.unfold(1, KERNEL, 1).unfold(2, KERNEL, 1)


class Convolve(torch.autograd.Function):
    """A convolution or, ``transposed``, its transpose, whose ``x`` is the small image."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, shape: Shape, transposed: bool, tile: int | None
    ) -> Tensor:
        ctx.shape, ctx.transposed = shape, transposed
        form: Product | Thin | Tiles = Product(shape) if tile is None else Tiles(shape, tile)
        if tile is None and is_thin(shape):
            form = Thin(shape)
        ctx.form = form
        weights = form.weights(weight)
        points = form.small(x) if transposed else form.big(x)
        # x and weight are only for gradients of gradients
        ctx.save_for_backward(x, weight, points, weights)
        return form.big_of(points, weights) if transposed else form.small_of(points, weights)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, points, weights = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # these are to be differentiated again
            stride, dilation, none = [ctx.shape.stride] * 2, [1, 1], [0, 0]
            dx, dw, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, stride, [PADDING] * 2, dilation, ctx.transposed, none, 1,
                [need_x, need_weight, False],
            )  # fmt: skip
            return dx, dw, None, None, None
        form, dx, dw = ctx.form, None, None
        if ctx.transposed:
            small, big = points, form.big(gradient)
            dx = form.small_of(big, weights) if need_x else None
        else:
            small, big = form.small(gradient), points
            dx = form.big_of(small, weights) if need_x else None
        dw = form.weights_of(small, big) if need_weight else None
        return dx, dw, None, None, None


class Down(nn.Conv2d):
    """A :class:`nn.Conv2d` that computes by :class:`Convolve` on the CPU in full precision."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # once: spectral norm goes on each time that it is asked for
        stride = self.stride[0]
        height, width = (side + 2 * PADDING - KERNEL + stride for side in x.shape[2:])
        if not fits(self, x, weight) or height % stride or width % stride:
            return self._conv_forward(x, weight, self.bias)
        sides = height // stride, width // stride
        shape = Shape(len(x), *sides, self.in_channels, self.out_channels, stride)
        return convolve(x, weight, self.bias, shape, transposed=False)


class Up(nn.ConvTranspose2d):
    """A :class:`nn.ConvTranspose2d` that computes by :class:`Convolve` on the CPU in full
    precision."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not fits(self, x, self.weight) or output_size is not None:
            return super().forward(x, output_size)
        height, width = x.shape[2:]
        shape = Shape(len(x), height, width, self.out_channels, self.in_channels, self.stride[0])
        return convolve(x, self.weight, self.bias, shape, transposed=True)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape, transposed: bool
) -> Tensor:
    """Convolve by :class:`Convolve`, in the form that :func:`choose_tile` chooses, and add the
    bias.

    Args:
        x: ``(N, C, H, W)``, the big image, or the small one if ``transposed``.
        weight: ``(S, B, 4, 4)``.
        bias: One number for each output channel.
        shape: The sizes of both images.
        transposed: Whether the small image is given and the big one wanted.
    """
    y = cast(Tensor, Convolve.apply(x, weight, shape, transposed, choose_tile(shape)))
    return y if bias is None else y + bias[:, None, None]


def fits(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> bool:
    """Whether :class:`Convolve` may stand for a layer on its input.

    In bf16, oneDNN's convolutions are faster, and on GPUs cuDNN's.

    Args:
        layer: The layer.
        x: Its input, ``(N, C, H, W)``.
        weight: Its weights, which are read once, since spectral norm goes on each time they are.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and layer.kernel_size == (KERNEL, KERNEL)
        and layer.padding == (PADDING, PADDING)
        and layer.stride in ((1, 1), (2, 2))
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and set(layer.output_padding) == {0}
        and min(x.shape) > 0
    )


def use_own_convolutions(generator: UNet) -> None:
    """Give each block a convolution of this module with the very same parameters."""
    for block in [*generator.down, *generator.up]:
        kind = Up if isinstance(block.conv, nn.ConvTranspose2d) else Down
        # Not a new module: parameters stay the very same objects, under the same names in
        # checkpoints.
        block.conv.__class__ = kind
