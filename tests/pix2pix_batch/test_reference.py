"""Reference checkpoints: imported ones compute what the reference does, others are refused."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pix2pix_batch import bundle
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.reference import OpenChoiceError, import_checkpoint, list_norms
from tests.reference_unet import ReferenceUNet, lively

INNER = "model.model.1.model.3.model."
State = dict[str, Tensor]


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def checkpoint(folder: Path, net: ReferenceUNet) -> Path:
    return save(folder / "latest_net_G.pth", net.state_dict())


def make(**values: object) -> ReferenceUNet:
    return lively(ReferenceUNet(**{"downs": 5, "ngf": 4, **values}))


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def one_by_one(net: nn.Module, x: Tensor) -> Tensor:
    """As the reference's test script does: batches of one image."""
    return torch.cat([net(x[i : i + 1]) for i in range(len(x))])


# Same weights, same images


@pytest.mark.parametrize("downs", [5, 6, 8])
@torch.no_grad()
def test_batch_statistics_are_the_reference_in_train_mode(tmp_path: Path, downs: int) -> None:
    reference = make(downs=downs, ngf=2)
    info, net = import_checkpoint(checkpoint(tmp_path, reference), name="x")
    assert info.architecture.norm == "batch-statistics"
    x = images(2, 3, 1 << downs, 2 << downs)
    expected = one_by_one(copy.deepcopy(reference).train(), x)
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(reference.train()(x), expected, atol=1e-2)  # neighbours matter there


