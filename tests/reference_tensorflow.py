"""TensorFlow's pix2pix tutorial: its generator stated again, and the files that Keras makes of it.

The generator is computed from Keras's own arrays, in float64. The files have the names and the
structure that TensorFlow 2.21 gives them with Keras 3 and with Keras 2 (``tf_keras``);
``benchmarks/tensorflow_import.py`` compares files that TensorFlow itself wrote. Nothing here comes
from or depends on :mod:`pix2pix_batch`.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Block = dict[str, np.ndarray]
"""A convolution and its norm, if it has one: Keras's names and arrays."""
BATCH = ("gamma", "beta", "moving_mean", "moving_variance")


def make_blocks(
    in_channels: int = 3, out_channels: int = 3, *, downs: int = 4, ngf: int = 2,
    norm: Sequence[str] = BATCH, bias: bool = False, seed: int = 0,
) -> list[Block]:  # fmt: skip
    """The encoder's blocks, the decoder's, and the last, with random weights that all matter."""
    random = np.random.default_rng(seed)
    widths = [ngf * min(8, 2**i) for i in range(downs)]
    # kernels are (height, width, in, out), transposed ones (height, width, out, in)
    shapes = list(zip([in_channels, *widths], widths, strict=False))
    reads = widths[-1]
    for width in widths[-2::-1]:
        shapes.append((width, reads))
        reads = 2 * width
    shapes.append((out_channels, reads))
    blocks = []
    for k, shape in enumerate(shapes):
        outputs = shape[1] if k < downs else shape[0]
        block = {"kernel": random.normal(0, 0.25, (4, 4, *shape))}
        if bias or k == len(shapes) - 1:
            block["bias"] = random.normal(0, 0.2, outputs)
        for name in norm if 0 < k < len(shapes) - 1 else ():
            middle = 1.0 if name in ("gamma", "scale") else 0.0
            block[name] = random.normal(middle, 0.3, outputs)
            if name == "moving_variance":
                block[name] = random.uniform(0.3, 2, outputs)
        blocks.append({name: value.astype(np.float32) for name, value in block.items()})
    return blocks


def translate(
    blocks: Sequence[Block], x: Tensor, *, training: bool = True, slope: float = 0.3,
    epsilon: float = 1e-3, masks: Sequence[Tensor] = (),
) -> Tensor:  # fmt: skip
    """``x``: one image, ``float64 (1, C, H, W)`` in [-1, 1]. ``training``: norms by its own
    statistics. ``masks``: dropout's multipliers in the decoder's innermost blocks."""
    downs, skips = len(blocks) // 2, []
    for block in blocks[:downs]:
        x = F.leaky_relu(_norm(block, _convolve(block, x), training, epsilon), slope)
        skips.append(x)
    for k, block in enumerate(blocks[downs:-1]):
        x = _norm(block, _convolve_transposed(block, x), training, epsilon)
        x = F.relu(x * masks[k] if k < len(masks) else x)
        x = torch.cat((x, skips[-k - 2]), 1)
    return torch.tanh(_convolve_transposed(blocks[-1], x))


def _convolve(block: Block, x: Tensor) -> Tensor:
    """Padding ``same``: of a 4x4 kernel of stride 2 one pixel on each side."""
    kernel = torch.from_numpy(block["kernel"]).double().permute(3, 2, 0, 1)
    return _add_bias(block, F.conv2d(x, kernel, stride=2, padding=1))


