"""Tars: what is read of them, what hostile ones can do, and the bytes that are written."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError
from pix2pix_batch.execution import tar_converter, tar_members
from pix2pix_batch.imaging.metadata import tiff_pages
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.inputs import litter
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from pix2pix_batch.storage import common, local
from tests.end_to_end.command import encoded
from tests.pix2pix_batch.imaging.test_pages import draw_pages, write_pages


def header(name: str, size: int = 0, **values: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size = size
    for key, value in values.items():
        setattr(found, key, value)
    return found


def pack(path: Path, *given: tuple[tarfile.TarInfo | str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in given:
            info = header(name) if isinstance(name, str) else name
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content) if content else None)
    return path


def read(path: Path) -> dict[str, bytes | str]:
    """Contents, or why not, by name."""
    found: dict[str, bytes | str] = {}
    for member in tar_members.members(str(path)):
        content = member.content
        found[member.name] = member.refusal or (
            content if isinstance(content, bytes) else content.seek(0) or content.read()
        )
    return found


# Reading

CONTENT = st.binary(max_size=1500)
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.dictionaries(
        # hidden pictures are left alone
        NAMES.filter(lambda name: not name.startswith(".") and not litter.is_known(name)),
        CONTENT,
        max_size=6,
    ),
    st.sampled_from([("w", "x.tar"), ("w:gz", "x.tar.gz"), ("w:gz", "x.tgz")]),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_any_tar_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    kind: tuple[str, str],
    form: int,
) -> None:
    path = tmp_path_factory.mktemp("tars") / kind[1]
    with tarfile.open(path, kind[0], format=form) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.addfile(header(name, len(content)), io.BytesIO(content))
    assert read(path) == files


def test_large_members_wait_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "IN_MEMORY", 100)
    path = pack(tmp_path / "x.tar", ("a.mp4", b"v" * 3_000_000), ("b.txt", b"small"))
    contents = [type(member.content) is bytes for member in tar_members.members(str(path))]
    assert contents == [False, True]
    assert read(path) == {"a.mp4": b"v" * 3_000_000, "b.txt": b"small"}


# Hostile tars


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("/etc/x.png", tarfile.REGTYPE, "lead out"),
        ("../x.png", tarfile.REGTYPE, "lead out"),
        ("a/../../x.png", tarfile.REGTYPE, "lead out"),
        (".", tarfile.REGTYPE, "lead out"),
        ("a/.pix2pix-batch/journal.jsonl", tarfile.REGTYPE, "lead out"),
        ("x.png", tarfile.SYMTYPE, "a link in a tar"),
        ("x.png", tarfile.LNKTYPE, "a link in a tar"),
        ("x.png", tarfile.CHRTYPE, "neither a file nor a directory"),
        ("x.png", tarfile.BLKTYPE, "neither a file nor a directory"),
        ("x.png", tarfile.FIFOTYPE, "neither a file nor a directory"),
    ],
)
def test_members_that_reach_elsewhere_are_refused(
    tmp_path: Path, name: str, kind: bytes, reason: str
) -> None:
    hostile = header(name, type=kind, linkname="/etc/passwd")
    path = pack(tmp_path / "x.tar", (hostile, b""), ("good.txt", b"good"))
    found = read(path)
    assert reason in str(found[name])
    assert found["good.txt"] == b"good"


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    hostile = header("a", pax_headers={"path": "a\0b.png"})
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(hostile)
    assert "lead out" in str(read(tmp_path / "x.tar")["a\0b.png"])


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    """A few hundred bytes that stand for a terabyte."""
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        values = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
        archive.addfile(header("x.png", 1, pax_headers=values), io.BytesIO(b"x"))
    assert "a sparse file" in str(read(tmp_path / "x.tar")["x.png"])


def test_an_image_too_large_to_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "LARGEST", 1000)
    path = pack(tmp_path / "x.tar", ("a.png", b"x" * 1001), ("b.bin", b"x" * 1001))
    found = read(path)
    assert "larger than 1,000 bytes" in str(found["a.png"])
    assert found["b.bin"] == b"x" * 1001


def test_a_gigantic_header_is_refused(tmp_path: Path) -> None:
    """64 MB of attributes, which gzip makes small."""
    path = tmp_path / "x.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        size = 64 << 20
        file.write(header("x", size, type=tarfile.XHDTYPE).tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(ImageError, match="a header of more than"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    record = b"13 path=abcde\n"
    one = header("x", len(record), type=tarfile.XHDTYPE).tobuf() + record.ljust(512, b"\0")
    (tmp_path / "x.tar").write_bytes(one * 3000)
    with pytest.raises(ImageError, match="damaged"):
        read(tmp_path / "x.tar")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "EXPANDED", 10 << 20)
    path = pack(tmp_path / "x.tar.gz", ("zeros.bin", bytes(40 << 20)), mode="w:gz")
    assert path.stat().st_size < 1 << 17
    with pytest.raises(ImageError, match="decompression bomb"):
        read(path)


def test_text_that_shrinks_well_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_members, "EXPANDED", 1 << 20)
    text = b"".join(b"%d: some caption or other of picture %d\n" % (n, n) for n in range(60_000))
    path = pack(tmp_path / "x.tar.gz", ("a.txt", text), mode="w:gz")
    assert read(path) == {"a.txt": text}


@given(st.data())
@settings(max_examples=150)
def test_damage_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is done to a tar, reading it ends, with all of its members or with a reason."""
    folder = tmp_path_factory.mktemp("tars")
    suffix = data.draw(st.sampled_from([".tar", ".tar.gz"]))
    path = pack(
        folder / f"x{suffix}",
        ("a/1.jpg", b"1" * 700),
        ("a/1.txt", b"2"),
        ("b/" + "n" * 120, b"3" * 512),
        mode="w:gz" if suffix.endswith("gz") else "w",
    )
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))]
    path.write_bytes(raw)
    try:
        assert len(read(path)) <= 3
    except ImageError as error:
        assert str(error)


