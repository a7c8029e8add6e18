"""The ONNX file: it computes what the generator does, in runtimes that are not ours."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.engines import export as exports
from pix2pix_batch.engines.export import ExportInfo, export
from pix2pix_batch.errors import BundleError, InputError, OutputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference.engine import TorchEngine, psnr
from pix2pix_batch.noise import dropout_masks
from pix2pix_batch.version import __version__
from tests.contrast import fill_with_contrast

ROOT = Path(__file__).parents[2]
NORMS = ("batch-statistics", "running-statistics", "instance", "none")
NORMED = ("batch-statistics", "instance")
ROUNDING = 0.5 + 0.02
"""How far a byte may be from the unrounded level; float32 sums in another order differ by 1e-5."""
LOUD = 300.0
"""Features this strong have squares beyond float16's 65504, so float16 statistics overflow."""


class Case(NamedTuple):
    """A generator, and its ONNX file."""

    net: UNet
    bundle: Path
    info: ExportInfo

    def feed(self, count: int) -> dict[str, np.ndarray]:
        """``count`` images, and masks where the file takes some."""
        batch = images(count, self.info.size, self.net.architecture.in_channels)
        each = [dropout_masks(bytes([i] * 16), self.info.masks) for i in range(count)]
        stacked = [np.stack(masks) for masks in zip(*each, strict=True)]
        return {"image": batch, **{f"noise_{k}": mask for k, mask in enumerate(stacked)}}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """Makes a :class:`Case`, each only once: exporting takes a second or two."""
    folder, made = tmp_path_factory.mktemp("onnx"), dict[str, Case]()

    def make(
        *,
        size: int = 32,
        precision: str = "fp32",
        batch_size: int | None = None,
        noise: bool = False,
        gain: float = 1.0,
        **values: Any,
    ) -> Case:
        key = repr((size, precision, batch_size, noise, gain, sorted(values.items())))
        if key not in made:
            net = generator(gain, **values)
            path = save(folder / f"{len(made)}.safetensors", net, size)
            out = path.with_suffix(".onnx")
            info = export(path, out, precision=precision, batch_size=batch_size, noise=noise)
            made[key] = Case(net, path, info)
        return made[key]

    return make


def generator(gain: float = 1.0, **values: Any) -> UNet:
    """A small generator whose images use most of the range and seldom saturate.

    ``gain``: of the convolutions before a norm, which takes it out again.
    """
    net = UNet(Architecture(**{"downs": 5, "ngf": 4, **values}))
    fill_with_contrast(net)
    for block in [*net.down, *net.up]:
        if block.norm is not None:
            block.conv.weight.data *= gain
    return net.eval().requires_grad_(False)


def save(path: Path, net: UNet, size: int) -> Path:
    info = BundleInfo("tiny", net.architecture, size, source_domain="maps", target_domain="photos")
    bundle.save(path, info, net, half=False)
    return path


def images(count: int, size: int, channels: int = 3) -> np.ndarray:
    """Smooth and busy parts, as photographs have."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (count, 8, 8, channels)).repeat(size // 8, 1)
    fine = random.normal(0, 12, (count, size, size, channels))
    return (coarse.repeat(size // 8, 2) + fine).clip(0, 255).astype(np.uint8)


def golden(net: UNet, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Image by image through the generator in float32; unrounded levels and embeddings."""
    levels, embeddings = [], []
    noise = [feed[name] for name in sorted(feed) if name.startswith("noise")]
    for i, image in enumerate(feed["image"]):
        x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
        masks = [torch.from_numpy(2.0 * mask[i : i + 1]).float() for mask in noise]
        y, embedding = net.translate(x, masks or None)
        levels.append((y[0].double().numpy().transpose(1, 2, 0) + 1) * 127.5)
        embeddings.append(embedding[0].numpy())
    stacked = np.stack(levels)
    assert stacked.std() > 20 and (np.abs(stacked - 127.5) > 126).mean() < 0.1, "says little"
    return stacked, np.stack(embeddings)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path: Path, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    translated, embedding = session(path).run(["translated", "embedding"], feed)
    return translated, embedding


