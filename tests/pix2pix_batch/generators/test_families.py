"""Checkpoints of every family: what is imported computes what its description says."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pix2pix_batch import bundle, generators
from pix2pix_batch.errors import BundleError
from pix2pix_batch.inference.engine import TorchEngine, to_bytes
from pix2pix_batch.reference import import_checkpoint
from tests.reference_postactivation import PostActivation
from tests.reference_resnets import Cut, GlobalHD, LocalHD, PlainResNet, lively

LEVELS = 0.3
"""Mean absolute difference from the float64 reference, of 255."""

State = dict[str, Tensor]


def save(folder: Path, net: nn.Module | State) -> Path:
    path = folder / "latest_net_G.pth"
    torch.save(net if isinstance(net, dict) else net.state_dict(), path)
    return path


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.rand((count, channels, height, width), generator=random) * 2 - 1


@torch.no_grad()
def golden(net: nn.Module, x: Tensor, *, training: bool) -> Tensor:
    """What the reference makes of each image alone, in float64."""
    wide = copy.deepcopy(net).double().train(training)
    return torch.cat([wide(image[None].double()) for image in x])


CASES: dict[str, tuple[Callable[[], nn.Module], str, str, int]] = {
    "resnet 9": (lambda: PlainResNet(blocks=9), "resnet", "instance", 32),
    "resnet 6, batch": (
        lambda: PlainResNet(blocks=6, norm="batch"), "resnet", "batch-statistics", 36
    ),
    "resnet, affine": (lambda: PlainResNet(norm="affine"), "resnet", "batch-statistics", 32),
    "resnet, tracked": (lambda: PlainResNet(norm="tracked"), "resnet", "instance", 32),
    "resnet, none": (lambda: PlainResNet(norm="none", bias=False), "resnet", "none", 32),
    "resnet, dropout": (lambda: PlainResNet(dropout=True), "resnet", "instance", 32),
    "resnet, zeros": (lambda: PlainResNet(padding="zeros"), "resnet", "instance", 32),
    "resnet, nearest": (
        lambda: PlainResNet(upsample="nearest", word="block"), "resnet", "instance", 32
    ),
    "resnet, wide": (lambda: PlainResNet(ngf=24, blocks=1), "resnet", "instance", 68),
    "resnet, channels": (lambda: PlainResNet(1, 4, blocks=1), "resnet", "instance", 8),
    "cut": (Cut, "cut", "instance", 32),
    "cut, batch": (lambda: Cut(norm="batch"), "cut", "batch-statistics", 32),
    "hd global": (lambda: GlobalHD(ngf=2), "pix2pixhd-global", "instance", 64),
    "hd global, batch": (
        lambda: GlobalHD(ngf=2, norm="batch"), "pix2pixhd-global", "batch-statistics", 64
    ),
    "hd local": (LocalHD, "pix2pixhd-local", "instance", 64),
    "postactivation": (
        lambda: PostActivation(ngf=2), "unet-postactivation", "instance", 256
    ),
    "postactivation, few": (
        lambda: PostActivation(1, 4, downs=5), "unet-postactivation", "instance", 64
    ),
    "postactivation, batch": (
        lambda: PostActivation(downs=5, norm="batch"), "unet-postactivation", "batch-statistics", 64
    ),
    "hd local, batch": (lambda: LocalHD(norm="batch"), "pix2pixhd-local", "batch-statistics", 64),
}  # fmt: skip
"""A reference, the family and norm that it is imported as, and the images' side."""


