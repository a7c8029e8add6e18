"""Generators that Keras and TensorFlow saved compute what the tutorial's does."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pix2pix_batch import bundle
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators import TensorFlowUNet
from pix2pix_batch.inference.engine import TorchEngine, to_bytes
from pix2pix_batch.reference import OpenChoiceError, import_checkpoint
from tests.end_to_end.command import here
from tests.reference_tensorflow import (
    Block,
    make_blocks,
    make_config,
    translate,
    write_checkpoint,
    write_h5,
    write_keras,
    write_tensors,
    write_weights,
)

Write = Callable[[Path, list[Block]], Path]


def written(name: str, write: Callable[..., object], **values: object) -> Write:
    def save(folder: Path, blocks: list[Block]) -> Path:
        write(folder / name, blocks, **values)
        return folder / name

    return save


def checkpoint(keras: int, name: str = "generator", given: str = ".index") -> Write:
    def save(folder: Path, blocks: list[Block]) -> Path:
        write_checkpoint(folder / "ckpt-1", {name: blocks}, keras=keras)
        return folder / f"ckpt-1{given}"

    return save


CONTAINERS = {
    "keras": written("g.keras", write_keras),
    "weights.h5": written("g.weights.h5", write_weights),
    "h5 of Keras 3": written("g.h5", write_h5, config=make_config(0.3, 1e-3)),
    "h5 of Keras 2": written("g.h5", write_h5, keras=2),
    "checkpoint of Keras 3": checkpoint(3),
    "checkpoint of Keras 2": checkpoint(2),
    "checkpoint, its tensors' file": checkpoint(3, given=".data-00000-of-00001"),
    "saved weights": checkpoint(2, name=""),
}


def images(count: int, channels: int = 3, size: int = 16) -> np.ndarray:
    random = np.random.default_rng(1)
    return random.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def scale(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 127.5 - 1


def golden(blocks: Sequence[Block], pixels: np.ndarray, **values: object) -> Tensor:
    """Each image alone, as the tutorial runs it."""
    return torch.cat([translate(blocks, one[None], **values) for one in scale(pixels)])  # type: ignore[arg-type]


@pytest.mark.parametrize("container", CONTAINERS)
@torch.no_grad()
def test_every_container_has_the_same_network(tmp_path: Path, container: str) -> None:
    """At 16x16 the bottleneck is a single pixel, whose norm leaves the shift alone."""
    blocks = make_blocks()
    info, net = import_checkpoint(CONTAINERS[container](tmp_path, blocks), name="x")
    assert info.architecture == TensorFlowUNet(downs=4, ngf=2, norm="batch-statistics")
    pixels = images(2)
    expected = golden(blocks, pixels)
    assert expected.std() > 0.1
    torch.testing.assert_close(net(scale(pixels).float()).double(), expected, rtol=0, atol=1e-4)


CASES: dict[str, tuple[dict[str, object], str, dict[str, object]]] = {
    "tutorial": ({}, "batch-statistics", {}),
    "running": ({}, "running-statistics", {"training": False}),
    "deeper": ({"downs": 5}, "batch-statistics", {}),
    "channels": ({"in_channels": 1, "out_channels": 4}, "batch-statistics", {}),
    "biases": ({"bias": True}, "batch-statistics", {}),
    "biases, running": ({"bias": True}, "running-statistics", {"training": False}),
    "instance norm": ({"norm": ("scale", "offset")}, "batch-statistics", {"epsilon": 1e-5}),
    "no norm": ({"norm": ()}, "none", {}),
}
"""What differs, the norm that it is imported with, and how the reference runs."""


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_what_people_vary(tmp_path: Path, case: str) -> None:
    """In the module, in the CPU's engine, and whatever else is in the batch."""
    made, norm, run = CASES[case]
    blocks = make_blocks(**made)  # type: ignore[arg-type]
    path = checkpoint(2)(tmp_path, blocks)
    info, net = import_checkpoint(path, name="x", norm=norm)
    assert isinstance(info.architecture, TensorFlowUNet)
    assert info.architecture.norm == norm
    bundle.save(tmp_path / "x.safetensors", info, net, half=False)
    info, net = bundle.load(tmp_path / "x.safetensors")
    size = info.architecture.multiple
    pixels = images(3, info.architecture.in_channels, size)
    expected = golden(blocks, pixels, **run)
    torch.testing.assert_close(net(scale(pixels).float()).double(), expected, rtol=0, atol=1e-4)
    engine = TorchEngine(net, size=size, batch_size=3)(pixels)
    assert np.abs(engine.images.astype(int) - to_bytes(expected).numpy()).mean() <= 0.3
    assert np.allclose(engine.embeddings, net.embed(scale(pixels).float()), rtol=1e-3, atol=1e-3)
    assert engine.embeddings.std(axis=0).max() > 1e-3  # which tells images apart
    alone = TorchEngine(net, size=size, batch_size=1)(pixels[2:])
    assert np.array_equal(alone.images, engine.images[2:])


