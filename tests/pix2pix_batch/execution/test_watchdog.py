"""The time limit, in processes that it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pix2pix_batch.execution.watchdog import STATUS
from tests.end_to_end.command import PATIENCE, ROOT

LIMIT = 0.5
LONG = 4.0
"""For what must end in time, even where the machine is so busy that it stands still for a while."""

PROGRAM = """
import ctypes, os, signal, sys, threading, time
from pix2pix_batch.execution.watchdog import Watchdog
def told(doing, name):
    print(doing, name, flush=True)
def sleeping_in_c():
    ctypes.CDLL(None).sleep(60)
def sleeping_with_the_lock():
    ctypes.PyDLL(None).sleep(60)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
    )


@pytest.mark.parametrize("hang", ["sleeping_in_c()", "sleeping_with_the_lock()"])
def test_a_step_that_hangs_ends_the_process(hang: str) -> None:
    ran = run(f"with Watchdog({LIMIT}, told) as watch:\n    with watch('decoding it', 'x'): {hang}")
    if "lock" in hang:  # no thread of Python runs then
        assert (ran.returncode, ran.stdout) == (1, "")
    else:
        assert (ran.returncode, ran.stdout) == (STATUS, "decoding it x\n")


def test_steps_in_time_and_no_limit_go_on() -> None:
    ran = run(
        f"with Watchdog({LONG}, told) as watch:\n"
        "    for number in range(4):\n"
        f"        with watch('decoding it', str(number)): time.sleep({0.3 * LONG})\n"
        "with Watchdog(0, told) as watch:\n"
        f"    with watch('decoding it', 'x'): time.sleep({0.5 * LONG})\n"
        f"time.sleep({0.3 * LONG})\nprint('lives')"
    )
    assert (ran.returncode, ran.stdout) == (0, "lives\n"), ran.stderr


def test_a_batch_may_take_the_limit_for_each_of_its_images() -> None:
    """Where a batch takes a minute, none of its images is to blame."""
    ran = run(
        f"with Watchdog({LIMIT}, told) as watch:\n"
        f"    with watch('translating it', 'x', 80): time.sleep({4 * LIMIT})\n"
        "    print('in time', flush=True)\n"
        f"    with watch('translating it', 'y', 2): time.sleep({8 * LIMIT})\n"
    )
    assert (ran.returncode, ran.stdout) == (STATUS, "in time\ntranslating it y\n"), ran.stderr


def test_without_a_limit_no_file_stays_open() -> None:
    ran = run(
        "import gc\ngc.disable()\n"
        "def once():\n"
        "    with Watchdog(0, told): pass\n"
        "once()\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "for _ in range(20): once()\n"
        "print(len(os.listdir('/proc/self/fd')) - before)"
    )
    assert (ran.returncode, ran.stdout) == (0, "0\n"), ran.stderr