def told(norm: str) -> str | None:
    """What the keys do not tell."""
    return None if norm == "running-statistics" else norm


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_an_imported_network_is_its_reference(tmp_path: Path, case: str) -> None:
    make, family, norm, size = CASES[case]
    reference = lively(make())
    info, net = import_checkpoint(save(tmp_path, reference), name="x", norm=told(norm))
    assert (info.architecture.family, info.architecture.norm) == (family, norm)
    x = images(2, info.architecture.in_channels, size, size)
    expected = golden(reference, x, training=norm == "batch-statistics" or "tracked" in case)
    assert expected.std() > 0.1
    torch.testing.assert_close(net(x), expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_the_engine_runs_it_and_no_image_depends_on_others(tmp_path: Path, case: str) -> None:
    make, _, norm, size = CASES[case]
    reference = lively(make())
    path = tmp_path / "x.safetensors"
    checkpoint = save(tmp_path, reference)
    bundle.save(path, *import_checkpoint(checkpoint, name="x", norm=told(norm)), half=False)
    info, net = bundle.load_mapped(path)
    pixels = np.random.default_rng(0).integers(
        0, 256, (3, size, size, info.architecture.in_channels), dtype=np.uint8
    )
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    expected = to_bytes(
        golden(reference, x, training=norm == "batch-statistics" or "tracked" in case)
    ).numpy()
    engine = TorchEngine(net, size=size, batch_size=3)
    made = engine(pixels)
    assert np.abs(made.images.astype(int) - expected).mean() <= LEVELS
    assert made.embeddings.shape == (3, info.architecture.bottleneck)
    np.testing.assert_allclose(made.embeddings, net.embed(x), rtol=1e-3, atol=1e-3)
    for batch in (1, 2):
        other = TorchEngine(net, size=size, batch_size=batch)(pixels[3 - batch :])
        assert np.array_equal(other.images, made.images[3 - batch :])
        assert np.array_equal(other.embeddings, made.embeddings[3 - batch :])
    direct = TorchEngine(net, size=size, batch_size=3, direct=True)(pixels)
    assert np.abs(direct.images.astype(int) - expected).mean() <= LEVELS


@pytest.mark.parametrize("net", [PlainResNet(norm="batch"), GlobalHD(ngf=2, norm="batch")])
@torch.no_grad()
def test_running_statistics_are_the_reference_in_eval_mode(
    tmp_path: Path, net: PlainResNet
) -> None:
    """pix2pixHD's convolutions have biases beside the norms."""
    reference = lively(net)
    path = save(tmp_path, reference)
    info, imported = import_checkpoint(path, name="x", norm="running-statistics")
    assert info.architecture.norm == "running-statistics"
    x = images(2, 3, 32, 64)
    expected = golden(reference, x, training=False)
    torch.testing.assert_close(imported(x), expected.float(), rtol=1e-4, atol=1e-4)
    engine = TorchEngine(imported, size=64, batch_size=2)
    y, _ = engine.run(images(2, 3, 64, 64), None)
    expected = golden(reference, images(2, 3, 64, 64), training=False)
    torch.testing.assert_close(y, expected.float(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_noise_is_where_the_reference_has_dropout(tmp_path: Path) -> None:
    reference = lively(PlainResNet(dropout=True))
    info, net = import_checkpoint(save(tmp_path, reference), name="x", norm="instance")
    assert info.architecture.dropout_blocks == (0, 1, 2)
    random = torch.Generator().manual_seed(3)
    shapes = info.architecture.mask_shapes(32, 32)
    kept = [torch.randint(0, 2, (1, *shape), generator=random) for shape in shapes]
    x = images(1, 3, 32, 32)
    still = golden(reference, x, training=False)
    reference.set_masks([mask * 2.0 for mask in kept])
    noisy = golden(reference, x, training=False)
    assert not torch.allclose(noisy, still, atol=1e-2)
    torch.testing.assert_close(net(x, [mask * 2.0 for mask in kept]), noisy.float(), rtol=1e-4,
                               atol=1e-4)  # fmt: skip
    engine = TorchEngine(net, size=32, batch_size=1)
    y, _ = engine.run(x, {number: mask * 2.0 for number, mask in enumerate(kept)})
    torch.testing.assert_close(y, noisy.float(), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_noise_of_postactivation_unets_is_where_the_reference_has_it(tmp_path: Path) -> None:
    reference = lively(PostActivation(downs=6, ngf=2))
    info, net = import_checkpoint(save(tmp_path, reference), name="x")
    random = torch.Generator().manual_seed(3)
    shapes = info.architecture.mask_shapes(64, 128)
    kept = [torch.randint(0, 2, (1, *shape), generator=random) * 2.0 for shape in shapes]
    x = images(1, 3, 64, 128)
    reference.set_masks(kept)
    noisy = golden(reference, x, training=False)
    torch.testing.assert_close(net(x, kept), noisy.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["resnet", "cut", "pix2pixhd-global", "pix2pixhd-local"])
@pytest.mark.parametrize("norm", ["batch-statistics", "running-statistics", "instance", "none"])
def test_bundles_of_every_family_and_norm(tmp_path: Path, family: str, norm: str) -> None:
    architecture = generators.find(family)(ngf=2, blocks=1, norm=norm)
    net = architecture.build().init_weights(torch.Generator().manual_seed(0)).eval()
    info = bundle.BundleInfo("x", architecture, 64)
    path = tmp_path / "x.safetensors"
    bundle.save(path, info, net, half=False)
    back, loaded = bundle.load(path)
    assert back == info == bundle.BundleInfo.from_json(info.as_json())
    assert torch.equal(loaded(images(1, 3, 64, 64)), net(images(1, 3, 64, 64)))
    assert not bundle.is_half(path)
    bundle.save(path, info, net)
    assert bundle.is_half(path)


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: value for key, value in state.items()}


def renamed(old: str, new: str) -> Callable[[State], State]:
    return lambda state: {key.replace(old, new): value for key, value in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        prefixed("module."),
        prefixed("netG."),
        prefixed("_orig_mod.module.generator."),
        renamed("conv_block", "block"),
        renamed("conv_block", "layers"),
        renamed("model.", ""),
        lambda state: dict(reversed(state.items())),
        lambda state: {key: value.half() for key, value in state.items()},
        lambda state: {key: value.double() for key, value in state.items()},
    ],
)
@pytest.mark.parametrize("make", [PlainResNet, Cut, GlobalHD, LocalHD])
def test_spelling_does_not_matter(
    tmp_path: Path, make: type[nn.Module], change: Callable[[State], State]
) -> None:
    state = make(ngf=2).state_dict()
    if make is LocalHD and "1.weight" in change({"model.1.weight": torch.zeros(1)}):
        pytest.skip("its parts are known by their names")
    changed = change(state)
    half = any(value.dtype == torch.half for value in changed.values())
    info, net = import_checkpoint(save(tmp_path, state), name="x", norm="instance")
    other, same = import_checkpoint(save(tmp_path, changed), name="x", norm="instance")
    assert other.architecture == info.architecture
    for name, value in net.state_dict().items():
        expected = value.half().float() if half and value.is_floating_point() else value
        assert torch.equal(same.state_dict()[name], expected), name


@given(
    blocks=st.integers(1, 12),
    ngf=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    norm=st.sampled_from(["batch", "instance", "affine", "tracked", "none"]),
    downs=st.integers(1, 4),
    dropout=st.booleans(),
    padding=st.sampled_from(["reflect", "zeros"]),
)
@settings(max_examples=25)
def test_what_a_resnet_is_made_of_is_found(
    blocks: int, ngf: int, channels: tuple[int, int], norm: str, downs: int, dropout: bool,
    padding: str,
) -> None:  # fmt: skip
    with torch.device("meta"):
        net = PlainResNet(
            *channels, blocks=blocks, ngf=ngf, norm=norm, downs=downs, dropout=dropout,
            padding=padding,
        )  # fmt: skip
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    found = generators.recognise(shapes)
    assert found is not None
    assert found.family.family == ("resnet" if downs == 2 else "pix2pixhd-global")
    expected = {
        "in_channels": channels[0], "out_channels": channels[1], "downs": downs, "blocks": blocks,
        "ngf": ngf, "dropout": dropout, "padding": padding,
    }  # fmt: skip
    assert expected.items() <= found.layout.fields.items()


def test_the_places_are_the_published_ones() -> None:
    """Nine blocks end at 26, six at 23, CUT's nine at 30, the global generator's at 38."""
    ends = {
        "model.26": PlainResNet(blocks=9), "model.23": PlainResNet(blocks=6),
        "model.30": Cut(blocks=9), "model.38": GlobalHD(blocks=9, ngf=1),
    }  # fmt: skip
    for end, net in ends.items():
        assert f"{end}.weight" in net.state_dict()
        assert max(int(key.split(".")[1]) for key in net.state_dict()) == int(end.split(".")[1])
    assert "model.7.filt" in Cut().state_dict()
    assert "model.10.conv_block.6.weight" in PlainResNet(dropout=True).state_dict()


def test_another_filter_than_cuts_is_refused(tmp_path: Path) -> None:
    state = Cut().state_dict()
    state["model.7.filt"] = state["model.7.filt"].flip(1) * 1.1
    with pytest.raises(BundleError, match=r"model\.7\.filt.*another filter"):
        import_checkpoint(save(tmp_path, state), name="x", norm="instance")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "model.11.conv_block.1.bias"}, "missing"),
        (lambda s: {**s, "model.3.extra": torch.zeros(1)}, "unknown weight"),
        (lambda s: {**s, "model.4.bias": torch.full((8,), torch.nan)}, "infinities or NaN"),
        (lambda s: {**s, "model.4.bias": torch.zeros(7)}, r"shape.*a ResNet with 2 halvings"),
        (
            lambda s: {k: v for k, v in s.items() if v.shape[-2:] != (7, 7) or v.shape[0] != 3},
            "lacks the last layer of a ResNet",
        ),
    ],
)
def test_broken_ones_are_refused(
    tmp_path: Path, change: Callable[[State], State], message: str
) -> None:
    with pytest.raises(BundleError, match=rf"latest_net_G\.pth: .*{message}"):
        path = save(tmp_path, change(PlainResNet().state_dict()))
        import_checkpoint(path, name="x", norm="instance")


