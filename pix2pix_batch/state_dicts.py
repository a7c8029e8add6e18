"""What a checkpoint holds: the weights of networks, by the names they have there.

Files are read as plain tensors only: nothing in them is run.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pix2pix_batch import bundle, checkpoint_kinds, generators, keras_files
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.description import LayoutError
from pix2pix_batch.generators.unet import ROOT
from pix2pix_batch.text import describe_error

State = dict[str, Tensor]

SAVE_AGAIN = "save the generator alone, with torch.save(net.state_dict(), ...)"
WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile put these before each key
DEEPEST = 4
"""Levels of mappings in a checkpoint, and words before a network's keys, that are looked into."""
AVERAGED = re.compile(r"(?:^|[._])(?:ema|averaged?|swa)(?:$|[._\d])|_ema$|^ema", re.IGNORECASE)
"""Of names of weights that are averages over the training (EMA, SWA)."""
EMA = "ema"
"""What asks for these."""


def is_training_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of ``train``; only plain tensors are read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # read_checkpoint says what it is
        return False
    return isinstance(state, Mapping) and {"step", "generator"} <= state.keys()


def read_state(path: Path, weights: str | None = None) -> State:
    """The weights of the one generator in the checkpoint at ``path``, as they are stored.

    ``weights``: which, where it holds several, by its name there (``netG_A``), or ``ema`` for those
    that are averages. What other modules put before its keys is taken off, spectral norm and weight
    norm are folded in. Raises :class:`BundleError`.
    """
    content = read_checkpoint(path)
    return _choose(path, content, weights)


def read_checkpoint(path: Path) -> Mapping[Any, Any]:
    """What the file holds. Raises :class:`BundleError`."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        explained = checkpoint_kinds.explain_file(path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); give a .pth file") from error
    if explained:
        raise BundleError(f"{path}: {explained}")
    if (networks := keras_files.read_networks(path)) is not None:
        return networks
    if start.startswith((b"PK\x03\x04", b"\x80")) and start[8:] != b"{":
        state = _read_pickle(path)
    elif start[8:] == b"{":
        state = _read_safetensors(path)
    else:
        raise BundleError(
            f"{path}: is no checkpoint of PyTorch, Keras or TensorFlow 2; give the reference's "
            "latest_net_G.pth, or its weights as .safetensors"
        )
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path}: holds {type(state).__name__}, no state dict; {SAVE_AGAIN}")
    if {"step", "generator"} <= state.keys():
        raise BundleError(
            f"{path}: is a checkpoint of a run of 'pix2pix-batch train'; 'pix2pix-batch model "
            "import' makes a bundle of it"
        )
    return state


def _read_safetensors(path: Path) -> Mapping[Any, Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        state: State = safetensors.torch.load(path.read_bytes())
    except Exception as error:
        raise BundleError(f"{path}: is damaged or no safetensors file; get it again") from error
    if bundle.METADATA_KEY in metadata:
        raise BundleError(f"{path}: is a bundle already and needs no import; give it to --model")
    return state


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch finds odd is either refused or harmless
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise BundleError(
            f"{path}: is damaged or holds pickled objects other than tensors{what}. Those can run "
            f"code and are never loaded; {SAVE_AGAIN}"
        ) from error
    except Exception as error:
        raise BundleError(
            f"{path}: is damaged or no checkpoint ({describe_error(error)}); get it again, or "
            f"{SAVE_AGAIN}"
        ) from error


# Which of what it holds


def _choose(path: Path, content: Mapping[Any, Any], weights: str | None) -> State:
    packed = dict(_list_states(content))
    networks = {
        name: state for outer, whole in packed.items() for name, state in _networks(outer, whole)
    }
    if weights is not None:
        return _choose_named(path, packed, networks, weights)
    trained = {name: one for name, one in networks.items() if not AVERAGED.search(name)}
    if len(trained) == 1 or (not trained and len(networks) == 1):
        return next(iter((trained or networks).values()))
    if networks:
        found = ", ".join(map(repr, trained or networks))
        raise BundleError(
            f"{path}: holds {len(trained or networks)} generators ({found}); say which one with "
            "--weights"
        )
    damaged = [state for state in packed.values() if _is_damaged(state)]
    if len(packed) > 1 and len(damaged) != 1:
        named = ", ".join(map(repr, packed))
        raise BundleError(f"{path}: none of what it holds ({named}) is a generator that is known")
    # what is wrong with it is told by whoever reads its layout
    state = next(iter(damaged or packed.values()), content)
    return _prepare(path, state)


def _prepare(path: Path, state: Mapping[Any, Any]) -> State:
    return _unwrap(_fold_reparametrizations(_require_plain(path, state)))


def _is_damaged(state: State) -> bool:
    """Whether it is one of a known family, but not as that should be."""
    try:
        generators.recognise(list_shapes(_unwrap(state)))
    except LayoutError:
        return True
    return False


def _choose_named(
    path: Path, packed: Mapping[str, State], networks: Mapping[str, State], weights: str
) -> State:
    """The generator of that name, whole or its last part, or that of averages."""
    if weights.lower() == EMA:
        found = {name: one for name, one in networks.items() if AVERAGED.search(name)}
    else:
        found = {name: one for name, one in networks.items() if f".{name}".endswith(f".{weights}")}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found and weights in packed:
        return _prepare(path, packed[weights])
    named = ", ".join(map(repr, networks)) or ", ".join(map(repr, packed))
    what = f"{len(found)} generators" if found else "no weights"
    raise BundleError(
        f"{path}: has {what} called {weights!r}, but {named or 'those of one network'}"
    )


def _list_states(content: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, State]]:
    """The state dicts in ``content``, by their names, with dots between. The counters and settings
    beside a network's tensors are left out."""
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if any(value.ndim == 4 for value in tensors.values()) or (before and tensors):
        yield before.removesuffix("."), tensors
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Mapping) and before.count(".") < DEEPEST:
            yield from _list_states(value, f"{before}{name}.")


