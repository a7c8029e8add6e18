"""``pix2pix-batch engine build``, ``list``, ``show``, ``verify``, ``bench``, ``prune``."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pix2pix_batch.cli import main
from pix2pix_batch.engines import library, spec, startup
from pix2pix_batch.engines.cache import Cache
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.key import Key
from pix2pix_batch.engines.spec import EngineSpec
from tests.end_to_end.command import (
    COMMAND,
    finish,
    fork,
    require_light,
    small_disk,
    wait_for,
)
from tests.engines.conftest import export_once

pytestmark = pytest.mark.usefixtures("place", "no_gpu")
try:
    VERSION = library.load("tensorrt_rtx").version
except library.MissingLibrary as error:
    pytest.skip(str(error), allow_module_level=True)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def done(*words: object) -> list[str]:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(code: int, *words: object) -> str:
    result = invoke(*words)
    lines = result.stderr.splitlines()
    assert result.exit_code == code and lines[-1].startswith("error: "), result.output
    return lines[-1]


def engines() -> list[dict[str, object]]:
    return json.loads("".join(done("engine", "list", "--json")))


@pytest.mark.parametrize("words", ["engine --help", "engine build --help", "doctor --help"])
def test_help_needs_nothing_heavy(words: str) -> None:
    heavy = {"torch", "numpy", "onnx", "tensorrt", "tensorrt_rtx", "distributed"}
    require_light(words.split(), heavy)


def test_build_list_show_verify_prune(tiny: Path, place: Path) -> None:
    assert engines() == []
    built = done("engine", "build", tiny, "--target", "sm86, SM89", "--batch-size", 2)
    assert len(built) == 2
    for line, target in zip(built, ("sm86", "sm89"), strict=True):
        assert f"tiny for {target}: built in " in line and line.endswith(" bytes, tensorrt_rtx")
    again = done("engine", "build", tiny, "--target", "sm89", "--batch-size", 2)
    assert "tiny for sm89: was in the cache, " in again[0] and len(engines()) == 2

    one, two = engines()
    assert one["id"] != two["id"] and [one["target"], two["target"]] == ["sm86", "sm89"]
    assert one["model"] == "tiny" and one["version"] == VERSION and one["batch_size"] == 2
    assert one["parity"] is None and one["gpu"] == "" and one["refused"] == ""
    assert (place / f"{one['id']}.engine").stat().st_size == one["bytes"]
    title, first, _ = done("engine", "list")
    assert title.split()[:3] == ["id", "model", "target"] and "not checked" in first

    shown = json.loads("".join(done("engine", "show", str(one["id"])[:8])))
    assert shown["model"] == "tiny" and shown["key"]["capability"] == "sm86"
    assert len(shown["onnx_sha256"]) == 64 and shown["options"]["optimization_level"] == 3

    whole = "its file is whole; not run: there is no NVIDIA GPU here"
    assert done("engine", "verify", tiny) == [
        f"{str(one['id'])[:12]} tiny for sm86: {whole}",
        f"{str(two['id'])[:12]} tiny for sm89: {whole}",
    ]
    assert done("engine", "prune") == ["0 engines removed, 0 bytes freed"]
    assert done("engine", "prune", "--older-than", 1)[0].startswith("0 engines")
    month = time.time() - 30 * 86400
    os.utime(place / f"{one['id']}.engine", (month, month))
    assert done("engine", "prune", "--older-than", 7)[0].startswith("1 engine removed")
    assert [e["id"] for e in engines()] == [two["id"]]
    assert done("engine", "prune", "--all")[0].startswith("1 engine removed")
    assert engines() == [] and not list(place.iterdir())


def test_damaged_engines_are_told_beside_the_others_and_pruned(tiny: Path, place: Path) -> None:
    done("engine", "build", tiny, "--target", "sm86,sm89,sm120", "--batch-size", 1)
    for one in engines()[:2]:
        file = place / f"{one['id']}.engine"
        file.write_bytes(bytes(16) + file.read_bytes()[16:])  # of the same size
    result = invoke("engine", "verify", tiny)
    assert result.exit_code == 2
    whole, failed = sorted(result.stdout.splitlines(), key=lambda line: line.startswith("failed"))
    assert "tiny for sm120: its file is whole" in whole
    assert failed.startswith("failed: ")
    assert failed.endswith("'pix2pix-batch engine prune' removes it")
    assert "is damaged" in result.stderr
    assert done("engine", "prune")[0].startswith("2 engines removed, ")
    assert [one["target"] for one in engines()] == ["sm120"]


def test_the_list_fits_a_terminal_of_80_columns(tiny: Path) -> None:
    """Where there is a terminal; a pipe gets all columns."""
    done("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    environment = dict(os.environ)
    main_terminal, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [*COMMAND, "engine", "list"], stdout=terminal, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.wait() == 0
    os.close(terminal)
    title, row = os.read(main_terminal, 10_000).decode().splitlines()
    os.close(main_terminal)
    assert max(len(title), len(row)) <= 80
    assert {"id", "model", "target", "precision", "parity"} <= set(title.split())
    assert "built" not in title.split()
    assert "built" in done("engine", "list")[0].split()


def test_the_time_of_the_onnx_file_is_told_apart(tiny: Path) -> None:
    size = 13  # of which no other test has the file
    one, two = done("engine", "build", tiny, "--target", "sm86,sm89", "--batch-size", size)
    assert re.search(r": built in \d+\.\d s after \d+\.\d s for its ONNX file, ", one), one
    assert re.search(r": built in \d+\.\d s, ", two), "the file is the first one's"
    shown = json.loads("".join(done("engine", "show", one[:12])))
    assert shown["export_seconds"] > 0 and shown["build_seconds"] >= 0


# The CPU, for which nothing is built

_started: list[startup.Startup] = []
_measure_startup = startup.measure


def _measure_startup_once(*arguments: Any, **options: Any) -> startup.Startup:
    """As the real one, in one process for all tests: it imports PyTorch, which takes seconds."""
    if not _started:
        _started.append(_measure_startup(*arguments, **options))
    return _started[0]


@pytest.fixture
def started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "measure", _measure_startup_once)


@pytest.mark.usefixtures("started_once")
def test_build_for_the_cpu_tells_what_runs_there(tiny: Path, place: Path) -> None:
    runs, close, soon = done("engine", "build", tiny, "--target", "cpu", "--precision", "fp32")
    assert runs == "tiny for the CPU: PyTorch runs it in fp32; nothing to compile or to keep"
    found = re.fullmatch(
        r"tiny for the CPU: (inf|[\d.]+) dB from fp32 PyTorch on 4 images, at most . of 255", close
    )
    assert found and float(found[1]) > 60
    times = re.fullmatch(
        r"tiny for the CPU: ([\d.]+) s from the start of a worker's process to its first batch "
        r"\(Dask and PyTorch ([\d.]+), model ([\d.]+), batch ([\d.]+)\)",
        soon,
    )
    assert times and float(times[1]) == pytest.approx(sum(map(float, times.groups()[1:])), abs=0.3)
    assert not place.exists(), "nothing is kept"


@pytest.mark.usefixtures("started_once")
def test_the_cpu_beside_a_gpu(noisy: Path) -> None:
    words = ("--target", "cpu,sm89", "--batch-size", 1, "--noise")
    told = done("engine", "build", noisy, *words)
    assert len(told) == 4 and "noisy for sm89: built in " in told[3]
    (kept,) = engines()
    assert kept["precision"] == "fp16", "whatever the CPU runs"


@pytest.mark.usefixtures("started_once")
def test_a_precision_that_is_too_far_off_on_the_cpu(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bf16 is some 40 to 60 dB from fp32: with the bar beyond that it is refused."""
    monkeypatch.setattr("pix2pix_batch.engines.parity_check.BAR", 75.0)
    monkeypatch.setattr("pix2pix_batch.engines.cpu.precision", lambda: "bf16")
    note, runs, *_ = done("engine", "build", tiny, "--target", "cpu")
    assert re.fullmatch(r"note: bf16 is .* dB from fp32 .* \(bar 75\), so fp32 runs", note)
    assert "PyTorch runs it in fp32" in runs
    told = refused(3, "engine", "build", tiny, "--target", "cpu", "--precision", "bf16")
    assert "tiny in bf16 is " in told and "(bar 75)" in told


