"""The generator as the network that engines are compiled from: samples in, samples out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.network import LayeredGenerator
from pix2pix_batch.generators.unet_network import NORM_EPS, BatchNorm, Block, UNet, norm_each
from pix2pix_batch.inference.engine import SampleMappings, map_samples
from pix2pix_batch.inference.onednn import KEEP_SCALE, fold_norm
from pix2pix_batch.value_ranges import ValueRanges


class Graph(Generator):
    """A :class:`Generator` whose inputs and outputs are those of an engine.

    Computes in ``dtype`` but for the norms' statistics, the embedding, the last tanh and the
    scaling of bytes, which are float32 always: a sum of squares soon exceeds float16's 65504.
    Running statistics are folded into the convolutions. Parameters have the names that they
    have in the bundle; folded convolutions have a ``bias`` besides, and norms without scale and
    shift have ones and zeros.
    """

    dtype: torch.dtype
    samples: SampleMappings
    made: torch.dtype | None = None
    """The type of what comes out, where it is another than the bundle's."""

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """The convolutions with their norms, by name, in running order."""
        raise NotImplementedError

    def forward(self, image: Tensor, *noise: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Translate images, with scaling and rounding.

        Args:
            image: ``(N, H, W, C)`` of the bundle's input type.
            noise: One ``bool (N, C, H, W)`` for each block with dropout, true where a value is
                kept; or none.

        Returns:
            ``(N, H, W, C')`` of the bundle's output type, and embeddings, ``float32 (N, D)``.
        """
        # TensorRT takes a uint8 tensor into or out of a Cast only: first and last, nothing between.
        x = self._levels(image)
        masks = [mask.to(self.dtype) * KEEP_SCALE for mask in noise]
        y, embedding = self.translate(x, masks or None)
        return self._values(y), embedding

    def _levels(self, image: Tensor) -> Tensor:
        if not self.samples.input.side.is_eight_bit:
            return self.samples.input.to_levels(image.to(torch.float32))
        return image.to(torch.float32).permute(0, 3, 1, 2) / 127.5 - 1

    def _values(self, y: Tensor) -> Tensor:
        if not self.samples.output.side.is_eight_bit:
            return self.samples.output.to_values(y, self.made)
        levels = ((y + 1) * 127.5).round().clamp(0, 255)
        return levels.permute(0, 2, 3, 1).to(torch.uint8)


class UNetGraph(Graph, UNet):
    """The graph of a :class:`UNet`."""

    def __init__(self, net: UNet, dtype: torch.dtype, samples: SampleMappings) -> None:
        """``net``: float32, in eval mode; stays as it is."""
        nn.Module.__init__(self)
        self.architecture, self.dtype, self.samples = net.architecture, dtype, samples
        last = self.architecture.downs - 1
        self.down = nn.ModuleList(  # type: ignore[assignment]
            Stage(block, dtype, leaves=i == last) for i, block in enumerate(net.down)
        )
        self.up = nn.ModuleList(  # type: ignore[assignment]
            Stage(block, dtype, leaves=i == 0) for i, block in enumerate(net.up)
        )
        self.eval().requires_grad_(False)

    def stages(self) -> Iterator[tuple[str, Stage]]:
        downs = range(self.architecture.downs)
        for side, blocks, order in (("down", self.down, downs), ("up", self.up, reversed(downs))):
            for i in order:
                stage = blocks[i]
                assert isinstance(stage, Stage)
                yield f"{side}.{i}", stage


class LayeredGraph(Graph, LayeredGenerator):
    """The graph of a :class:`LayeredGenerator`."""

    def __init__(self, net: LayeredGenerator, dtype: torch.dtype, samples: SampleMappings) -> None:
        """``net``: float32, in eval mode; stays as it is."""
        nn.Module.__init__(self)
        self.architecture, self.dtype, self.samples = net.architecture, dtype, samples
        last = self.architecture.layers[-1].name
        for name, block in net.named_blocks():
            self._place(name, Stage(block, dtype, leaves=name == last))
        self.eval().requires_grad_(False)

    def stages(self) -> Iterator[tuple[str, Stage]]:
        for name, block in self.named_blocks():
            assert isinstance(block, Stage)
            yield name, block


def make_graph(net: Generator, dtype: torch.dtype, ranges: ValueRanges | None = None) -> Graph:
    """Make the network that is exported: with its scaling, and norms folded where they can be.

    Args:
        net: The generator, float32 and in eval mode; it is not changed.
        dtype: What its convolutions compute in.
        ranges: What the bundle's samples mean; ``None`` for images of 8 bits.

    Raises:
        TypeError: There is no graph for networks of this family.
    """
    samples = map_samples(net.architecture, ranges)
    if isinstance(net, UNet):
        return UNetGraph(net, dtype, samples)
    if isinstance(net, LayeredGenerator):
        return LayeredGraph(net, dtype, samples)
    raise TypeError(f"no graph can be made of a {type(net).__name__}")


class Stage(Block):
    """A block whose convolution computes in ``dtype`` and whose norm computes in float32.

    ``leaves``: its features leave the network, as the embedding or the image; float32.
    """

    def __init__(self, block: Block, dtype: torch.dtype, *, leaves: bool) -> None:
        weight, bias, norm = fold_norm(block)
        conv = empty_like(block.conv, bias is not None)
        conv.weight = nn.Parameter(weight.to(dtype))
        conv.bias = None if bias is None else nn.Parameter(bias.to(dtype))
        super().__init__(conv, None if norm is None else InstanceNorm(norm, conv.out_channels))
        self.leaves = leaves

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x.to(self.conv.weight.dtype))
        return x.float() if self.leaves else x


def empty_like(conv: nn.Conv2d | nn.ConvTranspose2d, bias: bool) -> nn.Conv2d | nn.ConvTranspose2d:
    """A convolution of the same kind, without weights."""
    numbers = {
        "stride": conv.stride, "padding": conv.padding, "bias": bias, "device": "meta",
    }  # fmt: skip
    if isinstance(conv, nn.ConvTranspose2d):
        numbers["output_padding"] = conv.output_padding
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d] = type(conv)
    return kind(conv.in_channels, conv.out_channels, conv.kernel_size, **numbers)  # type: ignore[arg-type]


class InstanceNorm(nn.Module):
    """Each image's own statistics, in float32; input and output of any one type."""

    def __init__(self, norm: nn.Module, channels: int) -> None:
        super().__init__()
        scale, shift = torch.ones(channels), torch.zeros(channels)
        if isinstance(norm, BatchNorm):
            scale, shift = norm.weight.detach(), norm.bias.detach()
        self.weight, self.bias = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        if x.shape[2] == x.shape[3] == 1:  # of which TensorRT makes no instance norm
            centred = (wide - wide.mean(dim=(2, 3), keepdim=True)).permute(0, 2, 3, 1)
            y = (centred * self.weight + self.bias).permute(0, 3, 1, 2)
        else:
            y = norm_each(wide, None, None, self.weight, self.bias, 0.0, NORM_EPS)
        return y.to(x.dtype)


class RecordingLayer(nn.Module):
    """A layer that keeps what it puts out, in its own precision."""

    def __init__(self, layer: nn.Module, recorded: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.recorded = layer, recorded

    @property
    def weight(self) -> Tensor:
        """Stages look at their convolution's."""
        weight: Tensor = self.layer.get_parameter("weight")
        return weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        self.recorded.append(y)
        return y


class GraphWithFeatures(nn.Module):
    """A :class:`Graph` that puts out each layer's features too, in running order.

    As outputs they are rounded to the layer's precision in every runtime, also in one that
    computes in a wider.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.net, self.architecture = graph, graph.architecture
        self.recorded: list[Tensor] = []
        self.names: list[str] = []
        for name, stage in graph.stages():
            for part, layer in (("conv", stage.conv), ("norm", stage.norm)):
                if layer is not None:
                    setattr(stage, part, RecordingLayer(layer, self.recorded))
                    self.names.append(f"{name}.{part}")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        self.recorded.clear()
        outputs = self.net(image)
        return (*outputs, *self.recorded)
