"""Checkpoints of pix2pix, CycleGAN, CUT, pix2pixHD and their like, turned into bundles.

Such a ``latest_net_G.pth`` is a state dict, and files of Keras's are read as one
(:mod:`pix2pix_batch.keras_files`). Each family of generators knows its own by the
structure of the keys and by the shapes: :mod:`pix2pix_batch.generators`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch import generators
from pix2pix_batch.bundle import BundleInfo, fingerprint
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.description import Description, Layout, LayoutError, Norm
from pix2pix_batch.generators.foreign import name_kind
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.unet_network import NORM_EPS, Block
from pix2pix_batch.label_map import parse_labels
from pix2pix_batch.state_dicts import State, list_shapes, read_state
from pix2pix_batch.text import format_count

DEFAULT_SIZE = 256
"""Side of the images that a generator without a size of its own is taken to be trained on: the
reference's ``--crop_size``."""
FILTER_TOLERANCE = 1e-3
"""Of a fixed filter's numbers, which may be stored in half precision."""


class ParameterKinds(NamedTuple):
    """Which kinds of parameters the norms and the convolutions have (any of them)."""

    scaled: bool
    tracked: bool
    biased: bool


class PossibleNorms(NamedTuple):
    """``norms``: that the keys allow, the usual one first; ``why``: what there is of norms, for
    people; ``is_open``: whether somebody has to say which."""

    norms: tuple[Norm, ...]
    why: str
    is_open: bool = False


class OpenChoiceError(BundleError):
    """A checkpoint's keys leave open how it is to be run."""


# Longer than others for its parameters and what there is to say of them: its body has 25 lines.
def import_checkpoint(
    path: Path,
    *,
    name: str,
    norm: str | None = None,
    dropout: bool | None = None,
    channels: str = "rgb",
    labels: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    fit: str | None = None,
    source_domain: str = "",
    target_domain: str = "",
) -> tuple[BundleInfo, Generator]:
    """The metadata and the generator (float32, eval mode) of a checkpoint of a known family.

    Depth, widths and channels come from the checkpoint. ``norm=None`` takes what the keys say:
    batch norm becomes ``batch-statistics``, as the reference's test script runs it (the other
    choice: ``running-statistics``). Where they do not tell, :class:`OpenChoiceError` lists what
    may be: norms with scales alone can be ``batch-statistics``, which instance norm with scale and
    shift is; without norm parameters it is ``instance`` or ``none``. ``dropout``: whether it was
    trained with it, which the keys of U-Nets do not tell: the reference's were. It stays off unless
    asked for. ``channels``: their order in images that it was trained on, ``rgb`` or ``bgr``
    (OpenCV's). ``labels``: what its inputs are where their pixels are labels
    (:func:`pix2pix_batch.label_map.parse_labels`), which become channels of 0 and 1.
    ``image_size`` defaults to what the depth of a U-Net says (``2 ** downs``, as in the
    reference's ``unet_128`` and ``unet_256``), else to 256; ``fit`` to what suits the family.

    Of a file with several networks, or with more than weights (``{"netG": ..., "step": ...}``), the
    one that is a generator is taken; ``weights`` says which, where there are several, ``ema`` those
    that are averages.

    The file is read as plain tensors only. Raises :class:`BundleError`.
    """
    state = read_state(path, weights)
    recognised = _recognise(path, state)
    kinds = _find_parameter_kinds(state, recognised.layout)
    architecture = _choose_architecture(path, state, recognised, kinds, norm, dropout)
    generator = _generator(path, state, recognised.layout, architecture, kinds)
    if channels != "rgb":
        reverse_channels(path, generator)
    label_map = None
    if labels is not None:
        label_map = parse_labels(labels, architecture.in_channels)
        _read_zero_and_one(generator)
    try:
        info = BundleInfo(
            name=name,
            architecture=architecture,
            image_size=_default_size(architecture) if image_size is None else image_size,
            fit=fit or architecture.default_fit,
            source_domain=source_domain,
            target_domain=target_domain,
            provenance={"imported_from": {"file": path.name, "sha256": fingerprint(path)}},
            labels=label_map,
        )
    except ValueError as error:
        raise BundleError(f"{path}: cannot be imported so: {error}") from error
    return info, generator


def _choose_architecture(
    path: Path,
    state: State,
    recognised: generators.Recognised,
    kinds: ParameterKinds,
    norm: str | None,
    dropout: bool | None,
) -> Description:
    """What the checkpoint's layout and the choices make of it. Raises :class:`BundleError`."""
    family, layout = recognised
    fields = {**layout.fields, "norm": _choose_norm(path, _find_norms(kinds, layout), norm)}
    fields |= {name: state[key].item() for name, key in layout.settings.items()}
    if dropout is not None:
        fields["dropout"] = dropout
    try:
        return family(**fields)
    except ValueError as error:
        raise BundleError(f"{path}: its shapes cannot be used: {error}") from error


def list_norms(path: Path, weights: str | None = None) -> tuple[Norm, ...]:
    """The norms that the checkpoint's keys allow, the usual one first. Raises
    :class:`BundleError`."""
    state = read_state(path, weights)
    layout = _recognise(path, state).layout
    return _find_norms(_find_parameter_kinds(state, layout), layout).norms


