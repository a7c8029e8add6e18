"""Reading files, and what is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pix2pix_batch.errors import ImageError
from pix2pix_batch.storage import files, local


def test_a_file_that_pretends_to_be_huge(tmp_path: Path) -> None:
    """A sparse file of 4 TB costs nothing on disk."""
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(ImageError, match="larger than"):
        files.read_file(str(tmp_path / "a.png"))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, Path("/dev/zero")):
        with pytest.raises(ImageError, match=r"not a regular file|Is a directory"):
            files.read_file(str(path))
    for path in (str(tmp_path / "absent"), "a\0b", "nosuch://x", "http://["):
        with pytest.raises(ImageError):
            files.read_file(path)
    assert local.file_size("a\0b") == 0
    with pytest.raises(ImageError, match="is a directory; name the files in it"):
        files.stamp_of(str(tmp_path))


def test_what_is_no_file_does_not_stay_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path / "pipe.png", tmp_path):
        with pytest.raises(ImageError):
            files.read_file(str(path))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("raster", "name", "content", "other"),
    [
        ("a.tif", "a.tif.msk", b"1", b"22"),
        ("a.img", "a.hdr", b"byte order = 0", b"byte order =  1"),
        ("a", "a.hdr", b"byte order = 0", b"byte order =  1"),
        ("a.DAT", "a.hdr", b"byte order = 0", b"byte order =  1"),
        ("a.img", "a.img.hdr", b"byte order = 0", b"byte order =  1"),
        (
            "a.jp2",
            "a.jp2.aux.xml",
            b"<Description>B2</Description>",
            b"<Description>B3</Description>",
        ),
        (
            "a.tif",
            "a.tif.aux.xml",
            b"<NoDataValue>0</NoDataValue>",
            b"<NoDataValue>1</NoDataValue>",
        ),
    ],
)
def test_a_raster_changes_with_what_lies_beside_it(
    tmp_path: Path, raster: str, name: str, content: bytes, other: bytes
) -> None:
    path, beside = tmp_path / raster, tmp_path / name
    path.write_bytes(b"pixels")
    stamps = [files.stamp_of(str(path))]
    for found in (content, other):
        beside.write_bytes(found)
        stamps.append(files.stamp_of(str(path)))
        assert files.read_file(str(path))[1] == stamps[-1]
    assert len(set(stamps)) == 3
    beside.unlink()
    assert files.stamp_of(str(path)) == stamps[0]


def test_statistics_beside_a_raster_change_nothing(tmp_path: Path) -> None:
    """QGIS writes them when it shows a file; so do masks beside what is no raster."""
    raster, picture = tmp_path / "a.tif", tmp_path / "a.png"
    raster.write_bytes(b"1")
    picture.write_bytes(b"2")
    before = [files.stamp_of(str(path)) for path in (raster, picture)]
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><MDI>STATISTICS_MEAN</MDI></PAMDataset>")
    (tmp_path / "a.png.msk").write_bytes(b"3")
    assert before == [files.stamp_of(str(path)) for path in (raster, picture)]


def test_a_vrts_names_may_count_from_where_the_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gdalbuildvrt writes them of files that do not lie below the VRT."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    mosaic, tile = tmp_path / "in/all.vrt", tmp_path / "tile.tif"
    mosaic.write_text('<SourceFilename relativeToVRT="0">tile.tif</SourceFilename>')
    stamps = []
    for content in (b"1", b"22"):
        tile.write_bytes(content)
        stamps.append(files.stamp_of(str(mosaic)))
    assert stamps[0] != stamps[1]


def test_a_vrt_changes_with_the_files_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    tile, mosaic, whole = (tmp_path / name for name in ("tiles/a&b.tif", "row.vrt", "all.vrt"))
    tile.write_bytes(b"1")
    mosaic.write_text(
        '<VRTDataset><SourceFilename relativeToVRT="1">tiles/a&amp;b.tif</SourceFilename>'
    )
    whole.write_text(f"<VRTDataset><SourceDataset>{mosaic}</SourceDataset><SourceFilename/>")

    def stamps() -> list[str]:
        return [files.stamp_of(str(path)) for path in (mosaic, whole)]

    before = stamps()
    assert before == stamps() == [files.read_file(str(path))[1] for path in (mosaic, whole)]
    os.utime(tile, ns=(1, 1))
    touched = stamps()
    tile.unlink()
    assert all(len(set(one)) == 3 for one in zip(before, touched, stamps(), strict=True))
    mosaic.write_text(f"<SourceFilename>{mosaic}</SourceFilename>")  # of itself
    assert stamps()[0] == stamps()[0]