@torch.no_grad()
def test_noise_is_where_the_tutorial_has_dropout(tmp_path: Path) -> None:
    blocks = make_blocks(downs=5)
    info, net = import_checkpoint(checkpoint(3)(tmp_path, blocks), name="x")
    random = torch.Generator().manual_seed(3)
    shapes = info.architecture.mask_shapes(32, 64)
    assert shapes == [(16, 2, 4), (8, 4, 8), (4, 8, 16)]
    masks = [torch.randint(0, 2, (1, *shape), generator=random) * 2.0 for shape in shapes]
    x = torch.rand((1, 3, 32, 64), generator=random) * 2 - 1
    expected = translate(blocks, x.double(), masks=masks)
    torch.testing.assert_close(net(x, masks).double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("save", [
    lambda path, blocks: write_keras(path, blocks, make_config(0.2, 1e-5)),
    lambda path, blocks: write_h5(path, blocks, config=make_config(0.2, 1e-5)),
])  # fmt: skip
@torch.no_grad()
def test_what_a_models_configuration_tells_is_heeded(
    tmp_path: Path, save: Callable[[Path, list[Block]], None]
) -> None:
    blocks = make_blocks()
    save(tmp_path / "g", blocks)
    info, net = import_checkpoint(tmp_path / "g", name="x")
    assert info.architecture.encoder_slope == 0.2  # type: ignore[attr-defined]
    expected = golden(blocks, images(1), slope=0.2, epsilon=1e-5)
    assert (expected - golden(blocks, images(1))).abs().max() > 0.01
    torch.testing.assert_close(net(scale(images(1)).float()).double(), expected, rtol=0, atol=5e-4)


def test_several_slopes_are_refused(tmp_path: Path) -> None:
    config = make_config(0.2, 1e-3)[:-1] + f', "more": {make_config(0.3, 1e-3)}}}'
    write_keras(tmp_path / "g.keras", make_blocks(), config)
    with pytest.raises(BundleError, match=r"several values of negative_slope \(0\.2, 0\.3\)"):
        import_checkpoint(tmp_path / "g.keras", name="x")


def test_what_the_keys_leave_open_is_asked(tmp_path: Path) -> None:
    path = checkpoint(2)(tmp_path, make_blocks(norm=("scale", "offset")))
    with pytest.raises(OpenChoiceError, match="--norm batch-statistics"):
        import_checkpoint(path, name="x")
    path = checkpoint(2)(tmp_path, make_blocks(norm=()))
    with pytest.raises(OpenChoiceError, match="--norm none or --norm instance"):
        import_checkpoint(path, name="x")


def make_discriminator() -> list[Block]:
    """Five convolutions, the last to one channel."""
    widths = [6, 2, 4, 8, 16, 1]
    shapes = itertools.pairwise(widths)
    return [{"kernel": np.ones((4, 4, *shape), np.float32)} for shape in shapes]


def test_the_generator_of_several_networks_is_taken(tmp_path: Path) -> None:
    blocks, other = make_blocks(), make_blocks(seed=1)
    networks = {"generator": blocks, "discriminator": make_discriminator()}
    path = write_checkpoint(tmp_path / "ckpt-1", networks)
    _, net = import_checkpoint(path, name="x")
    kernel = torch.from_numpy(blocks[0]["kernel"]).permute(3, 2, 0, 1)
    assert torch.equal(net.get_parameter("down.0.conv.weight"), kernel)
    path = write_checkpoint(tmp_path / "both-1", {"generator_g": other, "generator_f": blocks})
    with pytest.raises(BundleError, match=r"2 generators \('generator_g', 'generator_f'\)"):
        import_checkpoint(path, name="x")
    _, net = import_checkpoint(path, name="x", weights="generator_f")
    assert torch.equal(net.get_parameter("down.0.conv.weight"), kernel)


def test_the_command_imports(tmp_path: Path) -> None:
    blocks = make_blocks()
    write_keras(tmp_path / "g.keras", blocks)
    model = tmp_path / "g.safetensors"
    done = here("model", "import", tmp_path / "g.keras", model, "--image-size", "16")
    assert done.code == 0, done.err
    assert "U-Net of TensorFlow's tutorial, 4 downs, ngf 2" in done.out


# What is no generator, or damaged


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"net": make_discriminator()}, "is a discriminator"),
        ({"net": make_blocks(norm=())[:4]}, "no pix2pix generator"),
        ({"generator": [*make_blocks(downs=3)]}, "halves the image 3 times"),
        ({"generator": [*make_blocks()[:2], *make_blocks(norm=())[2:]]}, "has 1 norm"),
        ({}, "no functional or sequential model"),
    ],
)  # fmt: skip
def test_other_networks_are_refused_by_what_they_are(
    tmp_path: Path, networks: dict[str, list[Block]], message: str
) -> None:
    path = write_checkpoint(tmp_path / "ckpt-1", networks)
    with pytest.raises(BundleError, match=rf"ckpt-1\.index: .*{message}"):
        import_checkpoint(path, name="x")


