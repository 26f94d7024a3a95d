"""A perceiver's round and the decoder of hits as one operation each: no less exact than torch's own bf16."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from pointae.config import LatentSettings, ModelSettings, PerceiverSettings
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.nn import half
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.decoders import PerHitDecoder
from pointae.nn.half import lanes as half_lanes
from pointae.nn.half.whole_rounds import whole_rounds
from pointae.nn.loops import HEAD_LOOPS, ROUND_LOOPS
from pointae.nn.perceiver import TokenRound
from pointae.optional import compiled_loops

LOOPS, WHY_NOT = compiled_loops(*ROUND_LOOPS)
pytestmark = pytest.mark.skipif(LOOPS is None, reason=WHY_NOT)
CHANNELS, TOKENS, DEPTH, HIDDEN = 48, 16, 32, 16
SIZES = {
    "several": (61, 8, 1, 230, 7, 100), "some are empty": (0, 40, 0, 0, 9, 0), "one": (33,), "many": (20, 31, 5) * 10,
}  # fmt: skip
WORSE, WORSE_ON_AVERAGE = 1.5, 1.05
"""How much farther from float64 than torch's bf16 one result may be, and all: both round, at other places."""


def offsets_of(sizes) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0)


def given(sizes, seed: int = 1) -> tuple[Tensor, ...]:
    """Hits, tokens, and gradients of both results."""
    draw = torch.Generator().manual_seed(seed)
    shapes = (sum(sizes), CHANNELS), (len(sizes), TOKENS, DEPTH)
    h, tokens, to_h, to_tokens = (torch.randn(shape, generator=draw) for shape in (*shapes, *shapes))
    return h.bfloat16(), tokens, to_h.bfloat16(), to_tokens


def round_of(dtype: torch.dtype) -> TokenRound:
    torch.manual_seed(2)
    round_ = TokenRound(CHANNELS, TOKENS, DEPTH)
    for parameter in round_.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn(parameter.shape) / 3
    return round_.to(dtype)


def event_by_event(sizes, dtype: torch.dtype) -> list[Tensor]:
    """Results and gradients by torch, of each event alone; of an event without hits the tokens read nothing."""
    round_, (h, tokens, to_h, to_tokens) = round_of(dtype if dtype == torch.float64 else torch.float32), given(sizes)
    h = h.to(dtype).requires_grad_()
    tokens = tokens.to(torch.float64 if dtype == torch.float64 else torch.float32).requires_grad_()
    heard, thought = [], []
    absent = torch.zeros(0, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        for event, (first, last) in enumerate(pairwise(offsets_of(sizes).tolist())):
            if first == last:
                own = round_.mixer(tokens[event][None] + round_.read.bias)[0]
            else:
                out, own = (part[0] for part in round_(h[first:last][None], tokens[event][None], absent))
                heard.append(out)
            thought.append(own)
    results = torch.cat(heard), torch.stack(thought)
    inputs = [h, tokens, *round_.parameters()]
    gradients = torch.autograd.grad(results, inputs, [to_h.to(results[0].dtype), to_tokens.to(results[1].dtype)])
    return [result.detach() for result in results] + list(gradients)


def at_once(sizes) -> list[Tensor]:
    round_, (h, tokens, to_h, to_tokens) = round_of(torch.float32), given(sizes)
    h, tokens = h.requires_grad_(), tokens.requires_grad_()
    results = whole_rounds(h, tokens, offsets_of(sizes).numpy(), [round_.weights_in_order()], LOOPS)
    gradients = torch.autograd.grad(results, [h, tokens, *round_.parameters()], [to_h, to_tokens])
    return [result.detach() for result in results] + list(gradients)


def assert_no_less_exact(ours: list[Tensor], theirs: list[Tensor], truth: list[Tensor]) -> None:
    """Each error, of the size of the truth, is about that of torch's bf16, and all together are no larger."""
    of_ours, of_theirs = (
        torch.tensor([float((a.double() - b).norm() / b.norm()) for a, b in zip(told, truth, strict=True)])
        for told in (ours, theirs)
    )
    assert of_theirs.max() < 0.3
    assert (of_ours <= WORSE * of_theirs + 2e-3).all(), (of_ours, of_theirs)
    assert ((of_ours + 1e-4) / (of_theirs + 1e-4)).log().mean().exp() < WORSE_ON_AVERAGE


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_round_is_no_less_exact_than_torch(sizes):
    assert_no_less_exact(
        at_once(sizes), event_by_event(sizes, torch.bfloat16), truth=event_by_event(sizes, torch.float64)
    )


def test_without_gradients_the_result_takes_the_place_of_the_hits():
    sizes = SIZES["several"]
    h, tokens, *_ = given(sizes)
    wanted = at_once(sizes)[:2]
    with torch.no_grad():
        weights = [round_of(torch.float32).weights_in_order()]
        out, thought = whole_rounds(h, tokens, offsets_of(sizes).numpy(), weights, LOOPS)
    assert out.data_ptr() == h.data_ptr()
    assert torch.equal(out, wanted[0])
    assert torch.equal(thought, wanted[1])


def test_parts_on_threads_give_the_same(monkeypatch):
    sizes = SIZES["many"]
    alone = at_once(sizes)
    monkeypatch.setattr("pointae.threads.WORTH", 1)
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    told = [at_once(sizes), at_once(sizes)]
    assert all(torch.equal(a, b) for a, b in zip(*told, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone[:4], told[0][:4], strict=True))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(alone[4:], told[0][4:], strict=True))


