"""Checkpoints of the reference implementation (pytorch-CycleGAN-and-pix2pix), turned into bundles.

Such a ``latest_net_G.pth`` is the state dict of nested blocks, each the ``model`` of a module in
the one around it. The position in a block says what a layer is; the shapes say how wide.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from pix2pix_batch.architecture import MAX_DOWNS, MIN_DOWNS, Architecture, Norm
from pix2pix_batch.bundle import BundleInfo, fingerprint
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generator import UNet
from pix2pix_batch.text import format_count

State = dict[str, Tensor]

ROOT = "model.model."
WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile put these before each key
KERNEL = (4, 4)  # section 6.1: "all convolutions are 4x4 spatial filters"
SAVE_AGAIN = "save the generator alone, with torch.save(net.state_dict(), ...)"


class ParameterKinds(NamedTuple):
    """Which kinds of parameters the norms and the convolutions have (any of them)."""

    scaled: bool
    tracked: bool
    biased: bool


def import_checkpoint(
    path: Path,
    *,
    name: str,
    norm: str | None = None,
    image_size: int | None = None,
    fit: str = "resize",
    source_domain: str = "",
    target_domain: str = "",
) -> tuple[BundleInfo, UNet]:
    """The metadata and the generator (float32, eval mode) of a reference U-Net checkpoint.

    Depth, widths and channels come from the checkpoint. ``norm=None`` takes what the keys say:
    batch norm becomes ``batch-statistics``, as the reference's test script runs it (the other
    choice: ``running-statistics``); biased convolutions without norm parameters become
    ``instance`` (the other choice: ``none``, which the keys cannot tell from it); neither biases
    nor norm parameters become ``none``. ``image_size`` defaults to ``2 ** downs``, as in the
    reference's ``unet_128`` and ``unet_256``.

    Dropout has no weights, so a checkpoint cannot say whether it was trained with it. Wherever
    the architecture has room for it (more than 5 downs), the bundle says that it was, which is
    the reference's default; it stays off unless asked for.

    The file is read as plain tensors only. Raises :class:`BundleError`.
    """
    state = _unwrap(_read(path))
    _require_unet(path, state)
    modules = _modules(path, state)
    found = _find_parameter_kinds(state, modules)
    architecture = _architecture(path, state, modules, _norm(path, found, norm))
    generator = _generator(path, state, modules, architecture, found)
    try:
        info = BundleInfo(
            name=name,
            architecture=architecture,
            image_size=architecture.multiple if image_size is None else image_size,
            fit=fit,
            source_domain=source_domain,
            target_domain=target_domain,
            provenance={"imported_from": {"file": path.name, "sha256": fingerprint(path)}},
        )
    except ValueError as error:
        raise BundleError(f"{path}: cannot be imported so: {error}") from error
    return info, generator


def is_training_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of ``train``; only plain tensors are read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # import_checkpoint says what it is
        return False
    return isinstance(state, Mapping) and {"step", "generator"} <= state.keys()


def _read(path: Path) -> State:
    """The checkpoint's tensors by name; nothing in the file is run."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); give a .pth file") from error
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise BundleError(
            f"{path}: is no PyTorch checkpoint; give the reference's latest_net_G.pth "
            "(a bundle needs no import)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch finds odd is either refused or harmless
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise BundleError(
            f"{path}: is damaged or holds pickled objects other than tensors{what}. Those can run "
            f"code and are never loaded; {SAVE_AGAIN}"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(
            f"{path}: is damaged or no checkpoint ({reason}); get it again, or {SAVE_AGAIN}"
        ) from error
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path}: holds {type(state).__name__}, no state dict; {SAVE_AGAIN}")
    if {"step", "generator"} <= state.keys():
        raise BundleError(
            f"{path}: is a checkpoint of a run of 'pix2pix-batch train'; 'pix2pix-batch model "
            "import' makes a bundle of it"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise BundleError(
                f"{path}: is no state dict: {key!r} is {kind}, no tensor; {SAVE_AGAIN}"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise BundleError(f"{path}: {key!r} is no plain tensor; {SAVE_AGAIN}")
    return dict(state)


def _unwrap(state: State) -> State:
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state


def _require_unet(path: Path, state: State) -> None:
    if f"{ROOT}0.weight" in state:
        return
    if any(".conv_block." in key for key in state) or "model.1.weight" in state:
        what = "is a ResNet generator (CycleGAN's)"
    elif "model.0.weight" in state or "net.0.weight" in state:
        what = "is a discriminator"
    else:
        what = f"holds no pix2pix generator (its first key is {min(state)!r})"
    raise BundleError(f"{path}: {what}; give the latest_net_G.pth of a U-Net (--netG unet_256)")


def _modules(path: Path, state: State) -> dict[str, str]:
    """The reference's name of each of our modules, as far as the nesting of the keys goes.

    The blocks of the reference are sequences. Outermost: down conv, block, ReLU, up conv, tanh.
    Between: leaky ReLU, down conv, norm, block, ReLU, up conv, norm, perhaps dropout. Innermost:
    leaky ReLU, down conv, ReLU, up conv, norm.
    """
    blocks, child = [ROOT], "1.model."
    while any(key.startswith(blocks[-1] + child) for key in state):
        blocks.append(blocks[-1] + child)
        child = "3.model."
    last = len(blocks) - 1
    if not MIN_DOWNS <= len(blocks) <= MAX_DOWNS:
        raise BundleError(
            f"{path}: halves the image {format_count(len(blocks), 'time')}; only U-Nets with "
            f"{MIN_DOWNS} to {MAX_DOWNS} halvings can be used"
        )
    modules = {"down.0.conv": f"{ROOT}0", "up.0.conv": f"{ROOT}3"}
    for i in range(1, last):
        modules |= {f"down.{i}.conv": f"{blocks[i]}1", f"down.{i}.norm": f"{blocks[i]}2"}
        modules |= {f"up.{i}.conv": f"{blocks[i]}5", f"up.{i}.norm": f"{blocks[i]}6"}
    modules |= {f"down.{last}.conv": f"{blocks[last]}1"}
    modules |= {f"up.{last}.conv": f"{blocks[last]}3", f"up.{last}.norm": f"{blocks[last]}4"}
    return modules


def _architecture(path: Path, state: State, modules: dict[str, str], norm: Norm) -> Architecture:
    """What the nesting and the outermost block's shapes say; other shapes are checked later."""
    ngf, in_channels = _outer_channels(path, state, modules["down.0.conv"])
    _, out_channels = _outer_channels(path, state, modules["up.0.conv"])
    downs = sum(ours.startswith("down.") and ours.endswith(".conv") for ours in modules)
    try:
        return Architecture(in_channels, out_channels, downs, ngf, norm, dropout=downs > 5)
    except ValueError as error:
        raise BundleError(f"{path}: its shapes cannot be used: {error}") from error


def _outer_channels(path: Path, state: State, module: str) -> tuple[int, int]:
    key = f"{module}.weight"
    if key not in state:
        raise BundleError(f"{path}: {key!r} is missing; it is cut short, get it again")
    shape = tuple(state[key].shape)
    if len(shape) != 4 or shape[2:] != KERNEL:
        raise BundleError(f"{path}: {key!r} has the shape {shape}, no 4x4 convolution's")
    return shape[0], shape[1]


def _find_parameter_kinds(state: State, modules: dict[str, str]) -> ParameterKinds:
    norms = [module for ours, module in modules.items() if ours.endswith(".norm")]
    convs = [module for ours, module in modules.items() if ours.endswith(".conv")]
    convs.remove(modules["up.0.conv"])  # has a bias with any norm
    return ParameterKinds(
        scaled=any(f"{module}.weight" in state for module in norms),
        tracked=any(f"{module}.running_mean" in state for module in norms),
        biased=any(f"{module}.bias" in state for module in convs),
    )


def _norm(path: Path, found: ParameterKinds, norm: str | None) -> Norm:
    """The norm to run with: ``norm`` if the keys allow it, else what they suggest."""
    possible: tuple[Norm, ...]
    if found.scaled and found.tracked:
        possible, why = ("batch-statistics", "running-statistics"), "batch norm"
    elif found.scaled:
        possible, why = ("batch-statistics",), "batch norm without running statistics"
    elif found.tracked:
        possible, why = ("instance",), "instance norm (running statistics, no scales)"
    elif found.biased:
        possible, why = ("instance", "none"), "biased convolutions and no norm parameters"
    else:
        possible, why = ("none",), "neither norm parameters nor biases"
    if norm is None:
        return possible[0]
    if norm not in possible:
        raise BundleError(
            f"{path}: cannot be run with norm {norm!r}: it has {why}; "
            f"choose {' or '.join(possible)}"
        )
    return cast(Norm, norm)


def _generator(
    path: Path,
    state: State,
    modules: dict[str, str],
    architecture: Architecture,
    found: ParameterKinds,
) -> UNet:
    with torch.device("meta"):
        generator = UNet(architecture)
    left, ours = dict(state), {}
    for name, slot in generator.state_dict().items():
        module, _, kind = name.rpartition(".")
        key = f"{modules[module]}.{kind}"
        value = left.pop(key, None)
        if kind == "num_batches_tracked":
            value = torch.tensor(0)
        elif value is not None:
            value = _check_tensor(path, key, value, slot, architecture)
        elif kind == "bias" and not found.biased and ".conv" in name and name != "up.0.conv.bias":
            value = torch.zeros(slot.shape)  # the reference without norm has no biases either
        elif kind.startswith("running_") and not found.tracked:
            value = torch.full(slot.shape, float(kind == "running_var"))  # idle
        else:
            raise BundleError(f"{path}: {key!r} is missing; it is cut short, get it again")
        ours[name] = value
    _require_none_left(path, left, modules, architecture)
    generator.load_state_dict(ours, assign=True)
    return generator.eval().requires_grad_(False)


def _check_tensor(
    path: Path, key: str, value: Tensor, slot: Tensor, architecture: Architecture
) -> Tensor:
    if value.shape != slot.shape:
        raise BundleError(
            f"{path}: {key!r} has the shape {tuple(value.shape)}; a U-Net with "
            f"{architecture.downs} halvings and ngf {architecture.ngf} needs {tuple(slot.shape)}"
        )
    if not value.is_floating_point():
        raise BundleError(f"{path}: {key!r} holds {value.dtype}, no real numbers; get it again")
    value = value.detach().to(torch.float32).contiguous()
    if not torch.isfinite(value).all():
        raise BundleError(f"{path}: {key!r} holds infinities or NaN; take an earlier checkpoint")
    if key.endswith(".running_var") and (value < 0).any():
        raise BundleError(f"{path}: {key!r} holds negative variances; get it again")
    return value


def _require_none_left(
    path: Path, left: State, modules: dict[str, str], architecture: Architecture
) -> None:
    """Refuse what no layer took, but for the idle averages that old instance norms carry."""
    idle = set()
    if architecture.norm == "instance":
        kinds = ("running_mean", "running_var", "num_batches_tracked")
        norms = [module for ours, module in modules.items() if ours.endswith(".norm")]
        idle = {f"{module}.{kind}" for module in norms for kind in kinds}
    extra = sorted(left.keys() - idle)
    if extra:
        raise BundleError(
            f"{path}: has {format_count(len(extra), 'unknown weight')}, the first is {extra[0]!r}; "
            "only the reference's own U-Net can be imported"
        )
