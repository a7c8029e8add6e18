"""EXIF, XMP and IPTC of outputs that are written as rasters, as tifffile and GDAL read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from pix2pix_batch.imaging.metadata.descriptions import IPTC_TAG, jpeg_segment
from pix2pix_batch.imaging.metadata.exif import HEADER, select_fields
from pix2pix_batch.imaging.metadata.tiff import Field, Tiff, add_fields_to_file, xmp_field
from pix2pix_batch.inference import large_images
from tests.identity import save_identity, whole_range
from tests.pix2pix_batch.inference.test_rasters import convert, read

pytestmark = [
    pytest.mark.usefixtures("one_thread", "family"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/'
    b'1.0/" photoshop:Credit="C\xc3\xa9line = all"/></rdf:RDF></x:xmpmeta>'
)
CAPTION = b"\x1c\x02\x78\x00\x05field"


def make_input(path: Path) -> np.ndarray:
    """One band of 16 bits, with overviews and a mask; ``(H, W, 1)``."""
    pixels = np.arange(1, 600 * 8, 8).reshape(20, 30).astype(np.uint16)
    exif = Image.Exif()
    exif[315], exif[33432] = "Ann", "mine"  # artist, copyright
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"  # when it was taken
    exif.get_ifd(0x8825)[2] = (47.0, 30.0, 0.0)  # latitude
    Image.fromarray(pixels).save(path, "TIFF")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(pixels > 100)
        file.build_overviews([2])
    block = select_fields(Tiff(exif.tobytes().removeprefix(HEADER)))
    add_fields_to_file(path, {**block, **xmp_field(XMP), IPTC_TAG: Field(7, CAPTION)})
    return pixels[:, :, None]


@pytest.mark.parametrize("creation", [(), ("BIGTIFF=YES",), ("ENDIANNESS=BIG",)])
@pytest.mark.parametrize("is_large", [False, True])
def test_geotiffs_keep_all(
    tmp_path: Path, creation: tuple[str, ...], is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    pixels = make_input(tmp_path / "a.tif")
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    given = {"creation_option": creation, "keep_exif": True}
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.tif", **given).values()
    assert (record.status, record.warning) == ("done", "")
    made = tmp_path / "out" / "a.tif"
    with tifffile.TiffFile(made) as file:
        assert file.is_bigtiff == (creation == ("BIGTIFF=YES",))
        assert file.byteorder == (">" if creation == ("ENDIANNESS=BIG",) else "<")
        tags = file.pages[0].tags  # type: ignore[union-attr]
        assert (tags["Artist"].value, tags["Copyright"].value) == ("Ann", "mine")
        assert tags["ExifTag"].value["DateTimeOriginal"] == "2026:01:02 03:04:05"
        assert tags["GPSTag"].value["GPSLatitude"] == (47, 1, 30, 1, 0, 1)
        assert "Céline = all".encode() in bytes(tags[700].value)
        assert bytes(tags[IPTC_TAG].value).endswith(CAPTION)
    with rasterio.open(made) as out, rasterio.open(tmp_path / "a.tif") as source:
        assert out.overviews(1) == [2]
        assert np.array_equal(out.dataset_mask(), source.dataset_mask())
        valid = source.dataset_mask() > 0
        assert np.abs(read(made)[valid].astype(int) - pixels[valid]).max() <= 1


@pytest.mark.parametrize("is_large", [False, True])
def test_what_a_cog_has_no_place_for_is_told(
    tmp_path: Path, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_large:
        monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    make_input(tmp_path / "a.tif")
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    given = {"form": "cog", "keep_exif": True}
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.tif", **given).values()
    assert record.warning == "some of its EXIF and IPTC are not kept: cog has no place for them"
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        assert file.tags()["TIFFTAG_ARTIST"] == "Ann"
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as file:
        packet = bytes(file.pages[0].tags[700].value)  # type: ignore[union-attr]
    assert packet.startswith(b"<?xpacket begin=") and "Céline = all".encode() in packet


def test_arrays_of_numpy_keep_nothing_and_it_is_told(tmp_path: Path) -> None:
    make_input(tmp_path / "a.tif")
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    for keep, warning in (
        (True, "its EXIF, XMP and IPTC are not kept: npy has no place for them"),
        (False, ""),
    ):
        given = {"form": "npy", "keep_exif": keep}
        (record,) = convert(tmp_path / f"{keep}", model, tmp_path / "a.tif", **given).values()
        assert (record.status, record.warning) == ("done", warning)


def test_exif_of_a_jpeg_that_is_read_as_a_raster_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[315] = "Ann"
    image = Image.new("RGB", (40, 30), (9, 99, 200))
    image.save(tmp_path / "a.jpg", exif=exif, extra=jpeg_segment(CAPTION))
    model = save_identity(tmp_path / "m.safetensors", None, whole_range("uint8", 3))
    given = {"bands": "3,2,1", "keep_exif": True, "form": "png"}
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.jpg", **given).values()
    assert record.warning == "its IPTC is not kept: png has no place for it"
    with Image.open(tmp_path / "out" / "a.png") as made:
        assert made.getexif()[315] == "Ann"
