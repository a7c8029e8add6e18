"""A Dask cluster as users start it: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from distributed import Client

from tests.end_to_end.command import PATIENCE, Started, environment
from tests.end_to_end.forked import Forked, run_code, run_dask

HERE = "127.0.0.1"
Before = Callable[[], object] | None
FORKING = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver"}
"""How Dask's nannies are to start their workers, which saves importing PyTorch."""


class Fleet:
    """Use it as a context manager: all its processes end with it."""

    def __init__(
        self, place: Path, *, before: Before = None, host: str = HERE, **variables: str
    ) -> None:
        """``place``: a directory for its files; ``variables``: of its processes' environment.

        ``before``: what the scheduler's process does first; ``host``: where it listens.
        """
        self.place, self.before, self.variables = place, before, variables
        self.file = place / "scheduler.json"
        self.processes: list[Started] = []
        place.mkdir(parents=True, exist_ok=True)
        self.scheduler = self._start(
            *("scheduler", "--no-show", "--port", "0", "--scheduler-file", str(self.file)),
            *("--host", host, "--idle-timeout", "10 minutes"),  # if nobody is left to end it
            before=before,
        )
        self._wait(self._is_told)

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def worker(
        self,
        name: str,
        *,
        before: Before = None,
        host: str = HERE,
        forked: bool = True,
        **variables: str,
    ) -> Started:
        """Start a worker. ``before``: what its process does first; ``forked``: or one that has
        imported nothing yet."""
        return self._start(
            *("worker", self.address, "--name", name, "--nthreads", "1"),
            *("--local-directory", str(self.place), "--host", host),
            before=before,
            forked=forked,
            **variables,
        )

    def wait_for(self, count: int) -> None:
        """Wait until there are so many workers, which are begun anew when they die: Dask gives up
        those that die before their nannies have heard that they have begun."""
        if self.before is None:
            with Client(self.address, set_as_default=False) as client:
                self._wait(lambda: len(client.nthreads()) == count)
                # A lambda is sent by its code, for processes that cannot import the tests; Dask
                # calls nannies workers here as well.
                ask = lambda dask_worker: dask_worker.status.name  # noqa: E731
                self._wait(lambda: set(client.run(ask, nanny=True).values()) <= {"running"})
            return
        program = (
            "import sys, time; from distributed import Client\n"
            "with Client(sys.argv[1]) as client:\n"
            "    while len(client.nthreads()) != int(sys.argv[2]): time.sleep(0.1)"
        )
        words = [program, self.address, str(count)]
        given = environment(), str(self.place), None, run_code, self.before
        assert Forked(words, *given).wait(PATIENCE) == 0

    def kill(self, process: Started) -> None:
        """With all that it has started, and at once."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                self.kill(process)

    def _start(
        self, *words: str, before: Before = None, forked: bool = True, **variables: str
    ) -> Started:
        given = environment(**{**FORKING, **self.variables, **variables})
        process: Started
        if not forked:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--no-dashboard"],
                cwd=self.place,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        else:
            words = (*words, "--no-dashboard")
            process = Forked([*words], given, str(self.place), None, run_dask, before)
        self.processes.append(process)
        return process

    def _is_told(self) -> bool:
        """Whether the scheduler has written its file, and all of it."""
        try:
            return bool(self.address)
        except (OSError, ValueError):
            return False

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.1)
