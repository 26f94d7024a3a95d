"""Sets told one hit after another: the decoder against slow truths, encoders that number hits, the whole."""

from __future__ import annotations

import math

import pytest
import torch
from events import shuffled_inside

from pointae import config
from pointae.config import LatentSettings, LossSettings, ModelSettings, RobotSource
from pointae.errors import DataError
from pointae.geometry import even_geometry, robot_geometry
from pointae.hits import HitBatch
from pointae.losses import build_loss
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.autoregressive import AutoregressiveDecoder, _CellHead, told_sequence
from pointae.nn.cells import outward_order
from pointae.recover import generated_pattern
from pointae.simulate import simulate_events

GRID = robot_geometry()
ENCODER = {
    "pointnet": config.PointNetSettings(channels=16, rounds=2, categories=4, ranks=8, align=True),
    "attention": config.AttentionSettings(channels=16, layers=1, heads=2, categories=4, ranks=8),
    "sparse": config.SparseSettings(
        channels=8, strides=[(1, 1, 1), (2, 2, 2)], engine="torch", categories=4, ranks=8
    ),
}  # fmt: skip
SEQUENCE = build_loss(LossSettings(name="sequence"))


def robots(number=12, seed=3):
    return simulate_events(RobotSource(), seed, torch.arange(number))


def voxels(coords, batch=None, batch_size=1, **fields):
    coords = torch.tensor(coords, dtype=torch.int32).reshape(-1, 3)
    batch = torch.zeros(len(coords), dtype=torch.int64) if batch is None else torch.tensor(batch)
    return HitBatch.from_batch_index(GRID, coords, batch, batch_size, **fields)


def decoder(slots=8, hidden=16, seed=1):
    torch.manual_seed(seed)
    settings = config.AutoregressiveSettings(slots=slots, hidden=hidden, code_hidden=24, layers=1, categories=4)
    return AutoregressiveDecoder(settings, GRID, 5).double()


def autoencoder(encoder="pointnet", hidden=32, size=6):
    torch.manual_seed(0)
    settings = ModelSettings(
        encoder=ENCODER[encoder],
        latent=LatentSettings(name="variational", size=size),
        decoder=config.AutoregressiveSettings(hidden=hidden, code_hidden=48, categories=4),
    )
    return Autoencoder(settings, GRID)


# ---- order -------------------------------------------------------------------------------------------


def test_outward_order_is_that_of_a_slow_sort():
    hits = robots(40)
    hits = hits.reordered(shuffled_inside(hits))
    order = outward_order(hits)
    expected = sorted(
        range(hits.num_hits),
        key=lambda row: (int(hits.batch[row]), int((hits.coords[row] - 5).abs().max()), hits.coords[row].tolist()),
    )
    assert order.tolist() == expected
    wide = even_geometry((11, 5, 101))  # rings are counted in half axes
    coords = torch.tensor([[5, 2, 90], [9, 2, 50], [5, 4, 50]], dtype=torch.int32)
    far = HitBatch.from_batch_index(wide, coords, torch.zeros(3, dtype=torch.int64), 1)
    assert outward_order(far).tolist() == [1, 0, 2]  # 8 of 11, 80 of 101, 4 of 5
    assert len(outward_order(far.events([]))) == 0


def test_told_are_signal_hits_each_cell_once_and_the_innermost_of_many():
    coords = [[0, 0, 0], [5, 5, 5], [5, 5, 6], [5, 5, 5], [4, 5, 5]]
    hits = voxels(coords, signal=torch.tensor([True, True, False, True, True]))
    assert told_sequence(hits, 8).coords.tolist() == [[5, 5, 5], [4, 5, 5], [0, 0, 0]]
    assert told_sequence(hits, 2).coords.tolist() == [[5, 5, 5], [4, 5, 5]]
    assert told_sequence(hits.events([]), 2).num_hits == 0


# ---- decoder -----------------------------------------------------------------------------------------


def test_chances_of_all_cells_sum_to_one():
    torch.manual_seed(0)
    head = _CellHead((3, 4, 5), 8).double()
    cells = torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(5))
    h = torch.randn(8, dtype=torch.float64).expand(60, -1)
    log_prob, _ = head(h, cells)
    assert float(log_prob.exp().sum()) == pytest.approx(1)


def test_a_step_knows_the_hits_before_it_and_no_others():
    model, hits = decoder(), told_sequence(robots(), 8)
    code = model.from_code(torch.randn(12, 5, dtype=torch.float64))
    _, whole = model.tell(code, hits)
    step = torch.cat([torch.arange(n + (n < 8)) for n in hits.counts.tolist()])
    for length in range(1, 9):
        part = hits.select(hits.local_index() < length)
        _, told = model.tell(code, part)
        assert torch.allclose(told.position, whole.position[hits.local_index() < length], atol=1e-12)
        same = torch.cat([torch.arange(n + (n < 8)) for n in part.counts.tolist()])
        both = torch.stack([whole.event * 9 + step, torch.arange(len(step))])
        row = dict(zip(both[0].tolist(), both[1].tolist(), strict=True))
        rows = torch.tensor([row[int(e) * 9 + int(s)] for e, s in zip(told.event, same, strict=True)])
        assert torch.allclose(told.presence, whole.presence[rows], atol=1e-12)