def assert_same(case: Case, count: int = 2) -> None:
    """onnxruntime gives the generator's images and embeddings."""
    feed = case.feed(count)
    levels, embeddings = golden(case.net, feed)
    translated, embedding = run(case.info.path, feed)
    assert translated.dtype == np.uint8 and translated.shape == levels.shape
    assert np.abs(translated - levels).max() <= ROUNDING
    assert embedding.dtype == np.float32 and embedding.shape == embeddings.shape
    np.testing.assert_allclose(embedding, embeddings, rtol=1e-3, atol=1e-4)


# What it computes


def test_it_is_the_generator(case: Callable[..., Case]) -> None:
    """At 64 the bottleneck has 2x2 pixels, whose mean is the embedding; it has no norm. With noise
    it is looked at with all of them."""
    made = case(norm="instance", size=64)
    assert_same(made, count=3)
    assert_same(made, count=1)


@pytest.mark.parametrize("norm", NORMS)
def test_with_noise(norm: str, case: Callable[..., Case]) -> None:
    """With 7 halvings there are two masks, which do the same as in the generator, in order."""
    made = case(norm=norm, size=128, downs=7, noise=True)
    assert made.info.masks == ((32, 4, 4), (32, 8, 8))
    assert_same(made, count=3)
    assert_same(made, count=1)
    feed = made.feed(1)
    noisy, embedding = run(made.info.path, feed)
    for name in ("noise_0", "noise_1"):
        other, same = run(made.info.path, {**feed, name: ~feed[name]})
        assert not np.array_equal(other, noisy)
        assert np.array_equal(same, embedding)


@pytest.mark.parametrize(("channels", "size"), [((1, 3), 128), ((4, 1), 512)])
def test_other_channels_and_sizes(
    channels: tuple[int, int], size: int, case: Callable[..., Case]
) -> None:
    values = {"in_channels": channels[0], "out_channels": channels[1]}
    assert_same(case(norm="none", size=size, ngf=2, **values))


@pytest.mark.parametrize(("precision", "bar"), [("fp16", 50), ("bf16", 45)])
def test_half_precision_in_the_reference_implementation(
    precision: str, bar: float, case: Callable[..., Case]
) -> None:
    """It rounds between layers as the file says, where onnxruntime computes fp16 in float32."""
    made = case(precision=precision, gain=LOUD)
    feed = made.feed(1)
    levels, embeddings = golden(made.net, feed)
    translated, embedding = ReferenceEvaluator(str(made.info.path)).run(None, feed)
    assert psnr(translated, levels) >= bar
    assert np.abs(embedding - embeddings).max() < 0.05 * np.abs(embeddings).max()


