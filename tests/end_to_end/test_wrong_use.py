"""Wrong use ends with exit code 2 and one line that says what is wrong and what to do."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import pytest
import torch
from click.types import FloatParamType

from pix2pix_batch.cli import main
from pix2pix_batch.environment import CACHE, CODEC_THREADS
from pix2pix_batch.inference.autotune import PROBE_IMAGES
from tests.end_to_end.command import (
    Argument,
    Ran,
    convert,
    environment,
    error_of,
    everything,
    finish,
    fork,
    here,
    put,
    words,
)

TILES = """<TileMap version="1.0.0">
  <TileFormat width="64" height="64" mime-type="image/png" extension="png"/>
</TileMap>
"""
"""What a set of map tiles says of itself, which goes along."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    put(tmp_path / "in" / "a.png")
    put(tmp_path / "in" / "sub" / "b.png")
    return tmp_path / "in"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)


def convert_here(source: Argument, out: Argument, model: Path, *more: Argument) -> Ran:
    """As :func:`convert`, but in this process, which saves its start."""
    return here(*words(source, out, model, *more))


def test_an_option_of_another_command_is_told_as_such() -> None:
    for arguments, told in (
        (["convert", "a", "b", "--verify"], "'--verify'. It is an option of 'status'."),
        (["status", "a", "--sheet", "x.png"], "'--sheet'. It is an option of 'dataset check'."),
        (["convert", "a", "b", "--qualiti", "3"], "'--quality'"),
    ):
        ran = here(*arguments)
        assert ran.code == 2 and told in ran.err and "overwrite" not in ran.err


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("words", "hint"), [(["convrt", "a"], " Did you mean 'convert'?"), (["xyz"], "")]
)
def test_a_mistyped_command(words: list[str], hint: str) -> None:
    ran = here(*words)
    assert ran.code == 2
    assert ran.err.splitlines()[-1] == f"Error: No such command {words[0]!r}.{hint}"


def test_what_a_variable_that_is_not_set_leaves_is_refused(tmp_path: Path, source: Path) -> None:
    before = everything(tmp_path)
    for arguments, told in (
        (["convert", source, ""], f"The argument after '{source}' is empty"),
        (["convert", "", "out"], "The argument after 'convert' is empty"),
        (["convert", source, "out", "--shard", ""], "What is given to --shard is empty"),
        (["convert", source, "out", "--bands="], "What is given to --bands is empty"),
        (["synthesize", source, "out", "--group-by", ""], "What is given to --group-by is empty"),
        (["model", "show", ""], "The argument after 'show' is empty"),
    ):
        ran = here(*arguments)
        assert ran.code == 2 and told in ran.err, ran
    assert everything(tmp_path) == before
    assert "--name" not in here("synthesize", "absent", "out", "--name", "").err


