"""The numbers that describe a generator, and which of them are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.generators.unet import MAX_DOWNS, MIN_DOWNS, Architecture

DOWNS = st.integers(MIN_DOWNS, MAX_DOWNS)


def test_default_is_the_papers_generator() -> None:
    architecture = Architecture()
    widths = [architecture.width(block) for block in range(architecture.downs)]
    assert widths == [64, 128, 256, 512, 512, 512, 512, 512]
    assert architecture.multiple == 256
    assert architecture.norm == "batch-statistics"
    assert architecture.skips


@given(downs=DOWNS, ngf=st.integers(1, 1024))
def test_dropout_is_in_the_full_width_blocks_but_the_innermost(downs: int, ngf: int) -> None:
    architecture = Architecture(downs=downs, ngf=ngf)
    blocks = architecture.dropout_blocks
    assert len(blocks) == downs - 5
    assert list(blocks) == sorted(blocks, reverse=True)
    assert downs - 1 not in blocks
    assert all(architecture.width(block - 1) == 8 * ngf for block in blocks)
    assert Architecture(downs=downs, ngf=ngf, dropout=False).dropout_blocks == ()


def test_mask_shapes_of_a_256_pixel_image() -> None:
    shapes = Architecture().mask_shapes(256, 512)
    assert shapes == [(512, 4, 8), (512, 8, 16), (512, 16, 32)]


@given(downs=DOWNS, ngf=st.integers(1, 1024))
def test_without_skips_widths_masks_and_dropout_stay(downs: int, ngf: int) -> None:
    """What decoder blocks take in is less; what they put out is the same."""
    with_skips, without = (
        Architecture(downs=downs, ngf=ngf, skips=skips) for skips in (True, False)
    )
    side = with_skips.multiple
    assert with_skips.mask_shapes(side, side) == without.mask_shapes(side, side)
    assert with_skips.dropout_blocks == without.dropout_blocks
    assert [with_skips.width(i) for i in range(downs)] == [without.width(i) for i in range(downs)]


@pytest.mark.parametrize(
    ("norm", "bias"),
    [
        ("batch-statistics", False),
        ("running-statistics", False),
        ("instance", True),
        ("none", True),
    ],
)
def test_convolutions_have_biases_where_no_shift_follows(norm: str, bias: bool) -> None:
    assert Architecture(norm=norm).conv_bias is bias


@given(
    in_channels=st.integers(1, 64),
    out_channels=st.integers(1, 64),
    downs=DOWNS,
    ngf=st.integers(1, 1024),
    norm=st.sampled_from(["batch-statistics", "running-statistics", "instance", "none"]),
    dropout=st.booleans(),
    skips=st.booleans(),
)
def test_as_dict_round_trips(**values: object) -> None:
    architecture = Architecture(**values)
    assert architecture.as_dict() == values
    assert Architecture(**architecture.as_dict()) == architecture


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("downs", 4),
        ("downs", 11),
        ("downs", 8.0),
        ("downs", "8"),
        ("ngf", 0),
        ("ngf", 1025),
        ("ngf", True),
        ("in_channels", 0),
        ("in_channels", 65),
        ("out_channels", -3),
        ("out_channels", None),
        ("norm", "batch"),
        ("norm", None),
        ("norm", []),
        ("dropout", 1),
        ("dropout", "yes"),
        ("skips", 0),
        ("skips", None),
    ],
)
def test_refuses_what_no_generator_has(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Architecture(**{field: value})


def test_needs_no_torch() -> None:
    code = "import sys, pix2pix_batch.generators.unet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
