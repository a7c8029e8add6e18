"""A ResNet from its checkpoint to converted images, by the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.end_to_end.command import convert, digests, here, put
from tests.reference_resnets import GlobalHD, PlainResNet, lively

pytestmark = pytest.mark.usefixtures("workers")
SIZE = 36


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlainResNet]:
    """The bundle of a checkpoint with dropout, and its reference."""
    folder = tmp_path_factory.mktemp("resnet")
    reference = lively(PlainResNet(dropout=True))
    torch.save(reference.state_dict(), folder / "latest_net_G.pth")
    ran = here(
        "model", "import", folder / "latest_net_G.pth", folder / "resnet.safetensors",
        "--image-size", SIZE, "--norm", "instance",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "architecture: ResNet, 2 downs, 3 blocks, ngf 4" in ran.out
    assert "norm: instance" in ran.out and "dropout blocks: 3" in ran.out
    return folder / "resnet.safetensors", reference


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("pictures") / "in"
    for number, size in enumerate([(SIZE, SIZE), (50, 90), (20, 30), (SIZE, SIZE), (101, 37)]):
        put(source / f"{number}.png", seed=number, size=size)
    return source


@torch.no_grad()
def golden(reference: PlainResNet, path: Path) -> np.ndarray:
    with Image.open(path) as image:
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].double() / 127.5 - 1
    return ((reference.double().eval()(x)[0].permute(1, 2, 0) + 1) * 127.5).numpy()


def test_images_of_its_size_are_the_references(
    tmp_path: Path, imported: tuple[Path, PlainResNet], pictures: Path
) -> None:
    model, reference = imported
    ran = convert(pictures, tmp_path / "out", model, "--fit", "exact")
    assert ran.counts() == (2, 0, 3), ran.err
    for name in ("0.png", "3.png"):
        with Image.open(tmp_path / "out" / name) as made:
            difference = np.abs(np.asarray(made) - golden(reference, pictures / name))
        assert difference.mean() <= 0.3


@pytest.mark.parametrize("fit", ["tile", "resize", "whole"])
@pytest.mark.parametrize("noise", [[], ["--noise"]])
def test_bytes_do_not_depend_on_workers_or_batches(
    tmp_path: Path, imported: tuple[Path, PlainResNet], pictures: Path, fit: str, noise: list[str]
) -> None:
    model, _ = imported
    words = ["--fit", fit, *noise]
    sized = fit != "whole"
    one = convert(pictures, tmp_path / "one", model, *words, *["--batch-size", 1] * sized)
    assert one.counts() == (5, 0, 0), one.err
    more = [tmp_path / "more", model, *words, *["--batch-size", 3] * sized]
    other = convert(pictures, *more, "--workers", 2 if fit != "resize" else 1)
    assert other.counts() == (5, 0, 0), other.err
    assert digests(tmp_path / "one") == digests(tmp_path / "more")
    for path in pictures.iterdir():
        with Image.open(path) as source, Image.open(tmp_path / "one" / path.name) as made:
            assert made.size == source.size


def test_by_default_each_image_is_translated_as_a_whole(
    tmp_path: Path, imported: tuple[Path, PlainResNet], pictures: Path
) -> None:
    model, reference = imported
    assert convert(pictures, tmp_path / "out", model).counts() == (5, 0, 0)
    for name, size in (("0.png", (SIZE, SIZE)), ("3.png", (SIZE, SIZE)), ("2.png", (20, 30))):
        with Image.open(tmp_path / "out" / name) as made:
            assert made.size in (size, size[::-1])
            if size == (SIZE, SIZE):
                difference = np.abs(np.asarray(made) - golden(reference, pictures / name))
                assert difference.mean() <= 0.3
    refused = convert(pictures, tmp_path / "out", model, "--batch-size", 2)
    assert refused.code == 2 and "--fit whole images run one after the other" in refused.err


def test_a_unet_takes_no_image_as_a_whole(tmp_path: Path, model: Path, pictures: Path) -> None:
    refused = convert(pictures, tmp_path / "out", model, "--fit", "whole")
    assert refused.code == 2 and "not for a U-Net; use tile or resize" in refused.err


def test_what_keys_leave_open_is_settled_by_a_picture(
    tmp_path: Path, imported: tuple[Path, PlainResNet], pictures: Path
) -> None:
    _, reference = imported
    torch.save(reference.float().state_dict(), tmp_path / "net.pth")
    words = ["model", "import", tmp_path / "net.pth", tmp_path / "net.safetensors"]
    asked = here(*words)
    assert asked.code == 2 and "--norm instance or --norm none" in asked.err
    assert not (tmp_path / "net.safetensors").exists()
    levels = golden(reference, pictures / "0.png").round().astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "expected.png")
    ran = here(*words, "--expect", pictures / "0.png", tmp_path / "expected.png")
    assert ran.code == 0, ran.err
    assert "norm instance, channels rgb" in ran.err and "norm: instance" in ran.out


@pytest.mark.parametrize("norm", ["instance", "running-statistics"])
def test_labels_are_read_one_hot_with_edges(tmp_path: Path, norm: str) -> None:
    """As pix2pixHD reads them: 0 and 1."""
    kind = "instance" if norm == "instance" else "batch"
    reference = lively(GlobalHD(6, 3, downs=2, ngf=4, blocks=1, norm=kind))
    torch.save(reference.state_dict(), tmp_path / "net.pth")
    ids = np.random.default_rng(0).integers(0, 5, (9, 12)).repeat(4, 0).repeat(3, 1)
    (tmp_path / "in").mkdir()
    Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "in" / "ids.png")
    Image.fromarray(ids.astype(np.uint8) + 1).save(tmp_path / "in" / "more.png")
    words = ["--labels", "ids+edges", "--norm", norm, "--image-size", 36]
    model = tmp_path / "hd.safetensors"
    ran = here("model", "import", tmp_path / "net.pth", model, *words)
    assert ran.code == 0, ran.err
    assert "labels: 5 labels by number and edges" in ran.out
    ran = convert(tmp_path / "in", tmp_path / "out", model, "--fit", "exact")
    assert ran.counts() == (1, 0, 1), ran.err
    assert "has the label 5; the model knows 0 to 4" in ran.err + ran.out
    edges = np.zeros(ids.shape, bool)
    edges[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edges[1:] |= ids[1:] != ids[:-1]
    edges[:, :-1] |= ids[:, 1:] != ids[:, :-1]
    edges[:-1] |= ids[1:] != ids[:-1]
    x = np.concatenate([ids[None] == np.arange(5)[:, None, None], edges[None]])
    wide = reference.double().eval()
    with torch.no_grad():
        y = (wide(torch.from_numpy(x)[None].double())[0].permute(1, 2, 0) + 1) * 127.5
    with Image.open(tmp_path / "out" / "ids.png") as made:
        assert np.abs(np.asarray(made) - y.numpy()).mean() <= 0.3
    refused = here("model", "import", tmp_path / "net.pth", tmp_path / "x.safetensors", *words,
                   "--fit", "resize")  # fmt: skip
    assert refused.code == 2 and "labels cannot be scaled" in refused.err
    plain = here("model", "import", tmp_path / "net.pth", tmp_path / "x.safetensors", *words[2:])
    assert plain.code == 0
    refused = convert(tmp_path / "in", tmp_path / "no", tmp_path / "x.safetensors")
    assert refused.code == 2 and "import it with --labels" in refused.err
