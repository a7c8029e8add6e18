"""The process that local workers are forked from."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

from pix2pix_batch.execution import worker_template
from tests.end_to_end.command import PATIENCE


@pytest.fixture(autouse=True)
def _own_template() -> Iterator[None]:
    """Not the fork server that an earlier test in this process has begun, which later ones use."""
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    before, new = dict(vars(server)), vars(type(server)())
    vars(server).update({name: value for name, value in new.items() if name != "_lock"})
    yield
    server._stop()
    vars(server).update(before)


def templates() -> list[psutil.Process]:
    mine = psutil.Process().children()
    end = time.monotonic() + PATIENCE
    while any(map(is_beginning, mine)) and time.monotonic() < end:
        time.sleep(0.01)
    return [child for child in mine if "forkserver" in " ".join(command(child))]


def is_beginning(child: psutil.Process) -> bool:
    """Whether it is a copy of this process, as between fork and exec, which ensure_running() does
    not wait for, or has no arguments yet, as within exec."""
    try:
        return child.cmdline() in ([], psutil.Process().cmdline()) and (
            child.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def command(child: psutil.Process) -> list[str]:
    try:
        return child.cmdline()
    except psutil.Error:  # it has ended meanwhile
        return []


def found() -> dict[str, object]:
    """What a process finds when it begins."""
    there = "torch" in sys.modules
    import torch

    return {
        "torch": there,
        "of": os.getppid(),
        "file": torch.__file__,
        # after a fork CUDA could not be used
        "cuda": torch.cuda.is_initialized() or "libcuda.so" in Path("/proc/self/maps").read_text(),
    }


def test_processes_have_pytorch_when_they_begin_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what happens to lie in the current directory nothing is imported."""
    for name in ("torch", "distributed", "ctypes", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    before = templates()
    with worker_template.start_template() as method:
        assert method == "forkserver"
        (server,) = set(templates()) - set(before)
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            seen = pool.submit(found).result(PATIENCE)
        assert server.num_threads() == 1
    assert seen["torch"] and seen["of"] == server.pid and not seen["cuda"]
    assert not str(seen["file"]).startswith(str(tmp_path))
    assert templates() == before


def test_a_job_that_ends_at_once_does_not_wait_for_the_imports() -> None:
    before = templates()
    with worker_template.start_template():
        assert len(templates()) == len(before) + 1
    assert templates() == before


def test_what_is_forked_ends_with_the_template() -> None:
    with worker_template.start_template():
        process = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(9999,))
        process.start()
        worker = psutil.Process(process.pid)
        parent = worker.parent()
        assert parent is not None and parent in templates()
        parent.kill()
        worker.wait(PATIENCE)


def test_jobs_at_the_same_time_share_it_and_the_last_ends_it() -> None:
    before = templates()
    with contextlib.ExitStack() as second:
        with worker_template.start_template():
            (server,) = set(templates()) - set(before)
            second.enter_context(worker_template.start_template())
            assert set(templates()) - set(before) == {server}
        assert set(templates()) - set(before) == {server}
    assert templates() == before


def test_somebody_elses_fork_server_is_used_and_left_running() -> None:
    code = """
from multiprocessing import forkserver
from pix2pix_batch.execution import worker_template
forkserver.set_forkserver_preload(["json"])
forkserver.ensure_running()
before = forkserver._forkserver._forkserver_pid
with worker_template.start_template() as method:
    assert method == "forkserver"
assert forkserver._forkserver._forkserver_pid == before
assert forkserver._forkserver._preload_modules == ["json"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