def test_checkpoints_of_tensorflow_1_are_refused_by_name(tmp_path: Path) -> None:
    kernel = np.ones((4, 4, 3, 64), np.float32)
    path = write_tensors(tmp_path / "model-9", {"generator/encoder_1/conv2d/kernel": kernel})
    with pytest.raises(BundleError, match=r"pix2pix-tensorflow \(TensorFlow 1\).*train"):
        import_checkpoint(path, name="x")


def test_without_its_tensors_a_checkpoint_says_what_is_missing(tmp_path: Path) -> None:
    path = checkpoint(2)(tmp_path, make_blocks())
    path.with_name("ckpt-1.data-00000-of-00001").unlink()
    with pytest.raises(BundleError, match=r"data-00000-of-00001: .*belongs to ckpt-1\.index"):
        import_checkpoint(path, name="x")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(3)(tmp_path_factory.mktemp("small"), make_blocks(ngf=1))


@given(st.data())
@settings(max_examples=40)
def test_no_changed_byte_of_a_checkpoint_goes_unseen(small: Path, data: st.DataObject) -> None:
    """But in what is no weight of the generator's."""
    name = data.draw(st.sampled_from([".index", ".data-00000-of-00001"]))
    path = small.with_name(f"ckpt-1{name}")
    whole = path.read_bytes()
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    _, before = import_checkpoint(small, name="x")
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    try:
        _, after = import_checkpoint(small, name="x")
    except BundleError:
        return
    finally:
        path.write_bytes(whole)
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value)


@given(st.binary(max_size=200), st.sampled_from([b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b""]))
@settings(max_examples=40)
def test_bytes_that_are_no_file_are_refused(small: Path, content: bytes, start: bytes) -> None:
    path = small.with_name("odd.h5")
    path.write_bytes(start + content)
    with pytest.raises(BundleError, match=r"odd\.h5"):
        import_checkpoint(path, name="x")


@pytest.mark.parametrize("end", [0.3, 0.7, 0.99])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, end: float) -> None:
    content = io.BytesIO()
    write_weights(content, make_blocks())
    whole = content.getvalue()
    (tmp_path / "g.h5").write_bytes(whole[: int(len(whole) * end)])
    with pytest.raises(BundleError, match=r"g\.h5: is damaged"):
        import_checkpoint(tmp_path / "g.h5", name="x")


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    write_weights(tmp_path / "g.weights.h5", make_blocks())
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("g.weights.h5", "layers")
    with pytest.raises(BundleError, match="'layers' is missing or elsewhere"):
        import_checkpoint(tmp_path / "linked.h5", name="x")
    (tmp_path / "raw").write_bytes(b"\0" * 4096)
    with h5py.File(tmp_path / "g.weights.h5", "a") as file:
        place = file["layers/conv2d_transpose/vars"]
        shape = place["0"].shape
        del place["0"]
        raw = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        place.create_dataset("0", shape, np.float32, external=raw)
    with pytest.raises(BundleError, match="'0' holds no real numbers of its own"):
        import_checkpoint(tmp_path / "g.weights.h5", name="x")


@pytest.mark.parametrize(
    ("name", "module"), [("g.h5", "h5py"), ("ckpt-1.index", "google_crc32c")]
)  # fmt: skip
def test_without_the_extra_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    write_h5(tmp_path / "g.h5", make_blocks())
    checkpoint(2)(tmp_path, make_blocks())
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pix2pix_batch.tensor_bundle", raising=False)
    monkeypatch.delattr("pix2pix_batch.tensor_bundle", raising=False)
    with pytest.raises(BundleError, match=rf"{name}: .*pip install 'pix2pix-batch\[keras\]'"):
        import_checkpoint(tmp_path / name, name="x")
