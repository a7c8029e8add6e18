"""``pix2pix-batch train`` as its users know it: what it leaves, stops, full disks, wrong use."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.cli import main
from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.whole import whole as whole_file
from tests.end_to_end import command
from tests.end_to_end.command import Ran, put, resize_disk, small_disk
from tests.train.running import (
    Process,
    is_alive,
    make_pairs,
    records,
    start,
    steps,
    timeless,
    train,
    weights,
    words,
)

# A run of four checkpoints, with all that one must hold; the last three of them are kept.
LONG: dict[str, Any] = {
    "size": 32, "accumulate": 2, "epochs": 4, "ema": 0.9, "spectral_norm": True,
    "norm": "running-statistics",
}  # fmt: skip
LAST = 12


@pytest.fixture(scope="module")
def done(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run; not to be changed."""
    run = tmp_path_factory.mktemp("done") / "run"
    ran = train(pairs, run, "--every", 4)
    assert ran.code == 0, ran
    assert ran.out.splitlines()[0] == str(run / "model.safetensors")
    assert ran.out.splitlines()[-1] == str(run / "report.html")
    assert "6 training pairs, 2 for validation, 12 steps of 1 image, on cpu (fp32)" in ran.err
    told = [line for line in ran.err.splitlines()[1:] if not line.startswith("about ")]
    *lines, last = told  # without how long it takes, which a slow machine is told
    assert [line.split(",")[0] for line in lines] == [f"step {step} of 12" for step in (4, 8, 12)]
    assert f"pix2pix-batch convert IN OUT --model {run}/model.safetensors'" in last
    return run


# What it leaves


