"""Where a narrow precision goes wrong: the first layer whose features part from fp32's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pix2pix_batch.engines import export
from pix2pix_batch.engines.export_graph import GraphWithFeatures
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import InputError

BAR = 20.0
"""Signal to noise ratio, in dB, under which a layer's features have parted. Rounding to float16
leaves some 60 dB a layer and adds up to no less than 40 on sound models."""


@dataclass(frozen=True)
class LayerError:
    """How far the features of a layer are from those in fp32.

    Attributes:
        name: The layer.
        snr: Their signal-to-noise ratio, in dB.
        largest: The largest of them in fp32.
        finite: Whether all are numbers in the narrow precision.
    """

    name: str
    snr: float
    largest: float
    finite: bool

    @property
    def diverges(self) -> bool:
        return not self.finite or self.snr < BAR

    def __str__(self) -> str:
        state = f"{self.snr:.1f} dB" if self.finite else "overflows"
        return f"{self.name}: {state}, largest feature {self.largest:,.1f} in fp32"


def compute_features(
    spec: EngineSpec, precision: str, images: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute each layer's features in a precision, by onnxruntime on the CPU.

    It computes in float32 and rounds the features of each layer to ``precision``. That shows what
    overflows, though not every last rounding of a GPU.

    Args:
        spec: The model, batch and size.
        precision: ``fp16`` or ``fp32``.
        images: ``(N, S, S, C)`` of the inputs' type.

    Yields:
        The name of each layer, in running order, and its features, ``(N, C, H, W)``.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "finding the layer needs onnxruntime; pip install 'pix2pix-batch[onnx]'"
        ) from error
    graph = export.build(spec.model, precision)
    image_type, recording = export.input_type(graph, wide=False), GraphWithFeatures(graph)
    names = recording.names
    with tempfile.TemporaryDirectory(prefix="pix2pix-batch-") as folder:
        file = Path(folder, "layers.onnx")
        outputs = [export.TRANSLATED, export.EMBEDDING, *names]
        file.write_bytes(
            export.trace(
                recording,
                spec.size,
                len(images),
                [],
                export.OPSETS[precision],
                outputs,
                image_type=image_type,
            ).SerializeToString()
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    features = session.run(names, {export.IMAGE: images})
    yield from zip(names, features, strict=True)


def compare(spec: EngineSpec, images: np.ndarray) -> list[LayerError]:
    """Every layer, in running order. ``images``: ``(N, S, S, C)``."""
    export.require_extra()
    layers = []
    pairs = zip(
        compute_features(spec, "fp32", images),
        compute_features(spec, spec.precision, images),
        strict=True,
    )
    for (name, wide), (_, narrow) in pairs:
        finite = bool(np.isfinite(narrow).all())
        largest = float(np.abs(wide).max())
        layers.append(LayerError(name, snr(narrow, wide) if finite else 0.0, largest, finite))
    return layers


def snr(features: np.ndarray, expected: np.ndarray) -> float:
    """Signal to noise ratio in dB; infinite where they are equal."""
    expected = expected.astype(np.float64)
    noise = float(np.square(features - expected).mean())
    signal = float(np.square(expected).mean())
    return float("inf") if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))


def first_divergent(layers: list[LayerError]) -> LayerError | None:
    """The first that parts; those after it only hand the error on."""
    return next((layer for layer in layers if layer.diverges), None)
