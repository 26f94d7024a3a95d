"""Norms and contexts of a sparse network: compiled loops against torch, values and gradients."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from pointae.nn.loops import EVENT_LOOPS
from pointae.nn.segments import Rows
from pointae.nn.sparse.rows import ContextReLU, RowLinear, RowNorm, RowNormReLU, pooled_rows
from pointae.optional import compiled_loops

LOOPS, WHY_NOT = compiled_loops(*EVENT_LOOPS)
pytestmark = pytest.mark.skipif(LOOPS is None, reason=WHY_NOT)
CHANNELS = 32


def rows_of(*counts: int) -> Rows:
    sizes = torch.tensor(counts, dtype=torch.int64)
    return SimpleNamespace(counts=sizes, batch=torch.repeat_interleave(sizes), batch_size=len(counts))


ROWS = {
    "several": rows_of(7, 0, 6, 7, 1, 5), "none": rows_of(0, 0), "no events": rows_of(), "many": rows_of(5000, 4800),
}  # fmt: skip
LAYERS = {
    "norm": RowNorm, "norm, ReLU": RowNormReLU, "context, ReLU": ContextReLU, "pooled": lambda _: pooled_rows,
    "linear": lambda channels: RowLinear(channels, 3 * channels // 2),
}  # fmt: skip


def run(layer: str, rows: Rows, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Result, and gradients of a random projection with respect to the rows and the weights."""
    torch.manual_seed(1)
    module = LAYERS[layer](CHANNELS)
    weights = [] if layer == "pooled" else list(module.to(dtype).parameters())
    for weight in weights:
        weight.data = torch.randn(weight.shape).to(dtype)
    halves = torch.randn(len(rows.batch), CHANNELS).mul_(2).round_().div_(2)  # some are equally large
    h = (halves + torch.arange(CHANNELS) / 8).to(dtype).requires_grad_()
    out = module(h, rows) if layer in ("context, ReLU", "pooled") else module(h)
    return [out.detach(), *torch.autograd.grad(out, [h, *weights], torch.randn(out.shape).to(dtype))]


@pytest.fixture
def torch_alone(monkeypatch):
    return lambda: monkeypatch.setattr("pointae.nn.loops.compiled_loops", lambda *_: (None, "torch alone"))


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("layer", LAYERS)
def test_as_torch_does(layer, rows, torch_alone):
    ours = run(layer, rows), run(layer, rows, torch.float32)
    torch_alone()
    truth = run(layer, rows)
    for a, single, b in zip(*ours, truth, strict=True):
        assert (a.dtype, single.dtype) == (torch.float64, torch.float32)
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
        if b.numel():
            assert (single - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_same_numbers_whatever_the_threads(layer, monkeypatch):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = run(layer, ROWS["many"], torch.float32)
        monkeypatch.setattr("pointae.threads.WORTH", 1)
        torch.set_num_threads(3)
        together = run(layer, ROWS["many"], torch.float32)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_no_number_does_not_vanish(layer):
    module, h = LAYERS[layer](CHANNELS), torch.ones(5, CHANNELS)
    h[1, 3] = torch.nan
    out = module(h, rows_of(2, 3)) if layer in ("context, ReLU", "pooled") else module(h)
    assert out[0 if layer == "pooled" else 1].isnan().any()


def test_half_precision_is_torchs():
    with torch.autocast("cpu", torch.bfloat16):
        h = torch.randn(6, CHANNELS)
        assert ContextReLU(CHANNELS)(h, rows_of(4, 2)).shape == h.shape
        assert RowNormReLU(CHANNELS)(h.bfloat16()).min() == 0
