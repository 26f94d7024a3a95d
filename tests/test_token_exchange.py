"""What hits and tokens tell each other, against the same written plainly, one event after another."""

import pytest
import torch

from pointae.nn.perceiver import TokenMixer
from pointae.nn.token_exchange import read_hits, tell_hits

B, L, K, C = 3, 7, 4, 6
ABSENT = torch.tensor([5, 6, 2 * L + 6])  # the last two slots of the first event, the last of the third


def _random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def _plain_read(h, weight):
    """Event by event, of the hits that are there."""
    seen, shares = [], []
    present = torch.ones(B * L, dtype=torch.bool).index_fill(0, ABSENT, False).view(B, L)
    for event, there in zip(h, present, strict=True):
        taken = (event[there] @ weight[:K].T).softmax(0)
        seen.append(taken.T @ event[there])
        shares.append((event @ weight[K:].T).softmax(1))
    return torch.stack(seen), torch.stack(shares)


def test_tokens_read_hits_and_absent_ones_are_not_seen():
    h, weight = _random(B, L, C), _random(2 * K, C)
    through, seen, shares = read_hits(h, weight, ABSENT)
    assert torch.equal(through, h)
    for fast, slow in zip((seen, shares), _plain_read(h, weight), strict=True):
        assert torch.allclose(fast, slow)
    assert torch.autograd.gradcheck(lambda h, weight: read_hits(h, weight, ABSENT), (h, weight))


def test_hits_hear_tokens():
    inputs = h, shares, told, inner, outer = (
        _random(B, L, C), _random(B, L, K), _random(B, K, C), _random(C, C), _random(C, C, seed=1)
    )  # fmt: skip
    slow = h + torch.relu(h @ inner.T + shares @ told) @ outer.T
    assert torch.allclose(tell_hits(*inputs), slow)
    assert torch.autograd.gradcheck(tell_hits, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_without_gradients_the_same_numbers_take_the_place_of_the_hits(dtype):
    h, shares, told = (_random(B, L, n).detach().to(dtype) for n in (C, K, C))
    told = told[:, :K]
    inner, outer = (_random(C, C, dtype=torch.float32, seed=seed).detach() for seed in (1, 2))
    expected = tell_hits(h, shares, told, inner, outer)
    with torch.no_grad():
        result = tell_hits(h, shares, told, inner, outer)
    assert torch.equal(result, expected)
    assert result.data_ptr() == h.data_ptr()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_half_precision_of_hits_keeps_weights_and_their_gradients_wide(dtype):
    weights = [_random(2 * K, C, dtype=torch.float32), *(_random(C, C, dtype=torch.float32, seed=s) for s in (1, 2))]

    def gradients(dtype):
        h, told = _random(B, L, C).to(dtype), _random(B, K, C).to(dtype)
        h, seen, shares = read_hits(h, weights[0].to(torch.promote_types(dtype, torch.float32)), ABSENT)
        told = tell_hits(h, shares, told, *(w.to(torch.promote_types(dtype, torch.float32)) for w in weights[1:]))
        assert told.dtype == seen.dtype == shares.dtype == dtype
        return torch.autograd.grad(told.float().square().mean() + seen.float().square().mean(), weights)

    for fast, exact in zip(gradients(dtype), gradients(torch.float64), strict=True):
        assert fast.dtype == torch.float32
        limit = 0.03 if dtype == torch.bfloat16 else 1e-5
        assert float((fast - exact).norm() / exact.norm()) < limit


@pytest.mark.parametrize("shape", [(0, L), (2, 0), (0, 0)])
def test_no_events_and_events_without_hits_pass(shape):
    h, weight = torch.randn(*shape, C, requires_grad=True), torch.randn(2 * K, C, requires_grad=True)
    told, inner = torch.randn(shape[0], K, C, requires_grad=True), torch.randn(C, C, requires_grad=True)
    through, seen, shares = read_hits(h, weight, torch.zeros(0, dtype=torch.int64))
    assert not seen.any()
    result = tell_hits(through, shares, told, inner, inner)
    assert result.shape == (*shape, C)
    (result.sum() + seen.sum()).backward()
    assert not weight.grad.any()
    assert not inner.grad.any()


def test_layers_along_tokens_are_those_of_a_channel_turned():
    mixer, tokens = TokenMixer(K, C).double(), _random(B, K, C)
    slow = tokens + mixer.inside(mixer.norm_1(tokens))
    slow = slow + mixer.across(mixer.norm_2(slow).transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(mixer(tokens), slow)
