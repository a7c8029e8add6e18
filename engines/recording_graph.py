"""The network to export, with each layer's features as further outputs."""

from __future__ import annotations

from torch import Tensor, nn

from pix2pix_batch.engines.export_graph import Graph


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
