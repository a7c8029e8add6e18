"""Seeing a run: lines and a bar, sample sheets, TensorBoard."""

from __future__ import annotations

import io
import math
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pix2pix_batch.train.meter import StepRecord
from pix2pix_batch.train.pace import Pace
from pix2pix_batch.train.watch import Progress, Samples, TensorBoard, Watchers
from pix2pix_batch.train.watcher import Watcher
from tests.train.running import records, trainer

SHEET = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def record(step: int) -> StepRecord:
    losses = {"d": 0.6931, "gan": 0.75, "l1": 0.25}
    figures = {"error": 31.4, "sharpness": 0.75}
    return StepRecord(step, step / 4, losses, 2e-4, 12.34, 0.05, "cpu", "fp32", figures)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(progress: Progress, first: int = 0, last: int = 1200) -> None:
    progress.start(first, last)
    pace = Pace(first, last, every=100)
    for step in range(first + 1, first + 4):
        pace.end_step()
        progress.expect(pace)
        progress.step(step, {"d": 0.5, "gan": 0.25, "l1": 0.125})
    progress.record(record(first + 3), SHEET)
    progress.close()


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_validation() -> None:
    stream = io.StringIO()
    watch(Progress(stream))
    assert stream.getvalue() == (
        "step 3 of 1,200, epoch 0.8, 12.3 images/s  d 0.693  gan 0.750  l1 0.250  "
        "validation: error 31.4, sharpness 0.75\n"
    )


def test_what_is_infinite_is_none_in_the_records() -> None:
    one = replace(record(1), validation={"error": 1.5, "sharpness": math.inf})
    assert one.as_dict()["validation"] == {"error": 1.5, "sharpness": None}
    stream = io.StringIO()
    progress = Progress(stream)
    progress.start(0, 9)
    progress.record(one, SHEET)
    progress.close()
    assert stream.getvalue().endswith("validation: error 1.5, sharpness inf\n")


def test_elsewhere_a_line_now_and_then_tells_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pix2pix_batch.train.watch.LINE_SECONDS", -1.0)
    stream = io.StringIO()
    watch(Progress(stream))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0].split("  ")[0] for line in lines[:3]] == [
        "step 1 of 1", "step 2 of 1", "step 3 of 1",
    ]  # fmt: skip
    assert "d 0.500  gan 0.250  l1 0.125" in lines[0] and lines[0].endswith(" left")


def test_going_on_is_told() -> None:
    stream = io.StringIO()
    watch(Progress(stream), first=1000)
    assert stream.getvalue().startswith("going on after step 1,000 of 1,200\n")


def test_on_a_terminal_there_is_a_bar() -> None:
    stream = Terminal()
    watch(Progress(stream), first=600)
    shown = stream.getvalue()
    assert "600/1200" in shown and "603/1200" in shown
    assert "d=0.500" in shown and "validation: error 31.4" in shown


def test_sheets_are_images_named_by_their_step(tmp_path: Path) -> None:
    samples = Samples(tmp_path)
    samples.record(record(7), SHEET)
    samples.record(record(123_456_789), SHEET)
    found = {path.name: path for path in (tmp_path / "samples").iterdir()}
    assert set(found) == {"00000007.png", "123456789.png"}
    assert np.array_equal(np.asarray(Image.open(found["00000007.png"])), SHEET)


def test_each_of_several_is_told() -> None:
    class Notes(Watcher):
        def __init__(self) -> None:
            self.told: list[object] = []

        def start(self, step: int, last: int) -> None:
            self.told.append((step, last))

        def step(self, step: int, losses: dict[str, float]) -> None:
            self.told.append((step, losses))

        def record(self, record: StepRecord, sheet: np.ndarray) -> None:
            self.told.append((record, sheet.shape))

        def close(self) -> None:
            self.told.append("closed")

    both = [Notes(), Notes()]
    told = Watchers(*both)
    told.start(0, 9)
    told.step(1, {"d": 1.0})
    told.record(record(1), SHEET)
    told.close()
    assert both[0].told == both[1].told
    assert both[0].told == [(0, 9), (1, {"d": 1.0}), (record(1), (4, 6, 3)), "closed"]


def events(run: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "images": 0})
    return accumulator.Reload()


def test_tensorboard_holds_the_scalars_and_sheets(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trainer(pairs, run, every=5, epochs=2).fit(TensorBoard(run))
    found = events(run)
    assert set(found.Tags()["scalars"]) == {
        "loss/d", "loss/gan", "loss/l1", "validation/error", "validation/sharpness", "lr",
        "images_per_second",
    }  # fmt: skip
    written = records(run)
    for name in ("d", "gan", "l1"):
        scalars = found.Scalars(f"loss/{name}")
        assert [scalar.step for scalar in scalars] == list(range(1, 13))
        mean = sum(scalar.value for scalar in scalars[:5]) / 5
        assert mean == pytest.approx(written[0]["losses"][name], rel=1e-5)
    for tag, values in (
        ("validation/error", [one["validation"]["error"] for one in written]),
        ("lr", [one["lr"] for one in written]),
    ):
        scalars = found.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [5, 10, 12]
        assert [scalar.value for scalar in scalars] == pytest.approx(values, rel=1e-5)
    sheets = found.Images("input, output, target")
    assert [sheet.step for sheet in sheets] == [5, 10, 12]
    image = Image.open(io.BytesIO(sheets[0].encoded_image_string))
    assert image.size == (3 * 32, 2 * 32)


def test_a_run_that_went_on_has_each_step_once_in_tensorboard(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"

    class Crash(Watcher):
        def step(self, step: int, losses: dict[str, float]) -> None:
            if step == 7:
                raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power failure"):
        trainer(pairs, run, every=5).fit(Watchers(TensorBoard(run), Crash()))
    # TensorBoard reads the files in the order of their names: second, host, process, number of the
    # writer, without leading zeros. In one process and second, writer 10 would come before 9.
    time.sleep(1 - time.time() % 1)
    trainer(pairs, run, every=5).fit(TensorBoard(run))
    found = events(run)
    assert [scalar.step for scalar in found.Scalars("loss/l1")] == list(range(1, 13))
    assert [scalar.step for scalar in found.Scalars("lr")] == [5, 10, 12]


def test_the_same_pairs_are_shown_each_time(pairs: Path, tmp_path: Path) -> None:
    """Input and target stay, the output changes, also when the run is stopped between."""
    run = tmp_path / "run"

    class Stop(Watcher):
        def step(self, step: int, losses: dict[str, float]) -> None:
            if step == 7:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(pairs, run, every=4, lr=0.01).fit(Watchers(Samples(run), Stop()))
    trainer(pairs, run, every=4, lr=0.01).fit(Samples(run))
    paths = sorted((run / "samples").iterdir())
    assert [path.name for path in paths] == ["00000004.png", "00000008.png", "00000012.png"]
    sheets = [np.asarray(Image.open(path)) for path in paths]
    inputs = [
        Image.open(pairs / "val" / f"{i:02}.png").crop((0, 0, 40, 40)).resize((32, 32), 3)
        for i in range(2)
    ]
    for sheet in sheets:
        assert np.array_equal(sheet[:, :32], np.concatenate([np.asarray(i) for i in inputs]))
        assert np.array_equal(sheet[:, 64:], sheets[0][:, 64:])
        assert np.abs(sheet[:, :32].astype(int) + sheet[:, 64:] - 255).max() <= 2
    assert not np.array_equal(sheets[0][:, 32:64], sheets[2][:, 32:64])
