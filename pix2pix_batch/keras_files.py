"""Weights that Keras and TensorFlow 2 saved, as PyTorch has them; nothing of either is run.

A network becomes tensors by name, the layers in running order. Each name begins with a slash, then
has the layer's place in the file, and what the tensor is in PyTorch's words: ``weight``, ``bias``,
``running_mean``, ``running_var``. Beside a norm's stands ``epsilon``, which PyTorch's norms have no
tensor for, and beside all ``/leaky_relu.slope`` where the file tells it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.errors import BundleError

if TYPE_CHECKING:
    import h5py

    from pix2pix_batch.tensor_bundle import TensorBundle

HDF5 = b"\x89HDF\r\n\x1a\n"
"""How every HDF5 file begins."""
WEIGHTS, CONFIG = "model.weights.h5", "config.json"
"""What a ``.keras`` file, a ZIP archive, holds."""
EPSILON = 1e-3
"""Of Keras's norms, where nothing says otherwise."""
EXAMPLES_EPSILON = 1e-5
"""Of ``InstanceNormalization`` in ``tensorflow_examples``, whose tensors are scale and offset."""
SLOPE = "/leaky_relu.slope"
KINDS = {
    "kernel": "weight", "gamma": "weight", "scale": "weight",
    "bias": "bias", "beta": "bias", "offset": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
CONVOLUTIONS = re.compile(r"(?P<kind>conv2d|conv2d_transpose)(?:_\d+)?")
NORMS = re.compile(r"(?:batch|instance|group)_normalization(?:_\d+)?|instance_norm(?:_\d+)?")
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""What Keras 3 calls a model's layers, and what Keras 2 called them in ``.keras`` files."""
PLACES = re.compile(r"(?:layer_with_weights-)?(\d+)")
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "VARIABLE_VALUE"
LARGEST = 1 << 31
"""Bytes of one tensor or archive: more is no generator's."""
SAVE_AGAIN = "save the generator alone, with generator.save('generator.keras')"

Network = dict[str, Tensor]


def read_networks(path: Path) -> Mapping[str, Network] | Network | None:
    """The networks in a file of Keras's or a checkpoint of TensorFlow's, by their names there, or
    the one that has none; ``None`` where it is neither. Raises :class:`BundleError`."""
    with path.open("rb") as file:
        start = file.read(len(HDF5))
    archive = _find_archive(path) if start.startswith(b"PK") else None
    if archive is None and start != HDF5:
        return _read_checkpoint(path)
    try:
        import h5py
    except ImportError as error:
        raise _name_extra(path) from error
    config = archive[1] if archive else None
    try:
        with h5py.File(io.BytesIO(archive[0]) if archive else path, "r") as file:
            if config is None and "model_config" in file.attrs:
                config = json.loads(file.attrs["model_config"])
            whole = file.get("model_weights", file)
            network = _name_all(_read_hdf5(path, whole), _read_setting(path, config, EPSILONS))
    except BundleError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, RecursionError) as error:
        raise BundleError(f"{path}: is damaged or no file of Keras's; get it again") from error
    if not network:
        raise BundleError(
            f"{path}: has no layers as Keras's functional and sequential models store them; "
            f"{SAVE_AGAIN}"
        )
    if (slope := _read_setting(path, config, SLOPES)) is not None:
        network[SLOPE] = torch.tensor(slope, dtype=torch.float64)
    return network


def _name_extra(path: Path) -> BundleError:
    return BundleError(
        f"{path}: is a file of Keras's or TensorFlow's, which is read with the extra 'keras': "
        "pip install 'pix2pix-batch[keras]'"
    )


def _find_archive(path: Path) -> tuple[bytes, Any] | None:
    """The weights and the configuration in a ``.keras`` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not {WEIGHTS, CONFIG} <= {*archive.namelist()}:
                return None
            if any(archive.getinfo(name).file_size > LARGEST for name in (WEIGHTS, CONFIG)):
                raise BundleError(f"{path}: holds more than a generator has; {SAVE_AGAIN}")
            return archive.read(WEIGHTS), json.loads(archive.read(CONFIG))
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        return None  # PyTorch's reader says what is wrong with it


class Layer(NamedTuple):
    """``path``: its place in the file. ``tensors``: by Keras's names of their kinds."""

    path: str
    tensors: Mapping[str, Tensor]


def _name_all(layers: Iterator[Layer], epsilon: float | None) -> Network:
    """All tensors of a network, by names of ours. ``epsilon``: of its norms, where it is told."""
    network: Network = {}
    for path, tensors in layers:
        for kind, value in tensors.items():
            # A transposed convolution's kernel is (H, W, out, in), in PyTorch (in, out, H, W).
            wanted = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
            network[f"/{path}.{KINDS[kind]}"] = wanted
        if "kernel" not in tensors:
            usual = EXAMPLES_EPSILON if "scale" in tensors else EPSILON
            own = usual if epsilon is None else epsilon
            network[f"/{path}.epsilon"] = torch.tensor(own, dtype=torch.float64)
    return network