@pytest.mark.parametrize("downs", [5, 7])
@torch.no_grad()
def test_running_statistics_are_the_reference_in_eval_mode(tmp_path: Path, downs: int) -> None:
    reference = make(downs=downs, in_channels=1, out_channels=4).eval()
    path = checkpoint(tmp_path, reference)
    info, net = import_checkpoint(path, name="x", norm="running-statistics")
    assert info.architecture.norm == "running-statistics"
    x = images(2, 1, 1 << downs, 1 << downs)
    torch.testing.assert_close(net(x), reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_instance_norm_is_the_reference_in_any_mode(tmp_path: Path, training: bool) -> None:
    reference = make(downs=6, norm="instance").train(training)
    info, net = import_checkpoint(checkpoint(tmp_path, reference), name="x", norm="instance")
    assert info.architecture.norm == "instance"
    x = images(3, 3, 128, 64)
    torch.testing.assert_close(net(x), reference(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_no_norm_is_the_reference(tmp_path: Path) -> None:
    """There the reference's convolutions have no biases, ours have ones of zero."""
    reference = make(downs=6, norm="none").eval()
    info, net = import_checkpoint(checkpoint(tmp_path, reference), name="x", norm="none")
    assert info.architecture.norm == "none"
    x = images(2, 3, 64, 64)
    torch.testing.assert_close(net(x), reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@torch.no_grad()
def test_dropout_is_where_the_reference_has_it(tmp_path: Path, norm: str) -> None:
    reference = make(downs=8, ngf=2, norm=norm).train()
    told = None if norm == "batch" else norm
    info, net = import_checkpoint(checkpoint(tmp_path, reference), name="x", norm=told)
    random = torch.Generator().manual_seed(3)
    shapes = info.architecture.mask_shapes(256, 512)
    masks = [torch.randint(0, 2, (1, *shape), generator=random) * 2.0 for shape in shapes]
    x = images(1, 3, 256, 512)
    still = reference(x)
    reference.set_masks(masks)
    noisy = reference(x)
    torch.testing.assert_close(net(x, masks), noisy, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(noisy, still, atol=1e-2)


@pytest.mark.parametrize("norm", ["batch-statistics", "running-statistics"])
@torch.no_grad()
def test_no_image_depends_on_its_neighbours(tmp_path: Path, norm: str) -> None:
    _, net = import_checkpoint(checkpoint(tmp_path, make()), name="x", norm=norm)
    x = images(4, 3, 32, 64)
    x[2] *= 100
    torch.testing.assert_close(net(x), one_by_one(net, x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_an_imported_bundle_can_be_saved_and_loaded(tmp_path: Path) -> None:
    info, net = import_checkpoint(checkpoint(tmp_path, make()), name="x")
    bundle.save(tmp_path / "x.safetensors", info, net, half=False)
    back, loaded = bundle.load(tmp_path / "x.safetensors")
    assert back == info
    assert torch.equal(loaded(images(1, 3, 32, 32)), net(images(1, 3, 32, 32)))


# What the bundle says


@given(
    downs=st.integers(5, 10),
    ngf=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    norm=st.sampled_from(["batch", "instance", "none"]),
)
@settings(max_examples=25)
def test_architecture_is_inferred(
    tmp_path_factory: pytest.TempPathFactory,
    downs: int,
    ngf: int,
    channels: tuple[int, int],
    norm: str,
) -> None:
    net = ReferenceUNet(*channels, downs, ngf, norm)
    ours = {"batch": "batch-statistics"}.get(norm, norm)
    path = checkpoint(tmp_path_factory.getbasetemp(), net)
    info, generator = import_checkpoint(path, name="x", norm=ours)
    expected = Architecture(*channels, downs, ngf, ours, dropout=downs > 5)
    assert info.architecture == expected == generator.architecture
    assert info.image_size == 2**downs


def test_info_says_where_it_came_from(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, make())
    info, net = import_checkpoint(
        path, name="x", image_size=96, fit="tile", source_domain="maps", target_domain="photos"
    )
    assert (info.name, info.image_size, info.fit) == ("x", 96, "tile")
    assert (info.source_domain, info.target_domain) == ("maps", "photos")
    source = {"file": "latest_net_G.pth", "sha256": bundle.fingerprint(path)}
    assert info.provenance == {"imported_from": source}
    assert not net.training
    assert not any(value.requires_grad for value in net.parameters())


# What the keys may look like


def without(suffix: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if not k.endswith(suffix)}


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + k: v for k, v in state.items()}


def as_type(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {k: v.to(dtype) for k, v in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        prefixed("trainer.netG."),
        without("num_batches_tracked"),
        as_type(torch.float64),
        lambda state: {k: nn.Parameter(v, False) for k, v in state.items()},
        lambda state: dict(reversed(state.items())),
        lambda state: {k: v.mT.contiguous().mT if v.ndim == 4 else v for k, v in state.items()},
    ],
    ids=[
        "module",
        "compiled",
        "both",
        "both turned",
        "others",
        "no counters",
        "double",
        "parameters",
        "order",
        "strides",
    ],
)
@torch.no_grad()
def test_variants_are_the_same_checkpoint(tmp_path: Path, change: Callable[[State], State]) -> None:
    state = make().state_dict()
    _, plain = import_checkpoint(save(tmp_path / "plain.pth", state), name="x")
    _, varied = import_checkpoint(save(tmp_path / "varied.pth", change(state)), name="x")
    assert torch.equal(plain(images(1, 3, 32, 32)), varied(images(1, 3, 32, 32)))
    assert all(value.dtype == torch.float32 for value in varied.parameters())


DISCRIMINATOR = {"netD.model.0.weight": torch.zeros(4, 6, 4, 4),
                 "netD.model.2.weight": torch.zeros(1, 4, 4, 4)}  # fmt: skip


def zeros(state: State) -> State:
    return {key: torch.zeros_like(value) for key, value in state.items()}


@pytest.mark.parametrize(
    "pack",
    [
        lambda state: {"state_dict": state, "epoch": 7},
        lambda state: {"model": prefixed("module.")(state), "optimizer": {"state": {}, "lr": 1.0}},
        lambda state: {"netG": state, "netD": {"model.0.weight": torch.zeros(4, 6, 4, 4)}},
        lambda state: {"models": {"G": state, "D": {"x": torch.zeros(1)}}, "step": 3},
        lambda state: {"epoch": 3, **state},
        lambda state: {"n_averaged": torch.tensor(5), **prefixed("module.")(state)},
        lambda state: {"state_dict": {**prefixed("netG.")(state), **DISCRIMINATOR}},
        lambda state: {
            "state_dict": {
                **prefixed("net.G._orig_mod.module.")(state),
                **DISCRIMINATOR,
                "vgg.features.0.weight": torch.zeros(8, 3, 3, 3),
            }
        },
        lambda state: {"G": state, "G_ema": zeros(state)},
        lambda state: {
            "state_dict": {**prefixed("ema_model.")(zeros(state)), **prefixed("model.net.")(state)}
        },
    ],
    ids=[
        "lightning",
        "optimizer",
        "both",
        "nested",
        "epoch",
        "swa",
        "prefixes",
        "deep",
        "ema",
        "ema by prefix",
    ],
)
def test_the_generator_is_found_in_what_holds_more(
    tmp_path: Path, pack: Callable[[State], object]
) -> None:
    state = make().state_dict()
    _, plain = import_checkpoint(save(tmp_path / "plain.pth", state), name="x")
    _, packed = import_checkpoint(save(tmp_path / "packed.pth", pack(state)), name="x")
    for name, value in plain.state_dict().items():
        assert torch.equal(packed.state_dict()[name], value), name


def test_one_of_several_generators_is_asked_for(tmp_path: Path) -> None:
    first, second = make().state_dict(), make(ngf=3).state_dict()
    path = save(tmp_path / "net.pth", {"netG_A": first, "nets": {"netG_B": second}})
    assert import_checkpoint(path, name="x", weights="netG_A")[0].architecture.ngf == 4
    assert import_checkpoint(path, name="x", weights="nets.netG_B")[0].architecture.ngf == 3
    assert import_checkpoint(path, name="x", weights="netG_B")[0].architecture.ngf == 3
    with pytest.raises(BundleError, match=r"no weights called 'ema', but 'netG_A', 'nets\.netG_B'"):
        import_checkpoint(path, name="x", weights="ema")


@pytest.mark.parametrize("name", ["netG_ema", "ema", "state_dict_ema", "swa_model", "G.averaged"])
def test_averaged_weights_are_asked_for(tmp_path: Path, name: str) -> None:
    first, second = make().state_dict(), make(ngf=3).state_dict()
    path = save(tmp_path / "net.pth", {"netG": first, name: second})
    assert import_checkpoint(path, name="x")[0].architecture.ngf == 4
    assert import_checkpoint(path, name="x", weights="ema")[0].architecture.ngf == 3
    alone = save(tmp_path / "alone.pth", {name: second, "netD": {"a": torch.zeros(1)}})
    assert import_checkpoint(alone, name="x")[0].architecture.ngf == 3


Reparametrize = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize(
    "reparametrize",
    [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm, nn.utils.weight_norm,
     nn.utils.parametrizations.weight_norm],
    ids=["spectral, hooks", "spectral", "weight norm, hooks", "weight norm"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@torch.no_grad()
def test_reparametrized_weights_are_folded(tmp_path: Path, reparametrize: Reparametrize) -> None:
    """Transposed convolutions too, whose outputs are the second axis, some of square weights."""
    reference = make(downs=5, ngf=4)
    for module in list(reference.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            reparametrize(module)
    x = images(1, 3, 32, 64)
    for _ in range(30):
        reference.train()(x)  # so that the vectors are singular ones
    _, net = import_checkpoint(checkpoint(tmp_path, reference), name="x")
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
        else:
            module.training = False
    torch.testing.assert_close(net(x), reference(x), rtol=1e-3, atol=1e-3)


# What the keys leave open


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: make(norm="instance").state_dict(), "--norm instance or --norm none"),
        (lambda: make(norm="none").state_dict(), "--norm none or --norm instance"),
        (lambda: without("running_var")(without("running_mean")(make().state_dict())),
         "group norm, which cannot be run; say so with --norm batch-statistics"),
    ],
)  # fmt: skip
def test_a_norm_that_the_keys_do_not_tell_is_asked_for(
    tmp_path: Path, state: Callable[[], State], message: str
) -> None:
    path = save(tmp_path / "net.pth", state())
    with pytest.raises(
        OpenChoiceError, match=rf"net\.pth: its keys do not tell.*{message}.*--expect"
    ):
        import_checkpoint(path, name="x")
    for norm in list_norms(path):
        assert import_checkpoint(path, name="x", norm=norm)[0].architecture.norm == norm


def test_dropout_is_told(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, make(downs=6))
    assert import_checkpoint(path, name="x")[0].architecture.dropout
    assert not import_checkpoint(path, name="x", dropout=False)[0].architecture.dropout
    assert import_checkpoint(path, name="x", dropout=True)[0].architecture.dropout


@torch.no_grad()
def test_channels_in_the_other_order(tmp_path: Path) -> None:
    path, x = checkpoint(tmp_path, make()), images(1, 3, 32, 32)
    _, net = import_checkpoint(path, name="x")
    _, turned = import_checkpoint(path, name="x", channels="bgr")
    torch.testing.assert_close(turned(x), net(x.flip(1)).flip(1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(turned(x), net(x), atol=1e-2)
    grey = checkpoint(tmp_path, make(in_channels=1))
    with pytest.raises(BundleError, match="bgr is an order of three"):
        import_checkpoint(grey, name="x", channels="bgr")


def test_the_old_file_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(make().state_dict(), path, _use_new_zipfile_serialization=False)
    assert import_checkpoint(path, name="x")[0].architecture.ngf == 4


def test_half_precision_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "half.pth", as_type(torch.float16)(make().state_dict()))
    assert import_checkpoint(path, name="x")[1].down[0].conv.weight.dtype == torch.float32


def track(net: ReferenceUNet) -> State:
    """The state with what old instance norms carry."""
    state = net.state_dict()
    for name, module in net.named_modules():
        if isinstance(module, nn.InstanceNorm2d):
            state[f"{name}.running_mean"] = torch.zeros(module.num_features)
            state[f"{name}.running_var"] = torch.ones(module.num_features)
    return state


@torch.no_grad()
def test_running_statistics_of_instance_norm_are_ignored(tmp_path: Path) -> None:
    reference = make(norm="instance")
    path = save(tmp_path / "old.pth", track(reference))
    info, net = import_checkpoint(path, name="x")
    assert info.architecture.norm == "instance"
    x = images(2, 3, 32, 32)
    torch.testing.assert_close(net(x), reference(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(BundleError, match="choose instance"):
        import_checkpoint(path, name="x", norm="none")


@pytest.mark.parametrize("tracked", [False, True])
@torch.no_grad()
def test_instance_norm_with_scale_and_shift_is_the_reference(tmp_path: Path, tracked: bool) -> None:
    """Some convolutions of a U-Net have a bias and no norm after it, which must not be lost."""
    reference = make(downs=6, norm="affine")
    state = track(reference) if tracked else reference.state_dict()
    path = save(tmp_path / "affine.pth", state)
    info, net = import_checkpoint(path, name="x", norm="batch-statistics")
    bundle.save(tmp_path / "x.safetensors", info, net, half=False)
    back, net = bundle.load(tmp_path / "x.safetensors")
    assert back == info and info.architecture.bias
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(net(x), reference(x), rtol=1e-4, atol=1e-4)
    made = TorchEngine(net, size=64, batch_size=2)(pixels).images
    levels = ((reference(x) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(made - levels).mean() <= 0.3


@torch.no_grad()
def test_biased_convolutions_may_go_without_norm(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, make(norm="instance"))
    info, net = import_checkpoint(path, name="x", norm="none")
    assert info.architecture.norm == "none"
    assert net.down[2].norm is None
    assert net.down[2].conv.bias.any()


@torch.no_grad()
def test_batch_statistics_need_no_running_ones(tmp_path: Path) -> None:
    reference = make()
    state = without("running_var")(without("running_mean")(reference.state_dict()))
    path = save(tmp_path / "untracked.pth", state)
    _, net = import_checkpoint(path, name="x", norm="batch-statistics")
    x = images(1, 3, 32, 32)
    torch.testing.assert_close(net(x), reference.train()(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(BundleError, match=r"untracked\.pth.*without running statistics.*choose"):
        import_checkpoint(path, name="x", norm="running-statistics")


@pytest.mark.parametrize(
    ("has", "norm"),
    [
        ("batch", "instance"),
        ("batch", "none"),
        ("instance", "batch-statistics"),
        ("instance", "running-statistics"),
        ("none", "batch-statistics"),
        ("batch", "batch"),
        ("batch", ""),
    ],
)
def test_a_norm_that_the_keys_contradict_is_refused(tmp_path: Path, has: str, norm: str) -> None:
    path = checkpoint(tmp_path, make(norm=has))
    with pytest.raises(BundleError, match=r"latest_net_G\.pth: .*norm.*choose"):
        import_checkpoint(path, name="x", norm=norm)


@pytest.mark.parametrize(
    ("values", "message"),
    [({"image_size": 100}, "image_size"), ({"fit": "crop"}, "fit"), ({"name": ""}, "name")],
)
def test_options_that_no_bundle_can_have(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    path = checkpoint(tmp_path, make())
    with pytest.raises(BundleError, match=rf"latest_net_G\.pth.*{message}"):
        import_checkpoint(path, **{"name": "x", **values})


# What is refused


def changed(key: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    return lambda state: {**state, key: change(state[key])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("model.model.0.weight"), "no pix2pix generator"),
        (without("model.model.3.weight"), "missing"),
        (without("model.model.3.bias"), "missing"),
        (without(INNER + "1.weight"), "missing"),
        (without(INNER + "2.running_mean"), "missing"),
        (without(INNER + "6.bias"), "missing"),
        (lambda s: {**s, "extra.weight": torch.zeros(1)}, "unknown.*extra.weight"),
        (lambda s: {**s, INNER + "1.bias": torch.zeros(16)}, "unknown|missing"),
        (changed("model.model.0.weight", lambda t: t[:2]), "shape.*ngf 2"),
        (changed("model.model.0.weight", lambda t: t[:0]), "ngf must be"),
        (changed("model.model.0.weight", lambda t: t[:, :0]), "in_channels must be"),
        (changed("model.model.0.weight", lambda t: t[..., :3, :3]), "no 4x4"),
        (changed("model.model.0.weight", torch.flatten), "no 4x4"),
        (changed("model.model.3.weight", lambda t: t[:, :0]), "out_channels must be"),
        (changed("model.model.3.bias", lambda t: t[:1]), "shape"),
        (changed(INNER + "1.weight", lambda t: t[:, :3]), "shape.*needs"),
        (changed(INNER + "5.weight", lambda t: t[:7]), "shape.*needs"),
        (changed(INNER + "1.weight", lambda t: t.fill_(torch.nan)), "infinities or NaN"),
        (changed(INNER + "2.running_var", lambda t: t.fill_(torch.inf)), "infinities or NaN"),
        (changed(INNER + "2.running_var", lambda t: -t), "negative"),
        (changed(INNER + "1.weight", lambda t: t.double() * 1e300), "infinities or NaN"),
        (changed(INNER + "1.weight", lambda t: t.int()), "no real numbers"),
        (changed(INNER + "1.weight", lambda t: t.to(torch.complex64)), "no real numbers"),
        (changed(INNER + "1.weight", lambda t: t.to_sparse()), "no plain tensor"),
        (changed(INNER + "1.weight", lambda t: t.to("meta")), "no plain tensor"),
        (lambda s: {"epoch": 3}, "'epoch' is int"),
        (lambda s: {5: torch.zeros(1)}, "no state dict"),
        (lambda s: {"netG_A": s, "netG_B": s}, "2 generators .'netG_A', 'netG_B'.*--weights"),
        (lambda s: {**prefixed("G_A.")(s), **prefixed("G_B.")(s)}, "2 generators .'G_A', 'G_B'"),
        (lambda s: {"a": {"x": torch.zeros(1)}, "b": {"y": torch.zeros(1)}}, "none .*'a', 'b'"),
        (lambda s: {"state_dict": {"x": torch.zeros(1)}}, "no pix2pix generator.*'x'"),
        (lambda s: list(s.values()), "holds list"),
        (lambda s: s["model.model.3.bias"], "holds Tensor"),
        (lambda s: {}, "no state dict"),
        (lambda s: {"step": 1, "generator": s}, "makes a bundle of it"),
        (lambda s: None, "no state dict"),
    ],
)
def test_other_tensors_are_refused(
    tmp_path: Path, change: Callable[[State], object], message: str
) -> None:
    state = {key: value.clone() for key, value in make().state_dict().items()}
    path = save(tmp_path / "net.pth", change(state))
    with pytest.raises(BundleError, match=rf"(?s)net\.pth: .*({message})"):
        import_checkpoint(path, name="x")


@pytest.mark.parametrize("downs", [4, 11])
def test_depths_that_no_generator_has(tmp_path: Path, downs: int) -> None:
    if downs == 4:
        state = make().state_dict()
        inner = INNER + "3.model.3.model."
        state = {key: value for key, value in state.items() if not key.startswith(inner)}
    else:
        state = ReferenceUNet(downs=11, ngf=1).state_dict()
    with pytest.raises(BundleError, match=rf"halves the image {downs} times.*5 to 10"):
        import_checkpoint(save(tmp_path / "net.pth", state), name="x")


FOREIGN: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "patch": ({"model.0.weight": (64, 6, 4, 4), "model.2.weight": (128, 64, 4, 4),
               "model.5.weight": (1, 128, 4, 4)}, "is a discriminator"),
    "pixel": ({"net.0.weight": (64, 6, 1, 1), "net.2.weight": (1, 64, 1, 1)}, "is a discriminator"),
    "scales": ({f"scale{k}_layer{i}.0.weight": shape for k in range(2) for i, shape in
                enumerate([(8, 6, 4, 4), (16, 8, 4, 4), (1, 16, 4, 4)])}, "is a discriminator"),
    "resnet18": ({"conv1.weight": (64, 3, 7, 7), "layer1.0.conv1.weight": (64, 64, 3, 3),
                  "fc.weight": (1000, 512), "fc.bias": (1000,)}, "is a classifier"),
    "vgg": ({"features.0.weight": (64, 3, 3, 3), "classifier.6.weight": (1000, 4096)},
            "is a classifier"),
    "ddpm": ({"time_embed.0.weight": (256, 64), "input_blocks.0.0.weight": (64, 3, 3, 3)},
             "is a diffusion model's U-Net"),
    "diffusers": ({"conv_in.weight": (320, 4, 3, 3), "time_embedding.linear_1.weight": (1280, 320),
                   "down_blocks.0.attentions.0.norm.weight": (320,)},
                  "is a diffusion model's U-Net"),
    "esrgan": ({"conv_first.weight": (64, 3, 3, 3), "RRDB_trunk.0.RDB1.conv1.weight":
                (32, 64, 3, 3)}, "is an upscaler"),
    "realesrgan": ({"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight":
                    (32, 64, 3, 3)}, "is an upscaler"),
    "edsr": ({"head.0.weight": (64, 3, 3, 3), "body.0.body.0.weight": (64, 64, 3, 3),
              "body.0.body.2.weight": (64, 64, 3, 3), "tail.1.weight": (3, 64, 3, 3)},
             "is an upscaler"),
    "blocks": ({"model.1.weight": (64, 3, 9, 9), "model.10.conv_block.1.weight": (64, 64, 3, 3)},
               "is a ResNet generator with other layers"),
    "other": ({"encoder.weight": (3, 4)}, "holds no pix2pix generator.*encoder.weight"),
}  # fmt: skip
"""Networks that are no generator that is known, by some of their real keys and shapes."""


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_networks_are_named(tmp_path: Path, kind: str) -> None:
    shapes, message = FOREIGN[kind]
    path = save(tmp_path / "net.pth", {key: torch.zeros(shape) for key, shape in shapes.items()})
    known = "known are the latest_net_G.pth of: .*U-Net.*ResNet.*CUT.*pix2pixHD"
    with pytest.raises(BundleError, match=rf"net\.pth: .*{message}.*; {known}") as caught:
        import_checkpoint(path, name="x")
    assert "\n" not in str(caught.value) and not re.search(r"\. [A-Z]", str(caught.value))


class RunsCode:
    """A pickle of this makes a file where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_is_never_run(tmp_path: Path, kind: str) -> None:
    path, mark = tmp_path / "net.pth", tmp_path / "ran"
    hostile = {**make().state_dict(), "model.model.9.weight": RunsCode(mark)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(RunsCode(mark)))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(BundleError, match=r"net\.pth: .*never loaded.*state_dict"):
        import_checkpoint(path, name="x")
    assert not mark.exists()
    with path.open("rb") as file:  # the trap does work
        if kind == "pickle":
            pickle.load(file)
            assert mark.exists()


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pth", make())
    with pytest.raises(BundleError, match=r"ReferenceUNet.*torch\.save\(net\.state_dict"):
        import_checkpoint(path, name="x")


def test_a_script_archive_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.pth", make().state_dict())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/constants.pkl", b"")  # by which such archives are known
    with pytest.raises(BundleError, match=r"net\.pth: .*TorchScript.*torch\.save"):
        import_checkpoint(path, name="x")


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"PK\x03\x04", b"\x80", b"\x80\x02", b"\x80\x02}q\x00.", b"\x89PNG", b"hello"],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"net\.pth: "):
        import_checkpoint(path, name="x")


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is empty; get it again"),
    "zeros": (bytes(4096), "begins with nothing but zeros; get it again"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
                "is a pointer of Git LFS; .*git lfs pull"),
    "page": (b"\n<!DOCTYPE html><html>", "is a web page .*; download the file itself"),
    "gzip": (gzip.compress(b"net"), "is a file that gzip compressed; unpack it"),
    "header": ((9000).to_bytes(8, "little") + b'{"a":', "is cut short: .*9,000 bytes.* get it"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_what_a_wrong_file_is_and_what_to_do(tmp_path: Path, kind: str) -> None:
    data, message = WRONG_FILES[kind]
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"net\.pth: {message}"):
        import_checkpoint(path, name="x")


def test_archives_that_hold_no_state(tmp_path: Path) -> None:
    whole = save(tmp_path / "net.pth", make().state_dict())
    packed, cut, graph = (tmp_path / name for name in ("packed.pth", "cut.pth", "net.onnx"))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(whole, "weights/latest_net_G.pth")
    cut.write_bytes(whole.read_bytes()[:5000])
    graph.write_bytes(b"\x08\x08\x12\x07pytorch")
    shard, index = (tmp_path / f"net{end}" for end in ("-00001-of-00012.bin", ".bin.index.json"))
    shard.write_bytes(whole.read_bytes())
    index.write_text('{"weight_map": {}}')
    exported = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(nn.Conv2d(3, 3, 1), (torch.zeros(1, 3, 4, 4),)), exported)
    for path, message in (
        (packed, "is a ZIP archive with 'weights/latest_net_G.pth' in it; unpack it"),
        (cut, "is cut short: .*; get it again"),
        (graph, "is an ONNX graph; give the checkpoint"),
        (exported, r"is a program \(torch.export.save\).*torch.save"),
        (shard, "is one of 12 files that hold the weights together; save them as one"),
        (index, "is the index of weights in several files"),
    ):
        with pytest.raises(BundleError, match=rf"{path.name}: {message}"):
            import_checkpoint(path, name="x")


def test_weights_as_safetensors(tmp_path: Path) -> None:
    path, state = tmp_path / "net.safetensors", make().state_dict()
    safetensors.torch.save_file(prefixed("netG.")(state), path)
    _, net = import_checkpoint(path, name="x")
    _, same = import_checkpoint(save(tmp_path / "net.pth", state), name="x")
    assert torch.equal(net(images(1, 3, 32, 32)), same(images(1, 3, 32, 32)))
    with pytest.raises(BundleError, match=r"net\.safetensors: .*no pix2pix-batch bundle.*import"):
        bundle.read_info(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"net\.safetensors: is damaged"):
        import_checkpoint(path, name="x")


def test_a_bundle_needs_no_import(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    bundle.save(path, *import_checkpoint(checkpoint(tmp_path, make()), name="x"))
    with pytest.raises(BundleError, match=r"net\.safetensors: is a bundle already"):
        import_checkpoint(path, name="x")


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30)
def test_cut_short(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.pth"
    torch.save(ReferenceUNet(downs=5, ngf=1).state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(BundleError, match=r"cut\.pth: "):
        import_checkpoint(path, name="x")


def test_directories_and_absent_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(BundleError, match=f"{path.name}: cannot be read"):
            import_checkpoint(path, name="x")
