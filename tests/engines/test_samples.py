"""Images that engines are checked on: those that people have, without what systems leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2pix_batch.engines import samples
from pix2pix_batch.errors import InputError
from pix2pix_batch.value_ranges import eight_bits


def test_what_systems_leave_is_no_sample(tmp_path: Path) -> None:
    for number, place in enumerate(("a.png", "@eaDir/a.png", ".thumbnails/a.png", "._a.png")):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (10 * number,) * 3).save(path)
    deep = np.full((8, 8), 200 << 8, np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, byteorder=">", compression="lzw")
    found = samples.read_samples(tmp_path, 8, eight_bits(3))
    assert found.shape == (2, 8, 8, 3)
    assert [int(image.mean()) for image in found] == [0, 200]


def test_where_none_is(tmp_path: Path) -> None:
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    with pytest.raises(InputError, match="holds no image"):
        samples.read_samples(tmp_path, 8, eight_bits(3))
