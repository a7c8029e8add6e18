"""Commands in processes of their own that need not import PyTorch first, which takes seconds.

It is forked from :mod:`multiprocessing`'s fork server, which has imported what commands and their
workers need and has done nothing else, and its workers from another copy of that. All else is as
where a shell starts it: streams, signals, a process group and how it ends.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import PIL

from pix2pix_batch.cli import main
from pix2pix_batch.execution import worker_imports, worker_template

SERVER = multiprocessing.get_context("forkserver")

COMMANDS = (
    "dask.cli",
    "distributed.cli.dask_scheduler",
    "distributed.cli.dask_worker",
    "distributed.dashboard",
    "distributed.diagnostics.websocket",
    "distributed.http.health",
    "distributed.http.scheduler.info",
    "distributed.http.scheduler.json",
    "distributed.http.scheduler.missing_bokeh",
    "distributed.http.scheduler.prometheus",
    "distributed.http.statics",
    "email.policy",
    "multiprocessing.synchronize",
    "numpy.ma",
    "PIL.ImageDraw",
    *(f"PIL.{name}" for name in PIL._plugins),
    "tornado.platform.asyncio",
    "pix2pix_batch.commands.convert",
    "pix2pix_batch.engines.backends",
    "pix2pix_batch.execution.cluster",
    "pix2pix_batch.execution.job",
    "pix2pix_batch.reporting.html_page",
)
"""What commands and their workers import on their way, which takes each half a second. Those that
cannot be imported are left to whoever needs them."""


def start_template(*more: str) -> None:
    """Have the processes of all later tests forked from one that has imported what they need.

    Jobs in this process leave it running that find it there. ``more``: modules beside those of
    commands and workers; where the one that runs lacks some, another takes its place.
    """
    from distributed import utils

    utils._forkserver_preload_set = True  # else Dask has it import other things
    # the last makes all that is there then one that is never looked through for garbage
    wanted = [*COMMANDS, *more, worker_template.PRELOAD]
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_pid is None or not set(wanted) <= set(server._preload_modules):
        worker_template._end(server)
        server.set_forkserver_preload(wanted)
    with worker_template.environment():
        server.ensure_running()


def _run_command(words: list[str]) -> None:
    main(words, prog_name="pix2pix-batch")


def run_logged(words: list[str]) -> None:
    """The command whose output goes to the end of a file, which is the first of ``words``."""
    with open(words[0], "ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    _run_command(words[1:])


def run_dask(words: list[str]) -> None:
    """Dask's own command, as ``python -m dask`` is."""
    from dask.cli import run_cli

    sys.argv = ["dask", *words]
    run_cli()


def run_script(words: list[str]) -> None:
    """A file of Python's and its arguments, as ``python FILE`` is. What it would spawn is forked
    from the template, too."""
    module: Any = multiprocessing
    get_context = module.get_context
    module.get_context = lambda method=None: get_context(
        "forkserver" if method == "spawn" else method
    )
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")


def run_code(words: list[str]) -> None:
    """Python code and its arguments, as ``python -c CODE`` is."""
    sys.argv = ["-c", *words[1:]]
    exec(compile(words[0], "<string>", "exec"), {"__name__": "__main__"})


class Forked:
    """What the tests use of :class:`subprocess.Popen`."""

    def __init__(
        self,
        words: list[str],
        variables: dict[str, str],
        cwd: str,
        fed: bool | None = False,
        program: Callable[[list[str]], None] = _run_command,
        before: Callable[[], object] | None = None,
    ) -> None:
        """``variables``: its environment; ``fed``: by a pipe on standard input;
        ``None``: with no pipes at all; ``before``: what it does first, for itself and for all that
        it starts, as :class:`subprocess.Popen`'s ``preexec_fn``."""
        start_template()
        ours_in, self.stdin = _pipe_to() if fed else (None, None)
        (self.stdout, out), (self.stderr, err) = (
            (None, None) if fed is None else _pipe_from() for _ in range(2)
        )
        is_there, there = multiprocessing.Pipe(duplex=False)
        arguments = (program, words, variables, cwd, ours_in, out, err, there, before)
        self.process = SERVER.Process(target=_run, args=arguments)
        self.process.start()
        for end in (ours_in, out, err, there):
            if end is not None:
                end.close()
        with is_there:
            is_there.recv_bytes()  # else its process group may not be there yet
        assert self.process.pid is not None
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("pix2pix-batch", timeout or 0.0)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(
        self, text: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        end = None if timeout is None else time.monotonic() + timeout
        found: dict[int, bytes] = {}

        def read(number: int, stream: IO[bytes]) -> None:
            found[number] = stream.read()

        assert self.stdout is not None and self.stderr is not None
        streams = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=one, daemon=True) for one in streams]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(text or b"")
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired("pix2pix-batch", timeout or 0.0)
        self.wait(None if end is None else max(1.0, end - time.monotonic()))
        return found[0], found[1]


def _pipe_from() -> tuple[IO[bytes], Connection]:
    """A file to read here and the other process's end."""
    here, there = multiprocessing.Pipe(duplex=False)
    with here:
        return open(os.dup(here.fileno()), "rb"), there


def _pipe_to() -> tuple[Connection, IO[bytes]]:
    there, here = multiprocessing.Pipe(duplex=False)
    with here:
        return there, open(os.dup(here.fileno()), "wb")


def _run(
    program: Callable[[list[str]], None],
    words: list[str],
    variables: dict[str, str],
    cwd: str,
    given: Connection | None,
    out: Connection | None,
    err: Connection | None,
    there: Connection,
    before: Callable[[], object] | None,
) -> None:
    import dask

    os.setsid()
    with there:
        there.send_bytes(b"")
    with open(os.devnull, "r+b") as nothing:
        for number, end in enumerate((given, out, err)):
            os.dup2((end or nothing).fileno(), number)
            if end is not None:
                end.close()
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))  # noqa: SIM115
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    dask.config.refresh()
    if before is not None:
        before()
    with _template():
        program(words)


@contextlib.contextmanager
def _template() -> Iterator[None]:
    """Fork what workers will be forked from, as :meth:`forkserver.ForkServer.ensure_running` starts
    it, with all that it would import."""
    if sys.version_info >= (3, 14):  # where a fork server wants a key as well
        yield
        return
    server: Any = forkserver._forkserver  # type: ignore[attr-defined]
    address = connection.arbitrary_address("AF_UNIX")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        os.chmod(address, 0o600)
        listener.listen()
        alive_r, alive_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(SystemExit):
                os.close(alive_w)
                signal.pthread_sigmask(signal.SIG_BLOCK, worker_template.HELD)
                worker_imports.end_forks_with_this_process()
                forkserver.main(listener.fileno(), alive_r, [])
            os._exit(0)
        os.close(alive_r)
    server._forkserver_address = address
    server._forkserver_alive_fd, server._forkserver_pid = alive_w, pid
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        Path(address).unlink(missing_ok=True)
