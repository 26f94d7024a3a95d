"""A residual block as one operation: against the same block operation by operation in torch alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.nn.loops import BLOCK_LOOPS
from pointae.nn.sparse.engines import build_levels
from pointae.nn.sparse.layers import ResidualBlock
from pointae.nn.sparse.levels import Level
from pointae.nn.sparse.torch_engine import TorchLevel
from pointae.optional import compiled_loops
from pointae.voxels import voxelize

LOOPS, WHY_NOT = compiled_loops(*BLOCK_LOOPS)
pytestmark = pytest.mark.skipif(LOOPS is None, reason=WHY_NOT)
CHANNELS = 32
SIZES = {
    "several": (60, 0, 1, 300, 7, 0), "last is empty": (5, 0), "one": (40,), "many": (20, 30, 0, 25) * 20,
    "several ranges an event": (900, 880, 910),
}  # fmt: skip


def level_of(*sizes: int, kernel_size=(3, 3, 3), dilation=(1, 1, 1)) -> Level:
    draw = torch.Generator().manual_seed(sum(sizes))
    coords = torch.stack([torch.randint(bins, (sum(sizes),), generator=draw) for bins in (9, 11, 13)], 1).int()
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    voxels, _ = voxelize(HitBatch(even_geometry((9, 11, 13)), coords, offsets), torch.ones(sum(sizes), 1))
    return build_levels("torch", voxels, kernel_size=kernel_size, dilation=dilation)[0]


def run(level: Level, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Result, and gradients of a random projection with respect to the rows and the weights."""
    torch.manual_seed(1)
    block = ResidualBlock(CHANNELS, level.kernel_size)
    for weight in block.parameters():
        weight.data = torch.randn(weight.shape) / (CHANNELS if weight.ndim > 1 else 1)
    block = block.to(dtype)
    h = torch.randn(len(level.indices), CHANNELS).mul_(4).round_().div_(4)  # some are equally large
    h = h.to(dtype).requires_grad_()
    out = block(h, level)
    return [out.detach(), *torch.autograd.grad(out, [h, *block.parameters()], torch.randn(out.shape).to(dtype))]


@pytest.fixture
def at_once(monkeypatch) -> list[int]:
    """Groups of each block that was computed at once; groups are small, so that there are several."""
    seen = []
    by_engine = TorchLevel.event_groups

    def told(level, channels):
        groups = by_engine(level, channels)
        seen.append(groups.number if groups else 0)
        return groups

    monkeypatch.setattr(TorchLevel, "event_groups", told)
    monkeypatch.setattr("pointae.nn.sparse.event_groups.GROUP", 100 * CHANNELS)
    return seen


@pytest.fixture
def torch_alone(monkeypatch):
    return lambda: monkeypatch.setattr("pointae.nn.loops.compiled_loops", lambda *_: (None, "torch alone"))


@pytest.mark.parametrize("kernel", [((3, 3, 3), (1, 1, 1)), ((1, 3, 5), (2, 1, 2))], ids=["3 x 3 x 3", "dilated"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_as_torch_does(sizes, kernel, at_once, torch_alone):
    place = {"kernel_size": kernel[0], "dilation": kernel[1]}
    ours = run(level_of(*sizes, **place)), run(level_of(*sizes, **place), torch.float32)
    assert at_once[0] == at_once[1] > (1 if sum(sizes) > 500 else 0)
    torch_alone()
    truth = run(level_of(*sizes, **place))
    assert at_once[2:] == [0]
    for a, single, b in zip(*ours, truth, strict=True):
        assert (a.dtype, single.dtype, a.shape) == (torch.float64, torch.float32, b.shape)
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        assert (single - b).abs().max() <= 1e-4 * b.abs().max()


def test_the_same_numbers_again_and_the_same_result_whatever_the_threads(at_once, monkeypatch):
    level, threads = level_of(*SIZES["many"]), torch.get_num_threads()
    monkeypatch.setattr("pointae.threads.WORTH", 1)
    try:
        torch.set_num_threads(1)
        alone = run(level)
        torch.set_num_threads(3)
        together, again = run(level), run(level)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone[:2], together[:2], strict=True))
    for a, b in zip(alone[2:], together[2:], strict=True):  # of weights: each thread's part is added
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_what_is_no_number_stays_in_its_event(at_once):
    level = level_of(50, 60, 70)
    h = torch.ones(len(level.indices), CHANNELS)
    h[level.batch == 1] = torch.nan
    with torch.no_grad():
        out = ResidualBlock(CHANNELS)(h, level)
    assert at_once[0] > 1
    assert torch.equal(out.isnan().any(1), level.batch == 1)


def test_where_it_is_not_worth_while_or_unknown_operations_follow_one_another(at_once, monkeypatch):
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    assert TorchLevel.event_groups(level_of(500, 40, 60), CHANNELS) is None  # a thread would have more than its share
    assert TorchLevel.event_groups(level_of(200, 210, 190), CHANNELS) is not None
    at_once.clear()
    level = level_of(40)
    rows = torch.randn(len(level.indices), CHANNELS)
    with torch.autocast("cpu", torch.bfloat16):
        assert ResidualBlock(CHANNELS)(rows, level).isfinite().all()
    assert ResidualBlock(CHANNELS).bfloat16()(rows.bfloat16(), level).isfinite().all()
    assert not at_once
    assert ResidualBlock(CHANNELS // 4)(rows[:, : CHANNELS // 4], level).isfinite().all()
    assert at_once == [0]
