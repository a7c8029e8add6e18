"""``pix2pix-batch engine build``, ``list``, ``show``, ``verify``, ``bench``, ``prune``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from pix2pix_batch.cli import main
from pix2pix_batch.engines import library
from pix2pix_batch.engines.cache import Cache, Key
from tests.end_to_end.command import environment, finish, start

pytestmark = pytest.mark.usefixtures("place", "no_gpu")
VERSION = library.load("tensorrt_rtx").version


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
    code = (
        "import sys\n"
        "from pix2pix_batch.cli import main\n"
        "try:\n"
        f"    main({words.split()!r}, prog_name='pix2pix-batch')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'onnx', 'tensorrt', 'tensorrt_rtx', 'distributed'}\n"
        "sys.exit(f'imported {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0 and ran.stdout, ran.stderr


def test_build_list_show_verify_prune(tiny: Path, place: Path) -> None:
    assert engines() == []
    built = done("engine", "build", tiny, "--target", "sm86, SM89", "--batch-size", 2)
    assert len(built) == 2
    for line, target in zip(built, ("sm86", "sm89"), strict=True):
        assert f"tiny for {target}: built in " in line and line.endswith(" bytes, tensorrt_rtx")
    again = done("engine", "build", tiny, "--target", "sm89", "--batch-size", 2)
    assert "tiny for sm89: was there, " in again[0] and len(engines()) == 2

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

    told = done("engine", "verify", tiny)
    assert told == [
        f"{str(e['id'])[:12]}: whole; not loaded: there is no NVIDIA GPU here" for e in (one, two)
    ]
    assert done("engine", "prune") == ["0 engines removed, 0 bytes freed"]
    assert done("engine", "prune", "--older-than", 1)[0].startswith("0 engines")
    month = time.time() - 30 * 86400
    os.utime(place / f"{one['id']}.engine", (month, month))
    assert done("engine", "prune", "--older-than", 7)[0].startswith("1 engine removed")
    assert [e["id"] for e in engines()] == [two["id"]]
    assert done("engine", "prune", "--all")[0].startswith("1 engine removed")
    assert engines() == [] and not list(place.iterdir())


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
        ("build map2aerial", "--target current: no NVIDIA GPU here .* name the GPU.*sm75, sm80"),
        ("build map2aerial --target sm89,sm90", "target 'sm90': tensorrt_rtx .* builds for sm75,"),
        ("build map2aerial --target ,", "--target: names no GPU"),
        ("build map2aerial --target sm89 --precision bf16", "bf16 transposed .* fp16 or fp32"),
        ("build map2aerial --target sm89 --size 100", "a multiple of 64, not 100"),
        ("build map2aerial --target sm89 --images none", "none: is no directory of images"),
        ("build absent --target sm89", "absent: no such model"),
        ("show 00000000", "'00000000': no engine here has that id"),
        ("verify 00000000", "'00000000': no engine here has that id"),
        ("verify map2aerial", "no engine of this model is here; build one"),
        ("bench map2aerial", "needs an NVIDIA GPU"),
    ],
)
def test_wrong_use(words: str, told: str, place: Path) -> None:
    message = refused(2, "engine", *words.split())
    assert re.search(told, message), message
    assert not place.exists() or not list(place.iterdir())


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
    words = ("engine", "build", tiny, "--target", "sm89", "--batch-size", 1)
    both = [start(*words, env=environment(OMP_NUM_THREADS="1")) for _ in range(2)]
    told = sorted(finish(one).out for one in both)
    assert ["built in" in text for text in told].count(True) == 1, told
    assert ["was there" in text for text in told].count(True) == 1, told
    assert len(engines()) == 1


def test_ctrl_c_leaves_nothing_half_written(place: Path) -> None:
    words = ("engine", "build", "map2aerial", "--target", "sm75,sm80,sm86,sm89", "--batch-size", 1)
    process = start(*words, env=environment(OMP_NUM_THREADS="1"))
    while not place.is_dir() or not list(place.iterdir()):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    ran = finish(process)
    assert ran.code == 130 and "Interrupted" in ran.err
    for path in place.iterdir():
        assert path.suffix in (".engine", ".json", ".lock")
    assert len(engines()) < 4


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
    assert "use --precision fp32 or bf16" in error


def test_layers_of_a_sound_model(tiny: Path) -> None:
    lines = done("engine", "verify", "--layers", tiny)
    assert len(lines) == 12 and not [line for line in lines if "overflows" in line]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_bench_on_a_gpu(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    built = done("engine", "build", tiny)
    assert " dB from fp32 PyTorch on 4 images" in built[1]
    (line,) = done("engine", "bench", tiny)
    assert " images/s, " in line
