"""A family is one file: this one adds one, and everything that runs generators takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pix2pix_batch import bundle, generators
from pix2pix_batch.cli import main
from pix2pix_batch.generators.description import Layout, Norm, Part, Shapes
from pix2pix_batch.generators.layers import IMAGE, Convolution, Layer, LayeredDescription
from pix2pix_batch.inference.engine import TorchEngine


@dataclass(frozen=True)
class Toy(LayeredDescription):
    """Two convolutions at the image's own size."""

    family: ClassVar[str] = "toy"
    title: ClassVar[str] = "toy"
    known_as: ClassVar[str] = "a toy"

    norm: Norm = "none"
    dropout: bool = False
    width: int = 4

    multiple = 1
    embedding_source = "first"

    def __post_init__(self) -> None:
        self.require_sound({"width": (1, 99)}, ("dropout",))

    @property
    def summary(self) -> str:
        return f"toy of width {self.width}"

    @property
    def layers(self) -> Sequence[Layer]:
        first = Convolution("first", IMAGE, self.in_channels, self.width, 3, normed=False)
        last = Convolution(
            "last", "first", self.width, self.out_channels, 3, normed=False, activation="tanh"
        )
        return [first, last]

    def part_of(self, weight: str) -> Part:
        return "encoder" if weight.startswith("first.") else "decoder"

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        if set(shapes) != {"a.weight", "a.bias", "b.weight", "b.bias"}:
            return None
        modules = {"first.conv": "a", "last.conv": "b"}
        return Layout(modules, {"width": shapes["a.bias"][0]}, frozenset(modules), "a toy")


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    generators.register(Toy)
    yield
    generators.unregister("toy")


def test_a_family_of_ones_own_is_imported_shown_exported_and_run(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=random) / 3 for shape in ((5, 3, 3, 3), (3, 5, 3, 3)))
    state = {"a.weight": a, "a.bias": torch.ones(5), "b.weight": b, "b.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "net.pth")
    file = tmp_path / "toy.safetensors"
    ran = CliRunner().invoke(
        main, ["model", "import", str(tmp_path / "net.pth"), str(file), "--image-size", "7"]
    )
    assert ran.exit_code == 0, ran.output
    assert "architecture: toy of width 5" in ran.output

    x = np.random.default_rng(0).integers(0, 256, (2, 7, 7, 3), dtype=np.uint8)
    wide = torch.from_numpy(x).permute(0, 3, 1, 2).double() / 127.5 - 1
    hidden = torch.relu(torch.conv2d(wide, a.double(), torch.ones(5).double(), padding=1))
    golden = torch.tanh(torch.conv2d(hidden, b.double(), padding=1))
    levels = ((golden + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()

    info, net = bundle.load(file)
    assert info.architecture == Toy(width=5)
    made = TorchEngine(net, size=7, batch_size=2)(x)
    assert np.abs(made.images - levels).mean() <= 0.01
    np.testing.assert_allclose(made.embeddings, hidden.mean(dim=(2, 3)), rtol=1e-5)

    onnxruntime = pytest.importorskip("onnxruntime")
    ran = CliRunner().invoke(
        main, ["engine", "export", str(file), str(tmp_path / "toy.onnx"), "--precision", "fp32"]
    )
    assert ran.exit_code == 0, ran.output
    session = onnxruntime.InferenceSession(tmp_path / "toy.onnx")
    assert np.abs(session.run(None, {"image": x})[0] - levels).mean() <= 0.01


def test_two_families_of_one_name_are_refused() -> None:
    @dataclass(frozen=True)
    class Other(Toy):
        pass

    with pytest.raises(ValueError, match="two families"):
        generators.register(Other)
