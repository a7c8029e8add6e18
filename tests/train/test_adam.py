"""Adam on weights that are channels last, against PyTorch's plain one in float64."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from pix2pix_batch.train.adam import ChannelsLastAdam

RATE, BETAS = 2e-4, (0.5, 0.999)
SHAPES = ((6, 5, 4, 4), (1, 8, 4, 4), (8, 1, 4, 4), (7,))


def weights(dtype: torch.dtype, form: torch.memory_format) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return [
        nn.Parameter(laid_out(torch.randn(shape, generator=random).to(dtype), form))
        for shape in SHAPES
    ]


def laid_out(x: Tensor, form: torch.memory_format) -> Tensor:
    return x.contiguous(memory_format=form) if x.dim() == 4 else x


@pytest.mark.parametrize("gradients", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_it_is_adam_and_goes_on_from_a_checkpoint(
    form: torch.memory_format, gradients: torch.memory_format
) -> None:
    ours, plain = weights(torch.float32, form), weights(torch.float64, torch.contiguous_format)
    optimiser = ChannelsLastAdam(ours, RATE, BETAS)
    reference = torch.optim.Adam(plain, RATE, BETAS, foreach=False)
    random = torch.Generator().manual_seed(1)
    for step in range(5):
        for one, other in zip(ours, plain, strict=True):
            gradient = torch.randn(one.shape, generator=random)
            other.grad = gradient.double()
            if form == gradients or one.dim() == 1 or form == torch.channels_last:
                one.grad = laid_out(gradient, gradients)
            else:  # which PyTorch's own pairs wrongly, and autograd never makes
                one.grad = laid_out(gradient, form)
        optimiser.step()
        reference.step()
        if step == 2:
            saved = io.BytesIO()
            torch.save(optimiser.state_dict(), saved)
            saved.seek(0)
            optimiser = ChannelsLastAdam(ours, RATE, BETAS)
            optimiser.load_state_dict(torch.load(saved, weights_only=True))
    for one, other in zip(ours, plain, strict=True):
        assert one.is_contiguous(memory_format=form) or one.dim() == 1
        assert one.shape == other.shape
        torch.testing.assert_close(one.double(), other, atol=2e-6, rtol=0)
        for name in ("exp_avg", "exp_avg_sq"):
            assert optimiser.state[one][name].shape == one.shape


def test_its_checkpoints_are_those_of_pytorchs_own() -> None:
    ours = weights(torch.float32, torch.channels_last)
    theirs = copy.deepcopy(ours)
    optimiser = ChannelsLastAdam(ours, RATE, BETAS)
    own = torch.optim.Adam(theirs, RATE, BETAS, fused=True)
    for one, other in zip(ours, theirs, strict=True):
        one.grad = laid_out(torch.ones_like(one).cumsum(0), torch.channels_last)
        other.grad = one.grad.clone()
    optimiser.step()
    own.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    mine, yours = optimiser.state_dict()["state"], own.state_dict()["state"]
    for index, state in yours.items():
        for name, value in state.items():
            assert torch.equal(mine[index][name], value)
            assert mine[index][name].stride() == value.stride()


def test_weights_are_as_before_where_the_update_fails() -> None:
    (weight, *_) = weights(torch.float32, torch.channels_last)
    optimiser = ChannelsLastAdam([weight], RATE, BETAS)
    weight.grad = torch.ones_like(weight)
    optimiser.step()
    del optimiser.state[weight]["exp_avg"]
    with pytest.raises(KeyError):
        optimiser.step()
    assert weight.shape == SHAPES[0] == weight.grad.shape
