"""``synthesize``: the same bytes however it runs, loaded by the libraries it is made for, and what
it refuses."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import pix2pix_batch
from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.autotune import PROBE_IMAGES
from pix2pix_batch.inference.engine import to_bytes
from pix2pix_batch.noise import dropout_masks
from pix2pix_batch.synthesis.provenance import DIGITAL_SOURCE_TYPE
from pix2pix_batch.train import pair_files, pairs
from tests.end_to_end.command import (
    Argument,
    convert,
    error_of,
    fork,
    here,
    interrupt,
    picture,
    put,
    records,
    wait_for,
)
from tests.end_to_end.harmful import preloaded, shut
from tests.end_to_end.synthesizing import (
    VARIANTS,
    manifest,
    soft,
    synthesize,
    to_levels,
    tree,
    words,
)

INPUTS = 12
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes of two takes each, in two folders; all but one soft, one a copy."""
    source = tmp_path_factory.mktemp("synthesize") / "in"
    for number in range(INPUTS):
        path = source / f"{'ab'[number % 2]}" / f"scene{number // 4}-take{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (picture(64, 64, 3) if number == 5 else soft(number)).save(path)
    soft(2).save(source / "a" / "scene2-take8.png")  # as scene0-take2
    return source


pytestmark = pytest.mark.usefixtures("workers")


SPLIT = ("--split", "train=0.5,val=0.25,test=0.25", "--seed", 7)


@pytest.fixture(scope="module")
def made(inputs: Path, model: Path) -> Iterator[Path]:
    out = inputs.parent / "imagefolder"
    ran = synthesize(inputs, out, model, *SPLIT, "--stratify", "folder")
    assert ran.code == 0, ran.err
    assert f"{VARIANTS} images look unlike what soft was trained on" in ran.err
    yield out