@torch.no_grad()
def reverse_channels(path: Path, generator: Generator) -> None:
    """Turn a generator of BGR images into the same one of RGB images. Raises
    :class:`BundleError` where its images have no three channels."""
    a = generator.architecture
    if (a.in_channels, a.out_channels) != (3, 3):
        raise BundleError(
            f"{path}: takes {a.in_channels} channels and makes {a.out_channels}; bgr is an order "
            "of three"
        )
    *first, last = (generator.get_submodule(f"{name}.conv") for name in a.image_blocks)
    for conv in first:
        assert isinstance(conv, nn.Conv2d)
        conv.weight.copy_(conv.weight.flip(1))
    assert isinstance(last, nn.Conv2d | nn.ConvTranspose2d)
    last.weight.copy_(last.weight.flip(1 if isinstance(last, nn.ConvTranspose2d) else 0))
    if last.bias is not None:
        last.bias.copy_(last.bias.flip(0))


@torch.no_grad()
def _read_zero_and_one(generator: Generator) -> None:
    """Have a generator of inputs from 0 to 1 take -1 to 1, as engines hand bytes over.

    Exact where what is around the image is mirrored or an average, as with pix2pixHD's.
    """
    for name in generator.architecture.image_blocks[:-1]:
        block = generator.get_submodule(name)
        assert isinstance(block, Block)
        block.conv.weight.div_(2)
        added = block.conv.weight.sum(dim=(1, 2, 3))
        if block.conv.bias is not None:
            block.conv.bias.add_(added)
        elif isinstance(block.norm, nn.BatchNorm2d) and block.norm.running_mean is not None:
            block.norm.running_mean.sub_(added)  # an image's own mean takes it away again


def _recognise(path: Path, state: State) -> generators.Recognised:
    """Raises :class:`BundleError` for what is of no family."""
    shapes = list_shapes(state)
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


def _find_norms(found: ParameterKinds, layout: Layout) -> PossibleNorms:
    if layout.normless or not any(ours.endswith(".norm") for ours in layout.modules):
        return PossibleNorms(("none",), "no place for norms")
    if found.scaled and found.tracked:
        return PossibleNorms(("batch-statistics", "running-statistics"), "batch norm")
    if layout.norms:
        return PossibleNorms(layout.norms, "its layout's norm")
    if found.scaled:
        why = (
            "norms with scales and without running statistics, which instance norm with scale and "
            "shift has, batch norm that keeps none, and group norm, which cannot be run"
        )
        return PossibleNorms(("batch-statistics",), why, is_open=True)
    if found.tracked:
        return PossibleNorms(("instance",), "instance norm (running statistics, no scales)")
    if found.biased:
        why = "biased convolutions and no norm parameters, as with instance norm and with none"
        return PossibleNorms(("instance", "none"), why, is_open=True)
    why = "neither norm parameters nor biases, as with no norm and with instance norm"
    return PossibleNorms(("none", "instance"), why, is_open=True)


def _choose_norm(path: Path, possible: PossibleNorms, norm: str | None) -> Norm:
    """``norm`` if the keys allow it, else the only one that they do."""
    if norm is None and not possible.is_open:
        return possible.norms[0]
    choices = " or ".join(f"--norm {one}" for one in possible.norms)
    if norm is None:
        raise OpenChoiceError(
            f"{path}: its keys do not tell how it normalises: it has {possible.why}; say so with "
            f"{choices}, or give an input and the output that it should become with --expect, "
            "which tells"
        )
    for known in possible.norms:
        if norm == known:
            return known
    raise BundleError(
        f"{path}: cannot be run with norm {norm!r}: it has {possible.why}; choose "
        f"{' or '.join(possible.norms)}"
    )


def _generator(
    path: Path, state: State, layout: Layout, architecture: Description, found: ParameterKinds
) -> Generator:
    with torch.device("meta"):
        generator: Generator = architecture.build()
    left, ours = dict(state), {}
    for name, slot in generator.state_dict().items():
        module, _, kind = name.rpartition(".")
        key = f"{layout.modules[module]}.{kind}"
        value = left.pop(key, None)
        if kind == "num_batches_tracked":
            value = torch.tensor(0)
        elif value is not None:
            if kind == "weight" and value.ndim == 4 and module in layout.enlarged:
                value = F.pad(value, layout.enlarged[module])
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
    _fold_epsilons(path, left, ours, layout)
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


def _fold_epsilons(path: Path, left: State, ours: State, layout: Layout) -> None:
    """Take norms' epsilons that are stored into the convolutions before: what is normed is scaled
    so that :data:`NORM_EPS` is to it what theirs was, which is the same network exactly."""
    for name, theirs in layout.modules.items():
        epsilon = left.pop(f"{theirs}.epsilon", None) if name.endswith(".norm") else None
        block = name.removesuffix(".norm")
        if epsilon is None:
            continue
        if epsilon.numel() != 1 or not 0 < epsilon.item() < 1:
            raise BundleError(f"{path}: {theirs!r} has an epsilon that is no number from 0 to 1")
        scale = (NORM_EPS / epsilon.item()) ** 0.5
        for key, factor in (
            ("conv.weight", scale), ("conv.bias", scale), ("norm.running_mean", scale),
            ("norm.running_var", scale**2),
        ):  # fmt: skip
            if f"{block}.{key}" in ours:
                ours[f"{block}.{key}"] = ours[f"{block}.{key}"] * factor


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
    idle = {*layout.fixed, *layout.settings.values()}
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