class RunsCode:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.usefixtures("beside")
def test_paths(tmp_path: Path, source: Path, tiny: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a file")
    link = tmp_path / "link"
    link.symlink_to(source)
    cases: list[tuple[Argument, Argument, str]] = [
        (tmp_path / "absent", "out", r"absent: no such file or directory"),
        (f"{tmp_path}/absent/*.png", "out", r"absent: no such file or directory"),
        (f"@{tmp_path}/absent.txt", "out", r"absent\.txt: no such list file"),
        (f"@{source}", "out", r"in: no such list file"),
        (source, file, r"file: is a file; OUT must be a directory"),
        (source, file / "out", r"file/out: .*(not|Not) a directory.*another"),
        (source, "/proc/pix2pix-batch/out", r"/proc/pix2pix-batch/out: .*another"),
        (source, source, r"in: is the input directory too; give another"),
        (source, link, r"link: is the input directory too; give another"),
        (source, source / "out", r"out: lies inside the input directory .*/in,"),
        (source, link / "sub" / "out", r"out: lies inside the input directory .*/in,"),
        (link, source / "out", r"out: lies inside the input directory .*/link,"),
        (f"{source}/**/*.png", source / "sub", r"sub: lies inside the input directory"),
    ]
    before = everything(tmp_path)
    for what, out, pattern in cases:
        ran = convert_here(what, out, tiny)
        message = error_of(ran)
        assert ran.code == 2, message
        assert re.search(pattern, message), message
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("beside")
def test_no_image(tmp_path: Path, tiny: Path) -> None:
    """Nothing is made, and the message says what was looked for and what was seen."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "link").symlink_to(tmp_path)
    for name in ("notes.txt", "sub/page.html"):
        (source / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n\n")
    looked = r"no image found: looked for \.png, .*more suffixes, saw "
    cases: list[tuple[Argument, str]] = [
        ("in", rf"in: {looked}2 other files \(such as notes\.txt\), 1 link to directories.*@"),
        ("empty", rf"empty: {looked}0 other files; give another input"),
        ("in/*.png", r"in/\*\.png: no image found: no file matches; check the pattern"),
        ("in/*", rf"in/\*: {looked}1 other file \(such as notes\.txt\);"),
        ("in/notes.txt", rf"in/notes\.txt: {looked}1 other file .*in a list"),
        ("@list.txt", r"@list\.txt: no image found: it names no file; give a path a line"),
        ("-", r"standard input: no image found: it names no file"),
    ]
    before = sorted(tmp_path.rglob("*"))
    for what, pattern in cases:
        for more in ((), ("--dry-run",)):
            ran = convert_here(what, "out", tiny, *more)
            assert ran.code == 2, ran.err
            assert re.search(pattern, error_of(ran)), ran.err
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "out").mkdir()
    assert convert_here("in", "out", tiny).code == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_a_glob_that_the_shell_has_expanded(tmp_path: Path, source: Path, tiny: Path) -> None:
    names = [put(source / f"{number}.png").relative_to(tmp_path) for number in range(9)]
    ran = here("convert", *names, "out", "--model", tiny, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    last = ran.err.splitlines()[-1]
    assert last.startswith("Error: 10 paths given, but there is one IN and one OUT; ")
    for text in ("quotes ('maps/*.png')", "directory", "@files.txt"):
        assert text in last
    assert "8.png" not in ran.err, "the message stays short"
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("beside")
def test_models(tmp_path: Path, source: Path, tiny: Path, two_channels: Path) -> None:
    mark, whole = tmp_path / "ran", tiny.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(whole[: len(whole) // 2])
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"x" * 1000)
    checkpoint = tmp_path / "latest_net_G.pth"
    torch.save({"weights": RunsCode(mark)}, checkpoint)
    posing = tmp_path / "posing.safetensors"
    posing.write_bytes(pickle.dumps(RunsCode(mark)))
    cases: list[tuple[Argument, tuple[str, ...], str]] = [
        (
            "nonesuch",
            (),
            r"nonesuch: no such model\. Shipped models: .*map2aerial.*path of a bundle",
        ),
        (tmp_path / "absent.safetensors", (), r"absent\.safetensors: no such model"),
        (tmp_path, (), r": is not a file; --model takes"),
        (damaged, (), r"damaged\.safetensors: .*get it again"),
        (garbage, (), r"garbage\.safetensors: .*get it again"),
        (checkpoint, (), r"latest_net_G\.pth: is a PyTorch pickle.*model import"),
        (posing, (), r"posing\.safetensors: is a PyTorch pickle.*model import"),
        (two_channels, (), r"two_channels.*2 input channels.*1 \(grey\), 3 \(RGB\)"),
        (tiny, ("--noise",), r"tiny\.safetensors: has no dropout.*--noise"),
    ]
    for model, options, pattern in cases:
        for command in (words(source, "out", Path(str(model)), *options), ["model", "show", model]):
            if command[0] == "model" and model in (two_channels, tiny):
                continue
            ran = here(*command)
            message = error_of(ran)
            assert ran.code == 2, message
            assert re.search(pattern if command[0] == "convert" else "", message), message
            assert Path(str(model)).name in message
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("beside")
def test_options(tmp_path: Path, source: Path, tiny: Path) -> None:
    for option, value, pattern in (
        ("--batch-size", "lots", r"--batch-size takes a number or 'auto', not 'lots'"),
        ("--batch-size", "0", r"batch.size must be from 1 to"),
        ("--workers", "many", r"--workers takes a number or 'auto', not 'many'"),
        ("--workers", "-1", r"workers must be from 1 to"),
        ("--item-timeout", "0.5", r"item_timeout must be 0, for never, or at least 1 second"),
    ):
        ran = convert_here(source, "out", tiny, option, value)
        assert ran.code == 2
        assert re.search(pattern, error_of(ran)), ran.err
    ran = convert_here(source, "out", tiny, "--quality", "50")
    assert ran.code == 2 and "--quality is for JPEG and WebP; png keeps" in error_of(ran)
    for option, value in (
        ("--limit", "0"),
        ("--quality", "101"),
        ("--format", "bmp"),
        ("--fit", "crop"),
        ("--precision", "int8"),
        ("--nonesuch", "1"),
    ):
        ran = convert_here(source, "out", tiny, option, value)
        assert ran.code == 2
        assert ran.out == ""
        assert option in ran.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    ran = here("convert", source)
    assert ran.code == 2
    assert "OUT" in ran.err


def look_first_in(directory: str) -> None:
    sys.path.insert(0, directory)


def test_a_list_that_names_stores_which_cannot_be_opened(tmp_path: Path, tiny: Path) -> None:
    """Refused where the first images show it; one further down fails alone, with the same words."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "s3fs.py").write_text("raise ImportError('not here')\n")
    known = f"{tmp_path / 'path'}{os.pathsep}{environment()['PYTHONPATH']}"
    before = partial(look_first_in, str(tmp_path / "path"))
    without = {"cwd": tmp_path, "before": before, "PYTHONPATH": known}
    names = [f"{number}.png" for number in range(PROBE_IMAGES)]
    for name in names:
        put(tmp_path / name)
    listed = "\n".join(names)
    says = r"s3://maps: needs a package that is not installed .* 'pix2pix-batch\[remote\]'"
    for text, more in (
        (b"0.png\ns3://maps/a.png\n", []),
        (b"0.png\ns3://maps/a.tar\n", []),
        (b"s3://maps/a.png\n", ["--dry-run"]),
    ):
        ran = convert("-", "out", tiny, *more, stdin=text, **without)
        assert ran.code == 2 and re.search(says, error_of(ran)), ran
        assert not (tmp_path / "out").exists()
    ran = convert("-", "odd", tiny, stdin=b"nonesuch://maps/a.png\n", **without)
    assert ran.code == 2 and "nonesuch://maps: cannot be opened as a store" in error_of(ran)
    ran = convert("-", "out", tiny, stdin=f"{listed}\ns3://maps/a.png\n".encode(), **without)
    assert (ran.code, *ran.counts()) == (3, PROBE_IMAGES, 0, 1), ran.err
    assert re.fullmatch(says, ran.figures["failures"][0]["reason"])


def test_what_only_the_workers_can_tell(tmp_path: Path, source: Path, tiny: Path) -> None:
    """Side by side, since each starts a cluster or waits for one. Nothing is left of them."""
    (source / "tilemapresource.xml").write_text(TILES)
    (source / "0").mkdir()  # a zoom level, as such sets have
    broken = tmp_path / "broken.safetensors"
    data = bytearray(tiny.read_bytes())
    data[-4:] = b"\xff\xff\xff\x7f"  # a NaN in the last weight
    broken.write_bytes(data)
    cases: dict[str, tuple[Path, list[str], str]] = {
        "fp16": (
            tiny,
            ["--precision", "fp16", "--device", "cpu"],
            r"fp16 runs on GPUs.*--precision",
        ),
        "nan": (broken, ["--precision", "fp32"], r"broken\.safetensors: .*NaN"),
        "nobody": (
            tiny,
            ["--scheduler", "tcp://127.0.0.1:1"],
            r"tcp://127\.0\.0\.1:1: no Dask scheduler answers there.*--scheduler",
        ),
        "nobody for a shard": (
            tiny,
            ["--scheduler", "tcp://127.0.0.1:1", "--shard", "1/1"],
            r"tcp://127\.0\.0\.1:1: no Dask scheduler answers there",
        ),
        "no address": (tiny, ["--scheduler", "nonsense://x"], r"nonsense://x: .*--scheduler"),
    }
    if not torch.cuda.is_available():
        cases["cuda"] = (tiny, ["--device", "cuda"], r"--device cuda.*--device cpu")
    (tmp_path / "nan").mkdir()
    runs = {
        name: fork(*words(source, tmp_path / name / "out", model, *options))
        for name, (model, options, _) in cases.items()
    }
    for name, (_, _, pattern) in cases.items():
        ran = finish(runs[name])
        message = error_of(ran)
        assert ran.code == 2, message
        assert re.search(pattern, message), message
        assert list(tmp_path.glob(f"{name}/**")) == ([tmp_path / name] if name == "nan" else [])
    # A refused run is in nobody's way.
    ran = convert(source, tmp_path / "fp16", tiny, "--format", "jpg")
    assert (ran.code, *ran.counts()) == (0, 2, 0, 0), ran.err
    assert (tmp_path / "fp16" / "tilemapresource.xml").exists()


def test_names_that_parquet_cannot_hold(tmp_path: Path, source: Path, tiny: Path) -> None:
    """Refused before the first image is made."""
    inputs = tmp_path / "odd"
    inputs.mkdir()
    shutil.copy(next(source.rglob("*.png")), os.fsencode(inputs) + b"/\xff.png")
    out = tmp_path / "out"
    ran = here("synthesize", inputs, out, "--model", tiny, "--layout", "parquet")
    assert ran.code == 2 and "is not UTF-8, which --layout parquet cannot hold" in ran.err
    assert not out.exists()


def list_options(group: click.Group, *before: str) -> Iterator[tuple[list[str], click.Option]]:
    """Each option of each command, with the words that call the command."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from list_options(command, *before, name)
            continue
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield [*before, name], parameter


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_no_option_takes_what_is_no_finite_number(number: str) -> None:
    """But for the value that stands for none, which may be NaN."""
    known = []
    for called, option in list_options(main):
        if not isinstance(option.type, FloatParamType) or option.opts[0].endswith("nodata"):
            continue
        ran = here(*called, option.opts[0], number)
        assert (ran.code, "Traceback" in ran.err) == (2, False), (called, option.opts)
        assert f"'{option.opts[0]}'" in ran.err and number in ran.err
        known.append(option.opts[0])
    assert {"--by", "--epochs", "--older-than", "--item-timeout", "--input-noise"} < set(known)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (CODEC_THREADS, "abc"), (CODEC_THREADS, "0"), (CODEC_THREADS, "2.5"),
        (CODEC_THREADS, "9" * 30), (CODEC_THREADS, "-1"), (CACHE, __file__),
    ],
)  # fmt: skip
def test_environment_variables_are_checked_by_name(
    tmp_path: Path,
    source: Path,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    ran = convert_here(source, tmp_path / "out", tiny)
    assert ran.code == 2 and name in error_of(ran)
    assert not (tmp_path / "out").exists()
