"""Which value for no data a file of the model's type can have, of the bands that were read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pix2pix_batch.imaging.raster.samples import find_common_nodata
from pix2pix_batch.value_ranges import BandRange, ValueRange


@pytest.mark.parametrize(
    ("dtype", "values", "held"),
    [
        ("uint16", (0.0, 0.0), 0.0),
        ("uint16", (0.0, 1.0), None),
        ("uint16", (0.0, None), None),
        ("uint16", (None, None), None),
        ("uint16", (-9999.0, -9999.0), None),
        ("int16", (-9999.0, -9999.0), -9999.0),
        ("int16", (0.5, 0.5), None),
        ("int16", (math.nan, math.nan), None),
        ("float32", (math.nan, math.nan), math.nan),
        ("float32", (-9999.1, -9999.1), float(np.float32(-9999.1))),
        ("float32", (-math.inf, -math.inf), -math.inf),
        ("float32", (-1.7e308, -1.7e308), None),
    ],
)
def test_value_for_no_data_that_bands_have_in_common(
    dtype: str, values: tuple[float | None, ...], held: float | None
) -> None:
    found = find_common_nodata(values, ValueRange(dtype, (BandRange(0, 1),) * 2))
    assert repr(found) == repr(held)