@pytest.mark.parametrize("end", [100, 512, 700, 1024, 1536, 2048])
def test_a_tar_without_its_end_is_damaged(tmp_path: Path, end: int) -> None:
    path = pack(tmp_path / "x.tar", ("a.txt", b"1" * 500), ("b.txt", b"2" * 500))
    whole = path.read_bytes()
    assert len(whole) == 10240
    path.write_bytes(whole[:end])
    with pytest.raises(ImageError, match=r"damaged|cut off"):
        read(path)


def test_what_is_no_tar(tmp_path: Path) -> None:
    for content in (b"", b"not a tar" * 200, encoded("PNG")):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(ImageError, match="damaged"):
            read(tmp_path / "x.tar")
    (tmp_path / "x.tar.gz").write_bytes(b"not gzip")
    with pytest.raises(ImageError, match=r"damaged"):
        read(tmp_path / "x.tar.gz")
    for content, what in (
        (b"BZh91AY&SY" * 60, "bzip2 compressed"),
        (b"\xfd7zXZ\0" * 90, "xz compressed"),
        (b"PK\3\4" * 200, "a ZIP archive"),
        (b"<!DOCTYPE html>" * 40, "a web page"),
    ):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(ImageError, match=f"not a tar but .*{what}"):
            read(tmp_path / "x.tar")
    with pytest.raises(ImageError, match="No such file"):
        read(tmp_path / "absent.tar")
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(ImageError, match="not a regular file"):
        read(tmp_path / "pipe.tar")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz"])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_compression_is_told_by_content_not_by_name(tmp_path: Path, name: str, mode: str) -> None:
    path = pack(tmp_path / name, ("a.txt", b"1"), ("b.txt", b"2" * 3000), mode=mode)
    assert read(path) == {"a.txt": b"1", "b.txt": b"2" * 3000}


@pytest.mark.parametrize("padding", [0, 1 << 19])
@pytest.mark.parametrize("place", [-8, -1], ids=["checksum", "length"])
def test_gzip_s_own_checksum_is_heeded(tmp_path: Path, place: int, padding: int) -> None:
    """It comes after the tar's end mark, and after what may follow that."""
    path = pack(tmp_path / "x.tar", ("a.json", b'{"label": 1}'))
    packed = bytearray(gzip.compress(path.read_bytes() + bytes(padding)))
    path.write_bytes(packed)
    assert read(path) == {"a.json": b'{"label": 1}'}
    packed[place] ^= 1
    path.write_bytes(packed)
    with pytest.raises(ImageError, match=r"the tar is damaged: (CRC|Incorrect length)"):
        read(path)
    path.write_bytes(packed[:place])
    with pytest.raises(ImageError, match="the tar is damaged"):
        read(path)


