"""What the trainer's tests share: small pairs, one thread, and a fresh accelerate each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from pix2pix_batch.train import report
from tests.train.running import make_pairs


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Its state is the process's own; another precision or device is refused while it stands."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Sums split over another number of threads may round otherwise; beside another busy process
    threads that wait for each other are slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


_charts: dict[str, str] = {}
_draw_curves = report.curves


def _curves_once(records: list[dict[str, Any]], group: str, wanted: Iterable[str]) -> str:
    """As the real one; of figures of the same names and kinds only once, since drawing takes longer
    than a small run. Where a page's charts are looked at, they are its own (``own_charts``)."""
    names = list(wanted)
    values = [record[group].get(name) for record in records for name in names]
    whole = all(value is not None and math.isfinite(value) for value in values)
    key = repr([group, names, len(records) > 1, whole])
    if key not in _charts:
        _charts[key] = _draw_curves(records, group, names)
    return _charts[key]


@pytest.fixture(autouse=True, scope="session")
def _charts_of_a_kind_are_drawn_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "curves", _curves_once)
        yield


@pytest.fixture
def own_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "curves", _draw_curves)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs to train on and two to validate with, 40x40 pixels each side; not to be changed."""
    return make_pairs(tmp_path_factory.mktemp("pairs"), train=6, val=2)