def test_a_worker_that_cannot_start_is_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError('distributed is broken')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = refused(3, "engine", "build", tiny, "--target", "cpu")
    assert "a worker's process cannot run it: ImportError: distributed is broken" in told


def test_other_options_replace_an_engine(tiny: Path) -> None:
    words = ("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    done(*words)
    assert "built in" in done(*words, "--optimization-level", 0, "--workspace", 256)[0]
    (one,) = engines()
    shown = json.loads("".join(done("engine", "show", one["id"])))
    assert shown["options"] == {"optimization_level": 0, "workspace_mib": 256}


def test_a_damaged_engine_is_told_and_built_again(tiny: Path, place: Path) -> None:
    words = ("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    done(*words)
    (path,) = place.glob("*.engine")
    os.truncate(path, 1000)
    result = invoke("engine", "list")
    assert result.exit_code == 0 and f"warning: {path}: is damaged" in result.stderr
    assert f"{path}: is damaged" in refused(2, "engine", "verify", path.stem)
    note, line = done(*words)
    assert note.startswith(f"note: {path}: is damaged") and note.endswith("built again")
    assert "built in" in line and len(engines()) == 1


def test_verify_reads_the_whole_engine(tiny: Path, place: Path) -> None:
    done("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    (path,) = place.glob("*.engine")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{path}: is damaged" in refused(2, "engine", "verify", tiny)


def test_an_engine_of_another_version(tiny: Path, place: Path) -> None:
    done("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    cache = Cache()
    (entry,) = cache.entries()
    old = Key(**{**entry.key.as_dict(), "version": "1.0"})
    cache.obtain(old, lambda: (b"old", {"model": "tiny"}))
    entry.path.unlink()
    note, line = done("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    assert note == f"note: built again: version was 1.0, is {VERSION}" and "built in" in line
    assert done("engine", "prune")[0].startswith("1 engine removed"), "no one can use the old one"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("build map2aerial", "no NVIDIA GPU here .*--target cpu .* name the GPU.*sm75, sm80"),
        ("build map2aerial --target gpu", "target 'gpu': tensorrt_rtx .* builds for sm75,"),
        ("build map2aerial --target cpu --precision fp16", "fp16 runs on GPUs only"),
        ("build map2aerial --target cpu --workspace 9", "for the CPU nothing is compiled"),
        ("build map2aerial --target cpu --optimization-level 3", "the CPU nothing is compiled"),
        ("build map2aerial --target cpu --library tensorrt", "for the CPU nothing is compiled"),
        ("build map2aerial --target cpu --size 100", "a multiple of 32, not 100"),
        ("build map2aerial --target sm89,sm90", "target 'sm90': tensorrt_rtx .* builds for sm75,"),
        ("build map2aerial --target ,", "--target: names no GPU"),
        ("build map2aerial --target sm89 --precision bf16", "bf16 transposed .* fp16 or fp32"),
        ("build map2aerial --target sm89 --size 100", "a multiple of 32, not 100"),
        ("build map2aerial --target sm89 --images none", "none: is no directory of images"),
        ("build absent --target sm89", "absent: no such model"),
        ("show 00000000", "'00000000': no engine here has that id"),
        ("verify 00000000", "'00000000': no engine here has that id"),
        ("verify map2arial", "no such model .did you mean .map2aerial"),
        ("verify map2aerial", "no engine of this model is here; build one"),
        ("bench map2aerial", "needs an NVIDIA GPU"),
    ],
)
def test_wrong_use(words: str, told: str, place: Path) -> None:
    message = refused(2, "engine", *words.split())
    assert re.search(told, message), message
    assert not place.exists() or not list(place.iterdir())


def test_without_tensorrt_and_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """To install it is no help there, but for other machines' GPUs."""
    for name in library.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    told = refused(2, "engine", "build", "map2aerial")
    assert "no NVIDIA GPU here" in told and "pip install" not in told
    told = refused(2, "engine", "build", "map2aerial", "--target", "sm89")
    assert "tensorrt_rtx: not installed" in told and "[tensorrt-rtx]'" in told


def test_a_directory_without_images(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    message = refused(2, "engine", "build", tiny, "--target", "sm89", "--images", tmp_path)
    assert "holds no image that can be read" in message


def test_a_cache_that_others_can_write_to(tiny: Path, place: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o777)
    for words in (("build", tiny, "--target", "sm89"), ("list",), ("prune", "--all")):
        assert "others can write to it" in refused(2, "engine", *words)


def test_two_builds_at_once(tiny: Path, place: Path) -> None:
    """The second begins while the first has the engine's lock."""
    words = ("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    process = fork(*words)
    wait_for(lambda: place.is_dir() and any(place.glob("*.lock")), process)
    told = sorted([done(*words)[0], finish(process).out])
    assert ["built in" in text for text in told].count(True) == 1, told
    assert ["was in the cache" in text for text in told].count(True) == 1, told
    assert len(engines()) == 1


def test_ctrl_c_leaves_nothing_half_written(tiny: Path, place: Path) -> None:
    words = ("engine", "build", tiny, "--target", "sm75,sm80,sm86,sm89", "--batch-size", 1)
    process = fork(*words)
    wait_for(lambda: place.is_dir() and any(place.iterdir()), process)
    os.killpg(process.pid, signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130 and "Interrupted" in ran.err
    for path in place.iterdir():
        assert path.suffix in (".engine", ".json", ".lock")
    assert len(engines()) < 4


def test_a_build_that_is_killed_is_made_good_by_the_next(
    tiny: Path, place: Path, keep_graphs: Path
) -> None:
    """With kill -9, when the engine's lock is there."""
    words = ("engine", "build", tiny, "--target", "sm75,sm80,sm86,sm89", "--batch-size", 1)
    process = fork(*words, before=partial(export_once, keep_graphs))
    wait_for(lambda: place.is_dir() and any(place.glob("*.lock")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(done(*words)) == 4 and len(engines()) == 4
    assert "4 engines removed" in done("engine", "prune", "--all")[0]
    assert not list(place.iterdir())


def test_a_full_disk(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path, "64k") as disk:
        monkeypatch.setenv("PIX2PIX_BATCH_CACHE", str(disk))
        told = refused(3, "engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
        assert "No space left on device" in told and "engine prune" in told
        assert {path.suffix for path in (disk / "engines").iterdir()} == {".lock"}


def test_a_cache_that_cannot_be_made(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIX2PIX_BATCH_CACHE", "/proc/pix2pix-batch")
    told = refused(2, "engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    assert "/proc/pix2pix-batch" in told and "set PIX2PIX_BATCH_CACHE to a directory" in told


CARD = Gpu("NVIDIA Test", "sm89", "550.54", "12.4", 24 << 30)


@pytest.mark.parametrize(
    ("built", "told"),
    [
        ({"capability": "sm86"}, "it is for sm86, and the NVIDIA Test is sm89"),
        ({"gpu": "NVIDIA L4"}, "it is for NVIDIA L4, and the NVIDIA Test is sm89"),
        ({"gpu": CARD.name, "driver": "535.1", "cuda": "12.4"}, "it is for driver 535.1 and CUDA"),
        ({"gpu": CARD.name, "driver": "550.54", "cuda": "11.8"}, "driver 550.54 and CUDA 11.8"),
        ({"version": "1.0"}, f"it is of tensorrt_rtx 1.0, {VERSION} is installed"),
        ({"package": "0.0"}, "of pix2pix-batch 0.0: it is not used any more"),
    ],
    ids=["kind", "gpu", "driver", "cuda", "library", "package"],
)
def test_an_engine_from_elsewhere_is_not_loaded(
    built: dict[str, str], told: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by its model, whole, and said to be for something else; nor does convert find it."""
    order = EngineSpec(tiny, "fp16", 1, 64)
    rtx = library.load("tensorrt_rtx")
    Cache().obtain(replace(order.key(rtx, "sm89"), **built), lambda: (b"plan", {"model": "tiny"}))
    monkeypatch.setattr("pix2pix_batch.engines.manage.current_gpu", lambda: CARD)
    (line,) = done("engine", "verify", tiny)
    assert "whole" in line and told in line
    assert spec.find_engine(Cache(), order, rtx, CARD) == (None, "")


def test_an_engine_of_another_bundle_is_not_its_models(tiny: Path, noisy: Path) -> None:
    key = EngineSpec(noisy, "fp16", 1, 64).key(library.load("tensorrt_rtx"), "sm89")
    Cache().obtain(key, lambda: (b"plan", {"model": "noisy"}))
    assert "no engine of this model is here" in refused(2, "engine", "verify", tiny)


def test_the_layer_that_overflows_is_named(overflowing: Path) -> None:
    """Its weights fit into float16, the features that they make do not."""
    result = invoke("engine", "verify", "--layers", overflowing)
    assert result.exit_code == 3
    *lines, error = result.output.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [
        "down.0.conv",
        "down.1.conv",
        "down.2.conv",
    ]
    assert "overflows" not in lines[0] + lines[1] and "overflows" in lines[2]
    assert "loud.safetensors: in fp16 the first layer to part from fp32 is down.2.conv" in error
    assert "use --precision fp32, or --backend torch" in error


def test_layers_of_a_sound_model(tiny: Path) -> None:
    lines = done("engine", "verify", "--layers", tiny)
    assert len(lines) == 12 and not [line for line in lines if "overflows" in line]
