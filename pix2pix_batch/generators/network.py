"""The network of a generator that is described by its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch.generators.generator import Generator, Masks, NormStatistics
from pix2pix_batch.generators.layers import (
    IMAGE,
    Activation,
    Convolution,
    Join,
    Layer,
    LayeredDescription,
    Resample,
    Resampling,
)
from pix2pix_batch.generators.unet_network import (
    NORM_EPS,
    BatchNorm,
    Block,
    make_norm,
)


class LayeredGenerator(Generator):
    """The network of a :class:`LayeredDescription`; a :class:`Generator`."""

    architecture: LayeredDescription

    def __init__(self, architecture: LayeredDescription) -> None:
        super().__init__()
        self.architecture = architecture
        for layer in architecture.layers:
            if isinstance(layer, Convolution):
                self._place(layer.name, self._block(layer))

    def _place(self, name: str, block: Block) -> None:
        """``block`` as the submodule of that dotted name."""
        *above, own = name.split(".")
        parent: nn.Module = self
        for part in above:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(own, block)

    def _block(self, layer: Convolution) -> Block:
        padding = 0 if layer.reflects else layer.padding
        numbers = layer.inputs, layer.outputs, layer.kernel, layer.stride, padding
        conv: nn.Conv2d | nn.ConvTranspose2d
        if layer.transposed:
            output_padding = layer.output_padding
            conv = nn.ConvTranspose2d(*numbers, output_padding=output_padding, bias=layer.bias)
        else:
            conv = nn.Conv2d(*numbers, bias=layer.bias)
        norm = make_norm(self.architecture.norm, layer.outputs) if layer.normed else None
        return Block(conv, norm)

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """The convolutions with their norms, by name, in running order."""
        for layer in self.architecture.layers:
            if isinstance(layer, Convolution):
                yield layer.name, self.find_block(layer.name)

    def find_block(self, name: str) -> Block:
        found = self.get_submodule(name)
        assert isinstance(found, Block)
        return found

    def embed(self, x: Tensor) -> Tensor:
        """What follows the embedded features is not computed."""
        embedded = self.architecture.embedding_source
        for name, feature in self._run(x, {}):
            if name == embedded:
                return pool(feature)
        raise AssertionError(f"no layer makes {embedded}")

    def translate(
        self, x: Tensor, masks: Masks | None = None, norms: NormStatistics | None = None
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Generator.translate`. ``norms``: the statistics that norms use in place of
        each image's own, in eval mode. Raises ``ValueError`` for images of another shape."""
        a = self.architecture
        self.require_images(x)
        embedding, y = None, x
        for name, y in self._run(x, self.multipliers(x, masks), norms):
            if name == a.embedding_source:
                embedding = pool(y)
        assert embedding is not None
        return y, embedding

    def measure_norms(self, x: Tensor) -> NormStatistics:
        """The statistics by which the norms that use an image's own norm ``x``, images that are
        parts of one."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        self.require_images(x)
        for _ in self._run(x, {}, None, found):
            pass
        return found

    def _run(
        self,
        x: Tensor,
        masks: Mapping[int, Tensor],
        norms: NormStatistics | None = None,
        found: dict[str, tuple[Tensor, Tensor]] | None = None,
    ) -> Iterator[tuple[str, Tensor]]:
        """Each layer's features by its name, in running order."""
        features, last = {IMAGE: x}, self.architecture.last_reads
        for place, layer in enumerate(self.architecture.layers):
            made = self._run_layer(layer, features, masks, norms, found)
            features[layer.name] = made
            for name in {*layer.reads, layer.name}:
                if last.get(name, -1) <= place:
                    del features[name]
            yield layer.name, made

    def _run_layer(
        self,
        layer: Layer,
        features: Mapping[str, Tensor],
        masks: Mapping[int, Tensor],
        norms: NormStatistics | None,
        found: dict[str, tuple[Tensor, Tensor]] | None,
    ) -> Tensor:
        x = features[layer.source]
        if isinstance(layer, Resample):
            return resample(x, layer.kind)
        if isinstance(layer, Join):
            return torch.cat((x, features[layer.other]), 1)
        if layer.reflects and layer.padding:
            x = F.pad(x, [layer.padding] * 4, mode="reflect")
        block = self.find_block(layer.name)
        if norms is None and found is None:
            x = block(x)
        else:
            x = norm_with(block, block.conv(x), layer.name, norms, found)
        if layer.activation != "none":
            x = activate(x, layer.activation, layer.slope)
        if layer.noise_block is not None and layer.noise_block in masks:
            x = x * masks[layer.noise_block].to(x.dtype)
        return x + features[layer.added] if layer.added else x


def activate(x: Tensor, activation: Activation, slope: float) -> Tensor:
    """``x`` after an activation other than none. ``slope``: of a leaky one."""
    if activation == "leaky_relu":
        return F.leaky_relu(x, slope)
    return torch.relu(x) if activation == "relu" else torch.tanh(x)


def norm_with(
    block: Block,
    x: Tensor,
    name: str,
    norms: NormStatistics | None,
    found: dict[str, tuple[Tensor, Tensor]] | None,
) -> Tensor:
    """``x`` after the block's norm, by the statistics in ``norms`` or else its own, which
    ``found`` is given; norms that do not use an image's own are as always."""
    norm = block.norm
    if norm is None:
        return x
    if isinstance(norm, BatchNorm) and not norm.per_image:
        return norm(x)
    wide = x.float()
    if norms is None:
        variance, mean = torch.var_mean(wide, dim=(0, 2, 3), correction=0)
    else:
        mean, variance = norms[name]
    if found is not None:
        found[name] = mean, variance
    scale, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
    scale, shift = (None if one is None else one.float() for one in (scale, shift))
    return F.batch_norm(wide, mean, variance, scale, shift, False, 0.0, NORM_EPS).to(x.dtype)


def pool(x: Tensor) -> Tensor:
    """``(N, C)``: the average over the pixels, in float32 at least."""
    wide = x if x.dtype == torch.float64 else x.float()
    return wide.mean(dim=(2, 3))


def resample(x: Tensor, kind: Resampling) -> Tensor:
    """``x`` in another size: see :class:`Resample`."""
    if kind == "nearest":
        return F.interpolate(x, scale_factor=2, mode="nearest")
    if kind == "bilinear":
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    if kind == "average":
        return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    line = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), kernel, stride=2, groups=x.shape[1])
