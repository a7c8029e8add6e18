"""Models between two others, through the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo, Embedding
from pix2pix_batch.cli import main
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet


def made(path: Path, seed: int, told: bool = True, **values: object) -> Path:
    """A bundle with random weights and, if ``told``, an embedding."""
    architecture = Architecture(**{"downs": 5, "ngf": 2, "norm": "running-statistics", **values})
    random = torch.Generator().manual_seed(seed)
    net = UNet(architecture).init_weights(random).eval()
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=random) + 0.1)
    width = architecture.bottleneck
    mean = np.full(width, seed, np.float32)
    embedding = Embedding(mean, np.eye(width, dtype=np.float32), 9, None) if told else None
    info = BundleInfo(
        path.stem, architecture, 64, provenance={"recipe": {"size": 64}, "seed": seed}
    )
    bundle.save(path, info, net, half=False, embedding=embedding)
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return made(tmp_path / "first.safetensors", 1)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return made(tmp_path / "second.safetensors", 2)


def interpolated(*words: object) -> Result:
    return CliRunner().invoke(main, ["model", "interpolate", *map(str, words)])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return bundle.load(path)[1].state_dict()


@pytest.mark.parametrize("by", [0, 0.25, 1, 1.5])
def test_each_weight_lies_on_the_line(first: Path, second: Path, by: float) -> None:
    file = first.with_name("made.safetensors")
    assert interpolated(first, second, file, "--by", by).exit_code == 0
    a, b = weights(first), weights(second)
    for name, found in weights(file).items():
        if name.endswith("num_batches_tracked"):
            continue
        expected = (1 - by) * a[name].double() + by * b[name].double()
        if name.endswith("running_var"):
            expected = expected.clamp(min=0)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_encoder_and_decoder_each_have_their_part(first: Path, second: Path) -> None:
    file = first.with_name("made.safetensors")
    ran = interpolated(first, second, file, "--encoder", 1, "--decoder", 0)
    assert ran.exit_code == 0, ran.output
    a, b = weights(first), weights(second)
    for name, found in weights(file).items():
        assert torch.equal(found, (b if name.startswith("down.") else a)[name]), name


def test_texture_is_the_three_outermost_blocks(first: Path, second: Path) -> None:
    file = first.with_name("made.safetensors")
    assert interpolated(first, second, file, "--by", 0, "--texture", 1).exit_code == 0
    a, b = weights(first), weights(second)
    outer = ("up.0.", "up.1.", "up.2.")
    for name, found in weights(file).items():
        assert torch.equal(found, (b if name.startswith(outer) else a)[name]), name


@pytest.mark.parametrize("encoder, known", [(0, 1), (1, 2), (0.5, None)])
def test_the_embedding_is_kept_where_the_encoder_is(
    first: Path, second: Path, encoder: float, known: int | None
) -> None:
    file = first.with_name("made.safetensors")
    ran = interpolated(first, second, file, "--encoder", encoder)
    found = bundle.load_embedding(file)
    assert (None if found is None else found.mean[0]) == known
    assert ("model calibrate" in ran.stderr) == (known is None)


def test_model_show_indents_what_it_was_made_of(first: Path, second: Path) -> None:
    file = first.with_name("made.safetensors")
    interpolated(first, second, file)
    lines = CliRunner().invoke(main, ["model", "show", str(file)]).output.splitlines()
    start = lines.index("    of 2:")
    assert lines[start + 1] == "      name: second"
    assert lines[start + 3 :][:2] == ["      provenance:", "        seed: 2"]
    assert "          size: 64" not in lines, "of what it was made of: in short"


def test_it_says_what_it_was_made_of(first: Path, second: Path) -> None:
    file = first.with_name("made.safetensors")
    interpolated(first, second, file, "--by", 0.75, "--encoder", 0)
    info = bundle.read_info(file)
    assert info.name == "made"
    assert info.provenance["recipe"] == {"size": 64}, "what evaluate and calibrate look up"
    told = info.provenance["interpolated"]
    assert (told["encoder"], told["decoder"], told["texture"]) == (0, 0.75, 0.75)
    assert told["of"] == [
        {
            "name": p.stem,
            "sha256": bundle.fingerprint(p),
            "provenance": {"recipe": {"size": 64}, "seed": seed},
        }
        for seed, p in enumerate((first, second), 1)
    ]


def test_it_prints_a_few_lines_and_what_to_do_next(first: Path, second: Path) -> None:
    file = first.with_name("made.safetensors")
    ran = interpolated(first, second, file, "--encoder", 0.25)
    assert ran.stdout.splitlines() == [
        "name: made",
        f"file: {file}",
        f"bytes: {file.stat().st_size:,}",
        f"made of: {first} -> {second}, encoder by 0.25, decoder by 0.5, texture by 0.5",
    ]
    assert "model calibrate" in ran.stderr and ran.stderr.count("\n") == 1
    ran = interpolated(first, second, file, "--overwrite", "--by", 1)
    assert ran.stdout.endswith(f"{second}, by 1\n") and not ran.stderr


def test_others_are_refused(first: Path, second: Path, tmp_path: Path) -> None:
    file = tmp_path / "made.safetensors"
    wider = made(tmp_path / "wider.safetensors", 3, ngf=3)
    ran = interpolated(first, wider, file)
    assert ran.exit_code == 2
    assert f"{wider}: its architecture is not that of {first}" in ran.stderr
    assert interpolated(first, "nothing", file).exit_code == 2
    assert not file.exists()


def test_a_file_that_is_there_stays(first: Path, second: Path) -> None:
    before = second.read_bytes()
    ran = interpolated(first, second, second)
    assert ran.exit_code == 2 and "exists" in ran.stderr
    assert second.read_bytes() == before
    assert interpolated(first, second, second, "--overwrite").exit_code == 0
    assert second.read_bytes() != before
    assert len(list(second.parent.iterdir())) == 2
    assert interpolated(first, second, "/proc/made.safetensors").exit_code == 2
