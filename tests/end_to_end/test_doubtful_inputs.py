"""Images that are not as they should be: read with a warning, refused, or taken in part."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.end_to_end.command import (
    Ran,
    convert,
    digests,
    encoded,
    here,
    journal,
    picture,
    put,
    records,
    visible,
    with_wrong_text,
)
from tests.end_to_end.synthesizing import synthesize

pytestmark = pytest.mark.usefixtures("workers")

SIDE = 64


def zeroed() -> bytes:
    """A JPEG with 200 zero bytes in its middle, as in a file that was copied in part."""
    buffer = io.BytesIO()
    picture(256, 256).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    middle = len(data) // 2
    return data[:middle] + bytes(200) + data[middle + 200 :]


def damaged_tiff() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="lzw")
    data = buffer.getvalue()
    middle = len(data) // 2
    return data[:middle] + b"\xff" * 60 + data[middle + 60 :]


def with_broken_exif() -> bytes:
    """A directory whose entries lie beyond its end, of which Pillow warns."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\5\1\x12\0\3"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    data = encoded("JPEG", width=SIDE, height=SIDE)
    return data[:2] + segment + data[2:]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("doubtful")
    put(place / "fine.png")
    (place / "hole.jpg").write_bytes(zeroed())
    (place / "text.png").write_bytes(with_wrong_text())
    (place / "short.jpg").write_bytes(encoded("JPEG", width=SIDE, height=SIDE)[:-2])
    (place / "damaged.tif").write_bytes(damaged_tiff())
    (place / "exif.jpg").write_bytes(with_broken_exif())
    return place


def test_read_with_a_warning(source: Path, tmp_path: Path, tiny: Path) -> None:
    ran = convert(source, tmp_path / "out", tiny)
    assert (ran.code, *ran.counts()) == (3, 4, 0, 2), ran.err
    warned = {one["name"]: one["warning"] for one in ran.figures["warnings"]}
    assert ran.figures["warned"] == 2 and set(warned) == {"hole.jpg", "text.png"}
    assert "damaged" in warned["hole.jpg"] and "tEXt" in warned["text.png"]
    found = records(tmp_path / "out")
    for name, said in warned.items():
        assert found[name]["status"] == "done" and found[name]["warning"] == said
        assert f"{name}: {said}" in ran.err
    assert "warning" not in found["fine.png"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Read with a warning" in page and "hole.jpg: damaged" in page
    assert "--lenient" in found["short.jpg"]["reason"]
    assert "LZW" in found["damaged.tif"]["reason"]
    assert said_by_libraries(ran) == []
    stands = here("status", tmp_path / "out", "--json").figures
    assert (stands["done"], stands["warned"]) == (4, 2)
    assert "2 read with a warning" in here("status", tmp_path / "out").out


def said_by_libraries(ran: Ran) -> list[str]:
    """Lines of standard error that name no file, but what went wrong with one."""
    odd = ("tempfile", "LZWDecode", "Warning", "libtiff", "Corrupt")
    lines = ran.err.splitlines()
    return [line for line in lines if any(word in line for word in odd) and ".jpg" not in line]


def test_strict(source: Path, tmp_path: Path, tiny: Path) -> None:
    ran = convert(source, tmp_path / "out", tiny, "--strict")
    assert (ran.code, *ran.counts()) == (3, 2, 0, 4), ran.err
    assert set(visible(tmp_path / "out")) == {"exif.png", "fine.png"}
    assert "refused by --strict" in records(tmp_path / "out")["hole.jpg"]["reason"]


def test_lenient_is_another_job(source: Path, tmp_path: Path, tiny: Path) -> None:
    plain, lenient = tmp_path / "plain", tmp_path / "lenient"
    convert(source, plain, tiny)
    ran = convert(source, lenient, tiny, "--lenient")
    assert records(lenient)["short.jpg"]["status"] == "done"
    assert "cut short" in records(lenient)["short.jpg"]["warning"]
    assert journal(lenient)[0]["lenient"] is True
    assert ran.figures["warned"] == 3
    whole = digests(plain)
    assert {name: digests(lenient)[name] for name in whole} == whole
    refused = convert(source, plain, tiny, "--lenient")
    assert refused.code == 2 and "lenient was not given, now True" in refused.err


def test_datasets_tell_each_input_once(source: Path, tmp_path: Path, tiny: Path) -> None:
    given = (source, tmp_path / "out", tiny, "--variants", 1)
    ran = synthesize(*given)
    assert (ran.code, ran.figures["inputs_warned"]) == (3, 2), ran.err
    assert {one["name"] for one in ran.figures["warnings"]} == {"hole.jpg", "text.png"}
    assert "2 images were read with a warning" in ran.err and "hole.jpg: damaged" in ran.err
    assert here("status", tmp_path / "out", "--json").figures["warned"] == 2
    other = synthesize(*given, "--lenient")
    assert other.code == 2 and "lenient" in other.err
    ran = synthesize(source, tmp_path / "strict", tiny, "--variants", 1, "--strict")
    assert (ran.code, ran.figures["inputs"], ran.figures["inputs_failed"]) == (3, 6, 4), ran.err


def test_strict_and_lenient(source: Path, tmp_path: Path, tiny: Path) -> None:
    ran = convert(source, tmp_path / "out", tiny, "--strict", "--lenient")
    assert ran.code == 2 and "--strict refuses what --lenient takes" in ran.err


def test_a_dataset_takes_what_a_larger_bound_allows(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    put(source / "large.png", seed=1, size=(80, 80))
    more = ("--variants", 1, "--max-pixels")
    ran = synthesize(source, out, tiny, *more, 5000)
    assert (ran.code, ran.figures["images"]) == (3, 1)
    ran = synthesize(source, out, tiny, *more, 5000)
    assert (ran.code, ran.figures["nothing_to_do"]) == (3, True)
    ran = synthesize(source, out, tiny, *more, 6400)
    assert (ran.code, ran.figures["images"], ran.figures["images_made"]) == (0, 2, 1)


def test_max_pixels(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "large.png", size=(100, 101))
    put(tmp_path / "in" / "small.png", size=(100, 100))
    ran = convert(tmp_path / "in", tmp_path / "out", tiny, "--max-pixels", 10_000)
    assert (ran.code, *ran.counts()) == (3, 1, 0, 1), ran.err
    reason = records(tmp_path / "out")["large.png"]["reason"]
    assert "more than 10000 pixels" in reason and "--max-pixels" in reason
    again = convert(
        tmp_path / "in", tmp_path / "out", tiny, "--max-pixels", 10_100, "--retry-failed"
    )
    assert (again.code, *again.counts()) == (0, 1, 1, 0), again.err


@pytest.mark.parametrize("kind", ["12-bit", "16-bit planar"])
def test_deep_samples_are_converted_as_their_twins(kind: str, tmp_path: Path, tiny: Path) -> None:
    eight = np.random.default_rng(4).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    source = tmp_path / "in"
    source.mkdir()
    if kind == "12-bit":
        eight = eight[:, :, 0]
        deep = np.round(eight / 255 * 4095).astype(np.uint16)
        tifffile.imwrite(source / "deep.tif", deep, bitspersample=12)
    else:
        deep = eight.astype(np.uint16).transpose(2, 0, 1) * 257
        tifffile.imwrite(source / "deep.tif", deep, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(source / "twin.tif", eight, photometric="rgb" if eight.ndim == 3 else None)
    ran = convert(source, tmp_path / "out", tiny)
    assert ran.code == 0, ran.err
    assert digests(tmp_path / "out")["deep.png"] == digests(tmp_path / "out")["twin.png"]
