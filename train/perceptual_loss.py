"""The perceptual loss of pix2pixHD, where the weights of its network are at hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch.errors import InputError
from pix2pix_batch.text import describe_error
from pix2pix_batch.train.perceptual import NotComputed, find_weights

VGG19 = "vgg19-dcbb9e9d.pth"
"""Weights of VGG-19, trained on ImageNet, by the name that torchvision gives them."""

LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
"""What counts of torchvision's list of VGG-19's layers, ``relu1_1`` to ``relu5_1``, and how much
(Wang et al. 2018, "High-Resolution Image Synthesis", supplement; its published code)."""


class PerceptualLoss(nn.Module):
    """How far the features of images are from those of others, after five of VGG-19's layers.

    As in pix2pixHD's code, images go in as they are, in [-1, 1]. Grey ones are repeated.
    """

    def __init__(self) -> None:
        """Load the network. Raises :class:`InputError` if the weights are not there, or are other
        ones."""
        super().__init__()
        from torchvision.models import vgg19

        try:
            path = find_weights(VGG19)
        except NotComputed as error:
            raise InputError(f"lambda_perceptual: {error}; or set it to 0") from error
        with torch.device("meta"):  # the classifier behind the layers takes half a gigabyte
            layers = vgg19(weights=None).features[: max(LAYERS) + 1]
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            own = {name: weights[f"features.{name}"] for name in layers.state_dict()}
            layers.load_state_dict(own, assign=True)
        except Exception as error:  # torch.load and load_state_dict raise all kinds
            raise InputError(
                f"lambda_perceptual: {path} cannot be used ({describe_error(error)}); get it again"
            ) from error
        self.layers = layers.eval().requires_grad_(False)
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Compute the loss of images, ``(N, C, H, W)`` in [-1, 1] with 1 or 3 channels, as a
        scalar."""
        x, y = (image.expand(-1, 3, -1, -1) for image in (made, wanted))
        total = made.new_zeros(())
        for number, layer in enumerate(self.layers):
            x = layer(x)
            with torch.no_grad():
                y = layer(y)
            if (weight := LAYERS.get(number)) is not None:
                total = total + weight * F.l1_loss(x, y)
        return total
