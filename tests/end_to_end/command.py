"""Running the command as users do, and looking at what it left behind."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pix2pix_batch.cli import main
from tests.end_to_end.forked import Forked, run_code, start_template

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pix2pix_batch.cli"]
JOURNAL = ".pix2pix-batch/journal.jsonl"
PATIENCE = 600
"""Seconds after which a run hangs, and not only has a slow or busy machine."""

SHARED: list[str] = []
"""The address of the scheduler of :func:`one_worker`'s worker, while there is one."""

Argument = str | bytes | Path | int
Started = subprocess.Popen[bytes] | Forked


@dataclass(frozen=True)
class Ran:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        """What ``--json`` printed, which must be all there is on standard output."""
        assert self.out.endswith("}\n"), self
        assert self.out.count("\n") == 1, self
        return json.loads(self.out)

    def counts(self) -> tuple[int, int, int]:
        """Images converted, skipped and failed, now or before."""
        figures = self.figures
        parts = ("converted", "skipped", "failed", "failed_before")
        assert figures["total"] == sum(figures[part] for part in parts)
        return figures["converted"], figures["skipped"], figures["failed"]


def _as_text(arguments: Iterable[Argument]) -> list[str]:
    return [os.fsdecode(a) if isinstance(a, bytes) else str(a) for a in arguments]


