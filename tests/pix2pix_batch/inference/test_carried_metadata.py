"""What goes with an output: GDAL must see it where it sees the input, whatever lies beside both."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from pix2pix_batch.imaging import images, sidecars
from pix2pix_batch.imaging.metadata.georeference import GeoTiff, Turn
from pix2pix_batch.imaging.metadata.tiff import Tiff
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.inference import carried_metadata
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from tests.end_to_end.command import picture
from tests.formats import PICTURE_FORMATS

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

OWN = Affine(0.5, 0, 500000, 0, -0.5, 4650000)
WORLD = b"2\n0\n0\n-2\n300001\n4000001\n"
SRS = b"<SRS>EPSG:32634</SRS>"
TRANSFORM = b"<GeoTransform>1, 3, 0, 2, 0, -3</GeoTransform>"
BANDS = b'<PAMRasterBand band="1"><NoDataValue>1</NoDataValue></PAMRasterBand>'
AUXILIARIES = {
    "no aux": None,
    "bands": BANDS,
    "system": SRS + BANDS,
    "transform": TRANSFORM + BANDS,
    "both": SRS + TRANSFORM,
}

SETTINGS = Settings(
    model="", fingerprint="", out="", fit="tile", size=64, quality=90, batch_size=1, device="cpu",
    precision="fp32", noise=False, seed=0, georeference=True,
)  # fmt: skip


def put(path: Path, georeferenced: bool) -> None:
    if path.suffix != ".tif":
        picture(9, 7).save(path)
        return
    shape = {"width": 9, "height": 7, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    where = {"crs": "EPSG:32633", "transform": OWN} if georeferenced else {}
    with rasterio.open(path, "w", driver="GTiff", **shape, **where) as file:
        file.write(np.asarray(picture(9, 7)).transpose(2, 0, 1))


def converted(path: Path, out: Path, form: str, settings: Settings = SETTINGS) -> Path:
    """As converting does it, with the model left out."""
    output = path.stem + OUTPUT_FORMATS[form].suffix
    beside = sidecars.list_sidecars(str(path), path.parent)
    item = Item(str(path), path.name, output, form, beside)
    data = path.read_bytes()
    seen = images.read(data, 3)
    kept = carried_metadata.collect(data, seen, settings)
    (out / output).write_bytes(images.write(seen, form, 90, kept.exif, kept.fields))
    made = list(carried_metadata.list_sidecar_outputs(item, kept, output))
    names = [sidecar.name for sidecar in made]
    assert len(set(names)) == len(names)
    assert set(names) <= set(sidecars.outputs(str(path), beside, output, form))
    for sidecar in made:
        (out / sidecar.name).write_bytes(sidecar.data)
    return out / output


@pytest.mark.parametrize("form", PICTURE_FORMATS)
@pytest.mark.parametrize("auxiliary", AUXILIARIES)
@pytest.mark.parametrize("kind", [".tif", ".png", ".jpg", "plain .tif"])
def test_gdal_sees_the_output_where_it_sees_the_input(
    tmp_path: Path, kind: str, auxiliary: str, form: str
) -> None:
    path = tmp_path / f"a{kind[-4:]}"
    put(path, kind == ".tif")
    worlds = list(itertools.product((False, True), repeat=2))
    if auxiliary in ("transform", "both"):  # GDAL's drivers differ in which they take then
        worlds = worlds[:1]
    for number, world in enumerate(worlds):
        out = tmp_path / str(number)
        out.mkdir()
        for suffix, is_there in zip(
            (sidecars.world_name(path.name)[1:], ".wld"), world, strict=True
        ):
            beside = path.with_suffix(suffix)
            beside.unlink(missing_ok=True)
            if is_there:
                beside.write_bytes(WORLD if suffix == ".wld" else WORLD.replace(b"2\n0", b"5\n0"))
        if (inside := AUXILIARIES[auxiliary]) is not None:
            text = b"<PAMDataset>" + inside + b"</PAMDataset>"
            path.with_name(path.name + ".aux.xml").write_bytes(text)
        made = converted(path, out, form)
        with rasterio.open(path) as given, rasterio.open(made) as seen:
            assert (seen.crs, seen.transform) == (given.crs, given.transform), world
            assert seen.nodata is None


def test_polynomials_stay_in_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    ones = [1.0, *[0.0] * 19]
    rpc = RPC(0, 1, 10, 1, ones, ones, 3, 7, 20, 1, ones, ones, 4, 9, 0.1, 0.1)
    shape = {"width": 9, "height": 7, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, rpcs=rpc) as file:
        file.write(np.zeros((3, 7, 9), np.uint8))
    out = tmp_path / "out"
    out.mkdir()
    with rasterio.open(path) as given, rasterio.open(converted(path, out, "tiff")) as seen:
        assert seen.rpcs is not None
        assert seen.rpcs.to_dict() == given.rpcs.to_dict()
    geo = GeoTiff(Tiff(path.read_bytes()))
    assert geo.fields
    assert geo.select_fields(Turn(2, 9, 7)) == {}


def test_more_exif_than_jpeg_holds() -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    buffer = io.BytesIO()
    picture().save(buffer, "PNG", exif=exif)
    data = buffer.getvalue()
    seen = images.read(data, 3)
    settings = Settings(**{**vars(SETTINGS), "keep_exif": True})
    kept = carried_metadata.collect(data, seen, settings)
    with pytest.raises(ValueError, match="EXIF data is too long"):
        images.write(seen, "jpg", 90, kept.exif, kept.fields)
    with Image.open(io.BytesIO(images.write(seen, "webp", 90, kept.exif))) as image:
        assert image.getexif()[0x010E] == "x" * 70_000


@pytest.mark.parametrize("gml", ["YES", "NO"])
@pytest.mark.parametrize("tiff", ["YES", "NO"])
def test_a_place_that_gml_alone_tells_is_told_not_to_be_kept(
    tmp_path: Path, gml: str, tiff: str
) -> None:
    path = tmp_path / "a.jp2"
    shape = {"width": 9, "height": 7, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", crs="EPSG:32633", transform=OWN, REVERSIBLE="YES",
        QUALITY="100", GMLJP2=gml, GeoJP2=tiff, **shape,
    ) as file:  # fmt: skip
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        file.write(np.zeros((3, 7, 9), np.uint8))
    data = path.read_bytes()
    kept = carried_metadata.collect(data, images.read(data, 3), SETTINGS)
    assert ("GMLJP2" in kept.remark) == ((gml, tiff) == ("YES", "NO"))


@pytest.mark.parametrize("form", ["tiff", "png", "jpg"])
def test_gdal_sees_the_output_of_a_jpeg_2000_file_where_it_sees_that(
    tmp_path: Path, form: str
) -> None:
    path, out = tmp_path / "a.jp2", tmp_path / "out"
    out.mkdir()
    shape = {"width": 9, "height": 7, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", crs="EPSG:32633", transform=OWN, REVERSIBLE="YES",
        QUALITY="100", **shape,
    ) as file:  # fmt: skip
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        file.write(np.asarray(picture(9, 7)).transpose(2, 0, 1))
    with rasterio.open(path) as given, rasterio.open(converted(path, out, form)) as seen:
        assert given.transform == OWN == seen.transform
        assert given.crs == seen.crs
