"""Braces as a shell expands them, and globs over stores."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.pattern import Glob, expand_braces, find_matches, has_braces


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


def fail(directory: str, error: OSError) -> None:
    raise AssertionError(directory) from error


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").touch()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to("itself")
    found = [os.path.relpath(one, tmp_path) for one in find_matches(f"{tmp_path}/**/*.png", fail)]
    assert found == ["a/b.png"]


@pytest.mark.parametrize("pattern", ["**/*.png", "*/*.png", "*/b/*.png", "s/b/*", "**"])
def test_directories_that_cannot_be_searched_are_told(pattern: str, tmp_path: Path) -> None:
    """By another user where the tests run as root, for whom all can be searched."""
    for inside in ("r/b", "s/b"):
        (tmp_path / inside).mkdir(parents=True)
        (tmp_path / inside / "a.png").touch()
    code = f"""
import os
from pix2pix_batch.inputs.pattern import find_matches
if os.geteuid() == 0:
    os.setegid(65534), os.seteuid(65534)
told = set()
for path in find_matches({pattern!r}, lambda place, error: told.add((place, error.errno))):
    pass
print(sorted(told))
"""
    tmp_path.joinpath("s").chmod(0)
    tmp_path.chmod(0o755)
    above = tmp_path.parent
    while above != Path("/"):  # for the other user to get here
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
        above = above.parent
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    tmp_path.joinpath("s").chmod(0o755)
    assert ran.stdout == "[('s', 13)]\n", ran.stderr


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
        absolute = f"{folder}/{pattern}"
        walked = {one for one in find_matches(absolute, fail) if os.path.isfile(one)}
        assert walked == set(filter(os.path.isfile, glob.iglob(absolute, recursive=True)))
    assert {name for name in made if Glob(pattern).matches(name)} == found
    for name in found:
        directories = name.split("/")[:-1]
        for depth in range(1, len(directories) + 1):
            assert Glob(pattern).enters("/".join(directories[:depth]))
