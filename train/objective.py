"""The objective (Isola et al. 2017, section 3.1) and its usual variants.

Every function takes logits ``(N, 1, h, w)`` and returns a scalar in their precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PENALTY = 10.0  # Gulrajani et al. 2017, section 4: lambda = 10


def discriminator_loss(mode: str, real: Tensor, fake: Tensor) -> Tensor:
    """What D minimises, halved: "we divide the objective by 2 while optimizing D" (section 3.3).

    Args:
        mode: ``vanilla``: cross entropy (Goodfellow et al. 2014). ``lsgan``: squares to the targets
            1 and 0 (Mao et al. 2017). ``hinge`` (Lim and Ye 2017). ``wgangp``: the critic's
            difference of means (Gulrajani et al. 2017), to which :func:`gradient_penalty` is added.
        real: D's logits of real pairs.
        fake: D's logits of generated pairs.
    """
    real_loss, fake_loss = DISCRIMINATOR[mode]
    return (real_loss(real) + fake_loss(fake)) / 2


def generator_loss(mode: str, fake: Tensor) -> Tensor:
    """What G minimises: that its images be taken for real.

    For ``vanilla`` the non-saturating form: "rather than training G to minimize log(1 - D), we
    maximize log D" (section 3.3).
    """
    return GENERATOR[mode](fake)


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching (Wang et al. 2018, equation 4): the mean difference of each of D's layers
    but the logits, added up over layers and discriminators, each a list of its layers'."""
    losses = [
        F.l1_loss(made, wanted)
        for layers, others in zip(fake, real, strict=True)
        for made, wanted in zip(layers[:-1], others[:-1], strict=True)
    ]
    return torch.stack(losses).sum()


def gradient_penalty(
    judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Pull the norm of the critic's gradient to 1 between real and generated images, times 10.

    Gulrajani et al. 2017, equation 3; halved, as all that D minimises.

    Args:
        judge: Images ``(N, C, H, W)`` to logits.
        real: Real images.
        fake: Generated images of the same shape.
        mix: ``(N, 1, 1, 1)`` in [0, 1]: where between the two each image lies.
    """
    between = torch.lerp(fake.detach(), real, mix).requires_grad_(True)
    logits = judge(between)
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    length = gradient.flatten(1).norm(dim=1)
    return PENALTY * (length - 1).square().mean() / 2


DISCRIMINATOR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "vanilla": (lambda real: F.softplus(-real).mean(), lambda fake: F.softplus(fake).mean()),
    "lsgan": (lambda real: (real - 1).square().mean(), lambda fake: fake.square().mean()),
    "hinge": (lambda real: F.relu(1 - real).mean(), lambda fake: F.relu(1 + fake).mean()),
    "wgangp": (lambda real: -real.mean(), lambda fake: fake.mean()),
}

GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "vanilla": lambda fake: F.softplus(-fake).mean(),
    "lsgan": lambda fake: (fake - 1).square().mean(),
    "hinge": lambda fake: -fake.mean(),
    "wgangp": lambda fake: -fake.mean(),
}