def test_what_follows_a_gzip_file_is_left_alone(tmp_path: Path) -> None:
    """As gzip does. A file of several parts is one."""
    tar = pack(tmp_path / "x.tar", ("a.txt", b"1")).read_bytes()
    parts = gzip.compress(tar[:700]) + gzip.compress(tar[700:])
    for behind in (b"", bytes(100), b"garbage" * 50):
        (tmp_path / "x.tar.gz").write_bytes(parts + behind)
        assert read(tmp_path / "x.tar.gz") == {"a.txt": b"1"}


# Translating


@pytest.fixture
def job(tmp_path: Path, tiny: Path) -> Settings:
    from pix2pix_batch import bundle

    (tmp_path / "out" / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    return Settings(
        model=str(tiny), fingerprint=bundle.fingerprint(tiny), out=str(tmp_path / "out"),
        fit="tile", size=64, quality=None, batch_size=3, device="cpu", precision="fp32",
        noise=False, seed=0, backend="torch",
    )  # fmt: skip


def translated(job: Settings, path: Path, form: str = "png") -> tuple[dict[str, str], Path]:
    """Statuses by name, and the tar that was made."""
    records, fatal = tar_converter.convert(
        job, Item(str(path), path.name, path.name, form, tar=True)
    )
    assert fatal == ""
    assert len({record.name for record in records}) == len(records)
    return {record.name: record.status for record in records}, Path(job.out, path.name)


def listed(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def test_samples_are_kept_only_with_an_image(tmp_path: Path, job: Settings) -> None:
    image = encoded("PNG")
    path = pack(
        tmp_path / "x.tar",
        ("1.txt", b"before"), ("1.png", image), ("1.json", b"after"),
        ("2.txt", b"before"), ("2.png", b"broken"), ("2.json", b"after"),
        ("3.txt", b"no image at all"),
        ("4.a.png", b"broken"), ("4.b.png", image), ("4.txt", b"one is enough"),
        (header("5.png", type=tarfile.SYMTYPE, linkname="1.png"), b""), ("5.txt", b"of a link"),
    )  # fmt: skip
    statuses, made = translated(job, path)
    assert listed(made) == ["1.txt", "1.png", "1.json", "3.txt", "4.b.png", "4.txt"]
    assert statuses == {
        "x.tar/1.png": "done", "x.tar/2.png": "failed", "x.tar/4.a.png": "failed",
        "x.tar/4.b.png": "done", "x.tar/5.png": "failed", "x.tar": "done",
    }  # fmt: skip


def test_outputs_that_would_meet(tmp_path: Path, job: Settings) -> None:
    image = encoded("PNG")
    path = pack(
        tmp_path / "x.tar",
        ("1.jpg", image), ("1.png", image), ("2.jpg", image), ("3.png", image), ("2.png", image),
    )  # fmt: skip
    statuses, made = translated(job, path)
    assert listed(made) == ["1.jpg.png", "1.png.png", "2.png", "3.png"]
    assert statuses["x.tar/2.png"] == "failed"


def test_pages_of_members_are_members(tmp_path: Path, job: Settings) -> None:
    """Where they are asked for, one that is damaged fails alone, and names that meet are told."""
    from dataclasses import replace

    stack = write_pages(tmp_path / "s.tif", *draw_pages((9, 9), (5, 7), dtype="uint8")).read_bytes()
    cut = bytearray(stack)
    two = tiff_pages.list_pages(tiff_pages.reader_of(stack))[1]
    cut[two.at] = 0
    path = pack(
        tmp_path / "x.tar", ("a/s.tif", stack), ("a/s.txt", b"1"), ("one.png", encoded("PNG")),
        ("cut.tif", bytes(cut)), ("s#2.png", encoded("PNG")), ("s.tif", stack),
    )  # fmt: skip
    statuses, made = translated(job, path)
    assert listed(made) == ["a/s.png", "a/s.txt", "one.png", "cut.png", "s#2.png", "s.png"]
    made.unlink()
    statuses, made = translated(replace(job, pages="all"), path)
    assert listed(made) == [
        "a/s#1.png", "a/s#2.png", "a/s.txt", "one.png", "cut#1.png", "s#2.png", "s#1.png",
    ]  # fmt: skip
    assert statuses["x.tar/a/s.tif#2"] == statuses["x.tar/cut.tif#1"] == "done"
    assert statuses["x.tar/cut.tif#2"] == statuses["x.tar/s.tif#2"] == "failed"


@pytest.mark.parametrize("held", [1, tar_converter.HELD])
def test_a_second_member_of_a_name_fails_by_a_name_of_its_own(
    tmp_path: Path, job: Settings, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Whether or not the first is done by then; one that failed before it is no other."""
    from dataclasses import replace

    monkeypatch.setattr(tar_converter, "HELD", held)
    image = encoded("PNG")
    between = [(f"x{n}.png", image) for n in range(9)]
    again = ("a.png#2", "a.png#3", "a.png#2#2", "b.png#2", "c.txt#2", "d.txt#2")
    failed = ("b.png", "e.png", *again)
    path = pack(
        tmp_path / "x.tar",
        ("a.png", image), *between, ("a.png", b"broken"), ("./a.png", image),
        ("b.png", b"broken"), ("b.png", image), ("c.txt", b"1"), ("c.txt", b"2"), ("d.txt", b"3"),
        (header("d.txt", type=tarfile.SYMTYPE, linkname="c.txt"), b""),
        (header("e.png", type=tarfile.SYMTYPE, linkname="a.png"), b""), ("e.png", image),
        (header("a.png#2", type=tarfile.SYMTYPE, linkname="a.png"), b""),
    )  # fmt: skip
    for batch in (1, 16):
        statuses, made = translated(replace(job, batch_size=batch), path)
        names = [name for name, _ in between]
        assert listed(made) == ["a.png", *names, "c.txt", "d.txt", "e.png"]
        assert statuses == {
            **{f"x.tar/{name}": "done" for name in ("a.png", *names, "e.png#2")},
            **{f"x.tar/{name}": "failed" for name in failed},
            "x.tar": "done",
        }


def test_members_alike_but_for_case_never_replace_each_other(
    tmp_path: Path, job: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As plain files, on a disk that does not heed case; a tar holds both."""
    from dataclasses import replace

    image = encoded("PNG")
    names = ["a.png", "A.png", "Town/1.png", "town/1.png", "town/2.png"]
    path = pack(tmp_path / "x.tar", *((name, image) for name in names))
    monkeypatch.setattr(local, "_folds_case", lambda directory: True)
    assert listed(translated(job, path)[1]) == names
    item = Item(str(path), "x.tar", "x", "png", tar=True)
    records, _ = tar_converter.convert(replace(job, unpack=True), item)
    failed = {record.name: record.reason for record in records if record.status == "failed"}
    assert failed.keys() == {"x.tar/A.png", "x.tar/town/1.png"}
    assert all("that of an earlier member, as OUT's file system" in one for one in failed.values())


def test_what_is_not_tried_any_more_makes_no_room_for_another(
    tmp_path: Path, job: Settings
) -> None:
    """A tar of which an image killed its worker comes out as if that image had only failed."""
    image = encoded("PNG")
    path = pack(tmp_path / "x.tar", ("a.png", image), ("a.png", image), ("b.png", image))
    harmful = Record("x.tar/a.png", "quarantined", "1:1", reason="killed its worker")
    item = Item(str(path), path.name, path.name, "png", tar=True)
    records, _ = tar_converter.convert(job, item, excluded_records=[harmful])
    assert {record.name: record.status for record in records} == {
        "x.tar/a.png": "quarantined", "x.tar/a.png#2": "failed", "x.tar/b.png": "done",
        "x.tar": "done",
    }  # fmt: skip
    assert records[-1].failed == 2
    assert listed(Path(job.out, path.name)) == ["b.png"]


def test_many_names_alike_are_no_sample(tmp_path: Path, job: Settings) -> None:
    """As frames of a video: one that is broken takes nobody with it."""
    image = encoded("PNG")
    frames = [(f"take.{n:04}.png", b"broken" if n == 70 else image) for n in range(150)]
    statuses, made = translated(job, pack(tmp_path / "x.tar", *frames))
    assert list(statuses.values()).count("done") == 150
    assert listed(made) == [name for name, content in frames if content == image]


def test_bytes_do_not_depend_on_how_they_are_made(
    tmp_path: Path, job: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the batch, nor on how much may wait, nor on times and owners in the input."""
    from dataclasses import replace

    plain = [
        one
        for n in range(7)
        for one in ((f"{n}.txt", b"t" * n), (f"{n}.png", encoded("PNG", seed=n)))
    ]
    _, made = translated(job, pack(tmp_path / "x.tar", *plain))
    before = made.read_bytes()
    owned = [(header(name, mtime=77, uid=5, uname="me", mode=0o600), data) for name, data in plain]
    monkeypatch.setattr(tar_converter, "HELD", 1)
    _, made = translated(replace(job, batch_size=2), pack(tmp_path / "x.tar", *owned))
    assert made.read_bytes() == before


def test_formats_of_members(tmp_path: Path, job: Settings) -> None:
    path = pack(tmp_path / "x.tar", ("./a.JPG", encoded("JPEG")), ("./b.gif", encoded("GIF")))
    assert listed(translated(job, path, "same")[1]) == ["./a.JPG", "./b.png"]
    assert listed(translated(job, path, "webp")[1]) == ["./a.webp", "./b.webp"]


def test_a_damaged_tar_makes_nothing(tmp_path: Path, job: Settings) -> None:
    path = pack(tmp_path / "x.tar", ("a.png", encoded("PNG")), ("b.png", encoded("PNG")))
    path.write_bytes(path.read_bytes()[:-10240])
    statuses, made = translated(job, path)
    assert statuses == {"x.tar": "failed"}
    assert not made.exists()
    assert list(Path(job.out, ".pix2pix-batch", "tmp").iterdir()) == []


def test_memory_does_not_grow_with_the_tar(tmp_path: Path, job: Settings) -> None:
    """Nor with members that are no images, however large or many."""
    image = encoded("PNG", width=16, height=16)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.tar"
        many = [
            one
            for n in range(count)
            for one in ((f"{n:05}.png", image), (f"{n:05}.bin", bytes(500_000)))
        ]
        pack(path, *many)
        tracemalloc.start()
        translated(job, path)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(3)
    assert peak(120) < peak(30) + 20e6  # of 45 MB more


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_behind_another_is_told(tmp_path: Path, suffix: str) -> None:
    mode = "w:gz" if suffix.endswith("gz") else "w"
    first = pack(tmp_path / f"a.{suffix}", ("a.png", b"1"), mode=mode)
    second = pack(tmp_path / f"b.{suffix}", ("b.png", b"2"), mode=mode)
    both = tmp_path / f"c.{suffix}"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(ImageError, match="another tar lies behind its end mark"):
        read(both)
    both.write_bytes(first.read_bytes() + b"words")
    assert read(both) == {"a.png": b"1"}, "what tar does not read either"


def test_zeros_in_place_of_members_are_told(tmp_path: Path) -> None:
    names = [f"{i}.txt" for i in range(4)]
    whole = pack(tmp_path / "x.tar", *((name, b"1" * 700) for name in names)).read_bytes()
    start = whole.index(b"1.txt")
    for first, last in (
        (start, start + 512),  # a header: one block of zeros is no end mark
        (start, start + 1024),  # and some of its member
        (start, start + 1536),  # a whole member
        (start + 1536, start + 1536 + 700),  # the next one's header and some more
    ):
        path = tmp_path / "damaged.tar"
        path.write_bytes(whole[:first] + bytes(last - first) + whole[last:])
        with pytest.raises(ImageError, match=r"the tar is damaged: zeros stand|another tar"):
            read(path)
    lost = tmp_path / "lost.tar"
    lost.write_bytes(whole[:start] + bytes(3 << 20))
    with pytest.raises(ImageError, match=r"1,048,576 bytes of zeros .* get it again"):
        read(lost)
    lost.write_bytes(whole[:start] + bytes(1 << 19))
    assert len(read(lost)) == 1, "as an archive of one member and a large blocking factor"


def test_a_picture_above_is_no_litter(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", ("../up.png", b"1"), ("._a.png", b"2"))
    above, litter = tar_members.members(str(path))
    assert above.refusal and not above.is_left
    assert litter.is_left


def test_times_of_gnu_incremental_archives_are_no_part_of_names(tmp_path: Path) -> None:
    """They stand where others have the beginning of the name; so do directories and a label, of
    types of their own, that are no images."""
    block = bytearray(header("./a.png", 3).tobuf(tarfile.GNU_FORMAT))
    block[345:357] = b"15302127325\0"
    blocks = [bytes(block) + b"abc".ljust(512, b"\0")]
    for kind, name in ((b"D", "./sub/"), (b"V", "label")):
        blocks.insert(0, header(name, type=kind).tobuf(tarfile.GNU_FORMAT))
    data = bytearray(b"".join(blocks) + bytes(10240))
    for at in range(0, len(data) - 512, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    (tmp_path / "a.tar").write_bytes(data)
    assert read(tmp_path / "a.tar") == {"./a.png": b"abc"}
