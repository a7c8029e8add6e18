"""Each option is declared once; commands, signatures and what is checked follow from that."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

import pix2pix_batch
from pix2pix_batch import noise
from pix2pix_batch.commands.convert import convert
from pix2pix_batch.commands.synthesize import synthesize
from pix2pix_batch.errors import InputError
from pix2pix_batch.options import DECLARATION, Options
from pix2pix_batch.synthesis.options import SynthesisOptions
from tests.end_to_end.command import put, run_python

NO_OPTIONS = ("source", "out", "as_json")
BOTH = [(convert, Options), (synthesize, SynthesisOptions)]


def values_of(command: click.Command, *arguments: str) -> dict[str, Any]:
    """What a command line says, by the names of the options."""
    context = command.make_context("command", ["in", "out", *arguments])
    return {name: value for name, value in context.params.items() if name not in NO_OPTIONS}


@pytest.mark.parametrize(("command", "kind"), BOTH)
def test_a_command_has_the_options_and_their_defaults(command: click.Command, kind: Any) -> None:
    assert kind(**values_of(command)) == kind()
    assert values_of(command).keys() == {one.name for one in fields(kind)}


@pytest.mark.parametrize(
    ("function", "kind"),
    [(pix2pix_batch.convert, Options), (pix2pix_batch.synthesize, SynthesisOptions)],
)
def test_a_function_has_the_options_and_their_defaults(
    function: Callable[..., Any], kind: Any
) -> None:
    parameters = inspect.signature(function).parameters
    assert list(parameters)[:3] == ["source", "out", "watch"]
    assert {name: one.default for name, one in list(parameters.items())[3:]} == vars(kind())


def test_an_option_of_another_name_or_value_is_refused() -> None:
    with pytest.raises(TypeError, match="models"):
        pix2pix_batch.convert("in", "out", **{"models": "map2aerial"})
    with pytest.raises(InputError, match="precision must be one of auto, fp32, bf16, fp16"):
        pix2pix_batch.synthesize("in", "out", precision="16")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("batch_size", 1.5, "a whole number or None"),
        ("quality", "90", "a whole number or None"),
        ("quality", np.int64(90), "a whole number or None"),
        ("workers", True, "a whole number or None"),
        ("seed", None, "a whole number"),
        ("item_timeout", "300", "a number"),
        ("overwrite", "no", "True or False"),
        ("lenient", 1, "True or False"),
    ],
)
def test_numbers_and_switches_are_such(name: str, value: object, wanted: str) -> None:
    for kind in (Options, SynthesisOptions):
        if name in kind.__dataclass_fields__:
            with pytest.raises(
                InputError, match=f"{name} must be {wanted}, not {re.escape(repr(value))}"
            ):
                kind(**{name: value})


def test_all_choices_and_limits_of_the_command_line_hold_in_python() -> None:
    tried = 0
    for kind in (Options, SynthesisOptions):
        for one in fields(kind):
            declared = one.metadata[DECLARATION]
            values: list[Any] = ["never heard of"] if declared.choices else []
            values += [declared.low - 1] if declared.low is not None else []
            values += [declared.high + 1] if declared.high is not None else []
            for value in values:
                tried += 1
                with pytest.raises(InputError, match=one.name.replace("_", "[-_]")):
                    kind(**{one.name: value})
    assert tried > 30


def test_the_usual_noise_is_that_of_training() -> None:
    assert SynthesisOptions().noise_rate == noise.RATE
    assert not SynthesisOptions().other_noise


NEW_FORMAT = """
import sys
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
encode = 'lambda pixels, alpha, extras: _save(_to_image(pixels, alpha), "GIF")'
entry = f'"gif": OutputFormat(".gif", "image/gif", (".gif",), {encode}, holds_metadata=False),'
read = SourceFileLoader.get_data

def read_with_entry(self, path):
    if "output_formats" not in path:
        return read(self, path)
    if path.endswith(".pyc"):
        raise FileNotFoundError
    before = b"OUTPUT_FORMATS = {"
    assert read(self, path).count(before) == 1
    return read(self, path).replace(before, before + entry.encode())

SourceFileLoader.get_data = read_with_entry
for name in [one for one in sys.modules if one.partition(".")[0] == "pix2pix_batch"]:
    del sys.modules[name]  # to be read anew

from distributed import LocalCluster
from pix2pix_batch.cli import main

source, model = sys.argv[1:]
with LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
    for form in ("gif", "same"):
        words = ["convert", source, form, "--model", model, "--format", form, "--keep-exif"]
        try:
            main([*words, "--scheduler", cluster.scheduler_address])
        except SystemExit as ended:
            assert ended.code == 0, ended
"""
"""Runs the command with one more entry among the output formats."""


def test_an_output_format_is_added_in_one_place(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in" / "a.gif")
    exif = Image.Exif()
    exif[Base.Make] = "Maker"
    Image.new("RGB", (32, 32)).save(tmp_path / "in" / "b.png", exif=exif)
    (tmp_path / "in" / "b.pgw").write_text("1\n0\n0\n-1\n0\n0\n")
    monkeypatch.chdir(tmp_path)
    ran = run_python(NEW_FORMAT, tmp_path / "in", tiny)
    assert ran.code == 0, ran.err
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/?.*")}
    assert made >= {"gif/a.gif", "gif/b.gif", "gif/b.gfw", "same/a.gif", "same/b.png"}
    assert (tmp_path / "gif" / "b.gif").read_bytes().startswith(b"GIF8")
    assert "its EXIF is not kept: gif has no place for it" in ran.err
    assert (tmp_path / "same" / "a.gif").read_bytes().startswith(b"GIF8")
