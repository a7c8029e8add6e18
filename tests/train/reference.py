"""A training step, stated again from the papers in plain functions, to compare ours against.

Nothing here comes from or depends on :mod:`pix2pix_batch`. Weights come as a generator's named
tensors (``docs/bundle.md``) and as the list of a discriminator's, layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def standardise(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return x * scale[None, :, None, None] + shift[None, :, None, None]


OVER = {"batch-statistics": (2, 3), "instance": (2, 3), "running-statistics": (0, 2, 3)}
"""What a generator's norm takes means over in training; the second and third have axis N too."""


def normalise(w: Weights, x: Tensor, block: str, norm: str) -> Tensor:
    if norm in OVER:
        x = standardise(x, OVER[norm])
    if f"{block}.norm.weight" in w:
        x = affine(x, w[f"{block}.norm.weight"], w[f"{block}.norm.bias"])
    return x


def encode(w: Weights, x: Tensor, downs: int, norm: str) -> list[Tensor]:
    """What each encoder block puts out (section 6.1.1); the last is the bottleneck."""
    encoded: list[Tensor] = []
    for i in range(downs):
        if i > 0:
            x = F.leaky_relu(x, 0.2)
        x = F.conv2d(x, w[f"down.{i}.conv.weight"], w.get(f"down.{i}.conv.bias"), 2, 1)
        if 0 < i < downs - 1:
            x = normalise(w, x, f"down.{i}", norm)
        encoded.append(x)
    return encoded


def unet(
    w: Weights, x: Tensor, masks: Sequence[Tensor], downs: int, norm: str, skips: bool
) -> Tensor:
    """The generator in training."""
    left = iter(masks)
    encoded = encode(w, x, downs, norm)
    x = encoded[-1]
    for i in reversed(range(downs)):
        if skips and i < downs - 1:
            x = torch.cat([encoded[i], x], 1)
        x = F.relu(x)
        x = F.conv_transpose2d(x, w[f"up.{i}.conv.weight"], w.get(f"up.{i}.conv.bias"), 2, 1)
        if i > 0:
            x = normalise(w, x, f"up.{i}", norm)
        if masks and 4 <= i <= downs - 2:
            x = x * next(left)
    assert next(left, None) is None
    return torch.tanh(x)


STRIDES = {
    1: (1, 1, 1),
    16: (2, 1, 1),
    34: (2, 2, 1, 1),
    70: (2, 2, 2, 1, 1),
    142: (2, 2, 2, 2, 1, 1),
    286: (2, 2, 2, 2, 2, 1, 1),
}
"""Of each discriminator's convolutions (section 6.1.2)."""


def patchgan(weights: Sequence[Tensor], x: Tensor, patch: int, norm: str) -> Tensor:
    left = iter(weights)
    for i, stride in enumerate(STRIDES[patch]):
        last = i == len(STRIDES[patch]) - 1
        weight = next(left)
        bias = next(left) if i == 0 or last or norm != "batch" else None
        x = F.conv2d(x, weight, bias, stride, 0 if patch == 1 else 1)
        if last:
            break
        if i > 0 and norm != "none":
            x = standardise(x, (0, 2, 3) if norm == "batch" else (2, 3))
        if i > 0 and norm == "batch":
            x = affine(x, next(left), next(left))
        x = F.leaky_relu(x, 0.2)
    assert next(left, None) is None
    return x


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def loss_d(mode: str, real: Tensor, fake: Tensor) -> Tensor:
    if mode == "vanilla":
        return (-torch.log(sigmoid(real)).mean() - torch.log(1 - sigmoid(fake)).mean()) / 2
    if mode == "lsgan":
        return (((real - 1) ** 2).mean() + (fake**2).mean()) / 2
    if mode == "hinge":
        return ((1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()) / 2
    return (fake.mean() - real.mean()) / 2


def loss_g(mode: str, fake: Tensor) -> Tensor:
    if mode == "vanilla":
        return -torch.log(sigmoid(fake)).mean()
    if mode == "lsgan":
        return ((fake - 1) ** 2).mean()
    return -fake.mean()


@dataclass
class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    lr: float
    beta1: float
    beta2: float
    t: int = 0
    m: list[Tensor] = field(default_factory=list)
    v: list[Tensor] = field(default_factory=list)

    def step(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """The new weights, leaves of their own."""
        self.t += 1
        self.m = self.m or [torch.zeros_like(g) for g in gradients]
        self.v = self.v or [torch.zeros_like(g) for g in gradients]
        new = []
        for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
            m_hat = self.m[i] / (1 - self.beta1**self.t)
            v_hat = self.v[i] / (1 - self.beta2**self.t)
            moved = w.detach() - self.lr * m_hat / (torch.sqrt(v_hat) + 1e-8)
            new.append(moved.requires_grad_(True))
        return new


@dataclass
class Training:
    """Both networks and their optimisers. ``g``: named weights; ``d``: the list of them."""

    g: Weights
    d: list[Tensor]
    adam_g: Adam
    adam_d: Adam
    downs: int = 5
    norm: str = "batch-statistics"
    skips: bool = True
    patch: int = 70
    disc_norm: str = "batch"
    conditional: bool = True
    mode: str = "vanilla"
    lambda_gan: float = 1.0
    lambda_l1: float = 100.0
    gradients_g: list[Tensor] = field(default_factory=list)
    gradients_d: list[Tensor] = field(default_factory=list)

    def step(
        self,
        source: Tensor,
        target: Tensor,
        masks: Sequence[Tensor],
        mix: Tensor,
        late: bool = False,
    ) -> tuple[float, float, float]:
        """One step on one batch; the losses of D, of G's GAN term, and L1.

        ``late``: the wrong way round, G by what D said before its own step.
        """
        fake = unet(self.g, source, masks, self.downs, self.norm, self.skips)
        before = self.d
        d = self._step_d(source, target, fake.detach(), mix) if self.lambda_gan else 0.0
        l1 = (fake - target).abs().mean()
        gan = torch.zeros_like(l1)
        if self.lambda_gan:
            gan = loss_g(self.mode, self._judge(source, fake, before if late else self.d))
        total = self.lambda_gan * gan + self.lambda_l1 * l1
        self.gradients_g = list(torch.autograd.grad(total, list(self.g.values())))
        new = self.adam_g.step(list(self.g.values()), self.gradients_g)
        self.g = dict(zip(self.g, new, strict=True))
        return d, gan.item(), l1.item()

    def _judge(self, source: Tensor, image: Tensor, weights: Sequence[Tensor]) -> Tensor:
        seen = torch.cat([source, image], 1) if self.conditional else image
        return patchgan(weights, seen, self.patch, self.disc_norm)

    def _step_d(self, source: Tensor, target: Tensor, fake: Tensor, mix: Tensor) -> float:
        real_logits = self._judge(source, target, self.d)
        fake_logits = self._judge(source, fake, self.d)
        loss = loss_d(self.mode, real_logits, fake_logits)
        if self.mode == "wgangp":
            between = (mix * target + (1 - mix) * fake).requires_grad_(True)
            logits = self._judge(source, between, self.d)
            slopes = torch.autograd.grad(logits.sum(), between, create_graph=True)[0]
            lengths = torch.sqrt((slopes**2).sum((1, 2, 3)))
            loss = loss + 10 * ((lengths - 1) ** 2).mean() / 2
        self.gradients_d = list(torch.autograd.grad(loss, self.d))
        self.d = self.adam_d.step(self.d, self.gradients_d)
        return loss.item()
