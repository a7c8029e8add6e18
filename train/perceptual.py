"""LPIPS and FID, where the weights of their networks are at hand. Nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.text import describe_error
from pix2pix_batch.train.jitter import Pixels

if TYPE_CHECKING:
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

ALEXNET = "alexnet-owt-7be5be79.pth"
"""AlexNet's weights by the name that torchvision gives them. LPIPS's own, which weigh AlexNet's
layers (Zhang et al. 2018, version 0.1), come with torchmetrics."""

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
"""The Inception v3 of 2015 that FID is defined by (Heusel et al. 2017), by the name that
torch-fidelity gives its conversion."""

LEAST_SIDE = 32
"""Of images for LPIPS; AlexNet pools smaller ones away."""


class NotComputed(Exception):
    """Why a figure is left out, and what would bring it."""


class Lpips:
    """Learned perceptual similarity of two images: 0 is the same, 1 about the most."""

    def __init__(self, device: str) -> None:
        """Load the network. Raises :class:`NotComputed`."""
        find_weights(ALEXNET)
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self.device = device
        try:
            self.metric: LearnedPerceptualImagePatchSimilarity = (
                LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).to(device)
            )
        except Exception as error:  # such as the weights of another network
            raise _unreadable(ALEXNET, error) from error

    def __call__(self, output: Pixels, target: Pixels) -> float:
        """Compute the distance of two images, ``uint8 (H, W, C)``, whose sides must be at least
        :data:`LEAST_SIDE`."""
        first, second = (_batch(image).to(self.device) / 255 for image in (output, target))
        with torch.no_grad():
            return float(self.metric(first, second))


class Fid:
    """Fréchet inception distance between all outputs and all targets."""

    def __init__(self, device: str) -> None:
        """Load the network. Raises :class:`NotComputed`."""
        if importlib.util.find_spec("torch_fidelity") is None:
            raise NotComputed("pip install 'pix2pix-batch[evaluate]'")
        path = find_weights(INCEPTION)
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.device, self.count = device, 0
        try:  # antialias=False scales images as the original TensorFlow graph did
            self.metric: FrechetInceptionDistance = FrechetInceptionDistance(
                feature_extractor_weights_path=str(path), antialias=False
            ).to(device)
        except Exception as error:
            raise _unreadable(INCEPTION, error) from error

    def add(self, output: Pixels, target: Pixels) -> None:
        """Take ``uint8 (H, W, C)`` into account."""
        with torch.no_grad():
            self.metric.update(_batch(output).to(self.device), real=False)
            self.metric.update(_batch(target).to(self.device), real=True)
        self.count += 1

    def compute(self) -> float:
        """Compute the distance of all images so far. Raises :class:`NotComputed`."""
        if self.count < 2:
            raise NotComputed("needs two images at least")
        return float(self.metric.compute())


class Perceptual:
    """Computes LPIPS and FID, as far as they are available; ``not_computed`` has the reasons where
    they are not."""

    def __init__(self, device: str) -> None:
        self.not_computed: dict[str, str] = {}
        self.lpips: Lpips | None = None
        self.fid: Fid | None = None
        try:
            self.lpips = Lpips(device)
        except NotComputed as error:
            self.not_computed["lpips"] = str(error)
        try:
            self.fid = Fid(device)
        except NotComputed as error:
            self.not_computed["fid"] = str(error)

    def add(self, output: Pixels, target: Pixels) -> dict[str, float]:
        """The image's own figures."""
        if self.fid is not None:
            self.fid.add(output, target)
        if self.lpips is not None and min(target.shape[:2]) < LEAST_SIDE:
            self.not_computed["lpips"] = f"it needs images of {LEAST_SIDE}x{LEAST_SIDE} pixels"
            self.lpips = None
        return {} if self.lpips is None else {"lpips": self.lpips(output, target)}

    def overall(self) -> dict[str, float]:
        """The figures that all images have together."""
        if self.fid is None:
            return {}
        try:
            return {"fid": self.fid.compute()}
        except NotComputed as error:
            self.not_computed["fid"] = str(error)
            return {}


def checkpoints() -> Path:
    """Where PyTorch keeps what it has downloaded; ``TORCH_HOME`` moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_weights(name: str) -> Path:
    """The file, seen to hold tensors and no code: the libraries would run what is in it."""
    path = checkpoints() / name
    if not path.is_file():
        raise NotComputed(f"put {name} into {path.parent}")
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises what it pleases on damaged files
        raise _unreadable(name, error) from error
    return path


def _unreadable(name: str, error: Exception) -> NotComputed:
    path, reason = checkpoints() / name, describe_error(error)
    return NotComputed(f"{path} cannot be used ({reason}); get it again")


def _batch(image: Pixels) -> Tensor:
    """``uint8 (1, 3, H, W)``."""
    return torch.tensor(to_rgb(image)).permute(2, 0, 1)[None]
