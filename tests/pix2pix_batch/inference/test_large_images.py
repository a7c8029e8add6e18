"""Images that do not fit in memory: as those that do, to the bit, whenever a process dies."""

from __future__ import annotations

import errno
import os
import tracemalloc
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.generators import ResNet
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.raster import streaming
from pix2pix_batch.imaging.raster.pieces import Piece, PieceStore
from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.reading import open_raster
from pix2pix_batch.imaging.raster.streaming import StreamedTiles
from pix2pix_batch.imaging.tiling import Tiles
from pix2pix_batch.inference import fitting, large_images
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.item import Item
from pix2pix_batch.journal.events import Returned
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import PART
from tests.conftest import save_bundle
from tests.contrast import fill_with_contrast
from tests.end_to_end import command
from tests.identity import save_identity, whole_range
from tests.pix2pix_batch.inference.test_rasters import (
    PLACE,
    UTM,
    convert,
    draw,
    read,
    settings_of,
    write,
)

pytestmark = pytest.mark.usefixtures("one_thread", "family")


def save_model_and_image(folder: Path, size: tuple[int, int]) -> tuple[Path, Path]:
    """A model that changes nothing, of one band of 16 bits, and a random image for it."""
    model = save_identity(folder / "m.safetensors", whole_range("uint16", 1))
    return model, write(folder / "a.tif", draw((*size, 1)))