def head_of(dtype: torch.dtype) -> PerHitDecoder:
    torch.manual_seed(3)
    settings = ModelSettings(decoder={"name": "per_hit", "hidden": HIDDEN}).decoder
    return PerHitDecoder(settings, torch_geometry(), 8, CHANNELS).to(dtype)


def decoded(sizes, dtype: torch.dtype, loops=None) -> list[Tensor]:
    """Logits and gradients, by torch or by the loops."""
    head, draw = head_of(dtype if dtype == torch.float64 else torch.float32), torch.Generator().manual_seed(4)
    z = torch.randn(len(sizes), 8, generator=draw).to(next(head.parameters()).dtype).requires_grad_()
    h, to_logits = given(sizes)[0].to(dtype).requires_grad_(), torch.randn(sum(sizes), generator=draw)
    hits = HitBatch(torch_geometry(), torch.zeros(sum(sizes), 3, dtype=torch.int32), offsets_of(sizes))
    if loops:
        logits = head._at_once(z, h, hits, loops)
    else:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = head(z, h, hits).logits
    gradients = torch.autograd.grad(logits, [h, z, *head.parameters()], to_logits.to(logits.dtype))
    return [logits.detach(), *gradients]


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_head_is_no_less_exact_than_torch(sizes, monkeypatch):
    loops, _ = compiled_loops(*HEAD_LOOPS)
    ours = decoded(sizes, torch.bfloat16, loops)
    monkeypatch.setattr("pointae.nn.decoders.head_loops", lambda *_: None)
    assert_no_less_exact(ours, decoded(sizes, torch.bfloat16), truth=decoded(sizes, torch.float64))