def test_fp32_in_the_reference_implementation(case: Callable[..., Case]) -> None:
    made = case(norm="instance", size=64)
    feed = made.feed(1)
    levels, embeddings = golden(made.net, feed)
    translated, embedding = ReferenceEvaluator(str(made.info.path)).run(None, feed)
    assert np.abs(translated - levels).max() <= ROUNDING
    np.testing.assert_allclose(embedding, embeddings, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped models in fp16, each exported once."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in bundle.shipped_names():
        export(bundle.resolve(name), folder / f"{name}.onnx", precision="fp16")
    return folder


@pytest.mark.parametrize(("name", "examples"), [("map2aerial", "maps"), ("day2night", "day")])
def test_fp16_of_the_shipped_models_on_real_images(name: str, examples: str, shipped: Path) -> None:
    info, unet = bundle.load(bundle.resolve(name))
    size, tiles = info.image_size, []
    for path in sorted((ROOT / "examples" / examples).iterdir())[:4]:
        with Image.open(path) as image:
            tiles.append(np.asarray(image.convert("RGB"))[:size, :size])
    batch = np.stack(tiles)
    reference = TorchEngine(unet, size=size, batch_size=len(batch))(batch)
    translated, embedding = run(shipped / f"{name}.onnx", {"image": batch})
    assert psnr(translated, reference.images) >= 45
    assert np.abs(translated.astype(int) - reference.images).max() <= 4
    error = np.abs(embedding - reference.embeddings).max()
    assert error < 0.01 * np.abs(reference.embeddings).max()


def test_the_example_in_the_documentation(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("map2aerial.onnx").symlink_to(shipped / "map2aerial.onnx")
    Path("map.png").symlink_to(ROOT / "examples" / "maps" / "iberia.png")
    exec(example, {})
    with Image.open("aerial.png") as image:
        assert (image.size, image.mode) == ((256, 256), "RGB")


def test_rounding_is_the_engines_and_idle_weights_are_kept(tmp_path: Path) -> None:
    """All weights zero: tanh gives 0, its level is 127.5, and half goes to even, 128.

    The exporter on its own would leave out biases of zero and merge weights that are equal.
    """
    net = generator(norm="none")
    for value in net.state_dict().values():
        value.zero_()
    info = export(save(tmp_path / "m.safetensors", net, 32), tmp_path / "m.onnx", precision="fp32")
    batch = images(1, 32)
    expected = TorchEngine(net, size=32, batch_size=1)(batch).images
    assert np.array_equal(run(info.path, {"image": batch})[0], expected)
    assert (expected == 128).all()
    assert set(weights_of(onnx.load(info.path))) == set(net_weights(net))


# What it looks like


@pytest.fixture(
    params=[
        {"norm": norm, "size": 128, "downs": 7, "noise": True}
        if norm != "batch-statistics"
        else {"precision": precision, "gain": LOUD}
        for norm, precision in [
            ("batch-statistics", "fp16"),
            ("batch-statistics", "bf16"),
            ("running-statistics", "fp32"),
            ("instance", "fp32"),
            ("none", "fp32"),
        ]
    ],
    ids=lambda values: (
        f"{values.get('norm', 'batch-statistics')}-{values.get('precision', 'fp32')}"
    ),
)
def any_case(request: pytest.FixtureRequest, case: Callable[..., Case]) -> Case:
    return case(**request.param)


def net_weights(net: UNet) -> dict[str, np.ndarray]:
    """What the file must hold, worked out from the bundle's tensors; float32."""
    state = {
        name: value.numpy()
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if net.architecture.norm == "running-statistics":
        folded = {name: value for name, value in state.items() if ".conv." in name}
        for name in [name for name in state if name.endswith("norm.weight")]:
            block = name.removesuffix(".norm.weight")
            mean, variance, shift = (
                state[f"{block}.norm.{part}"] for part in ("running_mean", "running_var", "bias")
            )
            scale = state[name] / np.sqrt(variance + 1e-5)
            shape = (1, -1, 1, 1) if block.startswith("up") else (-1, 1, 1, 1)
            folded[f"{block}.conv.weight"] = state[f"{block}.conv.weight"] * scale.reshape(shape)
            folded[f"{block}.conv.bias"] = shift - mean * scale
        return folded
    if net.architecture.norm == "instance":
        for name in ("down", "up"):
            for i, block in enumerate(getattr(net, name)):
                if block.norm is not None:
                    channels = block.conv.out_channels
                    state[f"{name}.{i}.norm.weight"] = np.ones(channels, np.float32)
                    state[f"{name}.{i}.norm.bias"] = np.zeros(channels, np.float32)
    return {name: value for name, value in state.items() if "running" not in name}


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The file's initializers that are weights, not constants of the graph."""
    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if "." in tensor.name
    }


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_each_weight_is_there_once_under_its_bundles_name(any_case: Case) -> None:
    model = onnx.load(any_case.info.path)
    found, expected = weights_of(model), net_weights(any_case.net)
    assert set(found) == set(expected)
    small = {"fp16": "float16", "fp32": "float32", "bf16": "bfloat16"}[any_case.info.precision]
    for name, value in found.items():
        assert str(value.dtype) == (small if ".conv." in name else "float32")
        exact = expected[name]
        tolerance = {"float16": 2**-11, "float32": 1e-6, "bfloat16": 2**-8}[str(value.dtype)]
        error = np.abs(value.astype(np.float32) - exact)
        assert (error <= tolerance * np.abs(exact) + 1e-6).all()
    users = Counter(name for node in model.graph.node for name in node.input)
    assert all(users[name] == 1 for name in found)
    total = sum(value.nbytes for value in found.values())
    assert total < any_case.info.bytes < total + 60_000


def test_inputs_and_outputs(any_case: Case) -> None:
    info, a = any_case.info, any_case.net.architecture
    graph = onnx.load(info.path).graph
    kinds = {
        value.name: (value.type.tensor_type.elem_type, shape_of(value))
        for value in [*graph.input, *graph.output]
    }
    types = onnx.TensorProto
    assert kinds == {
        "image": (types.UINT8, ["batch", info.size, info.size, 3]),
        **{f"noise_{k}": (types.BOOL, ["batch", *s]) for k, s in enumerate(info.masks)},
        "translated": (types.UINT8, ["batch", info.size, info.size, 3]),
        "embedding": (types.FLOAT, ["batch", a.width(a.downs - 1)]),
    }


def test_bytes_and_masks_meet_casts_only(any_case: Case) -> None:
    """TensorRT takes uint8 straight into a Cast or out of one; Transpose lies inside."""
    graph = onnx.load(any_case.info.path).graph
    makers = {name: node for node in graph.node for name in node.output}
    for value in graph.input:
        assert [node.op_type for node in graph.node if value.name in node.input] == ["Cast"]
    last = makers["translated"]
    assert last.op_type == "Cast"
    assert [makers[last.input[0]].op_type, graph.node[0].op_type] == ["Transpose", "Cast"]
    chain, name = [], "translated"
    while makers[name].op_type != "ConvTranspose":
        chain.append(makers[name].op_type)
        name = makers[name].input[0]
    rounding = ["Cast", "Transpose", "Clip", "Round", "Mul", "Add", "Tanh"]
    assert chain == rounding + ["Cast"] * (any_case.info.precision != "fp32")


def test_statistics_and_image_are_float32_and_the_rest_is_not(any_case: Case) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load(any_case.info.path), strict_mode=True)
    types = onnx.TensorProto
    small = {"fp16": types.FLOAT16, "fp32": types.FLOAT, "bf16": types.BFLOAT16}
    kind = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    kind |= {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    norms = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "LeakyRelu", "Concat"):
            assert kind[node.output[0]] == small[any_case.info.precision], node.op_type
        if node.op_type in ("InstanceNormalization", "ReduceMean", "Tanh", "Round", "Div"):
            assert kind[node.output[0]] == kind[node.input[0]] == types.FLOAT, node.op_type
            norms += node.op_type == "InstanceNormalization"
    a = any_case.net.architecture
    assert norms == (2 * a.downs - 3 if a.norm in NORMED else 0)


def test_every_operator_is_one_that_must_be(any_case: Case) -> None:
    """As many of each as the architecture has, and no other: none to slow an engine down or to
    round where nothing has to be rounded."""
    info, a = any_case.info, any_case.net.architecture
    norms = 2 * a.downs - 3 if a.norm in NORMED else 0
    narrow = info.precision != "fp32"
    expected = Counter(
        Conv=a.downs,
        ConvTranspose=a.downs,
        LeakyRelu=a.downs - 1,
        Relu=a.downs,
        Concat=a.downs - 1,
        InstanceNormalization=norms,
        # the image from bytes and to bytes; each mask; where narrow, into and out of the network at
        # the image, at the embedding, whose mean is float32, and at each norm
        Cast=2 + len(info.masks) + (4 + 2 * norms if narrow else 0),
        Transpose=2,
        Div=1,
        Sub=1,
        Add=1,
        Mul=1 + 2 * len(info.masks),
        Round=1,
        Clip=1,
        Tanh=1,
        ReduceMean=1,
    )
    found = Counter(node.op_type for node in onnx.load(info.path).graph.node)
    assert found == Counter({name: count for name, count in expected.items() if count})


def test_nothing_is_for_training(any_case: Case) -> None:
    model = onnx.load(any_case.info.path)
    assert {node.domain for node in model.graph.node} == {""} and not model.functions
    assert not {node.op_type for node in model.graph.node} & {"Dropout", "BatchNormalization"}
    assert not [a for node in model.graph.node for a in node.attribute if "training" in a.name]


def test_it_is_valid_onnx_of_a_widely_read_version(any_case: Case) -> None:
    onnx.checker.check_model(any_case.info.path, full_check=True)
    model = onnx.load(any_case.info.path)
    assert model.ir_version == 10
    opset = 22 if any_case.info.precision == "bf16" else 18
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]