def _networks(outer: str, state: State) -> Iterator[tuple[str, State]]:
    """The generators of known families in a state dict, which may be parts of a larger network
    (``netG.model...`` beside ``netD.model...``), by their names."""
    try:
        state = _fold_reparametrizations(_require_plain(Path(outer), state))
    except BundleError:
        return
    if _is_generator(state):
        yield outer, state
        return
    found: list[str] = []
    for prefix in sorted(_list_prefixes(state), key=lambda one: (one.count("."), one)):
        if prefix.startswith(tuple(found)):
            continue
        part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if _is_generator(part):
            found.append(prefix)
            own = ".".join(word for word in prefix.split(".") if f"{word}." not in WRAPPERS)
            yield ".".join(filter(None, (outer, own.strip(".")))), part


def _list_prefixes(state: State) -> set[str]:
    """What may stand before a network's own keys, with the dot."""
    return {
        ".".join(words[:count]) + "."
        for words in (key.split(".") for key in state)
        for count in range(1, min(DEEPEST, len(words) - 1) + 1)
    }


def _is_generator(state: State) -> bool:
    """Whether it is one of a known family, and all its convolutions are that one's."""
    try:
        found = generators.recognise(list_shapes(state))
    except LayoutError:
        return False
    if found is None:
        return False
    own = {f"{module}.weight" for module in found.layout.modules.values()} | {*found.layout.fixed}
    return all(key in own for key, value in state.items() if value.ndim == 4)


def list_shapes(state: State) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {key: tuple(value.shape) for key, value in state.items()}


def _unwrap(state: State) -> State:
    """Without what modules around a generator put before each key, of a U-Net any words; other
    families look for the layers' places themselves."""
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    before, _, _ = min(state).partition(ROOT)
    if all(key.startswith(f"{before}{ROOT}") for key in state):
        state = {key.removeprefix(before): value for key, value in state.items()}
    return state


def _require_plain(path: Path, state: Mapping[Any, Any]) -> State:
    """``state``, if it is plain tensors by name. Raises :class:`BundleError`."""
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise BundleError(
                f"{path}: is no state dict: {key!r} is {kind}, no tensor; {SAVE_AGAIN}"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise BundleError(f"{path}: {key!r} is no plain tensor; {SAVE_AGAIN}")
    return dict(state)


# Reparametrizations

SPECTRAL = (
    ("{}.weight_orig", "{}.weight_u", "{}.weight_v"),
    ("{}.parametrizations.weight.original", "{}.parametrizations.weight.0._u",
     "{}.parametrizations.weight.0._v"),
)  # fmt: skip
"""A weight, and the vectors that its largest singular value is estimated by, as
``torch.nn.utils.spectral_norm`` and ``torch.nn.utils.parametrizations.spectral_norm`` keep them."""
WEIGHT_NORM = (
    ("{}.weight_v", "{}.weight_g"),
    ("{}.parametrizations.weight.original1", "{}.parametrizations.weight.original0"),
)
"""A weight's direction and its length, as the two ``weight_norm`` keep them."""


def _fold_reparametrizations(state: State) -> State:
    """``state`` with each reparametrized weight as it is in eval mode."""
    folded = dict(state)
    for names in SPECTRAL:
        for module in _list_modules(state, names):
            weight, u, v = (folded.pop(name.format(module)).float() for name in names)
            folded[f"{module}.weight"] = weight / _find_sigma(weight, u, v)
    for pair in WEIGHT_NORM:
        for module in _list_modules(folded, pair):
            direction, length = (folded.pop(name.format(module)).float() for name in pair)
            dims = [k for k in range(direction.ndim) if length.shape[k] == 1]
            size = torch.linalg.vector_norm(direction, dim=dims, keepdim=True)
            folded[f"{module}.weight"] = length * direction / size
    return folded


def _list_modules(state: State, names: tuple[str, ...]) -> list[str]:
    """The modules that have all of ``names``."""
    end = names[0].format("")
    modules = [key.removesuffix(end) for key in state if key.endswith(end)]
    return [one for one in modules if all(name.format(one) in state for name in names)]


def _find_sigma(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The singular value: of the matrix whose rows are a convolution's outputs, which in a
    transposed one's weight are the second axis. Where both axes are as long, the vectors tell:
    they are singular ones of the right matrix."""
    sigmas = [
        torch.dot(u, matrix @ v).abs()
        for matrix in (weight.flatten(1), weight.transpose(0, 1).flatten(1))
        if matrix.shape == (len(u), len(v))
    ]
    if not sigmas:
        raise BundleError("spectral norm's vectors do not fit its weight")
    return torch.stack(sigmas).max()