def test_made_hits_are_the_likeliest_at_every_step():
    model = decoder()
    with torch.no_grad():
        model.to_presence.bias += 3  # so that there is something to make
    code = model.from_code(torch.randn(6, 5, dtype=torch.float64))
    made = model.make(code)
    for event in range(6):
        lowest = math.inf
        for slot in range(8):
            before, kinds = made.coords[event, :slot], made.categories[event, :slot].argmax(1) + 1
            h = _context_after(model, code[event : event + 1], voxels(before.tolist(), category=kinds.to(torch.int8)))
            lowest = min(lowest, float(model.to_presence(h)))
            assert float(made.presence[event, slot]) == pytest.approx(lowest)
            chosen = []
            chances = _cell_chances(model, h)
            for _ in range(3):  # the likeliest bin of an axis, given those of the axes before
                chosen.append(int(chances.reshape(11, -1).sum(1).argmax()))
                chances = chances[chosen[-1]]
            assert chosen == made.coords[event, slot].tolist()


def _cell_chances(model, h):
    """(11, 11, 11) probability of every cell."""
    cells = torch.cartesian_prod(*[torch.arange(11)] * 3)
    return model.to_cell(h.expand(len(cells), -1), cells)[0].exp().view(11, 11, 11)


def _context_after(model, code, hits):
    tokens = [model._token(model.place(hits), hits.category.long())[i] for i in range(hits.num_hits)]
    nothing = torch.zeros(1, code.shape[2], dtype=torch.float64)
    so_far = sum(tokens, nothing)
    last = tokens[-1][None] if tokens else nothing
    return model._context(code[:, hits.num_hits], so_far, last, torch.tensor([hits.num_hits]))


def test_hits_held_back_are_told_to_no_step_after_them():
    model, hits = decoder(), told_sequence(robots(), 8)
    code = model.from_code(torch.randn(12, 5, dtype=torch.float64))
    whole, alone = model.tell(code, hits)[1], None
    model.hold_back = 1.0
    for train in (False, True):
        alone = model.train(train).tell(code, hits)[1]
        first = hits.local_index() == 0
        assert torch.equal(alone.position[first], whole.position[first])
        assert torch.equal(alone.position, whole.position) is not train
    _, other = model.tell(code, hits.reordered(torch.arange(hits.num_hits)).select(first))
    assert torch.equal(other.position, alone.position[first])
    model.hold_back = 0.5
    torch.manual_seed(1)
    tokens = torch.ones(4000, 2, dtype=torch.float64)
    kept = model._held_back(tokens)
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.03)
    assert bool((kept[:, 0] == kept[:, 1]).all())


def test_nothing_is_made_after_the_end():
    model = decoder().eval()
    hits = robots(6)
    output = model(torch.randn(6, 5, dtype=torch.float64) * 3, None, hits)
    assert bool((output.presence.diff(dim=1) <= 0).all())
    made = generated_pattern(output, GRID)
    assert made.counts.tolist() == (output.presence > 0).sum(1).tolist()


def test_gradient_of_the_sequence_is_that_of_finite_differences():
    model, hits = decoder(hidden=4), robots(3)
    z = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: SEQUENCE(model(z, None, hits), hits, hits), (z,))


# ---- the whole -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ENCODER)
def test_order_and_neighbours_change_nothing(encoder):
    model, hits = autoencoder(encoder).double().eval(), robots()
    other = hits.reordered(shuffled_inside(hits))
    whole, shuffled = model(hits), model(other)
    assert torch.allclose(whole.latent.mean, shuffled.latent.mean, atol=1e-9)
    assert float(SEQUENCE(whole.output, hits, hits).detach()) == pytest.approx(
        float(SEQUENCE(shuffled.output, other, other).detach())
    )
    assert torch.allclose(whole.output.pos, shuffled.output.pos)
    empty = HitBatch.concat([hits, hits.select(torch.zeros(hits.num_hits, dtype=torch.bool))])
    alone, among = model(hits.events([7])), model(empty)
    assert torch.allclose(alone.latent.mean[0], among.latent.mean[7], atol=1e-9)
    told = whole.output.told
    assert torch.allclose(alone.output.told.position, told.position[told.event[told.present] == 7])


@pytest.mark.parametrize("encoder", ENCODER)
@pytest.mark.parametrize("train", [False, True])
def test_empty_events_and_empty_batches(encoder, train):
    model, hits = autoencoder(encoder).train(train), robots(3)
    nothing = hits.select(torch.zeros(hits.num_hits, dtype=torch.bool))
    loss = SEQUENCE(model(nothing).output, nothing, nothing)
    loss.backward()
    assert bool(loss.isfinite())
    none = model(hits.events([])).output
    assert none.pos.shape == (0, 8, 3)
    assert float(SEQUENCE(none, hits.events([]), hits.events([])).detach()) == 0


def test_categories_must_fit():
    model, hits = autoencoder(), robots(3)
    with pytest.raises(DataError, match="no 'category'"):
        model(hits.replace(category=None))
    with pytest.raises(DataError, match=r"1\.\.4, got 5 to 5"):
        model(hits.replace(category=torch.full_like(hits.category, 5)))


@pytest.mark.slow
def test_a_few_robots_are_learned_by_heart():
    hits, model = robots(24), autoencoder("attention")
    optimiser = torch.optim.AdamW(model.parameters(), 4e-3)
    for step in range(220):
        torch.manual_seed(step)
        prediction = model(hits)
        loss = SEQUENCE(prediction.output, hits, hits)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        made = generated_pattern(model.eval()(hits).output, GRID)
    rows = [
        {(*c, k) for c, k in zip(b.coords.tolist(), b.category.tolist(), strict=True)}
        for source in (hits, made) for b in (source.events([i]) for i in range(24))
    ]  # fmt: skip
    assert sum(rows[i] == rows[24 + i] for i in range(24)) >= 22
