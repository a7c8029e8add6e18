"""Braces as a shell expands them, and globs over stores."""

from __future__ import annotations

import glob
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.pattern import Glob, expand_braces, has_braces


@pytest.mark.parametrize(
    "pattern",
    [
        "shards-{0000..0003}.tar",
        "shards-{8..11}.tar",
        "shards-{08..11}.tar",
        "x{3..1}y",
        "{train,val}/a-{00..02}.tar",
        "{a,b,}.tar",
        "{1..1}",
    ],
)
def test_braces_are_those_of_bash(pattern: str) -> None:
    assert has_braces(pattern)
    told = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True
    )
    assert list(expand_braces(pattern)) == told.stdout.splitlines()


@pytest.mark.parametrize(
    "name", ["a.tar", "{}.tar", "{a}.tar", "{a..b}.tar", "{1..}", "}{", "{a/b,c}"]
)
def test_names_that_are_no_pattern(name: str) -> None:
    assert not has_braces(name)


@pytest.mark.parametrize("pattern", ["{0..99999999999}", "{0..9999999}{0..99}"])
def test_too_many_names_are_refused_at_once(pattern: str) -> None:
    with pytest.raises(InputError, match="names"):
        next(expand_braces(pattern))


PART = st.sampled_from(["a", "b.png", "ab", ".c", "*", "*.png", "?", "**", "[ab]*", ".*"])
NAME = st.sampled_from(["a", "b.png", "ab", ".c", "c", "a.png"])


@given(
    st.lists(PART, min_size=1, max_size=3),
    st.sets(st.lists(NAME, min_size=1, max_size=3).map(tuple), max_size=6),
)
@settings(max_examples=200)
def test_globs_are_those_of_python(parts: list[str], files: set[tuple[str, ...]]) -> None:
    pattern = "/".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        made = set()
        for file in sorted(files):
            path = Path(folder, *file)
            if any(parent.is_file() for parent in path.parents) or path.is_dir():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            made.add("/".join(file))
        found = {
            name
            for name in glob.glob(pattern, root_dir=folder, recursive=True)
            if os.path.isfile(os.path.join(folder, name))
        }
    assert {name for name in made if Glob(pattern).matches(name)} == found
    for name in found:
        directories = name.split("/")[:-1]
        for depth in range(1, len(directories) + 1):
            assert Glob(pattern).enters("/".join(directories[:depth]))
