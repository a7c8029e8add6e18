"""A bundle's generator as an ONNX file. ``docs/onnx.md`` says what such a file promises."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import BundleError, InputError
from pix2pix_batch.storage import output
from pix2pix_batch.version import __version__

if TYPE_CHECKING:
    import onnx
    import torch

    from pix2pix_batch.engines.export_graph import Graph, GraphWithFeatures

SCHEMA = 1
"""Of the files written here; grows whenever an older reader would use a new file wrongly."""

METADATA_KEY = "pix2pix_batch"
IMAGE, NOISE, TRANSLATED, EMBEDDING = "image", "noise_", "translated", "embedding"
"""The graph's inputs (``noise_0``, ``noise_1``, ... where there is noise) and its outputs."""

PRECISIONS = ("fp16", "fp32", "bf16")
OPSETS = {"fp16": 18, "fp32": 18, "bf16": 22}
"""18 is what PyTorch's exporter is written in; convolutions of bfloat16 came with 22."""

IR_VERSION = 10
"""Of ONNX 1.16: read by onnxruntime from 1.18 and TensorRT from 10.0."""

MAX_BYTES = 2**31 - 2**20
"""A protobuf message ends at 2 GiB; the graph itself takes less than a MiB."""


@dataclass(frozen=True)
class ExportInfo:
    """What was written.

    Attributes:
        path: The file.
        sha256: SHA-256 of its bytes, in hexadecimal.
        bytes: Their number.
        bundle_sha256: SHA-256 of the bundle.
        precision: What the network computes in.
        batch_size: The number of images that the file takes; ``None`` for any number.
        size: The images' side in pixels.
        masks: ``(C, H, W)`` of each input for dropout masks.
    """

    path: Path
    sha256: str
    bytes: int
    bundle_sha256: str
    precision: str
    batch_size: int | None
    size: int
    masks: tuple[tuple[int, int, int], ...]


# Longer than others for what there is to say of its parameters: its body has 27 lines.
def export(
    model: Path,
    out: Path,
    *,
    precision: str = "fp16",
    batch_size: int | None = None,
    size: int | None = None,
    noise: bool = False,
    overwrite: bool = False,
    wide: bool = False,
) -> ExportInfo:
    """Write a bundle as an ONNX file, whole or not at all.

    Equal arguments give equal bytes.

    Args:
        model: The bundle.
        out: The file, which ends in ``.onnx``.
        precision: ``fp16``, ``fp32`` or ``bf16``.
        batch_size: The number of images that the file takes; ``None`` for any number.
        size: The images' side in pixels; ``None`` for the model's own.
        noise: Whether the file has inputs for dropout masks.
        overwrite: Whether ``out`` may be replaced.
        wide: Whether samples of 16 bits go in and out as 32-bit integers, for TensorRT, which has
            no 16-bit ones.

    Raises:
        InputError: An option cannot be used, ``out`` exists, or the extra ``onnx`` is not
            installed.
        BundleError: The bundle cannot be read, or its weights do not fit into the precision.
        OutputError: ``out`` cannot be written.
    """
    require_extra()
    info = bundle.read_info(model)
    size = info.image_size if size is None else size
    check_options(model, info, precision, batch_size, size, noise)
    check_place(out, overwrite)

    graph = build(model, precision)
    image_type = input_type(graph, wide)
    fingerprint = bundle.fingerprint(model)
    masks = info.architecture.mask_shapes(size, size) if noise else []
    network = trace(graph, size, batch_size, masks, OPSETS[precision], image_type=image_type)
    describe(network, info, fingerprint, precision, batch_size, size, len(masks))
    # Else protobuf may write its maps in another order each time, and equal arguments give equal
    # bytes.
    content = network.SerializeToString(deterministic=True)
    output.write(out, content)
    return ExportInfo(
        path=out,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        bundle_sha256=fingerprint,
        precision=precision,
        batch_size=batch_size,
        size=size,
        masks=tuple(masks),
    )


def require_extra() -> None:
    """Raises :class:`InputError` if the extra ``onnx`` is not installed."""
    for module in ("onnx", "onnxscript"):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"ONNX export needs the package {module!r}; pip install 'pix2pix-batch[onnx]'"
            ) from error