@pytest.fixture
def read_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No raster fits in memory."""
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)


@settings(max_examples=30)
@given(
    height=st.integers(1, 200), width=st.integers(1, 200), side=st.sampled_from([16, 20, 64]),
    panel=st.sampled_from([1, 5000, 1 << 26]), stop=st.integers(0, 300), seed=st.integers(0, 9),
)  # fmt: skip
def test_windows_are_the_tiles_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, side: int, panel: int,
    stop: int, seed: int,
) -> None:  # fmt: skip
    """Wherever it is stopped, and gone on with."""
    folder = tmp_path_factory.mktemp("windows")
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 65536, (height, width, 2)).astype(np.uint16)
    np.save(folder / "a.npy", pixels)

    def translate(index: int, tile: np.ndarray) -> np.ndarray:
        return (tile // 3 + index * 17).astype(np.uint16)

    whole = Tiles(pixels, side)
    for index, tile in enumerate(whole):
        whole.add_tile(index, translate(index, tile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "PANEL", panel)
        for most in (stop, 1 << 30):
            store = PieceStore(folder / "parts")
            raster = open_raster(str(folder / "a.npy"), "a.npy", whole_range("uint16", 2))
            tiles = StreamedTiles(raster, side, store)
            for index, tile in list(tiles.list_numbered())[:most]:
                tiles.squared_distances.append(float(index))
                tiles.add_tile(index, translate(index, tile))
    assert tiles.all_squared_distances() == list(range(len(whole)))
    count = tiles.rows.count
    cuts = [0, *sorted(random.integers(0, count + 1, 2).tolist()), count]
    store, parts = PieceStore(folder / "others"), list(pairwise(cuts))
    for place in random.permutation(3):  # as several workers make it, in any order
        raster = open_raster(str(folder / "a.npy"), "a.npy", whole_range("uint16", 2))
        some = StreamedTiles(raster, side, store, some=parts[place])
        for index, tile in some.list_numbered():
            some.squared_distances.append(float(index))
            some.add_tile(index, translate(index, tile))
    for number in range(count):
        one, other = store.read(number), tiles.store.read(number)
        assert one is not None and other is not None
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.squared_distances, other.squared_distances)
    raster = open_raster(str(folder / "a.npy"), "a.npy", whole_range("uint16", 2))
    assert len(StreamedTiles(raster, side, store)) == 0
    made = [store.read(number) for number in range(tiles.rows.count)]
    found = np.concatenate([piece.pixels for piece in made if piece is not None])
    assert whole.result is not None and np.array_equal(found, whole.result)


@pytest.mark.parametrize("form", ["tiff", "cog"])
def test_a_raster_that_is_not_held_is_as_one_that_is(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = whole_range("uint16", 3)
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((500, 333, 3), low=200)
    gap = np.zeros((500, 333), bool)
    gap[100:300, 50:] = True
    pixels[gap] = 0
    source = write(
        tmp_path / "a.tif", pixels, nodata=0, crs=UTM, transform=PLACE, tiled=True,
        blockxsize=64, blockysize=48, names=("x", "y", "z"),
    )  # fmt: skip
    convert(tmp_path / "held", model, source, form=form)
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    (record,) = convert(tmp_path / "out", model, source, form=form).values()
    assert (record.status, record.output) == ("done", "a.tif")
    opened = (rasterio.open(tmp_path / place / "a.tif") for place in ("held", "out"))
    with next(opened) as held, next(opened) as file:
        assert np.array_equal(file.read(), held.read())
        assert np.array_equal(file.dataset_mask(), held.dataset_mask())
        assert np.array_equal(file.dataset_mask() == 0, gap)
        assert file.profile == held.profile and file.descriptions == held.descriptions
    assert not list((tmp_path / "out" / ".pix2pix-batch" / "parts").iterdir())


class Killed(BaseException):
    """As ``kill -9``: nothing is done after it."""


@pytest.mark.usefixtures("read_by_windows")
@pytest.mark.parametrize("after", [0, 1, 3, 7])
def test_a_killed_worker_is_gone_on_from_with_the_same_bytes(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_bundle(tmp_path / "m.safetensors", norm="instance", downs=5)
    info = bundle.read_info(model)
    side, made = whole_range("uint16", 3), whole_range("float32", 3)
    changed: dict[str, Any] = {**info.__dict__, "input_range": side, "output_range": made}
    bundle.change_info(model, BundleInfo(**changed))
    source = write(tmp_path / "a.tif", draw((400, 150, 3)))
    convert(tmp_path / "once", model, source)
    put, left = PieceStore.write, [after]

    def die(self: PieceStore, number: int, piece: Piece) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        put(self, number, piece)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(PieceStore, "write", die)
        convert(tmp_path / "out", model, source)
    parts = list((tmp_path / "out").rglob("*.npz"))
    assert len(parts) == after and not (tmp_path / "out" / "a.tif").exists()
    if after == 3:  # the machine went down with the last half written
        last = max(parts)
        last.write_bytes(last.read_bytes()[:-100])
    numbers = []
    monkeypatch.setattr(PieceStore, "write", lambda *a: (numbers.append(a[1]), put(*a))[1])
    convert(tmp_path / "out", model, source, batch_size=3)
    assert numbers == list(range(after - (after == 3), 8)), "what was done is done again"
    once, again = ((tmp_path / place / "a.tif").read_bytes() for place in ("once", "out"))
    assert once == again


def test_a_picture_over_the_bound_is_read_by_windows(tmp_path: Path) -> None:
    """8 bits as ever, but for the bound: with the tiles of one that is held."""
    model = save_bundle(tmp_path / "m.safetensors", norm="instance")
    pixels = draw((700, 420, 3), "uint8")
    source = write(tmp_path / "a.tif", pixels, photometric="rgb", crs=UTM, transform=PLACE)
    convert(tmp_path / "held", model, source)
    small = {"tolerance": Tolerance(max_pixels=100_000)}
    (record,) = convert(tmp_path / "out", model, source, **small).values()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), read(tmp_path / "held" / "a.tif"))
    (record,) = convert(tmp_path / "png", model, source, form="png", **small).values()
    assert "too large to be held in memory, and png is written as a whole" in record.reason
    (record,) = convert(tmp_path / "scaled", model, source, fit="resize", **small).values()
    assert "use --fit tile" in record.reason


XMP_ON_ITS_SIDE = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("channels", "tags", "alpha", "told"),
    [
        (3, [(274, "H", 1, 6, True)], "", "is not upright (its orientation is 6)"),
        (3, [(274, "H", 1, 2, True)], "", "is not upright (its orientation is 2)"),
        (3, [(700, "B", len(XMP_ON_ITS_SIDE), XMP_ON_ITS_SIDE, True)], "", "is not upright"),
        (3, [], "unassalpha", "is transparent in part"),
        (3, [], "assocalpha", "is transparent in part"),
        (4, [], "assocalpha", "has premultiplied colours"),
    ],
)
def test_a_picture_of_which_windows_would_make_another_one_is_refused(
    tmp_path: Path, channels: int, tags: list[Any], alpha: str, told: str
) -> None:
    """And read with the ``--max-pixels`` that the reason names, turned and laid over white."""
    model = save_bundle(tmp_path / "m.safetensors", norm="instance", in_channels=channels)
    source, pixels = tmp_path / "a.tif", draw((700, 420, 4 if alpha else 3), "uint8")
    if alpha:  # opaque but for one pixel of a later window
        pixels[..., 3] = 255
        pixels[650, 400] = 100
    values: dict[str, Any] = {"photometric": "rgb", "metadata": None, "extratags": tags}
    tifffile.imwrite(source, pixels, **values, extrasamples=[alpha] if alpha else None)
    out, small = tmp_path / "out", Tolerance(max_pixels=100_000)
    (record,) = convert(out, model, source, tolerance=small).values()
    assert record.status == "failed" and record.reason.startswith(told)
    assert "use --max-pixels 294000 " in record.reason
    assert not [path for path in out.rglob("*") if path.is_file()]
    (record,) = convert(out, model, source, tolerance=Tolerance(max_pixels=294_000)).values()
    assert record.status == "done", record.reason


@pytest.mark.parametrize(
    ("channels", "values", "told"),
    [
        (1, {"photometric": "miniswhite"}, "decompression bomb; --max-pixels"),
        (3, {"photometric": "icclab"}, "stores colours in another way (Photometric"),
        (1, {"photometric": "palette"}, "decompression bomb; --max-pixels"),
        (1, {"bitspersample": 4}, "decompression bomb; --max-pixels"),
    ],
)
def test_a_picture_of_other_samples_than_windows_have_is_refused(
    tmp_path: Path, channels: int, values: dict[str, Any], told: str
) -> None:
    model = save_bundle(tmp_path / "m.safetensors", in_channels=channels)
    source, pixels = tmp_path / "a.tif", draw((800, 700, channels), "uint8")
    if "bitspersample" in values:
        pixels = pixels >> 4
    if values.get("photometric") == "palette":
        values = {**values, "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256) * 257 // 3}
    tifffile.imwrite(source, np.squeeze(pixels), metadata=None, **values)
    assert source.stat().st_size > large_images.LEAST_BYTES
    small = Tolerance(max_pixels=100_000)
    (record,) = convert(tmp_path / "out", model, source, tolerance=small).values()
    assert record.status == "failed" and told in record.reason


def test_what_is_transparent_is_white_in_windows_too(tmp_path: Path) -> None:
    model = save_bundle(tmp_path / "m.safetensors", norm="instance")
    pixels = draw((700, 420, 4), "uint8")
    pixels[..., 3] = np.where(np.arange(700)[:, None] < 300, 0, 255)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, pixels, photometric="rgb", extrasamples=["unassalpha"], metadata=None)
    made = []
    for most in (10**6, 100_000):
        out = tmp_path / f"{most}"
        (record,) = convert(out, model, source, tolerance=Tolerance(max_pixels=most)).values()
        assert record.status == "done", record.reason
        with rasterio.open(out / "a.tif") as file:
            assert np.array_equal(file.dataset_mask(), pixels[..., 3])
            made.append(file.read([1, 2, 3])[:, 300:])
    assert np.array_equal(*made)


def test_pictures_that_are_held_open_no_raster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their speed is what it was."""
    model = save_bundle(tmp_path / "m.safetensors", norm="instance")
    source = write(tmp_path / "a.tif", draw((420, 420, 3), "uint8"), photometric="rgb")
    assert source.stat().st_size > large_images.LEAST_BYTES
    monkeypatch.setattr(large_images, "open_raster", None)
    (record,) = convert(tmp_path / "out", model, source).values()
    assert record.status == "done", record.reason


