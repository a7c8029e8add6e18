"""Bundles: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch import bundle
from pix2pix_batch.bundle import METADATA_KEY, BundleInfo, Embedding
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet

NORMS = ("batch-statistics", "running-statistics", "instance", "none")


def make(**values: object) -> tuple[BundleInfo, UNet]:
    architecture = Architecture(**{"downs": 5, "ngf": 2, **values})
    net = UNet(architecture).init_weights(torch.Generator().manual_seed(0)).eval()
    info = BundleInfo(
        name="map2aerial",
        architecture=architecture,
        image_size=64,
        fit="tile",
        source_domain="map tiles",
        target_domain="Luftbilder über Köln",
        provenance={"steps": 1000, "pairs": ["a", "b"], "loss": {"l1": 0.25}},
    )
    return info, net


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    bundle.save(path, *make())
    return path


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(path: Path, header: object, tensors: bytes = b"", *, length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + tensors)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the metadata of the bundle at ``path`` in place."""
    header, tensors = header_of(path)
    values = json.loads(header["__metadata__"][METADATA_KEY])
    change(values)
    header["__metadata__"][METADATA_KEY] = json.dumps(values)
    return write(path, header, tensors)


def replace_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """Change the tensors of the bundle at ``path`` in place."""
    metadata = header_of(path)[0]["__metadata__"]
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    safetensors.torch.save_file(tensors, path, metadata)
    return path