class Setting(NamedTuple):
    """What layers of a kind are configured with. ``kind``: a pattern of their classes' names;
    ``names``: those that the setting has had."""

    kind: str
    names: tuple[str, ...]


EPSILONS = Setting(r"\w*Normalization", ("epsilon",))
SLOPES = Setting("LeakyReLU", ("negative_slope", "alpha"))


def _read_setting(path: Path, config: Any, setting: Setting) -> float | None:
    """The one value of all layers, where the configuration tells it. Raises
    :class:`BundleError`."""
    values = {*_find_values(config, setting)}
    if len(values) > 1:
        named = ", ".join(map(str, sorted(values)))
        raise BundleError(
            f"{path}: its layers have several values of {setting.names[0]} ({named}); only "
            "networks with one can be imported"
        )
    return values.pop() if values else None


def _find_values(config: Any, setting: Setting) -> Iterator[float]:
    if isinstance(config, dict):
        own = config.get("config")
        if isinstance(own, dict) and re.fullmatch(setting.kind, str(config.get("class_name"))):
            found = (own.get(name) for name in setting.names)
            yield from (float(one) for one in found if isinstance(one, int | float))
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _find_values(value, setting)


# HDF5


def _read_hdf5(path: Path, group: h5py.Group) -> Iterator[Layer]:
    if any(name in group.attrs for name in ("layer_names", "layer_names0")):
        return _read_named(path, group)
    return _read_placed(path, group)


def _read_named(path: Path, group: h5py.Group) -> Iterator[Layer]:
    """Of ``.h5`` files: attributes have the names of layers and tensors, in order."""
    for name in _read_names(group, "layer_names"):
        layer = _find(path, group, name)
        found: dict[str, dict[str, Tensor]] = {}
        for weight in _read_names(layer, "weight_names"):
            place, _, kind = f"{name}/{weight}".rpartition("/")
            kind = kind.partition(":")[0]
            if kind in KINDS:
                found.setdefault(place, {})[kind] = _read_tensor(path, layer, weight)
        for place, tensors in found.items():
            yield Layer(place, tensors)


def _read_names(group: h5py.Group, name: str) -> list[str]:
    """A list of names, which Keras cuts into several attributes where it is long."""
    parts = [name] if name in group.attrs else []
    while not parts or parts != [name]:
        if f"{name}{len(parts)}" not in group.attrs:
            break
        parts.append(f"{name}{len(parts)}")
    return [
        one.decode() if isinstance(one, bytes) else str(one)
        for part in parts
        for one in group.attrs[part]
    ]


def _read_placed(path: Path, group: h5py.Group) -> Iterator[Layer]:
    """Of ``.weights.h5`` and ``.keras`` files: layers have the names of their classes, numbered
    class by class, and tensors have numbers.

    The order is that of the numbers: convolutions, then transposed ones, then norms.
    """
    found = [*_walk(path, group, "")]
    yield from sorted(found, key=lambda one: (_rank(one.path), _split_numbers(one.path)))


def _rank(place: str) -> int:
    if named := CONVOLUTIONS.fullmatch(place.rpartition("/")[2]):
        return int(named["kind"] == "conv2d_transpose")
    return 2


def _split_numbers(place: str) -> list[tuple[str, int]]:
    """What sorts ``conv2d_10`` after ``conv2d_9`` and ``conv2d`` before both."""
    parts = (re.fullmatch(r"(.*?)(?:_(\d+))?", part) for part in place.split("/"))
    return [(part[1], int(part[2] or 0)) for part in parts if part]


def _walk(path: Path, group: h5py.Group, place: str) -> Iterator[Layer]:
    for container in CONTAINERS:
        for name in _find(path, group, container) if container in group else ():
            layer = _find(path, _find(path, group, container), name)
            own = f"{place}{container}/{name}"
            variables = _find(path, layer, "vars") if "vars" in layer else {}
            if len(variables):
                yield Layer(own, _name_variables(path, variables, own))
            yield from _walk(path, layer, f"{own}/")


def _name_variables(path: Path, variables: h5py.Group, place: str) -> dict[str, Tensor]:
    """By the layer's class. Raises :class:`BundleError` for others than are known."""
    name = place.rpartition("/")[2]
    values = [_read_tensor(path, variables, key) for key in sorted(variables, key=int)]
    if CONVOLUTIONS.fullmatch(name) and len(values) <= 2:
        return dict(zip(("kernel", "bias"), values, strict=False))
    if NORMS.fullmatch(name) and len(values) == (4 if name.startswith("batch") else 2):
        return dict(zip(NORM, values, strict=False))
    raise BundleError(
        f"{path}: {place!r} is a layer with {len(values)} tensors; of Keras's files only "
        "convolutions and norms with scale and shift can be imported"
    )