def test_the_same_bytes_for_other_workers_batches_and_when_stopped(
    tmp_path: Path, inputs: Path, model: Path, made: Path
) -> None:
    expected = tree(made)
    assert len(expected) == INPUTS * VARIANTS + INPUTS + 3 + 2  # images, inputs, tables, card
    more = (*SPLIT, "--stratify", "folder")
    ran = synthesize(inputs, tmp_path / "two", model, *more, "--workers", 2, "--batch-size", 5)
    assert ran.code == 0, ran.err
    assert tree(tmp_path / "two") == expected

    out, gate = tmp_path / "stopped", shut(tmp_path / "gate")
    # all but what the first look takes, which is of one input: itself and its variants
    late = sorted(inputs.rglob("*.png"))[-(-PROBE_IMAGES // (1 + VARIANTS)) :]
    held = preloaded(gate, late)
    one = ("--batch-size", 1, "--workers", 1)
    process = fork(*words(inputs, out, model, *more, *one), **held)
    wait_for(lambda: any(out.rglob("*.v1.png")), process)
    interrupt(process, gate)
    assert not (out / "manifest.jsonl").exists()
    ran = synthesize(inputs, out, model, *more)
    assert ran.code == 0, ran.err
    assert tree(out) == expected
    left = out / ".pix2pix-batch-made"
    assert not left.exists()

    left.mkdir()  # by a run that was killed as it removed this
    (left / "a.png").write_bytes(b"")
    ran = synthesize(inputs, out, model, *more)
    assert ran.code == 0 and ran.figures["nothing_to_do"], ran.err
    assert "nothing to do" in ran.err
    assert tree(out) == expected


def test_variants_are_convert_and_noise_named_by_seed_and_content(
    tmp_path: Path, inputs: Path, model: Path, made: Path
) -> None:
    """Variant 0 is what ``convert`` makes, variant 1 what ``convert --noise`` does, and 2 follows
    from the definition of its key."""
    _, images, _ = manifest(made)
    rows = {(row["input"], row["variant"]): row for row in images}
    pixels = {key: np.asarray(Image.open(made / row["file"])) for key, row in rows.items()}
    for number, options in enumerate(((), ("--noise", "--seed", 7))):
        out = tmp_path / str(number)
        assert convert(inputs, out, model, *options).code == 0
        for name, _ in rows:
            assert np.array_equal(np.asarray(Image.open(out / name)), pixels[name, number])
    name = "a/scene0-take2.png"
    content = (inputs / name).read_bytes()
    text = b"7:0:" + hashlib.sha256(content).digest()
    salt = (1).to_bytes(16, "little")
    key = hashlib.blake2b(text, digest_size=16, salt=salt).digest()
    info, unet = bundle.load(model)
    masks = dropout_masks(key, info.architecture.mask_shapes(64, 64))
    x = to_levels(torch.tensor(np.asarray(Image.open(inputs / name)))[None])
    golden = to_bytes(unet(x, [torch.from_numpy(mask[None]).float() * 2 for mask in masks]))[0]
    assert np.abs(golden.numpy().astype(int) - pixels[name, 2]).max() <= 1
    assert np.abs(golden.numpy().astype(int) - pixels[name, 1]).max() > 2
    assert np.array_equal(pixels["a/scene2-take8.png", 2], pixels[name, 2])  # its copy


def test_the_manifest_tells_of_each_image(inputs: Path, model: Path, made: Path) -> None:
    header, images, rejected = manifest(made)
    assert header["model"] == {"name": "soft", "sha256": bundle.fingerprint(model)}
    assert header["settings"]["seed"] == 7 and header["settings"]["variants"] == VARIANTS
    assert header["splits"] == {"train": 18, "val": 9, "test": 9}
    assert header["flagged"] == {"near-duplicate": VARIANTS} and rejected == {}
    assert header["diversity"] > 0.1
    assert len(images) == INPUTS * VARIANTS
    for row in images:
        data = (made / row["file"]).read_bytes()
        assert row["hash"] == hashlib.blake2b(data, digest_size=16).hexdigest()
        source = (inputs / row["input"]).read_bytes()
        assert row["input_hash"] == hashlib.blake2b(source, digest_size=16).hexdigest()
        assert row["file"].startswith(row["split"] + "/")
        copy = row["input"] == "a/scene2-take8.png"
        assert row["flags"] == (["near-duplicate"] if copy else [])
        assert row.get("near") == ("a/scene0-take2.png" if copy else None)
        assert row["distance"] > 100 if "take5" in row["input"] else row["distance"] <= 100


@pytest.mark.parametrize("batch_size", [1, 5])
def test_convert_tells_what_is_unlike_the_training_inputs(
    tmp_path: Path, inputs: Path, model: Path, made: Path, batch_size: int
) -> None:
    out = tmp_path / "out"
    ran = convert(inputs, out, model, "--batch-size", batch_size)
    assert ran.code == 0 and ran.figures["doubtful"] == 1, ran
    assert "1 image looks unlike what soft was trained on" in ran.err
    (far,) = {row["input"] for row in manifest(made)[1] if row["distance"] >= 99}
    assert f"\n  {far}\n" in ran.err
    found = {name: record["distance"] for name, record in records(out).items()}
    assert found == {row["input"]: row["distance"] for row in manifest(made)[1]}


def test_splits_hold_whole_inputs_of_each_folder(made: Path) -> None:
    _, images, _ = manifest(made)
    splits = defaultdict(set)
    for row in images:
        splits[row["input"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    count = Counter((name[0], found.pop()) for name, found in splits.items())
    for folder in "ab":
        assert count[folder, "train"] == 3
        assert 1 <= count[folder, "val"] <= 2 and 1 <= count[folder, "test"] <= 2


def test_groups_and_what_is_too_far(tmp_path: Path, inputs: Path, model: Path) -> None:
    out = tmp_path / "out"
    more = ("--group-by", r"scene\d+", "--split", "train=0.6,val=0.4", "--max-distance", 100)
    ran = synthesize(inputs, out, model, *more, "--reject-flagged")
    assert ran.code == 0, ran.err
    _, images, rejected = manifest(out)
    reasons = Counter(rejected.values())
    assert reasons == {"distance": VARIANTS, "near-duplicate": VARIANTS} == ran.figures["rejected"]
    assert "rejected: distance 3, near-duplicate 3" in ran.err
    splits = defaultdict(set)
    for row in images:
        assert row["group"] == row["input"].split("/")[1].split("-")[0]
        splits[row["group"]].add(row["split"])
    assert len(splits) == 3 and all(len(found) == 1 for found in splits.values())
    card = (out / "README.md").read_text()
    assert "- rejected: distance 3, near-duplicate 3" in card


def test_what_is_too_small_to_be_measured_is_flagged(tmp_path: Path, model: Path) -> None:
    source = tmp_path / "in"
    put(source / "small.png", seed=3, size=(30, 30))
    soft(1).save(source / "whole.png")
    more = ("--max-distance", 100, "--layout", "webdataset", "--no-sources", "--variants", 1)
    ran = synthesize(source, tmp_path / "out", model, *more)
    assert ran.code == 0 and ran.figures["flagged"] == {"unmeasured": 1}, ran.err
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        names = ["000000000.png", "000000000.json", "000000001.png", "000000001.json"]
        assert tar.getnames() == names
        about = [json.loads(tar.extractfile(name).read()) for name in names[1::2]]
    assert [row["input"] for row in about] == ["small.png", "whole.png"]
    assert about[0]["distance"] == -1 and about[0]["flags"] == "unmeasured"
    assert 0 <= about[1]["distance"] <= 100 and about[1]["flags"] == ""


def test_a_target_count_is_met_though_some_are_rejected(
    tmp_path: Path, inputs: Path, model: Path
) -> None:
    out = tmp_path / "out"
    ran = synthesize(inputs, out, model, "--target-count", 30, "--max-distance", 100)
    assert ran.code == 0, ran.err
    _, images, _ = manifest(out)
    count = Counter(row["input"] for row in images)
    assert len(images) == 30 == ran.figures["images"]
    assert "b/scene1-take5.png" not in count and len(count) == INPUTS - 1
    assert set(count.values()) == {2, 3}

    out = tmp_path / "few"
    ran = synthesize(inputs, out, model, "--target-count", 5)
    assert ran.code == 0, ran.err
    assert Counter(row["variant"] for row in manifest(out)[1]) == {0: 5}


# What others read


def load(path: Path, cache: Path, **options: Any) -> Any:
    import datasets

    return datasets.load_dataset(str(path), cache_dir=str(cache), **options)


def check_rows(loaded: Any, made: Path, images: str, source: str) -> None:
    """The pixels and columns of what a library has loaded, against the image folder."""
    _, rows, _ = manifest(made)
    expected = {(row["input"], row["variant"]): row for row in rows}
    for split, count in (("train", 18), ("val", 9), ("test", 9)):
        name = "validation" if split == "val" and "validation" in loaded else split
        assert len(loaded[name]) == count
        for row in loaded[name]:
            golden = expected.pop((row["input"], row["variant"]))
            assert golden["split"] == split
            assert row["distance"] == golden["distance"]
            assert row["flags"] == ",".join(golden["flags"])
            for column, file in (
                (images, golden["file"]),
                (source, f"{split}/inputs/{row['input']}"),
            ):
                ours = np.asarray(Image.open(made / file))
                assert np.array_equal(np.asarray(row[column]), ours), (column, row["input"])
    assert not expected


def test_hugging_face_datasets_load_the_folder(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_rows(load(made, tmp_path), made, "image", "source")


@pytest.fixture(scope="module")
def shards(inputs: Path, model: Path) -> Path:
    out = inputs.parent / "webdataset"
    ran = synthesize(inputs, out, model, *SPLIT, "--stratify", "folder", "--layout", "webdataset")
    assert ran.code == 0, ran.err
    return out


def test_webdataset_loads_the_shards(shards: Path, made: Path) -> None:
    import webdataset

    loaded = {}
    for split in ("train", "val", "test"):
        stream = webdataset.WebDataset(str(shards / f"{split}-000000.tar"), shardshuffle=False)
        loaded[split] = [
            {"image": image, "source": source, **about}
            for image, source, about in stream.decode("pil").to_tuple("png", "source.png", "json")
        ]
    check_rows(loaded, made, "image", "source")
    _, images, _ = manifest(shards)
    assert images[0]["file"] == "train-000000.tar" and images[0]["key"] == "000000000"


def test_hugging_face_datasets_load_the_shards(tmp_path: Path, shards: Path) -> None:
    loaded = load(shards, tmp_path)
    assert {split: len(rows) for split, rows in loaded.items()} == {
        "train": 18, "val": 9, "test": 9,
    }  # fmt: skip
    row = loaded["test"][0]
    assert row["png"].size == row["source.png"].size == (64, 64)
    assert row["json"]["input"].endswith(".png")


def test_parquet_loads(tmp_path: Path, inputs: Path, model: Path, made: Path) -> None:
    import pyarrow.parquet

    out = tmp_path / "parquet"
    ran = synthesize(inputs, out, model, *SPLIT, "--stratify", "folder", "--layout", "parquet")
    assert ran.code == 0, ran.err
    table = pyarrow.parquet.read_table(out / "data" / "val-00000-of-00001.parquet")
    assert table.num_rows == 9
    first = table.slice(0, 1).to_pylist()[0]
    ours = next(row for row in manifest(made)[1] if row["split"] == "val")
    assert (first["input"], first["variant"]) == (ours["input"], ours["variant"])
    pixels = np.asarray(Image.open(io.BytesIO(first["image"]["bytes"])))
    assert np.array_equal(pixels, np.asarray(Image.open(made / ours["file"])))
    loaded = load(out, tmp_path / "cache")
    assert str(loaded["train"].features["image"]).startswith("Image(")
    check_rows(loaded, made, "image", "source")


@pytest.mark.parametrize("layout", ["a-b", "side-by-side"])
def test_our_trainer_reads_pairs(
    tmp_path: Path, inputs: Path, model: Path, made: Path, layout: str
) -> None:
    out = tmp_path / "pairs"
    ran = synthesize(inputs, out, model, *SPLIT, "--stratify", "folder", "--layout", layout)
    assert ran.code == 0, ran.err
    found = pairs.find(out)
    assert found.counts() == {"train": 18, "val": 9, "test": 9}
    assert pair_files.check_headers(found.pairs) == []
    _, images, _ = manifest(made)
    expected = {row["input"].removesuffix(".png") + f".v{row['variant']}": row for row in images}
    for pair in found.pairs:
        row = expected.pop(pair.name)
        assert row["split"] == pair.split
        a, b = pair_files.Reader().pair(pair, (3, 3))
        assert np.array_equal(a, np.asarray(Image.open(inputs / row["input"])))
        assert np.array_equal(b, np.asarray(Image.open(made / row["file"])))
    assert not expected
    assert ran.figures["diversity"] == pytest.approx(manifest(made)[0]["diversity"], abs=1e-4)


# What images and card say


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tiff"])
def test_images_say_that_they_are_synthetic(
    tmp_path: Path, inputs: Path, model: Path, form: str
) -> None:
    given = ("--format", form, "--limit", 1, "--variants", 1)
    assert synthesize(inputs, tmp_path / "out", model, *given).code == 0
    (row,) = manifest(tmp_path / "out")[1]
    with Image.open(tmp_path / "out" / row["file"]) as image:
        said = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        said = said.decode() if isinstance(said, bytes) else said
        assert DIGITAL_SOURCE_TYPE in said and bundle.fingerprint(model) in said
        (about,) = ElementTree.fromstring(said.encode()).iter(f"{RDF}Description")
        assert about.get("{http://ns.adobe.com/xap/1.0/}CreatorTool", "").startswith(
            "pix2pix-batch"
        )
        marked = np.asarray(image)
    source = next((tmp_path / "out").rglob("inputs/**/*.png")).read_bytes()
    assert b"trainedAlgorithmicMedia" not in source
    if form != "png":
        return
    assert synthesize(inputs, tmp_path / "bare", model, *given, "--no-mark").code == 0
    (bare,) = manifest(tmp_path / "bare")[1]
    data = (tmp_path / "bare" / bare["file"]).read_bytes()
    assert b"algorithmicMedia" not in data and b"xmp" not in data.lower()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), marked)


def test_the_card_is_what_the_hub_reads(made: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard((made / "README.md").read_text())
    assert card.data.size_categories == ["n<1K"] and "synthetic" in card.data.tags
    assert card.data.pretty_name == "soft-in" and card.data.license == "other"
    paths = {entry["split"]: entry["path"] for entry in card.data.configs[0]["data_files"]}
    assert paths == {"train": "train/**", "val": "val/**", "test": "test/**"}
    assert "36 synthetic images" in card.text and "| train | 18 |" in card.text


# More noise


def test_more_noise_makes_more_of_a_difference(tmp_path: Path, inputs: Path, model: Path) -> None:
    def diversity(*more: Argument) -> float:
        out = tmp_path / "-".join(map(str, more))
        ran = synthesize(inputs, out, model, "--limit", 4, *more)
        assert ran.code == 0, ran.err
        header, images, _ = manifest(out)
        plain = [row["hash"] for row in images if row["variant"] == 0]
        hashes.append(plain)
        return header["diversity"]

    hashes: list[list[str]] = []
    trained = diversity("--noise-rate", 0.5)
    assert diversity("--noise-rate", 0.8, "--noise-blocks", 3) > trained
    assert diversity("--input-noise", 20) > trained
    assert all(one == hashes[0] for one in hashes)  # the first variant never has noise


def test_a_model_without_dropout_can_have_noise_elsewhere(
    tmp_path: Path, inputs: Path, tiny: Path
) -> None:
    message = r"tiny: has no dropout, so all variants of an input would be alike"
    ran = synthesize(inputs, tmp_path / "out", tiny)
    assert (ran.code, message in error_of(ran)) == (2, True)
    assert not (tmp_path / "out").exists()
    for more in (("--noise-blocks", 2), ("--input-noise", 5)):
        out = tmp_path / more[0]
        ran = synthesize(inputs, out, tiny, "--limit", 2, *more)
        assert ran.code == 0, ran.err
        assert ran.figures["diversity"] > 0.1


# Bad input


def test_one_bad_image_only_fails_itself(tmp_path: Path, model: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        put(source / f"{number}.png", seed=number)
    (source / "broken.png").write_bytes(b"no image")
    ran = synthesize(source, out, model)
    assert ran.code == 3
    told = ("images", "images_wanted", "images_made", "images_failed", "inputs", "inputs_failed")
    assert [ran.figures[name] for name in told] == [9, 12, 9, 3, 4, 1], ran.figures
    assert "12 of 12 (100 %) | 3 failed" in ran.err  # the copies of the inputs are no work
    listed = [line for line in ran.err.splitlines() if "broken.png" in line]
    assert len(listed) == 1 and listed[0].startswith("  failed: broken.png (3 variants): ")
    (failure,) = ran.figures["failures"]
    assert (failure["name"], failure["variants"]) == ("broken.png", 3)
    status = here("status", out)
    assert "9 of 12 done (75 %), 3 failed" in status.out and "such as broken.png" in status.out
    assert "1 input could not be used" in status.out
    page = (out / "report.html").read_text()
    assert "broken.png</a>, 3 variants</li>" in page
    samples = page.partition("<h2>Samples")[2].partition("</section>")[0]
    assert re.findall(r'alt="Output of (\d\.png, variant \d)"', samples) == [
        f"{number}.png, variant {variant}" for number in range(3) for variant in range(3)
    ]
    header, images, _ = manifest(out)
    assert header["inputs_failed"] == 1 and "inputs that could not be used: 1" in (
        (out / "README.md").read_text()
    )
    assert {row["input"] for row in images} == {"0.png", "1.png", "2.png"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_count": 37, "variants": 3}, "--target-count 37 cannot be met: 12 inputs"),
        ({"split": "train=0.98,val=0.02"}, "'val' would be empty: 12 inputs do not fill 2 splits"),
        ({"split": "train=0.5,val=0.5", "group_by": "scene"}, "'val' would be empty"),
        ({"group_by": "nothing"}, "--group-by 'nothing': matches no input, such as a/scene0"),
        ({"split": "train=0.5,mine=0.5", "layout": "a-b"}, "read train, val and test"),
        ({"noise_blocks": 5}, "--noise-blocks 5: soft has 4 blocks that can take noise"),
        ({"noise_blocks": 2, "backend": "tensorrt"}, "has the trained noise only"),
        ({"noise_rate": 1.0}, "--noise-rate must lie between 0 and 1"),
        ({"layout": "zip"}, "layout must be one of imagefolder, webdataset"),
        ({"variants": 0}, "variants must be from 1"),
        ({"max_distance": -1.0}, "--max-distance must be at least 0"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"format": "same"}, "format must be one of png, jpg, webp, tiff, cog, npy, not 'same'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, inputs: Path, model: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        pix2pix_batch.synthesize(inputs, tmp_path / "out", model=str(model), **options)
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_statistics_cannot_judge_distances(
    tmp_path: Path, inputs: Path, noisy: Path
) -> None:
    ran = synthesize(inputs, tmp_path / "out", noisy, "--max-distance", 99)
    message = error_of(ran)
    assert ran.code == 2 and "noisy.safetensors does not tell how far" in message
    assert "model calibrate" in message
    assert not (tmp_path / "out").exists()


def test_a_target_count_that_rejections_leave_unmet(
    tmp_path: Path, inputs: Path, model: Path
) -> None:
    out = tmp_path / "out"
    more = ("--target-count", 24, "--variants", 2, "--max-distance", 100)
    ran = synthesize(inputs, out, model, *more)
    assert ran.code == 2
    assert "--target-count 24 cannot be met: 22 images of 11 inputs are accepted" in ran.err
    assert not (out / "manifest.jsonl").exists()


def test_out_with_something_else(tmp_path: Path, inputs: Path, model: Path, made: Path) -> None:
    before = tree(made)
    for more, told in (
        (("--seed", 8), ("seed was 7, now 8", "stratify was 'folder', now")),
        ((*SPLIT[:2], "--seed", 7, "--layout", "parquet"), ("layout was 'imagefolder'",)),
    ):
        ran = synthesize(inputs, made, model, *more)
        assert ran.code == 2 and "holds another dataset" in error_of(ran)
        assert all(one in error_of(ran) for one in told), ran
    assert tree(made) == before

    out = tmp_path / "mine"
    put(out / "precious.png")
    for more in ((), ("--overwrite",)):
        ran = synthesize(inputs, out, model, *more)
        assert ran.code == 2 and "holds other files (precious.png)" in error_of(ran)

    out = tmp_path / "converted"
    assert convert(inputs, out, model, "--limit", 1).code == 0
    ran = synthesize(inputs, out, model)
    assert ran.code == 2 and "holds images of 'pix2pix-batch convert'" in error_of(ran)
    (out / "file").touch()
    ran = synthesize(inputs, out / "file", model)
    assert ran.code == 2 and "is a file" in error_of(ran)


def test_a_tar_is_refused_at_once(tmp_path: Path, inputs: Path, model: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        tar.add(inputs / "a", "a")
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "1.tar").write_bytes((tmp_path / "in.tar").read_bytes())
    for source in (tmp_path / "in.tar", tmp_path / "tars"):
        ran = synthesize(source, tmp_path / "out", model)
        assert ran.code == 2
        assert error_of(ran) == (
            f"error: {source}: is a tar, or holds tars; synthesize takes images: unpack it"
        )
    assert not (tmp_path / "out").exists()

    put(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.png\n{tmp_path}/in.tar\n")
    ran = synthesize(f"@{tmp_path}/list.txt", tmp_path / "out", model)
    assert (ran.code, ran.figures["images"], ran.figures["inputs_failed"]) == (3, VARIANTS, 1)
    assert "in.tar (3 variants): is a tar; synthesize takes images: unpack it" in ran.err


def test_a_dataset_is_made_anew_when_told_to(tmp_path: Path, inputs: Path, model: Path) -> None:
    out = tmp_path / "out"
    assert synthesize(inputs, out, model, "--limit", 2).code == 0
    ran = synthesize(inputs, out, model, "--limit", 2, "--layout", "webdataset", "--overwrite")
    assert ran.code == 0, ran.err
    assert set(tree(out)) == {"README.md", "manifest.jsonl", "train-000000.tar"}
    assert all(record["status"] == "done" for record in records(out).values())
