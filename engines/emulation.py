"""A narrow precision on the CPU: how far it is from fp32 by itself, whatever the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch import bundle
from pix2pix_batch.engines.export_graph import Graph, make_graph
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.inference.engine import DTYPES

BATCH = 4


@torch.no_grad()
def emulate(
    spec: EngineSpec, images: np.ndarray, masks: list[np.ndarray] | None = None
) -> np.ndarray:
    """Compute on the CPU what the graph makes of images in the spec's precision.

    Each convolution takes values, and returns values, that the precision can represent, and adds up
    in float32 as GPUs do.

    Args:
        spec: The model and its precision.
        images: ``(N, S, S, C)`` of the inputs' type.
        masks: Dropout masks, one ``bool (C, H, W)`` for each block with dropout, the same for every
            image.

    Returns:
        ``(N, S, S, C)`` of the outputs' type.
    """
    info, net = bundle.load(spec.model)
    graph = round_to_precision(make_graph(net, DTYPES[spec.precision], info.ranges))
    batches = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH])
        noise = [torch.from_numpy(mask).expand(len(batch), -1, -1, -1) for mask in masks or ()]
        batches.append(graph(batch, *noise)[0].numpy())
    return np.concatenate(batches)


def round_to_precision(graph: Graph) -> Graph:
    """The graph in float32, with weights and features rounded to its precision; it is changed."""
    dtype, graph.dtype = graph.dtype, torch.float32

    def rounded(x: Tensor) -> Tensor:
        return x.to(dtype).to(torch.float32)

    def into(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (rounded(inputs[0]),)

    def out(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return rounded(output)

    for _, stage in graph.stages():
        stage.conv.to(torch.float32)
        stage.conv.register_forward_pre_hook(into)
        stage.conv.register_forward_hook(out)
        if stage.norm is not None:
            stage.norm.register_forward_hook(out)
    return graph