class RunsCode:
    """A pickle of this makes a file where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.mark}",)


# Round trips


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("half", [True, False])
def test_round_trip(tmp_path: Path, norm: str, half: bool) -> None:
    info, net = make(norm=norm)
    path = tmp_path / "new" / "folder" / "model.safetensors"
    bundle.save(path, info, net, half=half)
    back, loaded = bundle.load(path)
    assert back == info == bundle.read_info(path)
    assert not loaded.training
    states = net.state_dict(), loaded.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        original = states[0][name]
        assert not value.requires_grad
        if half and ".conv." in name:
            original = original.half().float()
        assert torch.equal(value, original), name
    x = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    tolerance = 5e-2 if half else 0
    torch.testing.assert_close(loaded(x), net(x).detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("skips", [True, False])
def test_round_trip_without_skips(tmp_path: Path, skips: bool) -> None:
    info, net = make(skips=skips)
    bundle.save(tmp_path / "model.safetensors", info, net, half=False)
    back, loaded = bundle.load(tmp_path / "model.safetensors")
    assert back.architecture.skips is skips
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(loaded(x), net(x))


def test_bundles_that_say_nothing_of_skips_have_them(saved: Path) -> None:
    """As all had before there was a choice."""
    edit(saved, lambda values: values["architecture"].pop("skips"))
    assert bundle.load(saved)[0].architecture.skips


@pytest.mark.parametrize(("half", "narrow"), [(True, torch.float16), (False, torch.float32)])
def test_only_convolutions_are_narrow(tmp_path: Path, half: bool, narrow: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    bundle.save(path, *make(), half=half)
    for name, value in safetensors.torch.load_file(path).items():
        assert value.dtype == (narrow if ".conv." in name else torch.float32), name
        assert not name.endswith("num_batches_tracked")


def test_same_bundle_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        bundle.save(path, *make())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert bundle.fingerprint(paths[0]) == hashlib.sha256(paths[1].read_bytes()).hexdigest()


@given(
    name=st.text(min_size=1),
    fit=st.sampled_from(["tile", "resize", "exact"]),
    domains=st.tuples(st.text(), st.text()),
    times=st.integers(1, 64),
    downs=st.integers(5, 10),
    provenance=st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
    ),
)
def test_metadata_round_trips_as_json(
    name: str,
    fit: str,
    domains: tuple[str, str],
    times: int,
    downs: int,
    provenance: dict[str, Any],
) -> None:
    architecture = Architecture(downs=downs)
    size = times * architecture.multiple
    info = BundleInfo(name, architecture, size, fit, *domains, provenance)
    assert json.loads(info.as_json())["schema"] == 1  # as before there were other families
    assert BundleInfo.from_json(info.as_json()) == info


def test_every_header_length_can_be_read(tmp_path: Path) -> None:
    """Headers of 128 mod 256 bytes begin like a pickle, ones of 19280 mod 65536 like a zip."""
    info, net = make(ngf=1)
    path = tmp_path / "model.safetensors"
    bundle.save(path, info, net)
    header, tensors = header_of(path)
    least = len(json.dumps(header))
    for length in (*range(least, least + 257), 19280, 19280 + 65536):
        raw = json.dumps(header).encode().ljust(length)
        assert bundle.read_info(write(path, raw, tensors)) == info, length
    bundle.load(path)


def test_read_info_needs_no_torch(saved: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pix2pix_batch import bundle; "
        f"bundle.read_info(Path({str(saved)!r})); bundle.fingerprint(Path({str(saved)!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What a bundle may say


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"image_size": 100}, "multiple of 32"),
        ({"image_size": 0}, "multiple of 32"),
        ({"image_size": -32}, "multiple of 32"),
        ({"image_size": 64.0}, "multiple of 32"),
        ({"image_size": True}, "multiple of 32"),
        ({"fit": "crop"}, "tile, resize, exact"),
        ({"source_domain": 5}, "source_domain"),
        ({"target_domain": None}, "target_domain"),
        ({"provenance": []}, "provenance"),
    ],
)
def test_info_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BundleInfo(**{"name": "x", "architecture": Architecture(downs=5), **values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(schema=4), "schema is 4.*upgrade"),
        (lambda v: v.update(schema=True), "schema is True.*upgrade"),
        (lambda v: v.update(schema=2), "incomplete or foreign"),
        (lambda v: v["architecture"].update(family="unet"), "incomplete or foreign"),
        (lambda v: v.pop("schema"), "schema is None"),
        (lambda v: v.pop("architecture"), "incomplete or foreign"),
        (lambda v: v.pop("name"), "incomplete or foreign"),
        (lambda v: v.update(colour="red"), "incomplete or foreign"),
        (lambda v: v.update(architecture=[1]), "incomplete or foreign"),
        (lambda v: v["architecture"].update(kind="resnet"), "incomplete or foreign"),
        (lambda v: v["architecture"].update(downs=40), "downs"),
        (lambda v: v["architecture"].update(ngf=10**9), "ngf"),
        (lambda v: v["architecture"].update(norm="layer"), "norm"),
        (lambda v: v.update(image_size=65), "image_size"),
        (lambda v: v.update(fit="crop"), "fit"),
        (lambda v: v.update(source_domain=["a"]), "source_domain"),
    ],
)
def test_foreign_metadata_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(saved, change)
    with pytest.raises(BundleError, match=f"(?s){saved.name}.*{message}"):
        bundle.read_info(saved)
    with pytest.raises(BundleError):
        bundle.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "7", 7, None, {}, "[" * 100_000])
def test_metadata_that_is_no_json_object_is_refused(saved: Path, text: object) -> None:
    header, tensors = header_of(saved)
    header["__metadata__"][METADATA_KEY] = text
    write(saved, header, tensors)
    with pytest.raises(BundleError, match=saved.name):
        bundle.read_info(saved)


# Hostile and broken files


def zip_checkpoint(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weights": RunsCode(mark)}, buffer)
    return buffer.getvalue()


def legacy_checkpoint(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weights": RunsCode(mark)}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def plain_pickle(mark: Path) -> bytes:
    return pickle.dumps(RunsCode(mark))


@pytest.mark.parametrize("make_pickle", [zip_checkpoint, legacy_checkpoint, plain_pickle])
@pytest.mark.parametrize("read", [bundle.read_info, bundle.load])
def test_pickles_are_never_loaded(
    tmp_path: Path,
    make_pickle: Callable[[Path], bytes],
    read: Callable[[Path], object],
) -> None:
    path, mark = tmp_path / "model.safetensors", tmp_path / "ran"
    path.write_bytes(make_pickle(mark))
    with pytest.raises(BundleError, match=r"model\.safetensors: is a PyTorch pickle.*model import"):
        read(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        b"1234567",
        b"12345678",
        struct.pack("<Q", 0),
        struct.pack("<Q", 2),
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 2) + b"\xff\xfe",
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<q", -1) + b"{}",
        struct.pack("<Q", 99_000_000) + b"{}",
        struct.pack("<Q", 4) + b"{}  " + b"\0" * 8,
        struct.pack("<Q", 4) + b"[]  ",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 64,
        b"\xff\xd8\xff\xe0" + b"\0" * 64,
        b"<!DOCTYPE html><html>404</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    ],
    ids=range(19),
)
def test_files_that_are_no_bundle(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    for read in (bundle.read_info, bundle.load):
        with pytest.raises(BundleError, match=r"model\.safetensors: .*(get it again|no pix2pix)"):
            read(path)


@given(data=st.binary(max_size=200))
def test_no_bytes_make_it_stumble(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(data)
    with pytest.raises(BundleError):
        bundle.read_info(path)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30)
def test_cut_short(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    bundle.save(path, *make(ngf=1))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(BundleError, match="again"):
        bundle.read_info(path)


def test_bytes_too_many(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(BundleError, match="damaged"):
        bundle.load(saved)


@pytest.mark.parametrize("offsets", [5, None, [], [0], ["a", "b"], {"a": 1}, [0, 1e300], [0, -1]])
def test_lying_offsets(saved: Path, offsets: object) -> None:
    header, tensors = header_of(saved)
    header["down.0.conv.weight"]["data_offsets"] = offsets
    write(saved, header, tensors)
    with pytest.raises(BundleError, match=saved.name):
        bundle.load(saved)


def test_overlapping_offsets(saved: Path) -> None:
    header, tensors = header_of(saved)
    names = [n for n in header if n.endswith("norm.bias") and n.startswith("down")]
    header[names[0]] = {
        **header[names[0]],
        "data_offsets": header["up.4.norm.bias"]["data_offsets"],
    }
    write(saved, header, tensors)
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.load(saved)


def test_other_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "llm.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(BundleError, match=r"llm\.safetensors.*no pix2pix-batch bundle"):
        bundle.load(path)
    safetensors.torch.save_file({"a": torch.zeros(3)}, path, {"format": "pt"})
    with pytest.raises(BundleError, match=r"llm\.safetensors.*no pix2pix-batch bundle"):
        bundle.read_info(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["up.2.conv.weight", "down.1.norm.running_var"])
def test_weights_that_are_no_numbers(saved: Path, name: str, value: float) -> None:
    replace_weights(saved, lambda tensors: tensors[name].view(-1)[0].fill_(value))
    with pytest.raises(BundleError, match=rf"{saved.name}.*{name}.*NaN"):
        bundle.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("up.0.conv.bias"),
        lambda t: t.pop("down.1.norm.running_mean"),
        lambda t: t.update(extra=torch.zeros(1)),
        lambda t: t.update({"down.0.conv.weight": torch.zeros(2, 3, 3, 3)}),
        lambda t: t.update({"down.0.conv.weight": torch.zeros(4, 3, 4, 4)}),
        lambda t: t.update({"up.0.conv.bias": torch.zeros(())}),
    ],
    ids=["no bias", "no statistics", "extra", "3x3", "wide", "scalar"],
)
def test_weights_that_do_not_fit(
    saved: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    replace_weights(saved, change)
    with pytest.raises(BundleError, match=f"{saved.name}.*do not fit its architecture"):
        bundle.load(saved)


def test_metadata_that_does_not_fit_the_weights(saved: Path) -> None:
    edit(saved, lambda values: values["architecture"].update(norm="instance"))
    with pytest.raises(BundleError, match="do not fit its architecture"):
        bundle.load(saved)


def test_directories_and_absent_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.safetensors"):
        for read in (bundle.read_info, bundle.load):
            with pytest.raises(BundleError, match=path.name):
                read(path)


# Where the training inputs' embeddings lie

WIDTH = 16  # of a bottleneck with ngf 2


def embedding(inputs: int = 7) -> Embedding:
    random = np.random.default_rng(0)
    mean = random.normal(size=WIDTH).astype(np.float32)
    quantiles = np.sort(random.uniform(1, 5, 101)).astype(np.float32)
    covariance = random.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    return Embedding(mean, covariance, inputs, quantiles)


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    path = tmp_path / "embedded.safetensors"
    bundle.save(path, *make(), embedding=embedding())
    return path


@pytest.mark.parametrize("half", [True, False])
def test_embeddings_round_trip(tmp_path: Path, half: bool) -> None:
    """In float32, whatever the weights are stored in."""
    path = tmp_path / "model.safetensors"
    bundle.save(path, *make(), half=half, embedding=embedding())
    found = bundle.load_embedding(path)
    assert found is not None and found.inputs == 7
    assert found.mean.dtype == found.covariance.dtype == np.float32
    assert np.array_equal(found.mean, embedding().mean)
    assert np.array_equal(found.covariance, embedding().covariance)
    assert found.quantiles is not None and found.quantiles.dtype == np.float32
    assert np.array_equal(found.quantiles, embedding().quantiles)


def test_embeddings_may_have_no_quantiles(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    bundle.save(path, *make(), embedding=embedding()._replace(quantiles=None))
    found = bundle.load_embedding(path)
    assert found is not None and found.inputs == 7 and found.quantiles is None
    assert bundle.load(path)[0] == make()[0]


def test_another_embedding_changes_nothing_else(saved: Path, embedded: Path) -> None:
    before = safetensors.torch.load_file(embedded)
    other = embedding(9)._replace(quantiles=None)
    bundle.describe(embedded, other)
    found = bundle.load_embedding(embedded)
    assert found is not None and found.inputs == 9 and found.quantiles is None
    after = safetensors.torch.load_file(embedded)
    assert before.keys() - after.keys() == {"embedding.quantiles"}
    for name, value in after.items():
        if name != "embedding.count":
            assert value.dtype == before[name].dtype and torch.equal(value, before[name]), name
    bundle.describe(saved, other)
    assert bundle.load_embedding(saved) is not None


def test_embeddings_change_nothing_else(saved: Path, embedded: Path) -> None:
    one, other = bundle.load(saved), bundle.load(embedded)
    assert one[0] == other[0]
    states = one[1].state_dict(), other[1].state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert bundle.load_embedding(saved) is None


def test_reading_embeddings_needs_no_torch(embedded: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pix2pix_batch import bundle; "
        f"bundle.load_embedding(Path({str(embedded)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({"embedding.mean": torch.zeros(WIDTH + 1)}),
        lambda t: t.update({"embedding.mean": torch.zeros(1, WIDTH)}),
        lambda t: t.update({"embedding.covariance": torch.zeros(WIDTH)}),
        lambda t: t.update({"embedding.covariance": torch.zeros(WIDTH, WIDTH - 1)}),
        lambda t: t.update({"embedding.count": torch.tensor(7)}),
        lambda t: t.update({"embedding.count": torch.tensor([7, 7])}),
        lambda t: t.update({"embedding.quantiles": torch.ones(100)}),
        lambda t: t.update({"embedding.quantiles": torch.zeros(101)}),
        lambda t: t.update({"embedding.quantiles": torch.arange(101.0).flip(0)}),
        lambda t: t.update({"embedding.quantiles": torch.arange(101.0) - 1}),
        lambda t: t.update({"embedding.quantiles": torch.full((101,), torch.inf)}),
        lambda t: t.update({"embedding.quantiles": torch.full((101,), torch.nan)}),
        lambda t: t.pop("embedding.mean"),
        lambda t: t.pop("embedding.covariance"),
        lambda t: t.pop("embedding.count"),
    ],
    ids=[
        "wide mean", "mean with two axes", "flat covariance", "narrow covariance", "scalar count",
        "two counts", "a quantile too few", "no distance", "falling", "negative", "infinite", "NaN",
        "no mean", "no covariance", "no count",
    ],
)  # fmt: skip
def test_damaged_embeddings_are_refused(
    embedded: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    replace_weights(embedded, change)
    with pytest.raises(BundleError, match=r"embedded\.safetensors: its embedding.* get it again"):
        bundle.load_embedding(embedded)


def test_embeddings_of_no_bundle_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.safetensors"):
        with pytest.raises(BundleError, match=path.name):
            bundle.load_embedding(path)


# Names


def test_names_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MODELS", tmp_path)
    shipped = tmp_path / "map2aerial.safetensors"
    bundle.save(shipped, *make())
    assert bundle.shipped_names() == ["map2aerial"]
    assert bundle.resolve("map2aerial") == shipped
    assert bundle.resolve(str(shipped)) == shipped
    assert bundle.resolve(shipped) == shipped


@pytest.mark.parametrize("model", ["nonesuch", "../map2aerial", "a/b", "x" * 5000, "a\0b"])
def test_unknown_names_list_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(bundle, "MODELS", tmp_path / "models")
    bundle.save(tmp_path / "models" / "map2aerial.safetensors", *make(ngf=1))
    bundle.save(tmp_path / "map2aerial.safetensors", *make(ngf=1))
    with pytest.raises(BundleError, match=r"no such model.*Shipped models: .*map2aerial"):
        bundle.resolve(model)


@pytest.mark.parametrize("model", ["", "."])
def test_a_directory_is_no_model(model: str) -> None:
    with pytest.raises(BundleError, match="is not a file"):
        bundle.resolve(model)


# Saving


def test_save_replaces_whole(saved: Path) -> None:
    info, net = make(ngf=1)
    bundle.save(saved, info, net)
    assert bundle.read_info(saved) == info
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.stat().st_mode & 0o777 == 0o644


def test_failed_write_leaves_nothing(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            bundle.save(saved, *make())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("value", [1e6, float("nan")])
def test_weights_that_float16_cannot_hold(tmp_path: Path, value: float) -> None:
    info, net = make()
    net.up[2].conv.weight.data[0, 0, 0, 0] = value
    with pytest.raises(BundleError, match=r"up\.2\.conv\.weight"):
        bundle.save(tmp_path / "model.safetensors", info, net)
    assert not list(tmp_path.iterdir())


def test_float32_holds_what_float16_cannot(tmp_path: Path) -> None:
    info, net = make()
    net.up[2].conv.weight.data[0, 0, 0, 0] = 1e6
    bundle.save(tmp_path / "model.safetensors", info, net, half=False)
    _, loaded = bundle.load(tmp_path / "model.safetensors")
    assert loaded.up[2].conv.weight[0, 0, 0, 0] == 1e6


def test_save_refuses_another_generators_metadata(tmp_path: Path) -> None:
    info, _ = make(ngf=1)
    _, net = make(ngf=2)
    with pytest.raises(ValueError, match="architecture"):
        bundle.save(tmp_path / "model.safetensors", info, net)
    assert not list(tmp_path.iterdir())
