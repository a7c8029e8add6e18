"""What local workers have in common, as the process imports it that they are forked from."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import signal
import sys

ALL = (
    "torch",
    "distributed.nanny",
    "distributed.worker",
    "safetensors.torch",
    "pix2pix_batch.inference.engine",
    "pix2pix_batch.execution.worker",
)
"""What a worker imports."""


def end_forks_with_this_process() -> None:
    """What is forked from this process gets killed when this process is.

    Else its parent would take it for dead, as only this process could say how it ended, and start
    another in its place. Linux only.
    """
    if sys.platform != "linux":
        return
    here, prctl = os.getpid(), ctypes.CDLL(None).prctl
    pr_set_pdeathsig = 1  # <sys/prctl.h>

    def bind() -> None:
        if os.getppid() == here:  # and not what a worker forks
            prctl(pr_set_pdeathsig, signal.SIGKILL)

    os.register_at_fork(after_in_child=bind)


def import_all() -> None:
    """Import all that a worker will, and start no thread, which a fork would not take along.

    What cannot be imported is left for the workers to try, and to say why.
    """
    gc.disable()  # collecting among what is to stay takes a tenth of the time
    with contextlib.suppress(Exception):
        for name in ALL:
            importlib.import_module(name)
    gc.enable()
    gc.freeze()  # else the first collection would touch, and so copy, each page that is shared