def test_a_run_leaves_what_is_promised(done: Path) -> None:
    names = {path.name for path in done.iterdir()} - {".lock", "best.safetensors"}
    assert names == {
        "checkpoints", "metrics.jsonl", "model.safetensors", "recipe.yaml", "report.html",
        "samples", "tensorboard",
    }  # fmt: skip
    assert steps(done) == [4, 8, 12]
    assert [record["step"] for record in records(done)] == [4, 8, 12]
    sheets = sorted(path.name for path in (done / "samples").iterdir())
    assert sheets == ["00000004.png", "00000008.png", "00000012.png"]
    assert not list(done.rglob("*.tmp"))
    page = (done / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3 and page.count("<svg") == 2
    assert len(page) < 5_000_000


def test_the_bundle_is_ready_for_convert(done: Path, pairs: Path, tmp_path: Path) -> None:
    """With the real command, on two images; its pixels are the generator's."""
    for i in range(2):
        put(tmp_path / "in" / f"{i}.png", seed=i, size=(32, 32))
    ran = command.convert(tmp_path / "in", tmp_path / "out", done / "model.safetensors")
    assert (ran.code, *ran.counts()) == (0, 2, 0, 0), ran.err
    _, generator = bundle.load(done / "model.safetensors")
    for i, path in enumerate(command.visible(tmp_path / "out").values()):
        x = torch.tensor(np.asarray(command.picture(32, 32, i)) / np.float32(127.5) - 1)
        y = generator(x.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        expected = (y.numpy() + 1) * 127.5
        assert np.abs(np.asarray(Image.open(path)) - expected).max() <= 0.5 + 0.02


def test_the_same_command_again_is_content(done: Path, pairs: Path) -> None:
    """Nothing is trained; the bundle comes out the same."""
    before = {
        path: path.read_bytes() for path in done.rglob("*.*") if "tensorboard" not in str(path)
    }
    ran = train(pairs, done, "--every", 4)
    assert ran.code == 0 and "all steps are done" in ran.err
    for path, content in before.items():
        assert path.read_bytes() == content, path


def test_a_recipe_by_name_with_changes(pairs: Path, tmp_path: Path) -> None:
    ran = train(
        pairs, tmp_path / "run", "--recipe", "facades", "--direction", "AtoB", decay_epochs=1,
        lambda_patches=1,
    )  # fmt: skip
    assert ran.code == 0, ran
    assert "note: lambda_patches without init: " in ran.err
    info = bundle.read_info(tmp_path / "run" / "model.safetensors")
    recipe = info.provenance["recipe"]
    assert (info.name, info.image_size, info.architecture.ngf) == ("facades", 32, 2)
    assert (recipe["direction"], recipe["palette"]["door"]) == ("AtoB", [0, 170, 255])
    assert info.source_domain == "facade labels"
    kept = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert kept["recipe"] == recipe


# Stopped from outside


@pytest.fixture(scope="module")
def whole(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train(pairs, run, "--every", 3, **LONG).code == 0
    assert steps(run)[-1] == LAST
    return run


@pytest.mark.parametrize("inside", ["metrics.jsonl", "model.safetensors", "tensorboard"])
def test_what_stands_in_the_place_of_a_runs_file_is_told(
    pairs: Path, done: Path, tmp_path: Path, inside: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(done, run)
    if (run / inside).is_dir():
        shutil.rmtree(run / inside)
        (run / inside).write_text("")
    else:
        (run / inside).unlink()
        (run / inside).mkdir()
    ran = train(pairs, run, "--every", 4)
    assert ran.code == 3 and ran.err.splitlines()[-1].startswith(f"error: {run / inside}: "), ran


def gate_of(run: Path) -> Path:
    return run.parent / "gate"


def begin(data: Path, run: Path, *, workers: int = 1) -> Process:
    """A run in a process of its own, which waits at its first checkpoint until it is let go on."""
    gate = gate_of(run)
    gate.touch()
    given = words(data, run, "--every", 3, "--workers", workers, **LONG)
    process = start(run.parent / "first", given, gate)
    process.wait_for(lambda: (run / "checkpoints").is_dir() and bool(steps(run)))
    return process


def go_on(data: Path, run: Path, whole: Path) -> None:
    after = steps(run)[-1]
    assert after < LAST
    ran = train(data, run, "--every", 3, **LONG)
    assert ran.code == 0, ran
    assert f"going on after step {after} of {LAST}" in ran.err
    for name in ("model.safetensors", "best.safetensors"):
        assert (run / name).exists() == (whole / name).exists()
        if (run / name).exists():
            assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert timeless(run) == timeless(whole)
    assert steps(run) == steps(whole)


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_stopped_it_goes_on_exactly(pairs: Path, tmp_path: Path, whole: Path, way: str) -> None:
    """Ctrl-C reaches the processes that read the data as well."""
    run = tmp_path / "run"
    process = begin(pairs, run)
    if way == "Ctrl-C":
        process.interrupt()
    else:  # as 'timeout' and torchrun do: the group, and the process once more
        process.signal_group(getattr(signal, way))
        process.signal(getattr(signal, way))
    gate_of(run).unlink()
    ran = process.finish()
    number = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}[way]
    assert ran.code == 128 + number and ran.out == "", ran
    last = steps(run)[-1]
    kept = run / "checkpoints" / f"step-{last:08}.pt"
    assert ran.err.splitlines()[-1] == (
        f"Stopped after step {last} ({signal.Signals(number).name}); the last checkpoint is "
        f"{kept}. The same command goes on from there."
    )
    if way != "SIGHUP":  # which stops it as SIGTERM does
        go_on(pairs, run, whole)


def test_a_reader_that_is_killed_ends_it_after_a_checkpoint(
    pairs: Path, tmp_path: Path, whole: Path
) -> None:
    """As the system does where memory runs out."""
    run = tmp_path / "run"
    process = begin(pairs, run)
    os.kill(process.children()[0], signal.SIGKILL)
    gate_of(run).unlink()
    ran = process.finish()
    assert ran.code == 3, ran
    message = ran.err.splitlines()[-1]
    assert message.startswith("error: a process that reads data was killed (SIGKILL")
    assert f"step-{steps(run)[-1]:08}.pt is written" in message
    with pytest.raises(FileNotFoundError), whole_file(run / "checkpoints" / "killed.pt"):
        go_on(pairs, run, whole)
    assert not list(run.rglob("*.tmp")), "removed, since nobody else writes there"


def test_killed_no_process_is_left(pairs: Path, tmp_path: Path) -> None:
    process = begin(pairs, tmp_path / "run")
    left = process.children()
    assert left
    process.signal(signal.SIGKILL)
    process.finish()
    end = time.monotonic() + command.PATIENCE
    while any(map(is_alive, left)):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_a_run_whose_length_changes_goes_on(pairs: Path, tmp_path: Path) -> None:
    """Longer after its end, with no other setting said again; and shorter than it is already."""
    run = tmp_path / "run"
    assert train(pairs, run, "--every", 4).code == 0
    assert steps(run)[-1] == 12
    again = CliRunner().invoke(
        main, ["train", str(pairs), str(run), "--epochs", "3", "--device", "cpu", "--workers", "0"]
    )
    assert again.exit_code == 0, again.output
    assert "epochs was 2.0 and is 3.0 from here on" in again.stderr
    assert "going on after step 12 of 18" in again.stderr and steps(run)[-1] == 18
    assert records(run)[-1]["lr"] == pytest.approx(2e-4 / 9)  # 9 steps of falling rate
    info = bundle.read_info(run / "model.safetensors")
    assert (info.provenance["training"]["steps"], info.architecture.ngf) == (18, 2)
    made = {path: path.read_bytes() for path in (run / "recipe.yaml", run / "model.safetensors")}
    message = refused(pairs, run, epochs=1)
    assert "is finished, after 18 steps, and is to have" in message
    assert {path: path.read_bytes() for path in made} == made and "Nothing was changed" in message
    (run / "model.safetensors").unlink()  # as if it had been stopped there, before its end
    ran = train(pairs, run, epochs=1)
    assert ran.code == 0 and "is past that already and ends after step 18" in ran.err, ran
    assert steps(run)[-1] == 18
    assert "differs: ngf was 2 and is 4" in refused(pairs, run, ngf=4)


def test_a_run_s_own_recipe_is_a_recipe(done: Path, pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", pairs, run, "--recipe", done / "recipe.yaml", "--device", "cpu",
             "--workers", 0, "--set", f"init={done / 'model.safetensors'}"]  # fmt: skip
    ran = CliRunner().invoke(main, [str(word) for word in words])
    assert ran.exit_code == 0, ran.output
    assert "the discriminator and the optimisers begin anew" in ran.stderr
    assert bundle.read_info(run / "model.safetensors").architecture.ngf == 2


@pytest.mark.parametrize("name", ["best.pt", "step-00000012.pt"])
def test_a_checkpoint_becomes_the_bundle_that_the_end_makes(
    done: Path, pairs: Path, tmp_path: Path, name: str
) -> None:
    """With the averaged weights; convert names the very command."""
    run = tmp_path / "a run"
    assert train(pairs, run, "--every", 4, ema=0.9, init=done / "model.safetensors").code == 0
    path, made = run / "checkpoints" / name, tmp_path / "made.safetensors"
    with pytest.raises(InputError, match="model import ") as caught:
        bundle.read_info(path)
    words = shlex.split(str(caught.value).split("'pix2pix-batch ")[1].split("', which")[0])
    words[-1] = str(made)
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 0 and ran.stderr == "", ran.output
    ended = run / ("model.safetensors" if name.startswith("step") else "best.safetensors")
    ended = ended if ended.exists() else run / "model.safetensors"
    (info, one), (theirs, other) = bundle.load(made), bundle.load(ended)
    for key, value in other.state_dict().items():
        assert torch.equal(one.state_dict()[key], value), key
    for key in ("recipe", "data", "validation"):
        assert info.provenance[key] == theirs.provenance[key]
    ours = info.provenance["training"]
    assert ours.items() <= theirs.provenance["training"].items() and ours.keys() > {"step", "init"}
    found, expected = bundle.load_embedding(made), bundle.load_embedding(ended)
    assert found is not None and expected is not None
    # sums over images, in another order where the CPU's registers are others
    assert np.allclose(found.mean, expected.mean, rtol=0, atol=1e-5)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    ran = CliRunner().invoke(main, [*words[:-1], str(tmp_path / "damaged.safetensors")])
    assert ran.exit_code == 2 and f"{path}: is damaged" in ran.stderr
    assert not (tmp_path / "damaged.safetensors").exists()


def test_a_checkpoint_whose_data_is_gone(done: Path, pairs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(pairs, tmp_path / "data")
    assert train(data, tmp_path / "run").code == 0
    shutil.rmtree(data)
    path, made = tmp_path / "run" / "checkpoints" / "best.pt", tmp_path / "made.safetensors"
    ran = CliRunner().invoke(main, ["model", "import", str(path), str(made)])
    assert ran.exit_code == 0 and "--data DATA says where it is" in ran.stderr
    more = ["--overwrite", "--data", str(pairs)]
    ran = CliRunner().invoke(main, ["model", "import", str(path), str(made), *more])
    assert ran.exit_code == 0 and ran.stderr == "", ran.output
    alone = tmp_path / "alone.pt"
    shutil.copy(path, alone)
    ran = CliRunner().invoke(main, ["model", "import", str(alone), str(tmp_path / "x.safetensors")])
    assert ran.exit_code == 2 and "leave it in its run's directory" in ran.stderr


def test_killed_it_goes_on_exactly_and_at_once(pairs: Path, tmp_path: Path, whole: Path) -> None:
    """A process that reads data for it may live a little longer, and must not be in the way."""
    run = tmp_path / "run"
    process = begin(pairs, run)
    process.signal(signal.SIGKILL)
    assert process.finish().code == -signal.SIGKILL
    go_on(pairs, run, whole)


def test_two_runs_in_one_directory(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = begin(pairs, run, workers=0)
    ran = train(pairs, run, "--every", 3, **LONG)
    process.signal(signal.SIGKILL)
    process.finish()
    assert ran.code == 2
    assert f"{run}: another run is training there now; give a new directory" in ran.err


# Full disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    with small_disk(tmp_path, "1m") as place:
        yield place


def full(ran: Ran, run: Path) -> str:
    """What in ``run`` could not be written; what was saved before must be whole."""
    assert ran.code == 3 and ran.out == "", ran
    assert "Traceback" not in ran.err
    message = ran.err.splitlines()[-1]
    assert message.startswith(f"error: {run}") and "free some space" in message, message
    assert "No space left" in message or "the disk is full" in message
    assert not list(run.rglob("*.tmp"))
    for step in steps(run):
        assert weights(run, step)
    return message.split(":")[1].strip().removeprefix(str(run))


def test_a_disk_that_is_full_from_the_start(pairs: Path, disk: Path) -> None:
    """Whoever finds it full says so: TensorBoard, the best weights, a sheet, a record."""
    found = set()
    for kilobytes in (4, 8, 88, 96, 112, 200):
        resize_disk(disk, f"{kilobytes}k")
        found.add(full(train(pairs, disk / "run", "--every", 4), disk / "run"))
        shutil.rmtree(disk / "run")
    assert {"", "/checkpoints/best.pt", "/checkpoints/step-00000004.pt"} <= found


def test_a_disk_that_runs_full(pairs: Path, disk: Path, done: Path) -> None:
    """What was saved is whole, and the run goes on from it once there is room."""
    run = disk / "run"
    for kilobytes, left in ((500, [4]), (900, [4, 8])):
        resize_disk(disk, f"{kilobytes}k")
        ran = train(pairs, run, "--every", 4)
        assert full(ran, run) == f"/checkpoints/step-{left[-1] + 4:08}.pt"
        assert steps(run) == left
    resize_disk(disk, "4000k")
    ran = train(pairs, run, "--every", 4)
    assert ran.code == 0, ran
    assert (run / "model.safetensors").read_bytes() == (done / "model.safetensors").read_bytes()
    assert timeless(run) == timeless(done)


def test_a_disk_too_full_for_the_bundle(pairs: Path, disk: Path, done: Path) -> None:
    """All steps are done and saved; the same command only has to write it."""
    run = disk / "run"
    resize_disk(disk, "4000k")
    assert train(pairs, run, "--every", 4).code == 0
    (run / "model.safetensors").unlink()
    (run / "report.html").unlink()
    fill = run.with_name("fill")
    free = shutil.disk_usage(disk).free
    fill.write_bytes(bytes(max(0, free - 24_000)))
    assert full(train(pairs, run, "--every", 4), run) == ""
    assert steps(run) == [4, 8, 12] and not (run / "model.safetensors").exists()
    fill.unlink()
    assert train(pairs, run, "--every", 4).code == 0
    assert (run / "model.safetensors").read_bytes() == (done / "model.safetensors").read_bytes()


# Wrong use


def refused(data: Path, run: Path, *more: object, **changes: object) -> str:
    """The one error; before it there may be what was found in the data."""
    ran = train(data, run, *more, **changes)
    assert ran.code == 2 and ran.out == "", ran
    *found, error = ran.err.splitlines()
    assert error.startswith("error: ") and len(found) <= 1, ran.err
    return error


def test_a_changed_recipe_names_what_differs(done: Path, pairs: Path) -> None:
    message = refused(pairs, done, lr=0.5, ngf=4)
    assert (
        f"{done}: holds a run that differs: lr was 0.0002 and is 0.5; ngf was 2 and is 4" in message
    )
    assert "Give a new directory, or the same recipe, data and number of" in message


def test_a_run_that_failed_before_its_first_step_blocks_no_other(
    pairs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ran = train(pairs, run, size=64, fit="tile")
    assert ran.code == 2 and "too few for crops of 64; set fit=resize" in ran.err, ran
    assert (run / "recipe.yaml").exists()
    assert train(pairs, run, "--every", 1, epochs=0.4, fit="tile").code == 0
    assert "holds a run that differs: " in refused(pairs, run, fit="tile", ngf=4)


def test_a_run_of_an_earlier_version_is_gone_on_with(pairs: Path, tmp_path: Path) -> None:
    """Its recipe lacks keys that have come since, which have the values now that it had then."""
    run = tmp_path / "run"
    assert train(pairs, run, "--every", 1, epochs=0.4).code == 0
    record = yaml.safe_load((run / "recipe.yaml").read_text())
    for key in ("lambda_texture", "lambda_grid", "l1_pixels", "scales"):
        del record["recipe"][key]
    (run / "recipe.yaml").write_text(yaml.safe_dump(record))
    assert "l1_pixels was 1 and is 2. " in refused(pairs, run, epochs=0.6, l1_pixels=2)
    assert train(pairs, run, "--every", 1, epochs=0.6).code == 0


def test_a_users_recipe_is_not_taken_for_a_run(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    assert "is damaged; give a new directory" in refused(pairs, tmp_path, epochs=0.4)
    assert (tmp_path / "recipe.yaml").read_text() == "name: mine\n"


def test_changed_data_are_named(done: Path, pairs: Path, tmp_path: Path) -> None:
    data = shutil.copytree(pairs, tmp_path / "data")
    assert train(data, shutil.copytree(done, tmp_path / "run"), "--every", 4).code == 0, "a copy"
    make_pairs(data, train=7)
    assert "the data has changed" in refused(data, done)
    (data / "train" / "06.png").unlink()
    (data / "train" / "05.png").rename(data / "train" / "x.png")
    assert "the data has changed" in refused(data, done)


def test_contents_that_changed_under_the_same_names_and_sizes_are_noticed(
    pairs: Path, tmp_path: Path
) -> None:
    """Bitmaps of one size have equal sizes, and times say nothing of a copy."""
    data, run = tmp_path / "data", tmp_path / "run"
    for path in sorted(pairs.rglob("*.png")):
        copy = data / path.relative_to(pairs).with_suffix(".bmp")
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(copy)
    assert train(data, run, epochs=1).code == 0
    one, other = data / "train" / "00.bmp", data / "train" / "01.bmp"
    before, times = one.read_bytes(), one.stat()
    assert len(before) == len(other.read_bytes())
    one.write_bytes(other.read_bytes())
    os.utime(one, ns=(times.st_atime_ns, times.st_mtime_ns))
    message = refused(data, run, epochs=1)
    assert "the data has changed" in message and "Give a new directory, or the same" in message
    one.write_bytes(before)  # at another time
    assert train(data, run, epochs=1).code == 0


def test_another_recipe_is_named(done: Path, pairs: Path) -> None:
    message = refused(pairs, done, "--recipe", "facades", decay_epochs=1)
    assert "name was 'my-model' and is 'facades'" in message
    assert "direction was 'AtoB' and is 'BtoA'" in message


def test_a_directory_with_other_files_is_refused(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("words")
    message = refused(pairs, tmp_path)
    assert f"{tmp_path}: holds 'thesis.txt' and no training run; give a new directory" in message
    assert (tmp_path / "thesis.txt").read_text() == "words"
    assert not (tmp_path / "recipe.yaml").exists()


@pytest.mark.parametrize("text", ["a: [", "words", "data: x", "", "{data: x, recipe: [1]}"])
def test_a_damaged_recipe_in_the_run_is_named(
    done: Path, pairs: Path, tmp_path: Path, text: str
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    (run / "recipe.yaml").write_text(text)
    assert "run/recipe.yaml: is damaged; give a new directory" in refused(pairs, run)


def test_a_run_that_lost_its_metrics_keeps_its_model(
    done: Path, pairs: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(done, tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    (run / "samples" / "mine.png").write_bytes(b"not a sheet of the run")
    ran = train(pairs, run, "--every", 4)
    assert ran.code == 2 and str(run / "model.safetensors") in ran.out
    assert "metrics.jsonl: is gone, and the report is made of it" in ran.err
    shutil.copy(done / "metrics.jsonl", run)
    assert train(pairs, run, "--every", 4).code == 0


def test_a_run_among_its_own_pairs_is_refused(tmp_path: Path) -> None:
    """Its sample sheets would be pairs of the next run."""
    data = make_pairs(tmp_path / "data", train=2, val=1)
    assert "lies inside" in refused(data, data / "train" / "run")
    assert not (data / "train" / "run").exists()
    assert train(data, data / "run", epochs=1).code == 0
    assert train(data, data / "run", epochs=1).code == 0
    for side in ("A", "B"):
        shutil.copytree(data / "train", tmp_path / "sides" / side)
    assert "lies inside" in refused(tmp_path / "sides", tmp_path / "sides" / "B" / "run")


def test_one_image_only(tmp_path: Path) -> None:
    data = make_pairs(tmp_path / "data", train=1)
    assert "holds one training pair only" in refused(data, tmp_path / "run")
    ran = train(data, tmp_path / "run", val_fraction=0, batch_size=3, epochs=6)
    assert ran.code == 0, ran
    assert "1 training pair, 0 for validation, 2 steps of 3 images" in ran.err
    info = bundle.read_info(tmp_path / "run" / "model.safetensors")
    assert info.provenance["data"]["validation_pairs"] == 0


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    """Its header is whole: only training finds out, in the process that reads."""
    data = make_pairs(tmp_path / "data", train=3, val=1)
    torn = data / "train" / "01.png"
    torn.write_bytes(torn.read_bytes()[:900])
    ran = train(data, tmp_path / "run", "--every", 1, "--workers", 1, epochs=3)
    assert ran.code == 2, ran
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"error: {torn}: damaged"), last
    assert not list(tmp_path.rglob("*.tmp"))


def test_losses_that_are_no_numbers_exit_with_3(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    changes = {"gan_mode": "hinge", "disc_norm": "none", "lambda_gan": 1e37, "lambda_l1": 0}
    ran = train(pairs, run, "--every", 2, epochs=30, lr=0.03, **changes)
    assert ran.code == 3 and ran.out == "", ran
    last = ran.err.splitlines()[-1]
    assert last.startswith("error: step ") and "became" in last
    assert str(run / "checkpoints" / f"step-{steps(run)[-1]:08}.pt") in last
    assert all(torch.isfinite(value).all() for value in weights(run, steps(run)[-1]).values())
    assert not (run / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "ngff=2"], "unknown key 'ngff' (did you mean 'ngf'?)"),
        (["--set", "ngf"], "--set ngf: must be key=value"),
        (["--recipe", "facade"], "did you mean 'facades'?"),
        (["--set", "precision=fp16"], "precision fp16 trains on GPUs only"),
        (["--set", "patch=70", "--set", "size=32", "--set", "patch=142"], "a patch of 142 needs"),
    ],
)
def test_wrong_recipes_leave_nothing(
    pairs: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    assert message in refused(pairs, tmp_path / "run", *more)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(pairs: Path, tmp_path: Path) -> None:
    ran = train(pairs, tmp_path / "run", "--device", "cuda")
    assert ran.code == 2 and "error: --device cuda: there is no CUDA GPU here" in ran.err


@pytest.mark.parametrize("data", ["absent", "empty"])
def test_data_that_are_not_there(tmp_path: Path, data: str) -> None:
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / data}: " in refused(tmp_path / data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
