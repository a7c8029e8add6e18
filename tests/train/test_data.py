"""The training stream: the same samples however it is cut, each pair once an epoch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.train import signature
from pix2pix_batch.train.data import Data, fingerprint, open_data
from pix2pix_batch.train.reading import batches
from pix2pix_batch.train.sampling import generator_at, shuffle_indices
from tests.end_to_end.command import picture, put
from tests.train.running import make_pairs, side_by_side, small

PLAIN = {"load_size": 32, "flip": False}
"""No jitter: a sample is its whole pair."""


@pytest.fixture
def data(pairs: Path) -> Data:
    return open_data(pairs, small())


# The stream


def stream(
    data: Data, count: int, *, processes: int = 1, size: int = 1, workers: int = 0
) -> Tensor:
    """The first ``count`` batches of all processes, side by side: source and target."""
    same = {"first": 0, "last": count, "batch_size": size, "workers": workers}
    each = [list(batches(data, rank=i, processes=processes, **same)) for i in range(processes)]
    return torch.cat([torch.cat(pair, 3) for turn in zip(*each, strict=True) for pair in turn])


@given(
    processes=st.integers(1, 4),
    size=st.integers(1, 4),
    bounds=st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted),
)
@settings(max_examples=25)
def test_samples_do_not_depend_on_batches_or_processes(
    pairs: Path, processes: int, size: int, bounds: tuple[int, int]
) -> None:
    """Nor on where a run begins: batch i of all processes is always the stream's next samples."""
    first, last = bounds
    data = open_data(pairs, small())
    for rank in range(processes):
        found = list(
            batches(data, first=first, last=last, batch_size=size, rank=rank, processes=processes)
        )
        assert len(found) == last - first
        for i, (source, target) in enumerate(found, first):
            assert source.dtype == torch.uint8 and source.shape == (size, 32, 32, 3)
            for j in range(size):
                k = (i * processes + rank) * size + j
                expected = data.sample(k)
                assert np.array_equal(source[j], expected[0])
                assert np.array_equal(target[j], expected[1])


def test_samples_do_not_depend_on_the_reading_processes(data: Data) -> None:
    alone = stream(data, 8, size=2)
    assert torch.equal(alone, stream(data, 8, size=2, workers=2))
    assert torch.equal(alone, stream(data, 4, size=2, processes=2))


def test_every_epoch_has_each_pair_once(pairs: Path) -> None:
    data = open_data(pairs, small(**PLAIN))
    whole = {data.train[i][1].tobytes(): i for i in range(6)}
    orders = []
    for epoch in range(4):
        seen = [whole[data.sample(6 * epoch + i)[0].tobytes()] for i in range(6)]
        assert sorted(seen) == list(range(6))
        orders.append(tuple(seen))
    assert len(set(orders)) > 1, "the order is another in each epoch"
    other = open_data(pairs, small(**PLAIN, seed=1))
    assert [whole[other.sample(i)[0].tobytes()] for i in range(24)] != [
        i for o in orders for i in o
    ]


@given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 10**6), count=st.integers(1, 50))
def test_an_epochs_order_holds_each_place_once(seed: int, epoch: int, count: int) -> None:
    assert sorted(shuffle_indices(seed, epoch, count)) == list(range(count))


def test_a_pair_is_jittered_anew_in_each_epoch(data: Data) -> None:
    samples = {data.sample(k)[0].tobytes() for k in range(30)}
    assert len(samples) > 20


def test_source_and_target_are_cut_alike(data: Data) -> None:
    """The target is the source's negative, and stays so but for rounding in each direction."""
    for k in range(30):
        source, target = data.sample(k)
        assert np.abs(source.astype(int) + target - 255).max() <= 2
        assert source.std() > 20


@given(
    places=st.lists(
        st.tuples(st.integers(0, 2**40), st.integers(0, 3)), min_size=2, max_size=8, unique=True
    ),
    seed=st.integers(0, 2**63 - 1),
)
def test_random_numbers_of_two_places_never_meet(places: list[tuple[int, int]], seed: int) -> None:
    drawn = [tuple(generator_at(seed, *place).integers(0, 2**63, 4)) for place in places]
    again = [tuple(generator_at(seed, *place).integers(0, 2**63, 4)) for place in places]
    assert drawn == again
    assert len({number for numbers in drawn for number in numbers}) == 4 * len(places)


# Directions, channels, the seam


