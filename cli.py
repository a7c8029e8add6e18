"""The command line: the group of all commands, each loaded when asked for."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # 'python -m' looks for modules in the current directory first, where users have a signal.py
    sys.path.append(sys.path.pop(0))

import errno
import os
import re
import signal
from difflib import get_close_matches
from importlib import import_module
from itertools import pairwise
from traceback import walk_tb
from typing import Any

import click

from pix2pix_batch import environment
from pix2pix_batch.errors import (
    EngineError,
    InputError,
    OutputError,
    Pix2PixBatchError,
    TrainingError,
)
from pix2pix_batch.signals import handle_signals
from pix2pix_batch.text import escape
from pix2pix_batch.version import __version__

WRONG_USE = 2
SOME_FAILED = 3
INTERRUPTED = 130

MOST_OWNERS = 3
"""Commands that are named where an option is theirs and not the one's that was given it."""

MAY_BE_EMPTY = ("--name", "--license", "--source")
"""Options whose value is text for people."""

NOT_AS_EXPECTED = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP,
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ESTALE,
)  # fmt: skip
"""What an operating system says of files that others have made, moved or removed."""

MODULES = {
    "convert": "commands.convert",
    "dataset": "commands.dataset",
    "doctor": "commands.engine",
    "engine": "commands.engine",
    "evaluate": "commands.evaluate",
    "model": "commands.model",
    "preview": "commands.preview",
    "recipe": "commands.train",
    "report": "commands.status",
    "status": "commands.status",
    "synthesize": "commands.synthesize",
    "train": "commands.train",
}
"""Where each command is, by its name."""


class Commands(click.Group):
    """Loads a command when it is asked for; prints this package's errors as one line."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        open_streams()
        os.environ.setdefault("PYTHONSAFEPATH", "1")  # as above, for all that commands start
        return super().main(*arguments, **options)

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        require_words(args)
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            _require_directory()
            environment.require_valid()
            return super().invoke(context)
        except KeyboardInterrupt:
            with handle_signals([signal.SIGINT], signal.SIG_IGN):
                click.echo("Interrupted. Run the same command again to go on from here.", err=True)
            context.exit(INTERRUPTED)
        except Pix2PixBatchError as error:
            lines = str(error).split("\n  ")  # a list, as of workers that are not fit
            said = "\n  ".join(map(escape, lines))
            click.echo(f"error: {said}", err=True)
            failed = isinstance(error, EngineError | OutputError | TrainingError)
            context.exit(SOME_FAILED if failed else WRONG_USE)
        except click.NoSuchOption as error:
            owners = _owners(self, context, error.option_name)
            if not owners:
                raise
            # what is spelled alike does something else, and is not proposed
            said = f"{error.message} It is an option of {' and '.join(owners)}."
            raise click.NoSuchOption(error.option_name, said, ctx=error.ctx) from error
        except Exception as error:
            if not (reason := _reason_outside(error)):
                raise
            click.echo(f"error: {reason}", err=True)
            context.exit(SOME_FAILED if isinstance(error, OSError) else WRONG_USE)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # Click would look for what is alike among commands that are loaded: there are none
        near = [] if args[0] in MODULES else get_close_matches(args[0], MODULES, n=1)
        if near and not context.resilient_parsing:
            raise click.UsageError(
                f"No such command {args[0]!r}. Did you mean {near[0]!r}?", context
            )
        return super().resolve_command(context, args)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in MODULES:
            return None
        module = import_module(f"pix2pix_batch.{MODULES[name]}")
        command: click.Command = getattr(module, name)
        return command


def require_words(words: list[str]) -> None:
    """Raises ``click.UsageError`` where one is empty, as a variable of the shell that is not set
    leaves it: a path would be the current directory, an option as if it had not been given."""
    for before, word in pairwise(["", *words]):
        option = re.match("--[a-z-]+", word or before)
        if word and not re.fullmatch("--[a-z-]+=", word):
            continue
        if option and option[0] in MAY_BE_EMPTY:
            continue
        where = f"What is given to {option[0]}" if option else f"The argument after {before!r}"
        if not before:
            where = "The first argument"
        raise click.UsageError(f"{where} is empty: a variable of the shell that is not set?")


def _owners(group: click.Group, context: click.Context, option: str) -> list[str]:
    """The commands that have the option, as they are called; none where they are many."""
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            inner = _owners(command, context, option)
            found += [f"'{name} {one[1:]}" for one in inner]
        elif command and any(option in parameter.opts for parameter in command.params):
            found.append(f"'{name}'")
    return found if len(found) <= MOST_OWNERS else []


def _reason_outside(error: Exception) -> str:
    """Why it failed, where neither this package nor its input is to blame; else nothing."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    said = " ".join(str(error).split())
    if isinstance(error, BrokenPipeError):  # as `| head` leaves it; Click ends without a word
        return ""
    if isinstance(error, OSError) and modules[-1] == "click.utils":
        return f"standard output cannot be written ({error.strerror}); what was done stays"
    if said.startswith("Symlink loop from"):  # pathlib's, a RuntimeError
        return f"{escape(said)}: the link leads to itself; remove it"
    if isinstance(error, OSError) and error.errno in NOT_AS_EXPECTED and error.filename is not None:
        place = error.filename if error.filename2 is None else error.filename2  # of a renaming
        return (
            f"{escape(os.fsdecode(place))}: {error.strerror}: something else stands there "
            "than this command has made or looks for, or it was removed meanwhile; see what is "
            "there, then run the same command again"
        )
    if "dask.config" in modules:
        return (
            f"a configuration file of Dask cannot be used ({escape(said)}); mend it: it lies where "
            "DASK_CONFIG says, in ~/.config/dask or in /etc/dask"
        )
    return ""


def _require_directory() -> None:
    """Raises :class:`InputError` where the current directory has been removed."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f"the current directory cannot be used ({error.strerror}); change to one that is there"
        ) from error


def open_streams() -> None:
    """Have standard input, output and error lead nowhere where they are closed (``2>&-``).

    Else a file opened later would get the number of one, and take what libraries print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # which is the lowest number that is free
            if nowhere != number:
                os.dup2(nowhere, number)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pix2pix-batch")
def main() -> None:
    """Convert image datasets from one domain to another with pix2pix generators.

    Shell completion (or zsh_source, fish_source):

    \b
      eval "$(_PIX2PIX_BATCH_COMPLETE=bash_source pix2pix-batch)"
    """


def run() -> None:
    """The program. Ctrl-C while it ends, as from one who presses it several times, ends it at once,
    without tracebacks of what Python does last."""
    try:
        main(prog_name="pix2pix-batch")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    run()