def test_it_says_what_it_is_and_not_where_it_was_made(any_case: Case) -> None:
    info, content = any_case.info, any_case.info.path.read_bytes()
    model = onnx.load_from_string(content)
    assert (model.producer_name, model.producer_version) == ("pix2pix-batch", __version__)
    assert [entry.key for entry in model.metadata_props] == ["pix2pix_batch"]
    assert json.loads(model.metadata_props[0].value) == {
        "schema": 1,
        "name": "tiny",
        "bundle_sha256": bundle.fingerprint(any_case.bundle),
        "version": __version__,
        "architecture": any_case.net.architecture.as_dict(),
        "norm": any_case.net.architecture.norm,
        "source_domain": "maps",
        "target_domain": "photos",
        "precision": info.precision,
        "batch_size": None,
        "size": info.size,
        "noise": len(info.masks),
    }
    graph = model.graph
    for part in [graph, *graph.node, *graph.value_info, *graph.input, *graph.output]:
        assert not part.metadata_props and not part.doc_string
    for place in (str(ROOT), sys.prefix, ".py"):
        assert place.encode() not in content


def test_what_export_returns(any_case: Case) -> None:
    info, content = any_case.info, any_case.info.path.read_bytes()
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    assert info.bytes == len(content)
    assert info.bundle_sha256 == bundle.fingerprint(any_case.bundle)


