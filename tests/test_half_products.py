"""Products, layouts, softmaxes and functions of bf16 in compiled loops, against torch's bfloat16 and float64."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from pointae.nn.loops import HEAD_LOOPS, ROUND_LOOPS
from pointae.optional import compiled_loops

LOOPS, WHY_NOT = compiled_loops(*ROUND_LOOPS)
pytestmark = pytest.mark.skipif(LOOPS is None, reason=WHY_NOT)
if LOOPS:
    from numba import njit

    from pointae.nn.half import compiled_head, compiled_shares, lanes, layouts, products

SHAPES = [(8, 2, 16), (16, 16, 32), (24, 40, 48), (232, 64, 64), (8, 112, 96)]


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).bfloat16()


def words(tensor: Tensor):
    """A matrix of bf16 as rows."""
    return tensor.contiguous().view(torch.int32).numpy()


def pairs(tensor: Tensor):
    """A matrix of bf16 as pairs, by torch."""
    both = torch.stack([tensor[0::2], tensor[1::2]], 2)
    return both.contiguous().view(torch.int32)[..., 0].contiguous().numpy()


def halves(array) -> Tensor:
    """Rows as a matrix of bf16."""
    return torch.from_numpy(array).view(torch.bfloat16)


def exact(*factors: Tensor) -> Tensor:
    a, b = factors
    return a.double() @ b.double()


def gap(told, truth: Tensor) -> float:
    """The largest difference, of the largest value."""
    told = told if isinstance(told, Tensor) else torch.from_numpy(told)
    return float((told.double() - truth).abs().max() / truth.abs().max())


def test_float32_becomes_the_nearest_bf16_as_torch_rounds():
    ties = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 2**-126, 3.4e38, torch.inf, -torch.inf, 0.0])
    x = torch.cat([ties.repeat(2), torch.randn(16 * 63) * torch.logspace(-30, 30, 16 * 63)]).view(-1, 16)
    assert torch.equal(halves(layouts.as_rows(x.numpy())), x.bfloat16())
    assert halves(layouts.as_rows(torch.full((1, 16), torch.nan).numpy())).isnan().all()


@pytest.mark.parametrize(("rows", "columns"), [(2, 16), (10, 32), (64, 48)])
def test_pairs_and_transposes(rows, columns):
    x = drawn(rows, columns)
    out = np.empty((rows // 2, columns), np.int32)
    layouts.pair(words(x), 0, rows, out)
    assert np.array_equal(out, pairs(x))
    right = np.empty((rows // 2, columns - 16 or 16), np.int32)
    layouts.pair(words(x), (columns - right.shape[1]) // 2, rows, right)
    assert np.array_equal(right, pairs(x[:, -right.shape[1] :]))
    assert np.array_equal(layouts.as_pairs(x.float().numpy()), pairs(x))
    assert np.array_equal(layouts.as_turned(x.float().numpy()), pairs(x.T))


@pytest.mark.parametrize(("rows", "inner", "columns"), SHAPES)
def test_products_of_rows(rows, inner, columns):
    a, b, x = drawn(rows, inner + 4), drawn(inner, columns, seed=2), drawn(rows, columns, seed=3)
    truth = exact(a[:, 4:], b)
    own, others = words(a), pairs(b)
    plain, added = np.empty((rows, columns), np.float32), x.float().numpy().copy()
    products.products(own, 4, others, rows, plain)
    products.add_products(own, 4, others, rows, added)
    assert gap(plain, truth) < 1e-6
    assert gap(added, x.double() + truth) < 1e-6

    relu, residual, gated = (np.empty((rows, columns // 2), np.int32) for _ in range(3))
    products.relu_products(own, 4, others, rows, relu)
    products.residual_products(words(x), own, 4, others, rows, residual)
    products.open_products(own, 4, others, rows, words(x.relu()), gated)
    assert gap(halves(relu), truth.relu()) < 2**-8
    assert gap(halves(residual), x.double() + truth) < 2**-8
    assert gap(halves(gated), truth * (x > 0)) < 2**-8
    assert not halves(gated)[x <= 0].any()


@pytest.mark.parametrize(("rows", "a_columns", "b_columns"), [(2, 8, 16), (16, 16, 64), (232, 64, 32), (10, 24, 48)])
def test_products_over_rows(rows, a_columns, b_columns):
    a, b = drawn(rows, a_columns + 3), drawn(rows, b_columns + 5, seed=2)
    out = torch.ones(a_columns, b_columns).numpy()
    products.add_outer(pairs(a), 3, pairs(b), 5, rows // 2, out)
    assert gap(out, 1 + exact(a[:, 3:].T, b[:, 5:])) < 1e-6


def test_without_the_processors_instruction_the_same_is_computed(monkeypatch):
    monkeypatch.setattr(lanes, "HAS_DOTS", False)
    tile = products._tile(2, products._nothing, products._to_single)
    a, b, out = drawn(8, 64), drawn(64, 32, seed=2), np.empty(8 * 32, np.float32)

    @njit
    def run(a, b, out):
        tile(a, 0, 32, 1, b, 0, 32, 32, out, 0, 32, out, 0, 32)

    run(words(a).reshape(-1), pairs(b).reshape(-1), out)
    assert gap(out.reshape(8, 32), exact(a, b)) < 1e-6


@pytest.mark.parametrize(("hits", "tokens"), list(product((1, 8, 230), (16, 32))))
def test_shares_and_their_gradients(hits, tokens):
    logits = 4 * drawn(hits, 2 * tokens).float()
    truth = torch.cat([logits[:, :tokens].double().softmax(0), logits[:, tokens:].double().softmax(1)], 1)
    out = np.zeros((hits, tokens + 8), np.int32)  # of 2 K columns and 16 more between the two
    compiled_shares.shares_of(logits.numpy().copy(), hits, 0, tokens + 16, out)
    told = halves(out)
    assert not told[:, tokens : tokens + 16].any()
    told = torch.cat([told[:, :tokens], told[:, tokens + 16 :]], 1)
    assert gap(told, truth) < 2**-8

    grad = drawn(hits, 2 * tokens, seed=2).float()
    shares, of_taken, of_told = told.double(), *(half.contiguous() for half in grad.split(tokens, 1))
    along = shares * grad
    means = torch.cat([along[:, :tokens].sum(0).expand(hits, -1), along[:, tokens:].sum(1, True).expand(-1, tokens)], 1)
    back = np.zeros((hits, tokens + 8), np.int32)
    compiled_shares.shares_gradients(words(told), of_taken.numpy(), of_told.numpy(), hits, back, 16)
    assert gap(halves(back)[:, 16:], shares * (grad - means)) < 2**-8


def test_a_logit_that_is_no_number_spoils_all_that_it_is_shared_with():
    logits = torch.zeros(8, 32)
    logits[3, 2], logits[5, 20] = torch.nan, torch.nan
    out = np.zeros((8, 16), np.int32)
    compiled_shares.shares_of(logits.numpy(), 8, 0, 16, out)
    spoiled = halves(out).isnan()
    wanted = torch.zeros(8, 32, dtype=torch.bool)
    wanted[:, 2], wanted[5, 16:] = True, True
    assert torch.equal(spoiled, wanted)


def test_gelu_and_its_slope():
    assert compiled_loops(*HEAD_LOOPS)[0]
    x = torch.linspace(-12, 12, 16 * 1001).requires_grad_()
    values, rounded = x.detach().numpy().copy(), np.empty(x.numel() // 2, np.int32)

    @njit
    def run(values, out):
        compiled_head._gelu_and_slope(values, values.size, out)

    run(values, rounded)
    truth = torch.nn.functional.gelu(x.double())
    slope = torch.autograd.grad(truth.sum(), x)[0].double()
    assert (torch.from_numpy(values).double() - slope).abs().max() < 1e-6
    assert ((halves(rounded).double() - truth).abs() <= 2**-8 * truth.abs() + 1e-6).all()
