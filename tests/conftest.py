"""Tiny bundles and images that the tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from pix2pix_batch.cores import cores

# PyTorch is imported where it is used: the process that hands out the tests needs none, and the
# others do not begin before it has read this.

# Garbage is collected once the tests are: looking for it among what is to stay takes a quarter of
# the time that it takes to find them, in each of the processes.
if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()

# Several processes test at once, each on one thread: threads of more than there are cores wait
# for each other, spinning. Before torch is loaded, which reads it then.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # where a test has several all the same

# What a shell runs in the background ignores Ctrl-C, and so does all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No test is timed: how long an example takes is the machine's matter, which may be slow or busy.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """In how many processes to test: one more than there are cores, since many tests wait."""
    return cores() + 1


def pytest_configure(config: pytest.Config) -> None:
    """Have each process that tests begin to read the files elsewhere.

    In a fresh checkout reading them takes a third of a minute, most of it for ``assert`` to tell
    what it saw, and what one process has made of a file, the others read.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or config.args != (places := config.getini("testpaths")):
        return
    files = sorted(
        file for place in places for file in (config.rootpath / place).rglob("test_*.py")
    )
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    config.args = list(map(str, files[first:] + files[:first]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the usual order, which must be the same in all processes."""
    items.sort(key=lambda item: item.path)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there now stays to the end, and is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _path_of_programs() -> Iterator[None]:
    """The command has Python look for no modules beside programs that it starts, by a variable of
    its process. That is this one where a test calls the command here; later tests start others."""
    yield
    os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch as workers run it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save_bundle(path: Path, **values: object) -> Path:
    """An untrained generator for 64x64 images in a bundle at ``path``, named as its file."""
    import torch

    from pix2pix_batch import bundle
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.generators.unet import Architecture
    from pix2pix_batch.generators.unet_network import UNet

    defaults = {"downs": 6, "ngf": 4, "norm": "running-statistics", "dropout": False}
    architecture = Architecture(**{**defaults, **values})
    random = torch.Generator().manual_seed(0)
    net = UNet(architecture).init_weights(random).eval()
    for weight in net.parameters():
        if weight.ndim == 4:  # strong enough that the deepest layers and their noise show
            weight.data.normal_(0.0, 1.5 / weight[0].numel() ** 0.5, generator=random)
    info = BundleInfo(name=path.stem, architecture=architecture, image_size=64, fit="tile")
    bundle.save(path, info, net)
    return path


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the session's bundles, which an unprivileged user can read."""
    directory = tmp_path_factory.mktemp("bundles")
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def tiny(bundles: Path) -> Path:
    """A bundle for 64x64 images without dropout, fast to run."""
    return save_bundle(bundles / "tiny.safetensors")


@pytest.fixture(scope="session")
def noisy(bundles: Path) -> Path:
    """As ``tiny``, with dropout to use as noise."""
    return save_bundle(bundles / "noisy.safetensors", dropout=True)


@pytest.fixture(scope="session")
def two_channels(bundles: Path) -> Path:
    """As ``tiny``, for inputs that no image format has."""
    return save_bundle(bundles / "two_channels.safetensors", in_channels=2)