def test_shared_norms_are_measured_by_windows_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = ResNet(blocks=1, ngf=4)
    net = architecture.build()
    fill_with_contrast(net)  # type: ignore[arg-type]
    model = tmp_path / "m.safetensors"
    info = BundleInfo("m", architecture, 64, "whole", input_range=None)
    bundle.save(model, info, net.eval(), half=False)
    monkeypatch.setattr(fitting, "WHOLE_MEMORY", 3 << 20)
    fitting.large_tile.cache_clear()
    source = write(tmp_path / "a.tif", draw((450, 330, 3), "uint8"), photometric="rgb")
    values: dict[str, Any] = {"fit": "whole", "batch_size": 1}
    convert(tmp_path / "held", model, source, **values)
    small = {"tolerance": Tolerance(max_pixels=100_000), **values}
    (record,) = convert(tmp_path / "out", model, source, **small).values()
    fitting.large_tile.cache_clear()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), read(tmp_path / "held" / "a.tif"))


@pytest.mark.usefixtures("read_by_windows")
def test_a_full_disk_ends_the_job_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source = save_model_and_image(tmp_path, (400, 100))
    replace, moved = os.replace, []

    def full(*paths: Any, **more: Any) -> None:
        if len(moved) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        moved.append(paths)
        replace(*paths, **more)

    out = tmp_path / "out"
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    items = [Item(str(source), source.name, "a.tif", "tiff")]
    converter = Converter(settings_of(model, out=str(out)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        converter.run(items)
    assert "No space left on device; make room there, then run" in converter.fatal
    assert not converter.records and not list(out.rglob("*.tmp"))
    assert len(list(out.rglob("*.npz"))) == 2
    convert(out, model, source)
    assert np.array_equal(read(out / "a.tif"), read(source))


@pytest.mark.usefixtures("read_by_windows")
def test_what_gdal_writes_to_a_full_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source = save_model_and_image(tmp_path, (400, 300))
    finish = streaming.RasterWriter.finish

    def cut(self: streaming.RasterWriter) -> None:
        finish(self)
        os.truncate(self.path, os.path.getsize(self.path) - 5000)

    monkeypatch.setattr(streaming.RasterWriter, "finish", cut)
    (record,) = convert(tmp_path / "out", model, source).values()
    assert record.status == "failed" and "was cut short as it was written" in record.reason
    assert not (tmp_path / "out" / "a.tif").exists()


@pytest.mark.usefixtures("read_by_windows")
def test_an_image_that_is_cut_short_fails_alone(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    whole = write(tmp_path / "a.tif", draw((600, 300, 1))).read_bytes()
    cut, good = tmp_path / "cut.tif", write(tmp_path / "b.tif", draw((200, 300, 1)))
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    records = convert(tmp_path / "out", model, cut, good)
    assert records["cut.tif"].status == "failed" and "cannot be read" in records["cut.tif"].reason
    assert records["b.tif"].status == "done"
    assert np.array_equal(read(tmp_path / "out" / "b.tif"), read(good))
    assert not list((tmp_path / "out").rglob("*.npz"))


def test_parts_of_other_shards_stay(tmp_path: Path, tiny: Path) -> None:
    """What is left over is forgotten by a run of all, which nobody runs beside."""
    for number in range(4):
        command.put(tmp_path / "in" / f"{number}.png")
    part = large_images.parts_directory(tmp_path / "out") / "another" / "00000.npz"
    part.parent.mkdir(parents=True)
    part.touch()
    for shard in ("1/2", "2/2"):
        made = command.convert(tmp_path / "in", tmp_path / "out", tiny, "--shard", shard)
        assert made.code == 0 and part.exists()
    assert command.convert(tmp_path / "in", tmp_path / "out", tiny).code == 0
    assert not part.exists()


@pytest.mark.parametrize(("size", "height"), [(64, 400), (512, 700)])
def test_the_memory_of_a_strip_is_reckoned(
    tmp_path: Path, size: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NumPy takes it while rows are made and put together."""
    side, made = whole_range("uint16", 4), whole_range("float32", 3)
    model = save_identity(tmp_path / "m.safetensors", side, made, size)
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    source = write(tmp_path / "a.tif", draw((height, 6000, 4)), **blocks)
    item, settings = Item(str(source), "a.tif", "a.tif", "tiff"), settings_of(model)
    info = bundle.read_info(model)
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    gone = replace(item, path=str(tmp_path / "gone.tif"))
    reckoned = large_images.reckon_memory([gone, item], info, settings)
    tracemalloc.start()
    try:
        store = PieceStore(tmp_path / "parts")
        raster = open_raster(str(source), "a.tif", side)
        tiles = StreamedTiles(raster, size, store)
        for index, tile in tiles.list_numbered():
            tiles.add_tile(index, tile[:, :, :3].astype(np.float32))
        tiles.assemble(tmp_path / "out.tif", "GTiff", RasterExtras(raster.profile), nullcontext)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reckoned / 4 < taken < reckoned


def test_the_memory_of_rasters_that_are_held_is_reckoned(tmp_path: Path) -> None:
    """As much more as NumPy takes for larger ones; what is not there takes none."""
    side, made = whole_range("uint16", 4), whole_range("float32", 3)
    model = save_identity(tmp_path / "m.safetensors", side, made, 64)
    info, settings = bundle.read_info(model), settings_of(model, out=str(tmp_path / "out"))
    (tmp_path / "out" / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    taken, reckoned = [], []
    for height in (100, 700):
        sources = [write(tmp_path / f"{name}.tif", draw((height, 900, 4))) for name in "abcd"]
        items = [Item(str(one), one.name, one.name, "tiff") for one in sources]
        gone = replace(items[0], path=str(tmp_path / "gone.tif"))
        assert large_images.reckon_memory([gone], info, settings) == 0
        reckoned.append(large_images.reckon_memory([gone, *items], info, settings))
        assert large_images.reckon_memory(items[:1], info, settings) < reckoned[-1]
        converter = Converter(settings)
        tracemalloc.start()
        try:
            converter.run(items)
            taken.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert [record.status for record in converter.records] == ["done"] * 4
    more = reckoned[1] - reckoned[0]
    assert more / 4 < taken[1] - taken[0] < more


def test_variants_are_not_made_of_what_is_not_held(
    tmp_path: Path, read_by_windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, source = save_model_and_image(tmp_path, (100, 90))
    items = [Item(str(source), f"a.tif/{k}", f"a.v{k}.tif", "tiff", variant=k) for k in (0, 1)]
    converter = Converter(settings_of(model, out=str(tmp_path / "out")))
    converter.run(items)
    reasons = {record.reason for record in converter.records}
    assert reasons == {
        "an image of 90x100 pixels is too large to be held in memory, which synthesize does; "
        "cut it into smaller ones"
    }


def test_an_image_is_split_into_parts_where_it_is_large_and_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 4))
    source = write(tmp_path / "a.tif", draw((2000, 64, 4)))
    info, settings = bundle.read_info(model), settings_of(model, out=str(tmp_path / "out"))
    item = Item(str(source), "a.tif", "a.tif", "tiff")
    assert large_images.split_rows(item, info, settings) == []
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    parts = large_images.split_rows(item, info, settings)
    assert [one.rows for one in parts] == [(0, 16), (16, 32), (32, 42)]
    for other, told in (
        (replace(item, form="npy"), settings),
        (replace(item, path=str(tmp_path / "gone.tif")), settings),
        (item, replace(settings, noise=True)),
        (item, replace(settings, fit="resize")),
        (item, replace(settings, out="memory://x")),
    ):
        assert large_images.split_rows(other, info, told) == []


def test_an_image_that_several_make_has_the_bytes_of_one_that_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was odd of a part of it is told."""
    side = whole_range("float32", 2)
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((1700, 90, 2), "float32")
    pixels[40, 40] = np.inf
    source = write(tmp_path / "a.tif", pixels)
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 0)
    (one,) = convert(tmp_path / "one", model, source).values()
    out = tmp_path / "several"
    settings, info = settings_of(model, out=str(out)), bundle.read_info(model)
    item = Item(str(source), "a.tif", "a.tif", "tiff")
    for part in reversed(large_images.split_rows(item, info, settings)):
        converter = Converter(settings)
        converter.run([part])
        assert [record.status for record in converter.records] == [PART]
    assert not (out / "a.tif").exists()
    (whole,) = convert(out, model, source).values()
    assert whole == one and "infinite" in one.warning
    assert (out / "a.tif").read_bytes() == (tmp_path / "one" / "a.tif").read_bytes()
    assert not list(out.rglob("*.npz"))


def test_the_command_has_two_workers_make_one_image(tmp_path: Path, tiny: Path) -> None:
    """With the bytes that one makes alone; the journal tells of three parts and the whole."""
    pixels = draw((2000, 100, 3), "uint8")
    source = write(tmp_path / "a.tif", pixels, photometric="rgb", crs=UTM, transform=PLACE)
    assert source.stat().st_size > large_images.LEAST_BYTES
    more = ("--format", "tiff", "--max-pixels", 100_000)
    for workers in (1, 2):
        out = tmp_path / str(workers)
        ran = command.convert(source, out, tiny, *more, "--workers", workers)
        assert ran.counts()[0] == 1, ran
    one, two = ((tmp_path / name / "a.tif").read_bytes() for name in "12")
    assert one == two
    for name, count in (("1", 1), ("2", 4)):
        events = [event for event in read_events(tmp_path / name) if isinstance(event, Returned)]
        assert len(events) == count


@pytest.mark.usefixtures("read_by_windows")
def test_a_raster_without_any_data_is_refused_as_one_that_is_held(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    pixels = draw((700, 60, 1))
    sources = [write(tmp_path / "a.tif", pixels * 0, nodata=0)]
    pixels[:-1] = 0
    sources.append(write(tmp_path / "b.tif", pixels, nodata=0))
    records = convert(tmp_path / "out", model, *sources)
    assert records["a.tif"].status == "failed" and "holds no data" in records["a.tif"].reason
    assert records["b.tif"].status == "done"
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["b.tif"]


@pytest.mark.usefixtures("read_by_windows")
@pytest.mark.parametrize("before", ["nothing", "begun", "parts"])
def test_strict_refuses_what_only_a_later_window_shows(tmp_path: Path, before: str) -> None:
    """Also where it was found by a run that was not strict; nothing of it stays."""
    side = whole_range("float32", 1)
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((1700, 60, 1), "float32")
    pixels[300 if before == "begun" else 1200, 40] = np.inf
    source = write(tmp_path / "a.tif", pixels)
    out = tmp_path / "out"
    strict: dict[str, Any] = {"tolerance": Tolerance(strict=True)}
    info, item = bundle.read_info(model), Item(str(source), "a.tif", "a.tif", "tiff")
    if before == "begun":  # a part of a run that is not strict
        settings = settings_of(model, out=str(out))
        Converter(settings).run(large_images.split_rows(item, info, settings)[:1])
        assert list(out.rglob("*.npz"))
    elif before == "parts":  # by several workers
        settings = settings_of(model, out=str(out), **strict)
        for part in large_images.split_rows(item, info, settings):
            Converter(settings).run([part])
    (record,) = convert(out, model, source, **strict).values()
    assert (record.status, record.under) == ("failed", strict["tolerance"].journal_entry)
    assert "infinite" in record.reason and record.reason.endswith("refused by --strict")
    assert not [path for path in out.rglob("*") if path.is_file()]
