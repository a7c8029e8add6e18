"""Checkpoints: written whole or not at all, and read only if they are whole."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.train import checkpoint


def state(step: int) -> dict[str, Any]:
    values = torch.rand(5, 5, generator=torch.Generator().manual_seed(step))
    return {"step": step, "best": None, "generator": {"a": values}, "rates": [(0.5, 0.999)]}


def test_the_newest_is_read(tmp_path: Path) -> None:
    for step in (3, 12, 100_000_000):
        checkpoint.save(tmp_path, step, state(step), keep=5)
    found, _ = checkpoint.load_last(tmp_path)
    assert found is not None and found["step"] == 100_000_000
    assert torch.equal(found["generator"]["a"], state(100_000_000)["generator"]["a"])
    assert found["rates"] == [(0.5, 0.999)]


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    (tmp_path / "step-notes.pt").touch()
    for step in range(1, 8):
        checkpoint.save(tmp_path, step, state(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt",
        "step-00000006.pt",
        "step-00000007.pt",
        "step-notes.pt",
    ]


def test_where_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_last(tmp_path) == (None, [])
    assert checkpoint.load_last(tmp_path / "absent") == (None, [])


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1), keep=3)
    before = path.read_bytes()

    def full(file: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"step-00000001\.pt: .*No space left.*free some space"):
        checkpoint.write_whole(path, full)

    def stopped(file: Any) -> None:
        file.write(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write_whole(path, stopped)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_code_is_ever_run(tmp_path: Path) -> None:
    """A checkpoint is tensors and plain values; a pickle that does more is passed over."""
    mark = tmp_path / "ran"

    class RunsCode:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {mark}",)

    checkpoint.save(tmp_path, 1, state(1), keep=3)
    torch.save({"step": 2, "generator": RunsCode()}, checkpoint.path_of(tmp_path, 2))
    checkpoint.path_of(tmp_path, 3).write_bytes(pickle.dumps({"step": 3, "x": RunsCode()}))
    found, _ = checkpoint.load_last(tmp_path)
    assert found is not None and found["step"] == 1
    assert not mark.exists()


WHOLE = 1700
"""Less bytes than the checkpoint has."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A directory with the checkpoint of step 1, and the bytes of the next, to be damaged."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoint.save(folder, 1, state(1), keep=3)
    data = checkpoint.save(folder, 2, state(2), keep=3).read_bytes()
    assert len(data) > WHOLE
    return folder, data


@given(
    cut=st.integers(0, WHOLE),
    flips=st.lists(st.tuples(st.integers(0, WHOLE), st.integers(1, 255)), max_size=20),
)
@settings(max_examples=150)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damage_never_makes_it_stumble(
    whole: tuple[Path, bytes], cut: int, flips: list[tuple[int, int]]
) -> None:
    """Cut short, it is passed over; with other bytes too, or has what was written all the same."""
    folder, data = whole[0], bytearray(whole[1])
    for place, change in flips:
        data[place] ^= change
    checkpoint.path_of(folder, 2).write_bytes(data if flips else data[:cut])
    found, _ = checkpoint.load_last(folder)
    assert found is not None
    if flips and found["step"] != 1:
        assert found["step"] == 2 and found["rates"] == [(0.5, 0.999)]
        assert torch.equal(found["generator"]["a"], state(2)["generator"]["a"])
    else:
        assert found["step"] == 1


def test_a_weight_that_has_changed_is_seen(whole: tuple[Path, bytes]) -> None:
    folder, data = whole
    place = data.index(state(2)["generator"]["a"].numpy().tobytes())
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    checkpoint.path_of(folder, 2).write_bytes(changed)
    found, damaged = checkpoint.load_last(folder)
    assert found is not None and found["step"] == 1
    assert damaged == [checkpoint.path_of(folder, 2)]


def test_where_none_can_be_read_it_says_so(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.path_of(tmp_path, step).write_bytes(b"words")
    torch.save([1, 2], checkpoint.path_of(tmp_path, 3))
    with pytest.raises(InputError, match="its 3 checkpoints cannot be read; start again"):
        checkpoint.load_last(tmp_path)


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1), keep=3)
    newest = checkpoint.path_of(tmp_path, 2)
    newest.write_bytes(b"cut")
    found, damaged = checkpoint.load_last(tmp_path)
    assert (found or {})["step"] == 1
    assert damaged == [newest]
