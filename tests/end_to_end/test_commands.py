"""The small commands, and what the command line does before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pix2pix_batch import __version__, bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from tests.end_to_end.command import ROOT, environment, error_of, here, require_light, run
from tests.reference_unet import ReferenceUNet


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["convert", "--help"],
        ["model", "--help"],
        ["model", "import", "--help"],
        ["model", "list"],
        ["model", "show", "map2aerial"],
        ["train", "--help"],
    ],
    ids=" ".join,
)
def test_needs_no_torch(arguments: list[str]) -> None:
    require_light(arguments, {"torch", "distributed", "numpy"})


def test_help_names_the_commands() -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in ("convert", "model", "train"):
        assert f"  {name} " in ran.out
    ran = run("convert", "--help")
    codes = "0 all done, 2 wrong use, 3 some images failed, 130 stopped by Ctrl-C, 143 by SIGTERM."
    assert codes in " ".join(ran.out.split())


@pytest.mark.parametrize(
    "group", [[], ["dataset"], ["engine"], ["model"], ["recipe"]], ids=" ".join
)
def test_help_says_of_each_command_a_whole_sentence(group: list[str]) -> None:
    """In 80 columns, where more would be cut."""
    listed = run(*group, "--help").out.partition("Commands:\n")[2].splitlines()
    assert len(listed) > 1
    for line in listed:
        assert line.endswith(".") and not line.endswith("..."), line
        assert len(line) <= 80


def test_version_from_a_checkout(tmp_path: Path) -> None:
    """Without anything installed or set."""
    ran = subprocess.run(
        [sys.executable, ROOT / "cli.py", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, f"pix2pix-batch, version {__version__}\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    ran = run(env=environment(_PIX2PIX_BATCH_COMPLETE=f"{shell}_source"))
    assert ran.code == 0, ran.err
    assert "_PIX2PIX_BATCH_COMPLETE" in ran.out
    assert "pix2pix-batch" in ran.out


def test_completion() -> None:
    asked = environment(
        _PIX2PIX_BATCH_COMPLETE="bash_complete", COMP_WORDS="pix2pix-batch con", COMP_CWORD="1"
    )
    assert run(env=asked).out == "plain,convert\n"


@pytest.mark.parametrize(
    ("asked", "said"), [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77")], ids=["ours", "the user's"]
)
def test_the_trainers_threads_soon_sleep_while_they_wait(asked: dict[str, str], said: str) -> None:
    given = environment(OMP_DISPLAY_ENV="verbose", **asked)
    del given["OMP_WAIT_POLICY"]  # of the tests
    told = run("recipe", "list", env=given).err
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("PyTorch has no OpenMP here, or another than GNU's")
    assert f"GOMP_SPINCOUNT = '{said}'" in told


def test_an_error_is_one_line_without_control_characters(tmp_path: Path) -> None:
    ran = here("dataset", "check", tmp_path / "no\n\x1b[31msuch")
    assert ran.code == 2
    assert ran.err.startswith(f"error: {tmp_path}/no\\n\\x1b[31msuch: there is no such")
    assert ran.err.count("\n") == 1 + ran.err.count("\nhint: ")


def test_model_list() -> None:
    ran = here("model", "list")
    assert ran.code == 0, ran.err
    assert any(line.startswith("map2aerial\t") for line in ran.out.splitlines())


def test_model_show(tiny: Path) -> None:
    ran = here("model", "show", tiny)
    assert ran.code == 0, ran.err
    for text in ("tiny", str(tiny), "64x64", "3 -> 3", "6 downs, ngf 4", "running-statistics"):
        assert text in ran.out
    ran = here("model", "show", "map2aerial", "--json")
    values = json.loads(ran.out)
    assert values["name"] == "map2aerial"
    assert values["architecture"]["in_channels"] == 3


def test_model_show_tells_how_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep: dict[str, object] = {"level": "bottom"}
    for _ in range(300):
        deep = {"in": deep}
    origin: dict[str, object] = {"recipe": {"name": "first", "lr": 1}, "data": {"source": "x"}}
    for step in range(200):
        training = {"step": step, "init": "ba5e", "init_provenance": origin}
        origin = {"recipe": {"name": "next", "lr": 1}, "training": training}
    provenance = {
        "history": "made so, and then \x1b[31mso. " * 12,
        "name": "another",
        "recipe": {
            "scales": [0.7, 1.6],
            "optimizer": {"name": "adam", "betas": [0.5, 0.999], "fused": None},
            "bands": [[-180, -72], [-44, 12]],
        },
        "deep": deep,
        "training": {"step": 9, "init": "f00", "init_provenance": origin},
        "nothing": {},
    }
    architecture = Architecture(downs=6, ngf=2)
    info = BundleInfo("made", architecture, image_size=64, provenance=provenance)
    path = tmp_path / "a directory" / "made.safetensors"
    bundle.save(path, info, UNet(architecture).init_weights(torch.Generator()))
    monkeypatch.setenv("COLUMNS", "60")
    ran = here("model", "show", path)
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert lines[:2] == ["name: made", f"file: {path}"]
    assert "sha256: " in lines[3]
    at = lines.index("  recipe:")
    assert lines[at - 1 : at + 7] == [
        "  name: another",
        "  recipe:",
        "    scales: [0.7, 1.6]",
        "    optimizer:",
        "      name: adam",
        "      betas: [0.5, 0.999]",
        "      fused: null",
        "    bands: [[-180, -72], [-44, 12]]",
    ]
    assert lines[-1] == "  nothing: {}"
    origins = lines[lines.index("    init: f00") :]
    assert origins[:6] == [
        "    init: f00",
        "    init_provenance:",
        "      recipe: next",
        "      step: 199",
        "      init: ba5e",
        "      init_provenance:",
    ]
    assert len(origins) < 40, "only so deep"
    (first,) = (line for line in lines if line.startswith("  history:"))
    assert first == "  history: made so, and then \\x1b[31mso. made so, and then"
    history = lines[lines.index(first) : at - 1]
    assert len(history) > 4
    assert all(len(line) <= 60 for line in history)
    assert all(line.startswith("    ") for line in history[1:])
    assert json.loads(here("model", "show", path, "--json").out)["provenance"] == provenance


def test_model_import(tmp_path: Path) -> None:
    checkpoint, file = tmp_path / "latest_net_G.pth", tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    torch.save(ReferenceUNet(downs=6, ngf=2).state_dict(), checkpoint)
    domains = ["--source-domain", "labels", "--target-domain", "façades"]
    ran = here("model", "import", checkpoint, file, *domains)
    assert ran.code == 0, ran.err
    assert "64x64" in ran.out
    values = json.loads(here("model", "show", file, "--json").out)
    assert values["name"] == "mine"
    assert values["target_domain"] == "façades"
    assert values["architecture"]["downs"] == 6
    assert values["architecture"]["ngf"] == 2

    before = file.read_bytes()
    ran = here("model", "import", checkpoint, file)
    assert ran.code == 2
    assert "mine.safetensors: exists" in error_of(ran)
    assert "--overwrite" in ran.err
    assert file.read_bytes() == before
    assert here("model", "import", checkpoint, file, "--overwrite", "--name", "other").code == 0

    ran = here("model", "import", checkpoint, tmp_path / "mine.pth")
    assert ran.code == 2
    assert "safetensors" in error_of(ran)
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"no checkpoint")
    ran = here("model", "import", bad, tmp_path / "new.safetensors")
    assert ran.code == 2
    assert "bad.pth" in error_of(ran)
    blocked = checkpoint / "below" / "new.safetensors"
    ran = here("model", "import", checkpoint, blocked)
    assert ran.code in (2, 3)
    assert "new.safetensors" in error_of(ran)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bad.pth",
        "latest_net_G.pth",
        "mine.safetensors",
    ]
