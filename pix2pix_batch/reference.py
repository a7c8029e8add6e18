"""Checkpoints of pix2pix, CycleGAN, CUT and pix2pixHD, turned into bundles.

Such a ``latest_net_G.pth`` is a state dict. Each family of generators knows its own by the
structure of the keys and by the shapes: :mod:`pix2pix_batch.generators`.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from pix2pix_batch import generators
from pix2pix_batch.bundle import BundleInfo, fingerprint
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.description import Description, Layout, LayoutError, Norm
from pix2pix_batch.generators.foreign import name_kind
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.unet import ROOT
from pix2pix_batch.text import format_count

State = dict[str, Tensor]

WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile put these before each key
DEFAULT_SIZE = 256
"""Side of the images that a generator without a size of its own is taken to be trained on: the
reference's ``--crop_size``."""
FILTER_TOLERANCE = 1e-3
"""Of a fixed filter's numbers, which may be stored in half precision."""
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
    weights: str | None = None,
    image_size: int | None = None,
    fit: str | None = None,
    source_domain: str = "",
    target_domain: str = "",
) -> tuple[BundleInfo, Generator]:
    """The metadata and the generator (float32, eval mode) of a checkpoint of a known family.

    Depth, widths and channels come from the checkpoint. ``norm=None`` takes what the keys say:
    batch norm becomes ``batch-statistics``, as the reference's test script runs it (the other
    choice: ``running-statistics``), and so does instance norm with scale and shift; biased
    convolutions without norm parameters become ``instance`` (the other choice: ``none``, which the
    keys cannot tell from it); neither biases nor norm parameters become ``none``. ``image_size``
    defaults to what the depth of a U-Net says (``2 ** downs``, as in the reference's ``unet_128``
    and ``unet_256``), else to 256. Dropout stays off unless asked for.

    Of a file with several networks, or with more than weights (``{"netG": ..., "step": ...}``), the
    one that is a generator is taken; ``weights`` says which, where there are several.

    The file is read as plain tensors only. Raises :class:`BundleError`.
    """
    state = _unwrap(_plain(path, _unpack(path, _read(path), weights)))
    family, layout = _recognise(path, state)
    found = _find_parameter_kinds(state, layout)
    norm = _norm(path, found, norm, layout)
    try:
        architecture = family(**{**layout.fields, "norm": norm})
    except ValueError as error:
        raise BundleError(f"{path}: its shapes cannot be used: {error}") from error
    generator = _generator(path, state, layout, architecture, found)
    try:
        info = BundleInfo(
            name=name,
            architecture=architecture,
            image_size=_default_size(architecture) if image_size is None else image_size,
            fit=fit or architecture.default_fit,
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


def _read(path: Path) -> Mapping[Any, Any]:
    """What the checkpoint holds; nothing in the file is run."""
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
    return state


def _unpack(path: Path, content: Mapping[Any, Any], weights: str | None) -> Mapping[Any, Any]:
    """The state dict in ``content``, which may be that itself."""
    packed = dict(_state_dicts(content))
    named = ", ".join(map(repr, packed))
    if weights is not None:
        if weights not in packed:
            raise BundleError(
                f"{path}: has no weights called {weights!r}, but {named or 'those of one network'}"
            )
        return packed[weights]
    if not packed:
        return content
    found = [name for name, state in packed.items() if _is_generator(state)]
    if len(found) > 1:
        raise BundleError(
            f"{path}: holds {len(found)} generators ({', '.join(map(repr, found))}); say which one "
            "with --weights"
        )
    if not found and len(packed) > 1:
        raise BundleError(f"{path}: none of what it holds ({named}) is a generator that is known")
    return packed[found[0]] if found else next(iter(packed.values()))


def _state_dicts(content: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, State]]:
    """Those in ``content``, by their names, with dots between."""
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Mapping) or not value:
            continue
        if all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()):
            yield f"{before}{name}", dict(value)
        elif not before:
            yield from _state_dicts(value, f"{name}.")


def _is_generator(state: State) -> bool:
    """Whether it is of a known family, if perhaps damaged."""
    try:
        return generators.recognise(_shapes(_unwrap(state))) is not None
    except LayoutError:
        return True


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def _plain(path: Path, state: Mapping[Any, Any]) -> State:
    """``state``, if it is plain tensors by name."""
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
    """Without what modules around the generator put before each key, of a U-Net any words; other
    families look for the layers' places themselves."""
    for wrapper in WRAPPERS:
        if all(key.startswith(wrapper) for key in state):
            state = {key.removeprefix(wrapper): value for key, value in state.items()}
    before, _, _ = min(state).partition(ROOT)
    if all(key.startswith(f"{before}{ROOT}") for key in state):
        state = {key.removeprefix(before): value for key, value in state.items()}
    return state