def _convolve_transposed(block: Block, x: Tensor) -> Tensor:
    """Each pixel adds the kernel, times its value, to the 4x4 outputs around it."""
    kernel = torch.from_numpy(block["kernel"]).double()
    height, width = x.shape[2:]
    whole = torch.zeros(1, kernel.shape[2], 2 * height + 2, 2 * width + 2, dtype=x.dtype)
    for i in range(4):
        for j in range(4):
            added = torch.einsum("nihw,oi->nohw", x, kernel[i, j])
            whole[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += added
    return _add_bias(block, whole[:, :, 1:-1, 1:-1])


def _add_bias(block: Block, x: Tensor) -> Tensor:
    return x + _channels(block["bias"]) if "bias" in block else x


def _norm(block: Block, x: Tensor, training: bool, epsilon: float) -> Tensor:
    names = [name for name in block if name not in ("kernel", "bias")]
    if not names:
        return x
    scale, shift, *running = (_channels(block[name]) for name in names)
    if training or not running:
        mean = x.mean((2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    else:
        mean, variance = running
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift


def _channels(value: np.ndarray) -> Tensor:
    return torch.from_numpy(value).double()[None, :, None, None]


# Keras's files


def _parts(block: Block) -> list[tuple[str, Block]]:
    """Of a convolution and its norm."""
    conv = {name: value for name, value in block.items() if name in ("kernel", "bias")}
    norm = {name: value for name, value in block.items() if name not in conv}
    kind = "instance_normalization" if "scale" in norm else "batch_normalization"
    return [("conv", conv)] + ([(kind, norm)] if norm else [])


def make_config(slope: float, epsilon: float) -> str:
    """As much of a model's configuration as says something of these."""
    layers: list[dict[str, Any]] = [
        {"class_name": "BatchNormalization", "config": {"axis": -1, "epsilon": epsilon}},
        {"class_name": "LeakyReLU", "config": {"negative_slope": slope}},
    ]
    inner = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
    return json.dumps({"class_name": "Functional", "config": {"layers": [inner, inner]}})


def write_h5(
    path: Path, blocks: Sequence[Block], *, keras: int = 3, config: str | None = None
) -> None:
    """``generator.save("x.h5")``, or its weights alone where there is no ``config``."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = config
            root = file.create_group("model_weights")
        names, count = [], {"conv2d": 0, "conv2d_transpose": 0, "norm": 0}
        for k, block in enumerate(blocks):
            layer = f"sequential_{k}" if k < len(blocks) - 1 else "conv2d_transpose_last"
            names += [layer] if k != 1 else ["leaky_between", layer]
            if k == 1:
                root.create_group("leaky_between").attrs["weight_names"] = np.array([], "S1")
            weights = []
            for kind, tensors in _parts(block):
                own = "norm" if kind != "conv" else (
                    "conv2d" if k < len(blocks) // 2 else "conv2d_transpose"
                )  # fmt: skip
                before = f"{layer}/" if keras == 3 else ""
                place = f"{before}{kind if own == 'norm' else own}_{count[own]}"
                count[own] += 1
                for name, value in tensors.items():
                    weights.append(f"{place}/{name}" + (":0" if keras == 2 else ""))
                    root.create_dataset(f"{layer}/{weights[-1]}", data=value)
            root[layer].attrs["weight_names"] = np.array(weights, "S")
        root.attrs["layer_names0"] = np.array(names[:3], "S")  # long lists are cut so
        root.attrs["layer_names1"] = np.array(names[3:], "S")


def write_weights(path: Path | io.BytesIO, blocks: Sequence[Block]) -> None:
    """``generator.save_weights("x.weights.h5")``."""
    with h5py.File(path, "w") as file:
        for k, block in enumerate(blocks):
            kind = "conv2d" if k < len(blocks) // 2 else "conv2d_transpose"
            inner = f"layers/sequential_{k}".removesuffix("_0") + "/layers"
            for name, tensors in _parts(block):
                place = f"{inner}/{kind if name == 'conv' else name}"
                if k == len(blocks) - 1:
                    place = f"layers/{kind}"
                for number, value in enumerate(tensors.values()):
                    file.create_dataset(f"{place}/vars/{number}", data=value)
            if k < len(blocks) - 1:
                file.create_group(f"{inner}/leaky_re_lu/vars")
        file.create_group("optimizer/vars").create_dataset("0", data=np.int64(7))


def write_keras(path: Path, blocks: Sequence[Block], config: str | None = None) -> None:
    """``generator.save("x.keras")``."""
    content = io.BytesIO()
    write_weights(content, blocks)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", config or make_config(0.3, 1e-3))
        archive.writestr("model.weights.h5", content.getvalue())


# TensorFlow's checkpoints


def write_checkpoint(
    prefix: Path, networks: Mapping[str, Sequence[Block]], *, keras: int = 3
) -> Path:
    """``tf.train.Checkpoint(**networks).save(prefix)``; gives the index. A network that has no name
    is the object itself, as with ``save_weights``."""
    graph = _Graph()
    for name, blocks in networks.items():
        network = graph.add(0, name) if name else 0
        if keras == 3:
            network = graph.add(network, "_operations")
            graph.add(network, "0")  # the input
        for k, block in enumerate(blocks):
            last = k == len(blocks) - 1
            number, inner = (k + 1, "") if keras == 3 else (k, "layer_with_weights-")
            place = graph.add(network, f"{inner}{number}")
            sequence = place
            if keras == 3 and not last:
                sequence = graph.add(graph.add(place, "_functional"), "_operations")
            for j, (_, tensors) in enumerate(_parts(block)):
                layer = place if last else graph.add(sequence, f"{inner}{j + (keras == 3)}")
                for kind, value in tensors.items():
                    hidden = "_kernel" if keras == 3 and kind == "kernel" else kind
                    key = f"{name}/{k}/{j}/{kind}/.ATTRIBUTES/VARIABLE_VALUE"
                    graph.add_tensor(graph.add(layer, hidden), key, value)
    graph.add_tensor(graph.add(0, "save_counter"), "save_counter", np.int64(1))
    return write_tensors(prefix, graph.tensors | {"_CHECKPOINTABLE_OBJECT_GRAPH": graph.encode()})


class _Graph:
    """A ``TrackableObjectGraph``."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = [b""]
        self.tensors: dict[str, np.ndarray | bytes] = {}

    def add(self, parent: int, name: str) -> int:
        """A child. Gives its number."""
        self.nodes.append(b"")
        number = len(self.nodes) - 1
        self.nodes[parent] += _bytes(1, _number(1, number) + _bytes(2, name.encode()))
        return number

    def add_tensor(self, node: int, key: str, value: np.ndarray) -> None:
        self.tensors[key] = value
        attribute = _bytes(1, b"VARIABLE_VALUE") + _bytes(2, b"full/name") + _bytes(3, key.encode())
        self.nodes[node] += _bytes(2, attribute)

    def encode(self) -> bytes:
        return b"".join(_bytes(1, node) for node in self.nodes)


TYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}


def write_tensors(prefix: Path, tensors: Mapping[str, np.ndarray | bytes]) -> Path:
    """A checkpoint of these; gives its index."""
    data, entries = b"", {"": _number(1, 1) + _bytes(3, _number(1, 1))}
    for key, value in sorted(tensors.items()):
        if isinstance(value, bytes):
            length = _varint(len(value)) + struct.pack("<I", _crc(struct.pack("<I", len(value))))
            content, form = length + value, _number(1, 7) + _bytes(2, b"")
            crc = _crc(struct.pack("<I", len(value)) + length[-4:] + value)
        else:
            content, crc = value.tobytes(), _crc(value.tobytes())
            sides = b"".join(_bytes(2, _number(1, side)) for side in value.shape)
            form = _number(1, TYPES[str(value.dtype)]) + _bytes(2, sides)
        place = _number(4, len(data)) + _number(5, len(content))
        entries[key] = form + place + _varint(6 << 3 | 5) + struct.pack("<I", crc)
        data += content
    index, handles = b"", {}
    for keys in (sorted(entries)[::2], sorted(entries)[1::2]):  # two blocks
        handles[keys[-1]] = _handle(index, block := _block({key: entries[key] for key in keys}))
        index += block
    meta, index = _handle(index, _block({})), index + _block({})
    top, index = _handle(index, _block(handles)), index + _block(handles)
    index += (meta + top).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
    path = prefix.with_name(f"{prefix.name}.index")
    path.write_bytes(index)
    return path


def _handle(before: bytes, block: bytes) -> bytes:
    return _varint(len(before)) + _varint(len(block) - 5)


def _block(values: Mapping[str, bytes]) -> bytes:
    """Every key but the first leaves out what it shares with the one before."""
    content, before = b"", ""
    for key, value in values.items():
        shared = next((k for k, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), 0)
        fresh = key[shared:].encode()
        content += _varint(shared) + _varint(len(fresh)) + _varint(len(value)) + fresh + value
        before = key
    content += struct.pack("<II", 0, 1) + b"\0"
    return content + struct.pack("<I", _crc(content))


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