def test_hits_and_gradients_may_lie_in_any_order():
    sizes, loops = SIZES["several"], compiled_loops(*HEAD_LOOPS)[0]
    h, tokens, to_h, to_tokens = given(sizes)
    starts, round_, head = offsets_of(sizes).numpy(), round_of(torch.float32), head_of(torch.float32)
    hits = HitBatch(torch_geometry(), torch.zeros(len(h), 3, dtype=torch.int32), offsets_of(sizes))

    def run(turn: Callable[[Tensor], Tensor]) -> list[Tensor]:
        own = turn(h).requires_grad_()
        results = whole_rounds(own, tokens, starts, [round_.weights_in_order()], LOOPS)
        logits = head._at_once(torch.zeros(len(sizes), 8), own, hits, loops)
        given_back = [turn(to_h), turn(to_tokens.flatten(1)).view_as(to_tokens), turn(to_h[:, :1])[:, 0]]
        return [*results, logits, *torch.autograd.grad([*results, logits.bfloat16()], own, given_back)]

    turned = run(lambda values: values.T.contiguous().T)
    assert all(torch.equal(a, b) for a, b in zip(run(torch.clone), turned, strict=True))


def network() -> Autoencoder:
    torch.manual_seed(6)
    encoder = PerceiverSettings(channels=32, tokens=16, token_channels=16, rounds=2)
    settings = ModelSettings(encoder=encoder, latent=LatentSettings(size=8), decoder={"name": "per_hit", "hidden": 32})
    return Autoencoder(settings, torch_geometry())


def hits_of(*sizes: int) -> HitBatch:
    draw = torch.Generator().manual_seed(7)
    bins = torch_geometry().spatial_shape
    coords = torch.stack([torch.randint(b, (sum(sizes),), generator=draw) for b in bins], 1).int()
    return HitBatch(torch_geometry(), coords, offsets_of(sizes))


def gradients(logits: Tensor, model: nn.Module) -> tuple[Tensor, ...]:
    """Of a random projection."""
    weights = torch.rand(len(logits), generator=torch.Generator().manual_seed(8)).to(logits.dtype)
    return torch.autograd.grad((logits * weights).sum(), list(model.parameters()))


def trained(run: Callable[[], Tensor], model: nn.Module) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        logits = run()
    return [logits.detach(), *gradients(logits, model)]


@pytest.fixture
def any_processor(monkeypatch):
    """Loops also where the processor has no instruction for bf16."""
    monkeypatch.setattr(half_lanes, "HAS_DOTS", True)


def test_the_network_learns_the_same(any_processor, monkeypatch):
    sizes = 230, 30, 0, 8, 500, 2
    model, hits = network(), hits_of(*sizes)
    used = []
    monkeypatch.setattr(
        "pointae.nn.perceiver.whole_rounds", lambda *given: (used.append(len(given[3])), whole_rounds(*given))[1]
    )
    told = trained(lambda: model(hits).output.logits, model)
    assert used == [2]
    for name in ("perceiver.round_loops", "decoders.head_loops"):
        monkeypatch.setattr(f"pointae.nn.{name}", lambda *_: None)
    theirs = trained(lambda: model(hits).output.logits, model)
    assert used == [2]
    assert_no_less_exact(told, theirs, truth=trained_in_float64(sizes))


def trained_in_float64(sizes) -> list[Tensor]:
    model = network().double()
    logits = model(hits_of(*sizes)).output.logits
    return [logits.detach(), *gradients(logits, model)]


def test_where_the_loops_are_taken(any_processor, monkeypatch):
    hits, large = hits_of(5, 9), hits_of(5, half.LARGEST + 1)
    assert half.round_loops(hits, 64, 16) is None  # in float32
    with torch.autocast("cpu", torch.bfloat16):
        assert half.round_loops(hits, 64, 16, 64) is LOOPS
        assert half.head_loops(hits, 32, 64) is compiled_loops(*HEAD_LOOPS)[0]
        assert half.round_loops(hits, 64, 16, 40) is None
        assert half.round_loops(large, 64, 16, 64) is None
        assert half.round_loops(HitBatch.empty(torch_geometry()), 64, 16) is None
        monkeypatch.setattr(half_lanes, "HAS_DOTS", False)
        assert half.round_loops(hits, 64, 16) is None
        monkeypatch.setattr("pointae.nn.half.compiled_loops", lambda *_: (None, "no numba"))
        assert half.round_loops(hits, 64, 16) is None
