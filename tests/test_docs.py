"""The commands that the documentation shows are this version's.

Its links are checked by ``mkdocs build --strict``.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest

from pix2pix_batch.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^( *)```\w*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(
    r"(?:^|[\s/])(?:pix2pix-batch|-m pix2pix_batch\.cli) (.*?)(?= (?:&&|\||\d?>|&$)|$)",
    re.MULTILINE,
)
"""A command line, up to what the shell takes for itself."""

OPTION = re.compile(r"(?<!\S)\[?(--\w[\w-]*)")

FOREIGN = {
    "--batch_size", "--eval", "--netG", "--ngf", "--no-nanny", "--norm", "--nproc-per-node",
    "--nthreads", "--num_test", "--nworkers",
}  # fmt: skip
"""Options of other programs that pages speak of."""


def shown(text: str) -> Iterator[str]:
    """The command lines in a page's blocks, without the program's name."""
    for _, block in BLOCK.findall(text):
        yield from COMMAND.findall(block.replace("\\\n", " "))


def spoken(text: str) -> Iterator[str]:
    """The commands and options in a page's sentences."""
    for span in SPAN.findall(BLOCK.sub("", text)):
        if span.startswith(("pix2pix-batch ", "--")):
            yield span


def everywhere(found: Callable[[str], Iterable[str]]) -> list[str]:
    """Without repeats."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    return list(dict.fromkeys(part for text in texts for part in found(text)))


def named(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the other words."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words[0])
        assert inner is not None, f"no command {words[0]!r}"
        command, words = inner, words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    """The names of a command's options."""
    parameters = command.get_params(click.Context(command))
    return {
        name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)
    }


def every(command: click.Command) -> Iterator[click.Command]:
    """A command and those in it."""
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from every(inner)


def test_commands_are_found() -> None:
    lines = everywhere(shown)
    assert "convert IN OUT --model RUN/model.safetensors" in lines
    assert "convert examples/maps aerial" in lines  # after && and in an environment
    assert "train pairs run --set batch_size=8" in lines  # as a module
    assert "engine build map2aerial --target sm86,sm89,sm120" in lines  # after a variable
    assert "pix2pix-batch doctor" in everywhere(spoken)


@pytest.mark.parametrize("line", everywhere(shown))
def test_a_command_shown_can_be_given(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "[" in line:  # a synopsis
        command, _ = named(line[: line.index("[")].split())
        assert set(OPTION.findall(line)) <= options(command)
        return
    monkeypatch.chdir(tmp_path)
    Path("DATA").mkdir()
    for name in (
        "latest_net_G.pth",
        "run/checkpoints/best.pt",
        "input.png",
        "output.png",
        "generator.keras",
        "training_checkpoints/ckpt-8.index",
    ):  # of what pages name, all that must be there to be parsed
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    command, words = named(shlex.split(line, comments=True))
    assert not isinstance(command, click.Group)
    command.make_context("", words)


@pytest.mark.parametrize("span", everywhere(spoken))
def test_an_option_or_command_spoken_of_is_one(span: str) -> None:
    if span.startswith("pix2pix-batch "):
        command, words = named(span.split()[1:])
        assert set(OPTION.findall(" ".join(words))) <= {*options(command), "--help"}
    else:
        assert span.split()[0] in FOREIGN.union(*map(options, every(main)))


TERM = re.compile(r"^\| ([\w ]+) \| .* \| `([\w/]+\.py)` `(\w+)` \|$", re.MULTILINE)


def test_the_glossary_says_where_its_terms_are_defined() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = TERM.findall(text)
    assert len(rows) == text.count("\n| ") - 2 > 30  # without the heads
    for term, path, name in rows:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        kinds = (ast.ClassDef, ast.FunctionDef)
        assert name in {one.name for one in tree.body if isinstance(one, kinds)}, term
    assert [term for term, _, _ in rows] == sorted(term for term, _, _ in rows)


SHOWN = re.compile(r"^::: (\S+)\n(?: {4}options:\n)?(?: {6}members: \[(.*)\])?", re.MULTILINE)


def test_the_reference_shows_what_is_there() -> None:
    """``mkdocs`` passes over members that it does not find."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md")]
    shown = [found for page in pages for found in SHOWN.findall(page)]
    assert len(shown) > 20
    for name, members in shown:
        for member in filter(None, members.split(", ")):
            assert hasattr(resolve_name(name), member), (name, member)
        assert resolve_name(name)