def test_a_fixed_batch_and_no_skips(case: Callable[..., Case]) -> None:
    values = {"norm": "running-statistics", "downs": 6, "noise": True, "skips": False}
    made = case(batch_size=2, size=64, **values)
    graph = onnx.load(made.info.path).graph
    assert {shape_of(value)[0] for value in [*graph.input, *graph.output]} == {2}
    assert_same(made, count=2)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(made.info.path, made.feed(3))


# Equal arguments, equal bytes


def test_another_process_writes_the_same_bytes(case: Callable[..., Case], tmp_path: Path) -> None:
    made = case(precision="fp16", gain=LOUD)
    code = (
        "import sys; from pathlib import Path; from pix2pix_batch.engines.export import export;"
        "export(Path(sys.argv[1]), Path(sys.argv[2]), precision='fp16')"
    )
    out = tmp_path / "again.onnx"
    values = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-c", code, made.bundle, out], env=values, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert out.read_bytes() == made.info.path.read_bytes()


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "precision 'int8': must be one of fp16, fp32, bf16"),
        ({"batch_size": 0}, "batch size 0: must be 1 or more"),
        ({"size": 100}, "a multiple of 64, not 100; use --size 64 or 128"),
        ({"size": 32}, "a multiple of 64, not 32; use --size 64 or 128"),
        ({"noise": True}, "has no dropout, so --noise would change nothing; leave it out"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, Any], message: str, tiny: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        export(tiny, tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_stays(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"m\.onnx: exists; .* pass --overwrite"):
        export(tiny, out)
    assert out.read_bytes() == b"mine"
    info = export(tiny, out, overwrite=True)
    assert out.stat().st_size == info.bytes and os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pt", r"its name must end in \.onnx"),
        ("folder.onnx", "is a directory; give a file's name"),
        ("none/m.onnx", "is no directory that can be written to; create it first"),
    ],
)
def test_places_that_cannot_be(name: str, message: str, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=message):
        export(tiny, tmp_path / name, overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_to(tiny: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="is no directory that can be written to"):
        export(tiny, tmp_path / "m.onnx")


def test_a_full_disk_leaves_nothing_behind(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Callable[..., Case]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    network = onnx.load(case(norm="instance", size=64).info.path)  # whichever is to be written
    monkeypatch.setattr(exports, "trace", lambda *_, **__: network)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=r"m\.onnx: cannot be written \(No space left on device"):
        export(tiny, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"m\.safetensors: is damaged"):
        export(path, tmp_path / "m.onnx")


def test_weights_beyond_float16(tmp_path: Path) -> None:
    net = generator(norm="none")
    net.down[2].conv.weight.data[0, 0, 0, 0] = 70000.0
    path = save(tmp_path / "m.safetensors", net, 32)
    with pytest.raises(
        BundleError, match=r"'down\.2\.conv\.weight' do not fit into fp16; use --pr"
    ):
        export(path, tmp_path / "m.onnx", precision="fp16")
    assert not (tmp_path / "m.onnx").exists()


def test_more_weights_than_a_file_holds(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="an ONNX file holds 2 GiB; use --precision fp16"):
        export(tiny, tmp_path / "m.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_extra(package: str, tiny: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Missing())
from pix2pix_batch.engines.export import export
from pix2pix_batch.errors import InputError
try:
    export(Path({str(tiny)!r}), Path({str(tmp_path / "m.onnx")!r}))
except InputError as error:
    print(error)
"""
    values = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=values, capture_output=True, text=True)
    message = f"ONNX export needs the package '{package}'; pip install 'pix2pix-batch[onnx]'\n"
    assert (done.stdout, done.stderr) == (message, "")
