"""What samples mean to a generator, as bundles say it and as people do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.cli import main
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.value_ranges import (
    LIMITS,
    BandRange,
    ValueRange,
    eight_bits,
    parse_ranges,
)
from tests.conftest import save_bundle

RADAR = ValueRange(
    "float32", (BandRange(0.001, 1.0, "log", "VV"), BandRange(0.0005, 0.5, "log", "VH")), -9999.0
)


@st.composite
def ranges(draw: st.DrawFn) -> ValueRange:
    dtype = draw(st.sampled_from(sorted(LIMITS)))
    least, most = (max(-1e6, LIMITS[dtype][0]), min(1e6, LIMITS[dtype][1]))
    bands = []
    for number in range(draw(st.integers(1, 4))):
        low = draw(st.integers(int(least), int(most) - 1))
        high = draw(st.integers(low + 1, int(most)))
        scale = draw(st.sampled_from(["linear", "log"])) if low > 0 else "linear"
        name = draw(st.sampled_from(["", f"B{number}"]))
        percentiles = draw(st.sampled_from([None, (0.5, 99.5)]))
        bands.append(BandRange(low, high, scale, name, percentiles))
    return ValueRange(dtype, tuple(bands), draw(st.sampled_from([None, 0.0])))


@given(side=ranges())
def test_metadata_comes_back_from_json(side: ValueRange) -> None:
    architecture = Architecture(side.channels, 1, downs=5)
    info = BundleInfo("x", architecture, input_range=side)
    assert BundleInfo.from_json(info.as_json()) == info
    assert json.loads(info.as_json())["schema"] == 3


def test_old_bundles_say_nothing_and_mean_eight_bits() -> None:
    info = BundleInfo("x", Architecture())
    told = json.loads(info.as_json())
    assert told["schema"] == 1 and not {"input_range", "output_range", "labels"} & told.keys()
    assert info.ranges == (eight_bits(3), eight_bits(3)) and info.ranges.input.is_picture


@given(side=ranges(), seed=st.integers(0, 99))
def test_values_are_levels_by_the_definition(side: ValueRange, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (5, 7, side.channels)
    lows, highs = ([getattr(b, end) for b in side.bands] for end in ("low", "high"))
    values = random.uniform(lows, highs, shape)
    values = (np.rint(values) if side.is_whole else values).astype(side.dtype)
    levels = side.to_levels(values)
    for index, band in enumerate(side.bands):
        for value, level in zip(values[..., index].flat, levels[..., index].flat, strict=True):
            if band.scale == "log":
                ends = math.log(band.low), math.log(band.high)
                share = (math.log(value) - ends[0]) / (ends[1] - ends[0])
                # float32 rounds logarithms, and little lies between those of a narrow range
                slack = 2**-21 * max(map(abs, ends)) / (ends[1] - ends[0])
            else:
                slack = 0.0
                share = (float(value) - band.low) / (band.high - band.low)
            assert level == pytest.approx(2 * min(1, max(0, share)) - 1, abs=1e-6 + slack)
    back = side.to_values(levels)
    assert back.dtype == side.dtype
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-3)


def test_values_beyond_the_range_count_as_its_ends() -> None:
    side = ValueRange("int16", (BandRange(-100, 300),))
    levels = side.to_levels(np.array([[-32768], [-100], [100], [300], [32767]], np.int16))
    assert levels[:, 0].tolist() == [-1, -1, 0, 1, 1]
    assert side.to_values(np.array([[-3.0], [0.0], [3.0]]))[:, 0].tolist() == [-100, 100, 300]
    radar = RADAR.to_levels(np.array([[0.0, -5.0], [7.0, 0.0005]], np.float32))
    assert radar.tolist() == [[-1, -1], [1, pytest.approx(-1, abs=1e-6)]]


def test_what_is_given_for_no_data_is_level_zero() -> None:
    side = ValueRange("uint16", (BandRange(0, 10000), BandRange(100, 10000, "log")))
    assert side.fills == (5000, 1000)
    assert np.abs(side.to_levels(np.array(side.fills, np.uint16))).max() < 1e-3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"bands": ()}, "must be a band"),
        ({"bands": (BandRange(0, 70000),)}, "beyond uint16"),
        ({"bands": (BandRange(-1, 10),)}, "beyond uint16"),
        ({"bands": (BandRange(0.2, 0.8),)}, "holds no value of uint16"),
        ({"bands": (BandRange(name="a"), BandRange(name="a"))}, "the same name"),
        ({"nodata": -1}, "nodata must be a number of uint16"),
        ({"nodata": 0.5}, "nodata must be a whole number"),
        ({"nodata": math.nan}, "nodata must be a number"),
    ],
)
def test_ranges_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ValueRange(**{"dtype": "uint16", "bands": (BandRange(),), **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"low": 5, "high": 5}, "low must be below high"),
        ({"low": math.nan}, "low must be a number"),
        ({"high": math.inf}, "high must be a number"),
        ({"low": 0, "scale": "log"}, "above 0"),
        ({"scale": "sqrt"}, "scale must be one of"),
        ({"percentiles": (99, 1)}, "percentiles"),
    ],
)
def test_bands_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BandRange(**values)


def test_the_bands_must_be_the_generators() -> None:
    with pytest.raises(ValueError, match="input_range has 2 bands, the generator 4"):
        BundleInfo("x", Architecture(4, 1), input_range=RADAR)


# What people say


def test_later_words_go_before_earlier_ones() -> None:
    names = ["B2", "B3", "B4", "B8"]
    side = parse_ranges(
        ["all=0:10000", "2-3=0:8000", "B8=100:12000:log"], 4, dtype="uint16", names=names
    )
    assert [(b.low, b.high, b.scale, b.name) for b in side.bands] == [
        (0, 10000, "linear", "B2"),
        (0, 8000, "linear", "B3"),
        (0, 8000, "linear", "B4"),
        (100, 12000, "log", "B8"),
    ]
    again = parse_ranges(["B3=5:6"], 4, before=side)
    assert again.dtype == "uint16" and again.bands[1] == BandRange(5, 6, name="B3")
    assert again.bands[0] == side.bands[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1=0"], "a range is BAND=LOW:HIGH"),
        (["0:100"], "there is no band ''"),
        (["5=0:1"], "there is no band '5': it has 4 bands"),
        (["B9=0:1"], "there is no band 'B9'"),
        (["3-2=0:1"], "comes after the last"),
        (["1=5:1"], "low must be below high"),
        (["1=0:5:cube"], "scale must be one of"),
        (["1-3=0:5"], "no range is given for band 4"),
        (["all=0:1e9"], "beyond uint16"),
    ],
)
def test_words_that_say_no_range(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_ranges(words, 4, dtype="uint16")


def test_a_number_that_is_another_bands_name_is_refused() -> None:
    names = ["3", "2", "4"]
    words = ["all=0:1", "2=0:20", "4=0:40"]  # which are the number and the name, and a name alone
    side = parse_ranges(words, 3, dtype="uint16", names=names)
    assert [band.high for band in side.bands] == [1, 20, 40]
    for word in ("3=0:9", "1-3=0:9"):
        with pytest.raises(ValueError, match="band 3 is not the one that is called 3"):
            parse_ranges([word], 3, before=side)


def test_ranges_are_set_on_a_bundle_and_shown(tmp_path: Path) -> None:
    file = save_bundle(tmp_path / "four.safetensors", in_channels=4, out_channels=1)
    before = dict(bundle.load(file)[1].state_dict())
    words = ["--range", "all=0:10000", "--range", "NIR=0:20000", "--dtype", "uint16"]
    words += ["--bands", "R,G,B,NIR", "--nodata", "0"]
    ran = CliRunner().invoke(main, ["model", "calibrate", str(file), *words])
    assert ran.exit_code == 0, ran.output
    info, net = bundle.load(file)
    assert info.input_range is not None and info.input_range.names == ("R", "G", "B", "NIR")
    assert (info.input_range.nodata, info.output_range) == (0, None)
    assert all((value == before[key]).all() for key, value in net.state_dict().items())
    shown = CliRunner().invoke(main, ["model", "show", str(file)]).output
    assert "band 4: NIR: 0 to 20000" in shown and "no data: 0" in shown
    json_ = json.loads(CliRunner().invoke(main, ["model", "show", str(file), "--json"]).output)
    assert json_["input_range"]["bands"][3]["high"] == 20000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give DATA to learn distances from, or what samples mean"),
        (["--range", "all=0:10000"], "type is not known"),
        (["--output-range", "2=0:1", "--output-dtype", "float32"], "there is no band '2'"),
    ],
)
def test_calibrate_says_what_is_missing(tmp_path: Path, words: list[str], said: str) -> None:
    file = save_bundle(tmp_path / "four.safetensors", in_channels=4, out_channels=1)
    ran = CliRunner().invoke(main, ["model", "calibrate", str(file), *words])
    assert ran.exit_code and said in ran.output, ran.output


def test_a_bundle_without_the_ranges_it_needs_asks_for_them(tmp_path: Path) -> None:
    file = save_bundle(tmp_path / "six.safetensors", in_channels=6)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    words = ["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(file)]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code and "has 6 input channels" in ran.output, ran.output
    assert f"model calibrate {file} --range" in ran.output


def test_a_newer_bundle_asks_for_an_upgrade() -> None:
    text = BundleInfo("x", Architecture()).as_json().replace('"schema": 1', '"schema": 4')
    with pytest.raises(ValueError, match="upgrade pix2pix-batch"):
        BundleInfo.from_json(text)


def test_damaged_ranges_are_named(tmp_path: Path) -> None:
    file = save_bundle(tmp_path / "m.safetensors", in_channels=1, out_channels=1)
    info = bundle.read_info(file)
    side = ValueRange("uint16", (BandRange(0, 10000),))
    bundle.change_info(file, BundleInfo(**{**info.__dict__, "input_range": side}))
    file.write_bytes(file.read_bytes().replace(b"uint16", b"uint61"))
    with pytest.raises(BundleError, match="dtype must be one of"):
        bundle.read_info(file)
