"""Crops of aligned mosaics: from where, how many, and how they lie on each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.train.mosaic import CropSampler, MosaicPair, grid_windows

SEA = (160, 200, 225)
WIDTH, HEIGHT = 720, 360


def mosaics() -> MosaicPair:
    """Longitude in the red channel of A, latitude in its green one; B the negative; no sea."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :, 0] = np.linspace(0, 255, WIDTH)
    image[:, :, 1] = np.linspace(0, 255, HEIGHT)[:, None]
    return MosaicPair(image, 255 - image, np.ones(image.shape[:2], bool))


def sampler(pair: MosaicPair | None = None, **changes: object) -> CropSampler:
    settings = {
        "size": 32, "scales": (0.7, 1.6), "turn": True, "flip": True, "min_land": 0.3,
        "bands": [(-180, -72), (42, 180)], "latitudes": (-58, 70),
    } | changes  # fmt: skip
    return CropSampler(pair or mosaics(), **settings)  # type: ignore[arg-type]


def crop(crops: CropSampler, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return crops.pair(np.random.default_rng(seed))


def test_crops_never_leave_their_bands() -> None:
    """Red tells the longitude, green the latitude: nothing between or beyond is seen."""
    crops = sampler()
    west, east = (-72 + 180) / 360 * 255, (42 + 180) / 360 * 255
    north, south = (90 - 70) / 180 * 255, (90 + 58) / 180 * 255
    sides = set()
    for seed in range(200):
        source, _ = crop(crops, seed)
        assert source.shape == (32, 32, 3)
        red, green = source[:, :, 0].astype(int), source[:, :, 1].astype(int)
        assert red.max() <= west + 2 or red.min() >= east - 2
        assert north - 2 <= green.min() and green.max() <= south + 2
        sides.add(bool(red.min() >= east - 2))
    assert sides == {True, False}


@given(
    seed=st.integers(0, 10**6),
    turn=st.booleans(),
    flip=st.booleans(),
    scales=st.tuples(st.floats(0.3, 2), st.floats(0.3, 2)).map(sorted),
)
@settings(max_examples=60)
def test_both_crops_show_the_same_place(
    seed: int, turn: bool, flip: bool, scales: tuple[float, float]
) -> None:
    """B is the negative of A, and stays so in every turn, scale and mirror image."""
    source, target = crop(sampler(turn=turn, flip=flip, scales=scales), seed)
    assert np.abs(source.astype(int) + target - 255).max() <= 1
    assert source[:, :, :2].any()


def test_crops_are_the_same_for_the_same_random_numbers() -> None:
    crops = sampler()
    for one, two in zip(crop(crops, 3), crop(crops, 3), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(crop(crops, 3)[0], crop(crops, 4)[0])


def test_without_turn_flip_and_scale_crops_are_the_mosaics_own_pixels() -> None:
    crops = sampler(turn=False, flip=False, scales=(1, 1), bands=[(-180, 180)])
    source, _ = crop(crops, 0)
    red, green = source[:, :, 0].astype(int), source[:, :, 1].astype(int)
    pair = mosaics()
    tops = np.flatnonzero(pair.a[:, 0, 1] == green[0, 0])
    lefts = np.flatnonzero(pair.a[0, :, 0] == red[0, 0])
    assert any(
        np.array_equal(source, pair.a[top : top + 32, left : left + 32])
        for top in tops
        for left in lefts
    )


def test_scales_stretch_each_axis_on_its_own() -> None:
    """At 2 mosaic pixels a pixel, a crop spans twice the longitudes; the axes differ."""
    crops = sampler(turn=False, flip=False, scales=(0.5, 2), bands=[(-180, 180)])
    spans = []
    for seed in range(100):
        source = crop(crops, seed)[0].astype(float)
        across = (source[16, -1, 0] - source[16, 0, 0]) / 31 * (WIDTH - 1) / 255
        down = (source[-1, 16, 1] - source[0, 16, 1]) / 31 * (HEIGHT - 1) / 255
        spans.append((across, down))
    across, down = np.array(spans).T
    for one in (across, down):
        assert 0.45 < one.min() < 0.7 and 1.5 < one.max() < 2.05
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.4


def test_turns_are_of_any_angle_and_mirrors_of_both_axes() -> None:
    def directions(**changes: object) -> list[float]:
        """Where longitude grows in the crop, in degrees."""
        crops = sampler(scales=(1, 1), bands=[(-180, 180)], **changes)
        found = []
        for seed in range(60):
            source = crop(crops, seed)[0][:, :, 0].astype(float)
            found.append(
                np.degrees(np.arctan2(np.diff(source, axis=0).mean(), np.diff(source).mean()))
            )
        return found

    assert {round(d) % 360 for d in directions(turn=False, flip=False)} == {0}
    assert {round(d) % 360 for d in directions(turn=False, flip=True)} == {0, 180}
    quarters = {int(d % 360 // 90) for d in directions(turn=True, flip=False)}
    assert quarters == {0, 1, 2, 3}


def test_quarter_turns_keep_every_pixel() -> None:
    """At the mosaics' own scale a crop is a part of them turned, mirrored or not: not resampled."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 160, 3), np.uint8)
    pair = MosaicPair(noise, noise, np.ones((80, 160), bool))
    for crops in (
        sampler(pair, turn="quarter", scales=(1, 1), flip=flip, bands=[(-180, 180)])
        for flip in (True, False)
    ):
        seen = set()
        for seed in range(40):
            source, target = crop(crops, seed)
            assert np.array_equal(source, target)
            found = [
                (quarters, mirror)
                for quarters in range(4)
                for mirror in (1, -1)
                if lies_in(noise, np.rot90(source[:, ::mirror], quarters))
            ]
            assert len(found) == 1
            seen.add(found[0])
        assert len(seen) == (8 if crops.flip else 4)


def lies_in(image: np.ndarray, part: np.ndarray) -> bool:
    height, width = part.shape[:2]
    return any(
        np.array_equal(image[top : top + height, left : left + width], part)
        for top, left in np.argwhere((image == part[0, 0]).all(axis=2))
    )


def test_crops_without_land_are_skipped() -> None:
    pair = mosaics()
    pair = replace(pair, land=pair.a[:, :, 0] > 200)
    crops = sampler(pair, bands=[(42, 180)], turn=False, scales=(1, 1), min_land=0.9)
    assert all(crop(crops, seed)[0][:, :, 0].mean() > 180 for seed in range(50))


def test_wide_bands_give_more_crops() -> None:
    crops = sampler(bands=[(-180, -90), (90, 120)], turn=False, scales=(1, 1))
    west = sum(crop(crops, seed)[0][:, :, 0].mean() < 128 for seed in range(200))
    assert 120 < west < 180  # of 200, three quarters


@pytest.mark.parametrize(
    "changes", [{"bands": [(0, 10)]}, {"latitudes": (0, 10)}, {"min_land": 1.0}], ids=str
)
def test_where_no_crop_fits_it_says_so(changes: dict[str, object]) -> None:
    pair = replace(mosaics(), land=np.zeros((HEIGHT, WIDTH), bool))
    crops = sampler(pair if "min_land" in changes else None, **changes)
    with pytest.raises(
        InputError, match=r"no window of .* lies in train_bands and latitudes; widen"
    ):
        crop(crops, 0)


# The validation grid


def grid(bands: list[tuple[float, float]], **changes: object) -> list[tuple[slice, slice]]:
    settings = {"size": 32, "stride": 16, "min_land": 0.3} | changes
    return grid_windows(mosaics(), bands, (-58, 70), **settings)  # type: ignore[arg-type]


def test_the_grid_covers_its_bands() -> None:
    windows = grid([(-72, -44), (0, 32)])
    rows = len(range(0, 256 - 31, 16))  # 128 degrees are 256 rows
    assert len(windows) == rows * (len(range(0, 56 - 31, 16)) + len(range(0, 64 - 31, 16)))
    assert all(w.stop - w.start == 32 for window in windows for w in window)
    for rows, columns in windows:
        assert rows.start >= 40 and rows.stop <= 296
        assert (columns.start >= 216 and columns.stop <= 272) or (
            columns.start >= 360 and columns.stop <= 424
        )


def test_the_grid_leaves_out_the_sea() -> None:
    pair = mosaics()
    pair.land[:, :400] = False
    windows = grid_windows(pair, [(0, 180)], (-58, 70), size=32, stride=16, min_land=0.5)
    assert windows and all(columns.start + 16 >= 400 for _, columns in windows)


# The files


def test_land_is_what_is_far_from_the_seas_colour(tmp_path: Path) -> None:
    image = np.full((4, 8, 3), SEA, np.uint8)
    image[0, 0] = (160, 200, 250)  # 25 off in one channel
    image[0, 1] = (136, 224, 249)  # 24 in each
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(image).save(tmp_path / "b.png")
    pair = MosaicPair.open(tmp_path / "a.png", tmp_path / "b.png", [SEA], 24)
    assert pair.land.sum() == 1 and pair.land[0, 0]
    Image.fromarray(np.full((4, 8, 3), SEA, np.uint8)).save(tmp_path / "b.png")
    assert not MosaicPair.open(
        tmp_path / "a.png", tmp_path / "b.png", [SEA], 24, "target"
    ).land.any()


def test_the_sea_may_have_several_colours(tmp_path: Path) -> None:
    image = np.array([[(160, 200, 225), (100, 140, 200), (130, 170, 212), (0, 0, 0)]], np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(image).save(tmp_path / name)
    pair = MosaicPair.open(
        tmp_path / "a.png", tmp_path / "b.png", [(160, 200, 225), (101, 139, 200)], 1
    )
    assert pair.land.tolist() == [[False, False, True, True]]


def test_longitudes_and_latitudes_are_pixels() -> None:
    pair = mosaics()
    assert [pair.column(longitude) for longitude in (-180, 0, 180)] == [0, 360, 720]
    assert [pair.row(latitude) for latitude in (90, 0, -90)] == [0, 180, 360]
    assert pair.rows((70, -58)) == pair.rows((-58, 70)) == (40, 296)


def test_mosaics_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    a, b = tmp_path / "map.png", tmp_path / "aerial.png"
    with pytest.raises(InputError, match=r"map\.png: there is no such file; the recipe trains on"):
        MosaicPair.open(a, b, [SEA], 24)
    Image.new("RGB", (8, 4)).save(a)
    Image.new("RGB", (10, 5)).save(b)
    with pytest.raises(InputError, match=r"aerial\.png: its size differs from that of .*map\.png"):
        MosaicPair.open(a, b, [SEA], 24)
    whole = a.read_bytes()
    for damaged in (whole[:40], b"words", whole.replace(b"IDAT", b"+\7\xda\xc8")):
        b.write_bytes(damaged)
        with pytest.raises(InputError, match=r"aerial\.png: cannot be read as an image"):
            MosaicPair.open(a, b, [SEA], 24)


def test_mosaics_may_be_larger_than_what_pillow_warns_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (16, 8)).save(tmp_path / name)
    assert MosaicPair.open(tmp_path / "a.png", tmp_path / "b.png", [SEA], 24).a.shape == (8, 16, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