def environment(**values: str) -> dict[str, str]:
    """Of a program. The command sets ``PYTHONSAFEPATH`` for its process, which this one may be."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    mine = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {**mine, "PYTHONPATH": path, **values}


def start(*arguments: Argument, **options: Any) -> subprocess.Popen[bytes]:
    """The command, running, in a process group of its own as a terminal would give it."""
    words = [a if isinstance(a, bytes) else str(a) for a in arguments]
    given = {"stdin": subprocess.DEVNULL, "env": environment(), **options}
    return subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        **given,
    )


def fork(
    *arguments: Argument,
    fed: bool = False,
    cwd: Argument | None = None,
    before: Callable[[], object] | None = None,
    **variables: str,
) -> Forked:
    """As :func:`start`, but of what is imported already, and with ``variables`` beside the
    environment; ``fed``: with a pipe as standard input; ``before``: what the process does first."""
    place = str(cwd or os.getcwd())
    return Forked(_as_text(arguments), environment(**variables), place, fed, before=before)


def finish(process: Started, text: bytes | None = None) -> Ran:
    """Wait for a started command. Nothing of Python's machinery may show."""
    try:
        out, err = process.communicate(text, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    ran = Ran(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in ran.err, ran.err
    return ran


def run(*arguments: Argument, stdin: bytes | None = None, **options: Any) -> Ran:
    """The command in a process of its own, where that is the point; else :func:`here`."""
    if stdin is not None:
        options["stdin"] = subprocess.PIPE
    return finish(start(*arguments, **options), stdin)


def run_python(code: str, *arguments: Argument, env: dict[str, str] | None = None) -> Ran:
    """``python -c CODE`` and its arguments, in a process of its own that has imported PyTorch.

    ``env``: its environment. oneDNN and PyTorch read theirs when they are first asked for
    something, which is not before that.
    """
    words = [code, *_as_text(arguments)]
    process = Forked(words, env or environment(), os.getcwd(), program=run_code)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def here(*arguments: Argument, stdin: bytes | None = None, cwd: Argument | None = None) -> Ran:
    """The command as :func:`run` gives it, but in this process, which saves its start.

    Its workers are forked from one process for all such runs, which saves importing PyTorch.
    """
    given = _as_text(arguments)
    if {"--workers", "--scheduler"} & set(given):
        start_template()
    with contextlib.chdir(str(cwd)) if cwd else contextlib.nullcontext():
        ended = CliRunner().invoke(main, given, input=stdin, prog_name="pix2pix-batch")
    if not isinstance(ended.exception, SystemExit | None):
        raise ended.exception
    return Ran(ended.exit_code, ended.stdout, ended.stderr)


def convert(source: Argument, out: Argument, model: Path, *more: Argument, **options: Any) -> Ran:
    """Run ``convert`` in this process, with one worker in fp32, unless told otherwise, and
    ``--json``; in a process of its own where ``options`` are not only ``stdin`` and ``cwd``:
    :func:`fork`'s, or of :func:`run` where ``env`` is among them.

    The precision is given so that the bytes are the same on every CPU. Where the tests of a module
    share a worker, it is that one, but not for runs that ask for workers, or in a process of their
    own. Inputs that cannot be found are then the worker's to tell: another path through the code,
    so that runs with such ask for ``--workers``.
    """
    own = options.keys() - {"stdin", "cwd"}
    given = words(source, out, model, *more)
    if "env" in own:
        return run(*given, **options)
    if own:
        stdin = options.pop("stdin", None)
        return finish(fork(*given, fed=stdin is not None, **options), stdin)
    if SHARED and not {"--workers", "--scheduler", "--dry-run"} & set(more):
        given = words(source, out, model, *more, "--scheduler", SHARED[0])
    return here(*given, **options)


@contextmanager
def one_worker() -> Iterator[None]:
    """One for all runs that do not ask for their own, to start it once."""
    import dask
    from distributed import LocalCluster  # not above: processes that import this need none

    start_template()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        method = {"distributed.worker.multiprocessing-method": "forkserver"}
        with dask.config.set(method), LocalCluster(**options) as cluster:
            SHARED.append(cluster.scheduler_address)
            try:
                yield
            finally:
                SHARED.clear()


def words(source: Argument, out: Argument, model: Path, *more: Argument) -> list[Argument]:
    given = ["convert", source, out, "--model", model, "--json", *more]
    for name, value in (("--workers", 1), ("--precision", "fp32")):
        if name not in more and not (name == "--workers" and "--scheduler" in more):
            given += [name, value]
    return given


def error_of(ran: Ran) -> str:
    """The one line with which a run refused, having printed nothing else."""
    assert ran.out == "", ran
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: "), ran.err
    return lines[0]


def wait_for(condition: Callable[[], bool], process: Started) -> None:
    """Wait until ``condition`` holds; ``process`` must be running all the while."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def interrupt(process: Started, gate: Path) -> Ran:
    """Stop a run by Ctrl-C while its workers are held at ``gate``, let them end what they have in
    flight, and return how the run ended, which must be as the first Ctrl-C has it."""
    os.killpg(process.pid, signal.SIGINT)
    wait_until_told(b"stopping", process)
    gate.unlink()
    ran = finish(process)
    assert ran.code == 130, ran.err
    assert "Interrupted. Run the same command again" in ran.err
    return ran


def require_light(arguments: list[str], heavy: set[str]) -> None:
    """The command with ``arguments`` succeeds, prints something, and imports nothing ``heavy``."""
    code = (
        "import sys\n"
        "from pix2pix_batch.cli import main\n"
        "try:\n"
        f"    main({arguments!r}, prog_name='pix2pix-batch')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"heavy = {heavy!r} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def wait_until_told(what: bytes, process: Started) -> None:
    """Wait for a line with ``what`` on standard error, of which the lines till then are taken."""
    assert process.stderr is not None
    assert any(what in line for line in process.stderr), process.communicate()


def picture(width: int = 64, height: int = 64, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Soft random colours."""
    few = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(**options).save(buffer, form)
    return buffer.getvalue()


def with_wrong_text() -> bytes:
    """A PNG that is read with a warning: the checksum of a text in it is wrong."""
    data = encoded("PNG")
    chunk = b"tEXtTitle\0a map"
    wrong = zlib.crc32(chunk) ^ 1
    end = data.rindex(b"IEND") - 4
    return (
        data[:end]
        + (len(chunk) - 4).to_bytes(4, "big")
        + chunk
        + wrong.to_bytes(4, "big")
        + (data[end:])
    )


@contextmanager
def small_disk(tmp_path: Path, size: str) -> Iterator[Path]:
    """A disk of ``size`` (``1m``) of its own; skips the test where nothing can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    with mount("tmpfs", place, "-t", "tmpfs", "-o", f"size={size}"):
        yield place


@contextmanager
def mount(what: Argument, place: Argument, *options: str) -> Iterator[None]:
    """Within it ``what`` is mounted at ``place``; skips the test where nothing can be mounted."""
    try:
        command = ["mount", *options, str(what), str(place)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
    if ran.returncode:
        pytest.skip(f"cannot mount: {ran.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def resize_disk(place: Path, size: str) -> None:
    """Give a :func:`small_disk` another size (``80m``); what is on it stays."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(place)], check=True)


def put(path: Path, *, seed: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    """Write an image at ``path``, with its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(*size, seed).save(path)
    return path


def visible(out: Path) -> dict[str, Path]:
    """The files in OUT but for the journal's directory and the report, by their path within OUT.

    Each must be an image that decodes, and no temporary file may be left.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        inside = path.relative_to(out)
        if path.is_dir() or str(inside) == "report.html":
            continue
        if inside.parts[0] == ".pix2pix-batch":
            assert inside.name in ("journal.jsonl", "lock"), inside
            continue
        with Image.open(path) as image:
            image.load()
        found[str(inside)] = path
    return found


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of each output, by its path within OUT."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in visible(out).items()
    }


def everything(directory: Path) -> dict[Path, tuple[int, int, bytes]]:
    """All files below ``directory``: inode, modification time and content."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]


def records(out: Path) -> dict[str, dict[str, Any]]:
    """The journal's last word on each input."""
    return {line["name"]: line for line in journal(out) if "status" in line}
