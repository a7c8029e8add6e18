"""Pictures on the report's page are of what the job took, however tolerant it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pix2pix_batch.reporting.thumbnail import Thumbnail, thumbnails
from tests.end_to_end.command import put


def test_damaged_and_very_large_images_are_shown(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    whole = put(tmp_path / "whole.jpg", size=(200, 150))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:-400])
    large = tmp_path / "large.png"
    Image.new("1", (9500, 9500)).save(large)
    found = thumbnails([str(cut), str(large)], 100_000)
    assert [(one.width, one.height) for one in found.values() if isinstance(one, Thumbnail)] == [
        (200, 150),
        (9500, 9500),
    ], found
    assert not recwarn.list