@pytest.mark.parametrize(
    "family",
    ["unet", "resnet", "cut", "pix2pixhd-global", "pix2pixhd-local", "unet-tensorflow"],
)
@pytest.mark.parametrize(
    "wrong",
    [{"ngf": 0}, {"in_channels": 65}, {"norm": "layer"}, {"dropout": 1}, {"downs": True}],
)
def test_descriptions_are_checked(family: str, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generators.find(family)(**wrong)


def test_describing_needs_no_torch() -> None:
    code = (
        "import sys; from pix2pix_batch import bundle, generators\n"
        "for family in generators.families().values():\n"
        "    a = family(); a.summary, a.bottleneck, a.mask_shapes(512, 512)\n"
        "    text = bundle.BundleInfo('x', a, 1024).as_json()\n"
        "    assert bundle.BundleInfo.from_json(text).architecture == a\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_families_are_told_from_damage() -> None:
    info = bundle.BundleInfo("x", generators.ResNet())
    text = info.as_json().replace('"resnet"', '"hourglass"')
    with pytest.raises(ValueError, match=r"hourglass.*knows unet, resnet.*upgrade"):
        bundle.BundleInfo.from_json(text)


@pytest.mark.parametrize("size", [4, 10, 66])
def test_sizes_that_a_resnet_does_not_take(size: int) -> None:
    with pytest.raises(ValueError, match="image_size must be"):
        bundle.BundleInfo("x", generators.ResNet(), size)
    net = generators.ResNet(ngf=2, blocks=1).build()
    with pytest.raises(ValueError, match="multiples of 4 and at least 8"):
        net(images(1, 3, size, 8))