def check_options(
    model: Path, info: BundleInfo, precision: str, batch_size: int | None, size: int, noise: bool
) -> None:
    """Refuse what a bundle cannot be exported with.

    Args:
        model: The bundle's path, for messages.
        info: Its metadata.
        precision: Must be one of :data:`PRECISIONS`.
        batch_size: Must be 1 or more; ``None`` for any number.
        size: The images' side in pixels, which the generator must take.
        noise: Must be false if the generator has no dropout.

    Raises:
        InputError: One of them cannot be used.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: must be one of {', '.join(PRECISIONS)}")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch size {batch_size}: must be 1 or more, or open ('dynamic')")
    multiple, least = info.architecture.multiple, info.architecture.least_side
    if size < least or size % multiple:
        below = max(least, size // multiple * multiple)
        raise InputError(
            f"{model}: takes images whose side is a multiple of {multiple}, not {size}; "
            f"use --size {below} or {below + multiple}"
        )
    if noise and not info.architecture.dropout_blocks:
        raise InputError(f"{model}: has no dropout, so --noise would change nothing; leave it out")


def check_place(out: Path, overwrite: bool) -> None:
    """See before long work whether ``out`` can be written."""
    output.require_place(out, (".onnx",))
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists; choose another name or pass --overwrite")


def build(model: Path, precision: str) -> Graph:
    """The network with its weights in ``precision``. Raises :class:`BundleError`."""
    import torch

    from pix2pix_batch.engines.export_graph import make_graph
    from pix2pix_batch.inference.engine import DTYPES

    info, net = bundle.load(model)
    graph = make_graph(net, DTYPES[precision], info.ranges)
    total = 0
    for name, value in graph.named_parameters():
        if not torch.isfinite(value).all():
            raise BundleError(
                f"{model}: the weights {name!r} do not fit into {precision}; "
                "use --precision fp32 or bf16"
            )
        total += value.nbytes
    if total > MAX_BYTES:
        raise InputError(
            f"{model}: its weights take {total / 2**30:.1f} GiB in {precision}, and an ONNX file "
            "holds 2 GiB; use --precision fp16 or a model with a smaller ngf"
        )
    return graph


def input_type(graph: Graph, wide: bool) -> torch.dtype:
    """The type of the images that the graph takes. If 16 bits are to be ``wide``, the graph is made
    to return 32-bit integers in their place too."""
    import torch

    if wide and graph.samples.output.type in (torch.uint16, torch.int16):
        graph.made = torch.int32
    given = graph.samples.input.type
    return torch.int32 if wide and given in (torch.uint16, torch.int16) else given


def trace(
    graph: Graph | GraphWithFeatures,
    size: int,
    batch_size: int | None,
    masks: list[tuple[int, int, int]],
    opset: int,
    outputs: Sequence[str] = (TRANSLATED, EMBEDDING),
    *,
    image_type: torch.dtype | None = None,
) -> onnx.ModelProto:
    """Turn the network into ONNX, with its weights.

    Args:
        graph: The network, from :func:`build`.
        size: The images' side in pixels.
        batch_size: The number of images; ``None`` for any number.
        masks: ``(C, H, W)`` of each input for dropout masks.
        opset: The version of ONNX's operators, one of :data:`OPSETS`.
        outputs: The names of the outputs, in order.
        image_type: The type of the images; ``None`` for ``uint8``.

    Raises:
        InputError: This PyTorch leaves weights out of the file.
    """
    import torch

    channels = graph.architecture.in_channels
    count = 2 if batch_size is None else batch_size  # 1 would be taken for a constant
    image = torch.zeros(count, size, size, channels, dtype=image_type or torch.uint8)
    noise = [torch.zeros(count, *shape, dtype=torch.bool) for shape in masks]
    dynamic = None
    if batch_size is None:
        batch = {0: torch.export.Dim("batch", min=1)}
        dynamic = (batch, tuple(batch for _ in noise)) if noise else (batch,)

    weights = blank(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names of axes, and on PyTorch's own internals
        program = torch.onnx.export(
            graph,
            (image, *noise),
            dynamo=True,
            opset_version=opset,
            input_names=[IMAGE, *(f"{NOISE}{k}" for k in range(len(noise)))],
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            verbose=False,
        )
    return _apply_weights(program, weights)


def _apply_weights(
    program: torch.onnx.ONNXProgram | None, weights: dict[str, torch.Tensor]
) -> onnx.ModelProto:
    """The model, with the weights that :func:`blank` took out. Raises :class:`InputError`."""
    import torch

    assert program is not None
    missing = set(weights) - set(program.model.graph.initializers)
    if missing:
        names = ", ".join(sorted(missing))
        raise InputError(f"torch {torch.__version__} left {names} out of the file; upgrade torch")
    program.apply_weights(weights)
    return program.model_proto


def blank(graph: Graph | GraphWithFeatures) -> dict[str, torch.Tensor]:
    """Take the weights out of ``graph`` and leave random ones, all different.

    The exporter merges weights that are equal and drops biases that are zero. Not seeing the
    real ones, it gives every model of one architecture the same graph, with all its weights.
    """
    import torch

    weights = {name: parameter.data for name, parameter in graph.named_parameters()}
    random = torch.Generator().manual_seed(0)
    for parameter in graph.parameters():
        parameter.data = torch.rand(parameter.shape, generator=random).to(parameter.dtype)
    return weights


def describe(
    network: onnx.ModelProto,
    info: BundleInfo,
    fingerprint: str,
    precision: str,
    batch_size: int | None,
    size: int,
    masks: int,
) -> None:
    """Write into ``network`` what it is, and remove what tells of the machine that it was made on.

    Args:
        network: The ONNX model, which is changed.
        info: The bundle's metadata.
        fingerprint: SHA-256 of the bundle, in hexadecimal.
        precision: What the network computes in.
        batch_size: The number of images; ``None`` for any number.
        size: The images' side in pixels.
        masks: The number of inputs for dropout masks.
    """
    graph, ranges = network.graph, info.ranges
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # stack traces, with paths
        part.ClearField("doc_string")
    network.ir_version = IR_VERSION
    network.producer_name, network.producer_version = "pix2pix-batch", __version__
    values = {
        "schema": SCHEMA,
        "name": info.name,
        "bundle_sha256": fingerprint,
        "version": __version__,
        "architecture": info.architecture.as_dict(),
        "norm": info.architecture.norm,
        "source_domain": info.source_domain,
        "target_domain": info.target_domain,
        "precision": precision,
        "batch_size": batch_size,
        "size": size,
        "noise": masks,
    }
    if info.input_range is not None or info.output_range is not None:
        values["ranges"] = {"input": ranges.input.as_dict(), "output": ranges.output.as_dict()}
    network.metadata_props.add(key=METADATA_KEY, value=json.dumps(values, sort_keys=True))