def _find(path: Path, group: h5py.Group, name: str) -> Any:
    """What is in the file itself: HDF5's links may lead to others."""
    import h5py

    at = group
    for part in name.split("/"):
        if not isinstance(at.get(part, getlink=True), h5py.HardLink):
            raise BundleError(f"{path}: {name!r} is missing or elsewhere; {SAVE_AGAIN}")
        at = at[part]
    return at


def _read_tensor(path: Path, group: h5py.Group, name: str) -> Tensor:
    value = _find(path, group, name)
    if value.is_virtual or value.external or value.nbytes > LARGEST or value.dtype.kind != "f":
        raise BundleError(f"{path}: {name!r} holds no real numbers of its own; {SAVE_AGAIN}")
    return torch.from_numpy(np.asarray(value[()]))


# TensorFlow's checkpoints


def _read_checkpoint(path: Path) -> Mapping[str, Network] | Network | None:
    """The networks that a ``tf.train.Checkpoint`` or a model saved as one keeps."""
    try:
        from pix2pix_batch import tensor_bundle
    except ImportError as error:
        if re.search(r"\.index$|\.data-\d{5}-of-\d{5}$", path.name):
            raise _name_extra(path) from error
        return None
    index = tensor_bundle.find_index(path)
    if index is None:
        return None
    bundle = tensor_bundle.TensorBundle(index)
    if GRAPH not in bundle.places:
        raise BundleError(f"{path}: {_name_old(bundle)}")
    try:
        nodes = _read_graph(bundle.read_string(GRAPH))
        own = _name_all(_walk_graph(bundle, nodes, 0, "", set()), None)
        found = (
            {"": own}
            if own
            else {
                name: _name_all(_walk_graph(bundle, nodes, node, name, set()), None)
                for name, node in nodes[0].children.items()
            }
        )
    except BundleError:
        raise
    except (IndexError, KeyError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is damaged; get it again") from error
    networks = {name: one for name, one in found.items() if any(v.ndim == 4 for v in one.values())}
    if not networks:
        raise BundleError(
            f"{path}: holds no functional or sequential model of Keras's; {SAVE_AGAIN}"
        )
    return networks.get("", networks)


def _name_old(bundle: TensorBundle) -> str:
    if any(key.startswith("generator/encoder_1/") for key in bundle.places):
        return (
            "is a checkpoint of pix2pix-tensorflow (TensorFlow 1), whose generator is another than "
            "those known and cannot be imported; 'pix2pix-batch train' makes one of the same data"
        )
    return f"is a checkpoint of TensorFlow 1 or holds no model; {SAVE_AGAIN}"


class Node(NamedTuple):
    """An object that was saved. ``children``: those it has, by name; ``keys``: of its tensors."""

    children: Mapping[str, int]
    keys: Mapping[str, str]


def _read_graph(content: bytes) -> list[Node]:
    """Of a ``TrackableObjectGraph`` (TensorFlow's ``trackable_object_graph.proto``)."""
    from pix2pix_batch.tensor_bundle import parse_message

    nodes = []
    for _, node in parse_message(content):
        children: dict[str, int] = {}
        keys: dict[str, str] = {}
        for number, part in parse_message(node) if isinstance(node, bytes) else ():
            values = dict(parse_message(part)) if isinstance(part, bytes) else {}
            if number == 1:  # ObjectReference
                children[_as_text(values.get(2))] = int(values.get(1, 0))
            elif number == 2:  # SerializedTensor
                keys[_as_text(values.get(1))] = _as_text(values.get(3))
        nodes.append(Node(children, keys))
    return nodes


def _as_text(value: int | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else ""


def _walk_graph(
    bundle: TensorBundle, nodes: list[Node], at: int, place: str, seen: set[int]
) -> Iterator[Layer]:
    """The layers of a model, in order: what Keras 2 calls ``layer_with_weights-0`` and on, and
    Keras 3 the items of ``_operations``, of a sequence in its ``_functional``."""
    if at in seen:
        return
    seen.add(at)
    children = nodes[at].children
    while (inner := next((n for n in ("_functional", "_operations") if n in children), "")) != "":
        place, at = f"{place}/{inner}", children[inner]
        children = nodes[at].children
    numbered = {name: found for name in children if (found := PLACES.fullmatch(name))}
    for name in sorted(numbered, key=lambda one: int(numbered[one][1])):
        yield from _walk_graph(bundle, nodes, children[name], f"{place}/{name}".strip("/"), seen)
    tensors = {
        name.strip("_"): nodes[child].keys[VALUE]
        for name, child in children.items()
        if name.strip("_") in KINDS and VALUE in nodes[child].keys
    }
    if tensors:
        yield Layer(place, {kind: bundle.read(key) for kind, key in tensors.items()})