def test_btoa_swaps_the_sides(pairs: Path) -> None:
    there, back = (open_data(pairs, small(direction=way)) for way in ("AtoB", "BtoA"))
    for k in range(6):
        assert all(map(np.array_equal, there.sample(k), back.sample(k)[::-1]))
    assert all(map(np.array_equal, there.val[0][1:], back.val[0][:0:-1]))
    assert there.parts == back.parts


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_channels_are_the_source_s_and_the_targets(pairs: Path, direction: str) -> None:
    data = open_data(pairs, small(direction=direction, in_channels=1, out_channels=3))
    for source, target in (data.sample(0), data.val[0][1:]):
        assert source.shape == (32, 32, 1) and target.shape == (32, 32, 3)


@pytest.mark.parametrize("fit", ["resize", "tile"])
def test_nothing_bleeds_across_the_seam(tmp_path: Path, fit: str) -> None:
    """A is black and B is white, right up to where they meet: as much after all resizing."""
    for i in range(3):
        both = Image.new("RGB", (2 * 41, 37))
        both.paste("white", (41, 0, 82, 37))
        both.save(tmp_path / f"{i}.png")
    data = open_data(tmp_path, small(fit=fit, val_fraction=0.4))
    pairs = [data.sample(k) for k in range(40)] + [data.val[0][1:], data.train[0][1:]]
    for source, target in pairs:
        assert (source == 0).all() and (target == 255).all()


def test_tiles_are_cut_at_the_images_own_scale(pairs: Path) -> None:
    data = open_data(pairs, small(fit="tile", flip=False))
    images = [np.asarray(picture(40, 40, i)) for i in range(6)]
    for k in range(12):
        source, _ = data.sample(k)
        windows = [
            np.lib.stride_tricks.sliding_window_view(i, (32, 32, 3))[:, :, 0] for i in images
        ]
        assert any((window == source).all((2, 3, 4)).any() for window in windows)


# What cannot be used


def test_headers_that_do_not_fit_are_told_before_training(tmp_path: Path) -> None:
    make_pairs(tmp_path, train=9, val=1)
    picture(41, 20).save(tmp_path / "train" / "odd.png")
    (tmp_path / "val" / "words.png").write_bytes(b"These are words.")
    with pytest.raises(InputError, match=r"(?s)odd\.png: is 41 pixels wide.*words\.png: cannot be"):
        open_data(tmp_path, small())


@pytest.mark.parametrize("split", ["val", "test"])
def test_data_without_training_pairs_are_refused(tmp_path: Path, split: str) -> None:
    make_pairs(tmp_path, **{split: 2})
    with pytest.raises(InputError, match=f"{tmp_path}: has no training pairs"):
        open_data(tmp_path, small())


def test_pairs_are_held_out_where_the_validation_split_is_empty(tmp_path: Path) -> None:
    make_pairs(tmp_path, train=6)
    (tmp_path / "val").mkdir()
    data = open_data(tmp_path, small())
    assert (len(data.train), len(data.val)) == (5, 1)
    assert len(open_data(tmp_path, small(val_fraction=0)).val) == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_cannot_be_decoded_are_named(tmp_path: Path, workers: int) -> None:
    """Their headers are whole: only reading them tells, here or in a reading process."""
    make_pairs(tmp_path, train=4, val=1)
    torn = tmp_path / "train" / "01.png"
    torn.write_bytes(torn.read_bytes()[:900])
    data = open_data(tmp_path, small())
    with pytest.raises(ImageError, match=r"01\.png: damaged"):
        list(batches(data, first=0, last=4, batch_size=1, workers=workers))


@pytest.mark.parametrize("split", ["train", "val"])
def test_images_too_small_for_a_tile_are_named(tmp_path: Path, split: str) -> None:
    make_pairs(tmp_path, train=2, val=1)
    side_by_side(0, 20).save(tmp_path / split / "tiny.png")
    data = open_data(tmp_path, small(fit="tile"))
    with pytest.raises(ImageError, match=r"tiny\.png: 20x20 pixels are too few for crops of 32"):
        for k in range(3):
            data.sample(k)
            data.val[k]


# Mosaics

MOSAIC = {
    "source": "map.png", "target": "aerial.png", "sea": [0, 0, 255], "scales": [0.7, 1.3],
    "train_bands": [[-180, -60], [0, 180]], "val_bands": [[-60, 0]], "min_land": 0,
    "val_min_land": 0, "crops_per_epoch": 10,
}  # fmt: skip