def _recognise(path: Path, state: State) -> generators.Recognised:
    """Raises :class:`BundleError` for what is of no family."""
    shapes = _shapes(state)
    try:
        found = generators.recognise(shapes)
    except LayoutError as error:
        raise BundleError(f"{path}: {error}") from error
    if found is None:
        known = "; ".join(family.known_as for family in generators.families().values())
        raise BundleError(
            f"{path}: {name_kind(shapes)}; known are the latest_net_G.pth of: {known}"
        )
    for key, expected in found.layout.fixed.items():
        kernel = torch.tensor(expected).expand_as(state[key])
        if not torch.allclose(state[key].float(), kernel, atol=FILTER_TOLERANCE):
            raise BundleError(
                f"{path}: {key!r} is another filter than the fixed one of {found.family.title}"
            )
    return found


def _default_size(architecture: Description) -> int:
    if architecture.family == "unet":
        return architecture.multiple
    multiple = architecture.multiple
    return max(architecture.least_side, -(-DEFAULT_SIZE // multiple) * multiple)


def _find_parameter_kinds(state: State, layout: Layout) -> ParameterKinds:
    norms = [theirs for ours, theirs in layout.modules.items() if ours.endswith(".norm")]
    convs = [
        theirs
        for ours, theirs in layout.modules.items()
        if ours.endswith(".conv") and ours not in layout.biased
    ]
    return ParameterKinds(
        scaled=any(f"{module}.weight" in state for module in norms),
        tracked=any(f"{module}.running_mean" in state for module in norms),
        biased=any(f"{module}.bias" in state for module in convs),
    )


def _norm(path: Path, found: ParameterKinds, norm: str | None, layout: Layout) -> Norm:
    """The norm to run with: ``norm`` if the keys allow it, else what they suggest."""
    possible: tuple[Norm, ...]
    if layout.normless:
        possible, why = ("none",), "no place for norms"
    elif found.scaled and found.tracked:
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
    path: Path, state: State, layout: Layout, architecture: Description, found: ParameterKinds
) -> Generator:
    with torch.device("meta"):
        generator = architecture.build()
    left, ours = dict(state), {}
    for name, slot in generator.state_dict().items():
        module, _, kind = name.rpartition(".")
        key = f"{layout.modules[module]}.{kind}"
        value = left.pop(key, None)
        if kind == "num_batches_tracked":
            value = torch.tensor(0)
        elif value is not None:
            value = _check_tensor(path, key, value, slot, layout)
        elif (
            kind == "bias"
            and not found.biased
            and module.endswith(".conv")
            and module not in layout.biased
        ):
            value = torch.zeros(slot.shape)  # the reference without norm has no biases either
        elif kind.startswith("running_") and not found.tracked:
            value = torch.full(slot.shape, float(kind == "running_var"))  # idle
        else:
            raise BundleError(f"{path}: {key!r} is missing; it is cut short, get it again")
        ours[name] = value
    _fold_biases(path, left, ours, layout)
    _require_none_left(path, left, layout, architecture)
    generator.load_state_dict(ours, assign=True)
    return generator.eval().requires_grad_(False)


def _fold_biases(path: Path, left: State, ours: State, layout: Layout) -> None:
    """Take biases that come before norms with statistics into these: an image's own mean takes a
    bias away again, a running one is that much less without it.

    Only where all such convolutions have them, as with pix2pixHD's batch norm.
    """
    normed = [
        ours_ for ours_, theirs in layout.modules.items()
        if ours_.endswith(".conv") and f"{ours_.removesuffix('conv')}norm.running_mean" in ours
    ]  # fmt: skip
    keys = [f"{layout.modules[name]}.bias" for name in normed]
    if not all(key in left for key in keys):
        return
    for name, key in zip(normed, keys, strict=True):
        mean = f"{name.removesuffix('conv')}norm.running_mean"
        ours[mean] = ours[mean] - _check_tensor(path, key, left.pop(key), ours[mean], layout)


def _check_tensor(path: Path, key: str, value: Tensor, slot: Tensor, layout: Layout) -> Tensor:
    if value.shape != slot.shape:
        raise BundleError(
            f"{path}: {key!r} has the shape {tuple(value.shape)}; {layout.called} needs "
            f"{tuple(slot.shape)}"
        )
    if not value.is_floating_point():
        raise BundleError(f"{path}: {key!r} holds {value.dtype}, no real numbers; get it again")
    value = value.detach().to(torch.float32).contiguous()
    if not torch.isfinite(value).all():
        raise BundleError(f"{path}: {key!r} holds infinities or NaN; take an earlier checkpoint")
    if key.endswith(".running_var") and (value < 0).any():
        raise BundleError(f"{path}: {key!r} holds negative variances; get it again")
    return value


def _require_none_left(path: Path, left: State, layout: Layout, architecture: Description) -> None:
    """Refuse what no layer took, but for fixed filters and for the idle averages that old instance
    norms carry."""
    idle = set(layout.fixed)
    if architecture.norm == "instance":
        kinds = ("running_mean", "running_var", "num_batches_tracked")
        norms = [theirs for ours, theirs in layout.modules.items() if ours.endswith(".norm")]
        idle |= {f"{module}.{kind}" for module in norms for kind in kinds}
    extra = sorted(left.keys() - idle)
    if extra:
        raise BundleError(
            f"{path}: has {format_count(len(extra), 'unknown weight')}, the first is {extra[0]!r}; "
            f"only the weights of {layout.called} can be imported"
        )