@pytest.fixture
def mosaics(tmp_path: Path) -> Path:
    """B is the negative of A, which is red in the validation band and green elsewhere."""
    image = np.asarray(picture(360, 180)) // 4
    image[:, :, 1] += 150
    image[:, 120:180, :2] = image[:, 120:180, 1::-1]
    Image.fromarray(image).save(tmp_path / "map.png")
    Image.fromarray(255 - image).save(tmp_path / "aerial.png")
    return tmp_path


def test_mosaics_are_a_stream_too(mosaics: Path) -> None:
    data = open_data(mosaics, small(mosaic=MOSAIC))
    assert data.epoch == 10
    alone = stream(data, 6, size=2)
    assert torch.equal(alone, stream(data, 3, size=2, processes=2))
    assert torch.equal(alone, stream(data, 4, size=3))
    assert len({sample.numpy().tobytes() for sample in alone}) == 12
    other = open_data(mosaics, small(mosaic=MOSAIC, seed=1))
    assert not torch.equal(alone, stream(other, 6, size=2))


def test_training_crops_and_validation_crops_are_of_other_places(mosaics: Path) -> None:
    data = open_data(mosaics, small(mosaic=MOSAIC))
    for k in range(40):
        source, target = data.sample(k)
        assert (source[:, :, 1] > source[:, :, 0]).all()
        assert np.abs(source.astype(int) + target - 255).max() <= 1
    for split, red in ((data.val, True), (data.train, False)):
        assert len(split) > 5
        for i in range(len(split)):
            name, source, target = split[i]
            assert ((source[:, :, 0] > source[:, :, 1]) == red).all()
            assert np.array_equal(source, 255 - target)
            x, y = name.removeprefix("x").split("-y")
            whole = np.asarray(Image.open(mosaics / "map.png"))
            assert np.array_equal(source, whole[int(y) : int(y) + 32, int(x) : int(x) + 32])


def test_mosaics_can_be_swapped(mosaics: Path) -> None:
    there, back = (open_data(mosaics, small(mosaic=MOSAIC, direction=d)) for d in ("AtoB", "BtoA"))
    assert all(map(np.array_equal, there.sample(3), back.sample(3)[::-1]))
    assert all(map(np.array_equal, there.val[1][1:], back.val[1][:0:-1]))


@pytest.mark.parametrize("key", ["train_bands", "val_bands"])
def test_bands_without_a_crop_are_named(mosaics: Path, key: str) -> None:
    changes = {"train_bands": [[100, 120]], "val_bands": [[-60, -40]]}
    with pytest.raises(InputError, match=rf"map\.png: no crop of 32 pixels .* lies in {key}"):
        open_data(mosaics, small(mosaic={**MOSAIC, key: changes[key]}))


def test_the_mosaics_signature_is_of_both_files(mosaics: Path) -> None:
    recipe = small(mosaic=MOSAIC)
    before = signature.data_signature(open_data(mosaics, recipe).parts)
    assert signature.data_signature(open_data(mosaics, recipe).parts) == before
    Image.open(mosaics / "aerial.png").save(mosaics / "aerial.png", compress_level=0)
    assert signature.data_signature(open_data(mosaics, recipe).parts) != before


# The fingerprint


def test_the_fingerprint_is_of_names_and_pixels(tmp_path: Path) -> None:
    make_pairs(tmp_path, side=32, train=3, val=1)
    data = open_data(tmp_path, small())
    digest = hashlib.sha256()
    for i in range(3):
        both = np.asarray(side_by_side(i, 32))
        digest.update(json.dumps([f"{i:02}", [32, 32, 3], [32, 32, 3]]).encode())
        digest.update(np.ascontiguousarray(both[:, :32]).tobytes())
        digest.update(np.ascontiguousarray(both[:, 32:]).tobytes())
    assert fingerprint(data.train) == digest.hexdigest()
    image = Image.open(tmp_path / "train" / "01.png")
    image.save(tmp_path / "train" / "01.png", compress_level=0)
    assert fingerprint(open_data(tmp_path, small()).train) == digest.hexdigest()
    image.putpixel((40, 3), (1, 2, 3))
    image.save(tmp_path / "train" / "01.png")
    assert fingerprint(open_data(tmp_path, small()).train) != digest.hexdigest()


def test_one_side_alone_is_doubted(pairs: Path, tmp_path: Path) -> None:
    """A directory of square images may still be pairs side by side, so it is only told."""
    for i in range(4):
        put(tmp_path / f"{i}.png", size=(40, 40))
    recipe = small(name="x")
    assert "A and B side by side?" in open_data(tmp_path, recipe).doubts[0]
    assert open_data(pairs, recipe).doubts == []
