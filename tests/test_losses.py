import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pointae.config import LossSettings, LossTerm
from pointae.errors import ConfigError, DataError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise
from pointae.losses import LOSSES, active_units, build_loss, kl_divergence, kl_per_dimension, log_class_weights, total
from pointae.losses.elementwise import class_balanced_mse
from pointae.losses.latent import kl_weight_at
from pointae.losses.sliced import half_sphere
from pointae.nn.outputs import CellSequence, HitLogits, PointSet, TofImage, Told, Volume

GRID = even_geometry((4, 4, 6))
CELL_LOSSES = ("mse", "mae", "bce", "focal", "acb_mse", "split")
SET_LOSSES = ("set", "hungarian", "chamfer")
STRIDE = (2, 2, 3)


def make_hits(coords, batch, batch_size, signal=None, **fields):
    coords = torch.tensor(coords, dtype=torch.int32).reshape(-1, 3)
    signal = None if signal is None else torch.tensor(signal, dtype=torch.bool)
    return HitBatch.from_batch_index(
        GRID, coords, torch.tensor(batch, dtype=torch.int64), batch_size, signal=signal, **fields
    )


def number(value):
    return value.detach().item()


@pytest.fixture
def hits():
    """Three events; the second is empty."""
    coords = [[0, 0, 0], [1, 2, 3], [3, 3, 5], [2, 1, 4], [0, 3, 1]]
    return make_hits(coords, [0, 0, 0, 2, 2], 3, signal=[True, False, False, True, True])


def random_output(kind, hits, seed=0, dtype=torch.float64, slots=4):
    """An output with leaves that take gradients, and those leaves."""
    draw = torch.Generator().manual_seed(seed)
    events = hits.batch_size

    def leaf(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    if kind is HitLogits:
        leaves = (leaf(hits.num_hits),)
        return HitLogits(*leaves), leaves
    if kind is Volume:
        leaves = (leaf(events, 1, 2, 2, 2),)
        return Volume(*leaves, STRIDE), leaves
    if kind is TofImage:
        leaves = (leaf(events, 1, 4, 4),)
        return TofImage(leaves[0].sigmoid(), 0.25), leaves
    if kind is CellSequence:
        leaves = (leaf(hits.num_hits + events), leaf(hits.num_hits), leaf(hits.num_hits, 2))
        return told_of(hits, *leaves), leaves
    leaves = (leaf(events, slots, 3), leaf(events, slots), leaf(events, slots, 2))
    return PointSet(2 + leaves[0], leaves[1], leaves[2], torch.ones(3)), leaves


def told_of(hits, presence, position, categories):
    """A sequence that tells every hit, and after the last of each event asks once more."""
    event = torch.repeat_interleave(hits.counts + 1)
    last = torch.cat([event[1:] != event[:-1], torch.ones(len(event[:1]), dtype=torch.bool)])
    category = torch.zeros(hits.num_hits, dtype=torch.int64) if hits.category is None else hits.category.long()
    told = Told(event, presence, ~last, functional.logsigmoid(position), categories, category)
    slots = position.new_zeros(hits.batch_size, 4)
    return CellSequence(slots[..., None].repeat(1, 1, 3), slots, slots[..., None], torch.ones(3), told)


def with_leaves(kind, leaves, hits=None):
    if kind is CellSequence:
        return told_of(hits, *leaves)
    if kind is HitLogits:
        return HitLogits(*leaves)
    if kind is Volume:
        return Volume(*leaves, STRIDE)
    if kind is TofImage:
        return TofImage(leaves[0].sigmoid(), 0.25)
    return PointSet(2 + leaves[0], leaves[1], leaves[2], torch.ones(3))


FITTING = [(name, kind) for name in CELL_LOSSES for kind in (HitLogits, Volume, TofImage)]
FITTING += [(name, PointSet) for name in (*SET_LOSSES, "sliced", "overlap")] + [("sequence", CellSequence)]


# ---- every loss, every output it fits ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_gradient_is_that_of_finite_differences(name, kind, hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    _, leaves = random_output(kind, hits)
    assert torch.autograd.gradcheck(
        lambda *values: LOSSES[name](with_leaves(kind, values, target), hits, target), leaves
    )


@pytest.mark.parametrize(("name", "kind"), FITTING)
@pytest.mark.parametrize("case", ["no events", "empty events", "only signal", "only noise"])
def test_finite_with_gradient_path_whatever_is_missing(name, kind, case, hits):
    if case == "no events":
        hits = hits.events([])
    elif case == "empty events":
        hits = hits.select(torch.zeros(hits.num_hits, dtype=torch.bool))
    else:
        hits = hits.replace(signal=torch.full((hits.num_hits,), case == "only signal"))
    output, leaves = random_output(kind, hits, dtype=torch.float32)
    loss = LOSSES[name](output, hits, hits.select(hits.signal))
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert loss.shape == ()
    assert bool(loss.isfinite())
    assert all(bool(g.isfinite().all()) for g in gradients if g is not None)
    assert gradients[0] is not None
    if case == "no events":
        assert number(loss) == 0


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_half_precision_is_summed_in_float32(name, kind, hits):
    with torch.autocast("cpu", torch.bfloat16):
        output, leaves = random_output(kind, hits, dtype=torch.bfloat16)
        loss = LOSSES[name](output, hits, hits)
    wide = LOSSES[name](with_leaves(kind, [leaf.float() for leaf in leaves], hits), hits, hits)
    assert loss.dtype == torch.float32
    # The last step of an image or a point is the network's own, in bfloat16; everything after it is not.
    assert number(loss) == pytest.approx(
        number(wide), rel=1e-6 if kind in (HitLogits, Volume) else 2e-2, abs=1e-4 if name == "overlap" else 0
    )


# ---- values ------------------------------------------------------------------------------------------


def test_values_on_three_by_three():
    # Nine hits as a 3 x 3 example: y = 1 on the diagonal.
    p = torch.tensor([0.9, 0.2, 0.1, 0.3, 0.6, 0.2, 0.1, 0.4, 0.5], dtype=torch.float64)
    y = torch.eye(3, dtype=torch.float64).flatten()
    nine = make_hits([[i // 3, i % 3, 0] for i in range(9)], [0] * 9, 1, signal=y.bool().tolist())
    output = HitLogits(p.logit())

    def value(loss, **options):
        return number(LOSSES[loss](output, nine, nine, **options))

    on_hits, on_rest = [0.1, 0.4, 0.5], [0.2, 0.1, 0.3, 0.2, 0.1, 0.4]
    square_h, square_z = sum(e**2 for e in on_hits), sum(e**2 for e in on_rest)
    assert value("mse") == pytest.approx((square_h + square_z) / 9)
    assert value("mse", reduction="sum") == pytest.approx(square_h + square_z)
    assert value("mae") == pytest.approx(sum(on_hits + on_rest) / 9)
    assert value("acb_mse", hit_weight=3.0, rest_weight=0.5) == pytest.approx(3 * square_h / 3 + 0.5 * square_z / 6)
    entropy_h, entropy_z = -sum(math.log(1 - e) for e in on_hits), -sum(math.log(1 - e) for e in on_rest)
    assert value("bce") == pytest.approx((entropy_h + entropy_z) / 9)
    assert value("bce", hit_weight=2.0) == pytest.approx((2 * entropy_h + entropy_z) / 9)
    assert value("bce", balance=True) == pytest.approx(entropy_h / 3 + entropy_z / 6)
    assert value("split") == pytest.approx(square_h / 3 + entropy_z / 6)
    assert value("split", on_hits="mae", on_rest="mse", reduction="sum") == pytest.approx(1.0 + square_z)
    focal = 0.25 * sum(e**2 * -math.log(1 - e) for e in on_hits) + 0.75 * sum(e**2 * -math.log(1 - e) for e in on_rest)
    assert value("focal") == pytest.approx(focal / 9)
    assert value("focal", gamma=0.0, alpha=0.5) == pytest.approx(value("bce") / 2)


def test_acb_mse_ignores_how_large_the_classes_are():
    # Half of the signal recovered costs the same for any amount of signal.
    values = []
    for size in (2, 10, 400):
        y = torch.cat([torch.ones(size), torch.zeros(1000)])
        p = torch.cat([torch.ones(size // 2), torch.zeros(1000 + size - size // 2)])
        values.append(float(class_balanced_mse(p, y)))
    assert values == pytest.approx([0.5, 0.5, 0.5])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), count=st.integers(0, 40))
def test_point_version_of_acb_mse_is_the_masked_dense_one(seed, count):
    draw = torch.Generator().manual_seed(seed)
    cells = torch.randperm(2 * 96, generator=draw)[:count]  # two events of 96 cells, no cell twice
    coords = torch.stack([cells % 96 // 24, cells % 24 // 6, cells % 6], 1).int()
    signal = torch.rand(count, generator=draw) < 0.4
    hits = HitBatch.from_batch_index(GRID, coords, cells // 96, 2, signal=signal)
    logits = torch.randn(count, generator=draw)
    point = LOSSES["acb_mse"](HitLogits(logits), hits, hits, cells=96, hit_weight=0.7, rest_weight=1.3)
    dense = torch.full((2, 1, 4, 4, 6), -torch.inf)  # p = 0 wherever no hit was measured
    x, y, t = hits.coords.long().unbind(1)
    dense[hits.batch, 0, x, y, t] = logits
    target = hits.select(hits.signal)
    volume = LOSSES["acb_mse"](Volume(dense, (1, 1, 1)), hits, target, hit_weight=0.7, rest_weight=1.3)
    assert number(point) == pytest.approx(number(volume), abs=1e-6)


def test_volume_and_image_are_compared_with_the_target(hits):
    volume, _ = random_output(Volume, hits)
    occupied = torch.zeros(3, 1, 2, 2, 2, dtype=torch.float64)
    for event, (x, y, t) in zip(hits.batch.tolist(), hits.coords.tolist(), strict=True):
        occupied[event, 0, x // 2, y // 2, t // 3] = 1
    expected = functional.mse_loss(volume.logits.sigmoid(), occupied)
    assert number(LOSSES["mse"](volume, hits, hits)) == pytest.approx(number(expected))
    image, _ = random_output(TofImage, hits)
    truth = gapped_normalise(embed_tof(hits)[0], 6, 0.25).double()
    assert number(LOSSES["bce"](image, hits, hits)) == pytest.approx(
        number(functional.binary_cross_entropy(image.image, truth))
    )


def test_hungarian_is_the_best_of_all_assignments(hits):
    output, _ = random_output(PointSet, hits, slots=4)
    unit, wanted = GRID.unit_positions(output.pos), GRID.unit_positions(hits.pos.double())
    total = 0.0
    for event in range(3):
        rows = range(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        best = math.inf
        for slots in permutations(range(4), len(rows)):
            gap = sum(number((unit[event, s] - wanted[r]).abs().sum()) for s, r in zip(slots, rows, strict=True))
            label = torch.zeros(4, dtype=torch.float64)
            label[list(slots)] = 1
            presence = number(functional.binary_cross_entropy_with_logits(output.presence[event], label))
            best = min(best, 5 * gap / max(len(rows), 1) + presence)
        total += best / 3
    assert number(LOSSES["hungarian"](output, hits, hits)) == pytest.approx(total)
    assert number(LOSSES["set"](output, hits, hits)) == pytest.approx(total)


def test_chamfer_is_the_slow_sum_over_nearest(hits):
    output, _ = random_output(PointSet, hits, slots=70)
    unit, wanted = GRID.unit_positions(output.pos), GRID.unit_positions(hits.pos.double())
    position, label = 0.0, torch.zeros(3, 70, dtype=torch.float64)
    for event in (0, 2):
        rows = slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        gap = (unit[event][:, None] - wanted[rows][None]).abs().sum(-1)
        p = output.presence[event].sigmoid()
        position += number(gap.min(0).values.mean() + (p * gap.min(1).values).sum() / p.sum()) / 3
        ranked = sorted(range(70), key=lambda slot: (slot not in gap.argmin(0), float(gap[slot].min())))
        label[event, ranked[: gap.shape[1]]] = 1
    presence = number(functional.binary_cross_entropy_with_logits(output.presence, label))
    expected = pytest.approx(5 * position + presence)
    assert number(LOSSES["chamfer"](output, hits, hits)) == expected
    assert number(LOSSES["set"](output, hits, hits)) == expected  # 70 points are too many to assign


def test_chamfer_wants_as_many_points_as_hits(hits):
    logits = torch.zeros(3, 70, dtype=torch.float64, requires_grad=True)
    output, _ = random_output(PointSet, hits, slots=70)
    crowd = PointSet(output.pos * 0, logits, output.categories, output.reach)  # one place: one is nearest to every hit
    LOSSES["chamfer"](crowd, hits, hits).backward()
    assert (logits.grad < 0).sum(1).tolist() == hits.counts.tolist()


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_sliced_is_the_slow_transport_along_each_line(slots, hits):
    output, _ = random_output(PointSet, hits, slots=slots)
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    lines = half_sphere(5)
    assert lines.norm(dim=0).tolist() == pytest.approx([1] * 5)
    unit, wanted = GRID.unit_positions(output.pos) * scale, GRID.unit_positions(hits.pos.double()) * scale
    total = 0.0
    for event in (0, 2):
        rows = slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        for line in lines.T:
            points, stand_for = sorted((unit[event] @ line).tolist()), sorted((wanted[rows] @ line).tolist())
            for k, point in enumerate(points):
                total += abs(point - stand_for[int((k + 0.5) / slots * len(stand_for))]) / slots / 5 / 2
    value = LOSSES["sliced"](output, hits, hits, axis_scale=tuple(scale.tolist()), directions=5)
    assert number(value) == pytest.approx(total)


def test_sliced_calls_a_crowd_apart_where_chamfer_leaves_it(hits):
    target = hits.events([0])  # three hits
    pos = target.pos.double()[[0, 0, 0]][None]  # three points, all on the first of them
    leaves = {name: pos.clone().requires_grad_() for name in ("chamfer", "sliced")}
    for name, leaf in leaves.items():
        crowd = PointSet(leaf, torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 3, 0), torch.ones(3))
        LOSSES[name](crowd, target, target).backward()
    moved = {name: int((leaf.grad[0] != 0).any(1).sum()) for name, leaf in leaves.items()}
    assert moved == {"chamfer": 1, "sliced": 3}
    exact = PointSet(target.pos.double()[None].flip(1), torch.zeros(1, 3), torch.zeros(1, 3, 0), torch.ones(3))
    assert number(LOSSES["sliced"](exact, target, target)) == pytest.approx(0, abs=1e-12)


def test_set_losses_ignore_order_and_learn_categories(hits):
    output, _ = random_output(PointSet, hits)
    shuffled = torch.randperm(4)
    other = PointSet(
        output.pos[:, shuffled], output.presence[:, shuffled], output.categories[:, shuffled], torch.ones(3)
    )
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    for name in SET_LOSSES:
        value = number(LOSSES[name](output, hits, target))
        assert number(LOSSES[name](other, hits, target)) == pytest.approx(value)
        assert value > number(LOSSES[name](output, hits, hits))
        with pytest.raises(DataError, match=r"1\.\.2"):
            LOSSES[name](output, hits, hits.replace(category=torch.full((5,), 3, dtype=torch.int8)))


def test_parts_sum_to_the_loss_and_are_told_raw_and_scaled(hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    for name, kind in [*((name, PointSet) for name in SET_LOSSES), ("sequence", CellSequence)]:
        output, _ = random_output(kind, target)
        weights = {"position_weight": 2.0, "presence_weight": 3.0, "category_weight": 0.5}
        loss = build_loss(LossSettings(name=name, options=weights))
        parts = loss.parts(output, hits, target)
        assert {part: value.weight for part, value in parts.items()} == dict(
            position=2.0, presence=3.0, category=0.5
        )  # fmt: skip
        assert number(total(parts)) == pytest.approx(number(loss(output, hits, target)))
        assert all(number(part.scaled) == part.weight * number(part.raw) for part in parts.values())


def test_parts_of_a_weighted_sum(hits):
    output, _ = random_output(PointSet, hits)
    terms = [LossTerm(name="set", weight=2.0), LossTerm(name="chamfer"), LossTerm(name="overlap", weight=0.1)]
    loss = build_loss(LossSettings(name="weighted_sum", terms=terms))
    parts = loss.parts(output, hits, hits)
    assert set(parts) == {"set_position", "set_presence", "chamfer_position", "chamfer_presence", "overlap"}
    assert parts["set_position"].weight == 10.0
    assert number(loss(output, hits, hits)) == pytest.approx(number(total(parts)))


def test_sequence_is_the_slow_sum_over_the_steps(hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    output, (presence, position, categories) = random_output(CellSequence, target)
    expected, row, step = 0.0, 0, 0
    for count in hits.counts.tolist():
        for _ in range(count):
            p = [math.exp(number(value)) for value in categories[row]]
            kind = int(target.category[row]) - 1
            expected -= math.log(1 / (1 + math.exp(-number(presence[step]))))
            expected -= math.log(1 / (1 + math.exp(-number(position[row]))))
            expected -= (1.5, 0.5)[kind] * math.log(p[kind] / sum(p))
            row, step = row + 1, step + 1
        expected -= math.log(1 - 1 / (1 + math.exp(-number(presence[step]))))
        step += 1
    loss = LOSSES["sequence"](output, target, target, category_weights=(1.5, 0.5))
    assert number(loss) == pytest.approx(expected / 3)
    sure = [torch.where(output.told.present, 60.0, -60.0), position * 0 + 60, categories * 0]
    sure[2][torch.arange(5), target.category.long() - 1] = 60
    assert number(LOSSES["sequence"](told_of(target, *sure), target, target)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", [*SET_LOSSES, "overlap"])
def test_set_losses_vanish_at_a_perfect_reconstruction(name, hits):
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    pos, presence = torch.full((3, 6, 3), 9.0).double(), torch.full((3, 6), -60.0).double()
    categories = torch.zeros(3, 6, 2).double()
    for event, slot, row in ((0, 4, 0), (0, 1, 1), (0, 2, 2), (2, 0, 3), (2, 5, 4)):  # in any order
        pos[event, slot], presence[event, slot] = target.pos[row].double(), 60.0
        categories[event, slot, target.category[row].long() - 1] = 60.0
    pos.requires_grad_()
    loss = LOSSES[name](PointSet(pos, presence, categories, torch.ones(3)), target, target)
    assert number(loss) == pytest.approx(0, abs=1e-12)
    loss.backward()
    if name == "overlap":
        assert float(pos.grad.abs().max()) < 1e-12


def test_overlap_is_the_slow_sum_over_pairs_and_bounded(hits):
    output, _ = random_output(PointSet, hits, slots=5)
    close = PointSet(2 + (output.pos - 2) * 0.3, output.presence, output.categories, output.reach)
    expected = 0.0
    for pos, presence in zip(close.pos.tolist(), close.presence.sigmoid().tolist(), strict=True):
        for i in range(5):
            for j in range(i):
                square = sum((a - b) ** 2 for a, b in zip(pos[i], pos[j], strict=True))
                expected += presence[i] * presence[j] * max(0.0, 1 - square) ** 2 / 3
    assert expected > 0.1
    assert number(LOSSES["overlap"](close, hits, hits)) == pytest.approx(expected)
    worst = PointSet(close.pos * 0, close.presence * 0 + 99, close.categories, close.reach)
    assert number(LOSSES["overlap"](worst, hits, hits)) == pytest.approx(5 * 4 / 2)


def test_class_weights_follow_the_logarithm_of_rarity(hits):
    weights = log_class_weights(torch.tensor([55, 25, 20, 0]))
    slow = [math.log(1 + 100 / max(n, 1)) for n in (55, 25, 20, 0)]
    assert weights.tolist() == pytest.approx([w / (sum(slow) / 4) for w in slow])
    assert log_class_weights(torch.zeros(4)).tolist() == [1, 1, 1, 1]
    target = hits.replace(category=torch.tensor([1, 2, 1, 2, 2], dtype=torch.int8))
    counts = torch.tensor([1000, 30, 10])
    for name, kind in [*((name, PointSet) for name in SET_LOSSES), ("sequence", CellSequence)]:
        output, _ = random_output(kind, target)
        by_name = build_loss(LossSettings(name=name, options={"category_weights": "log"}), counts)
        given = LOSSES[name](output, hits, target, category_weights=tuple(log_class_weights(counts[1:]).tolist()))
        assert number(by_name(output, hits, target)) == pytest.approx(number(given))
        assert number(given) != pytest.approx(number(LOSSES[name](output, hits, target)))
        with pytest.raises(DataError, match="category_weights are 3"):
            LOSSES[name](output, hits, target, category_weights=(1.0, 1.0, 1.0))


def test_points_that_diverged_give_nan_rather_than_a_crash(hits):
    output, _ = random_output(PointSet, hits)
    broken = PointSet(output.pos * torch.nan, output.presence, output.categories, output.reach)
    for name in SET_LOSSES:
        assert LOSSES[name](broken, hits, hits).isnan()


def test_more_hits_than_points(hits):
    output, _ = random_output(PointSet, hits, slots=1)
    for name in SET_LOSSES:
        assert LOSSES[name](output, hits, hits).isfinite()


def test_kl_divergence():
    mean = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    log_var = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    posterior = torch.distributions.Normal(mean, (log_var / 2).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert number(kl_divergence(mean, log_var)) == pytest.approx(number(expected))
    assert torch.autograd.gradcheck(kl_divergence, (mean, log_var))
    assert number(kl_divergence(mean[:0], log_var[:0])) == 0
    assert number(kl_per_dimension(mean, log_var).sum()) == pytest.approx(number(expected))


def test_free_bits_cost_nothing_below_them():
    mean = torch.tensor([[0.0, 0.1, 2.0], [0.0, -0.1, -2.0]], dtype=torch.float64, requires_grad=True)
    log_var = torch.zeros(2, 3, dtype=torch.float64)
    assert kl_per_dimension(mean, log_var).tolist() == pytest.approx([0.0, 0.005, 2.0])
    value = kl_divergence(mean, log_var, free_bits=0.5)
    assert number(value) == pytest.approx(1.5)
    value.backward()
    assert mean.grad[:, 1].tolist() == [0, 0]  # collapsing would gain nothing
    assert torch.autograd.gradcheck(lambda m: kl_divergence(m, log_var, 0.5), (mean.detach().requires_grad_(),))


def test_active_units_count_the_dimensions_that_tell_events_apart():
    mean = torch.stack([torch.linspace(-1, 1, 50), torch.full((50,), 3.0), torch.linspace(-0.01, 0.01, 50)], dim=1)
    assert int(active_units(mean)) == 1
    assert int(active_units(mean[:1])) == int(active_units(mean[:0])) == 0


def test_kl_weight_over_epochs():
    def course(schedule):
        return [kl_weight_at(epoch, 0.4, schedule, 4) for epoch in range(1, 10)]

    assert course("constant") == [0.4] * 9
    assert course("warm_up") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert course("cyclical") == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.2, 0.4, 0.4, 0.4, 0.2])
    assert kl_weight_at(1, 0.4, "cyclical", 1) == 0.4


# ---- settings ----------------------------------------------------------------------------------------


def test_build_loss_applies_options_and_sums(hits):
    output, _ = random_output(HitLogits, hits)
    balanced = build_loss(LossSettings(name="bce", options={"balance": True}))
    assert balanced(output, hits, hits) == LOSSES["bce"](output, hits, hits, balance=True)
    terms = [LossTerm(name="mse", weight=2.0), LossTerm(name="bce", weight=0.5, options={"reduction": "sum"})]
    summed = build_loss(LossSettings(name="weighted_sum", terms=terms))(output, hits, hits)
    expected = 2 * LOSSES["mse"](output, hits, hits) + 0.5 * LOSSES["bce"](output, hits, hits, reduction="sum")
    assert number(summed) == pytest.approx(number(expected))
    build_loss(LossSettings(name="set", options={"axis_scale": [1, 1, 4]}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LossSettings(name="mze"), "did you mean 'mse'"),
        (LossSettings(name="bce", options={"balanced": True}), "did you mean 'balance'"),
        (LossSettings(name="bce", options={"balance": "yes"}), "option 'balance' of loss 'bce'.*'yes'"),
        (LossSettings(name="mse", options={"reduction": "max"}), "'mean' or 'sum'"),
        (LossSettings(name="acb_mse", options={"hit_weight": -1.0}), "greater than or equal to 0"),
        (LossSettings(name="mse", terms=[LossTerm(name="mse")]), "has no terms"),
        (LossSettings(name="weighted_sum"), "at least one"),
        (LossSettings(name="weighted_sum", terms=[LossTerm(name="weighted_sum")]), "cannot be"),
        (LossSettings(name="weighted_sum", terms=[LossTerm(name="mse"), LossTerm(name="mse")]), "'mse' twice"),
        (LossSettings(name="set", options={"category_weights": "rare"}), "option 'category_weights'"),
        (LossSettings(name="set", options={"category_weights": [1.0, -1.0]}), "greater than or equal to 0"),
    ],
)
def test_wrong_settings_are_told_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        build_loss(settings)
    assert "\n" not in str(error.value)


def test_misfits_name_what_fits(hits):
    points, _ = random_output(PointSet, hits)
    logits, _ = random_output(HitLogits, hits)
    for name in CELL_LOSSES:
        with pytest.raises(ConfigError, match="does not fit a PointSet"):
            LOSSES[name](points, hits, hits)
    for name in SET_LOSSES:
        with pytest.raises(ConfigError, match="does not fit a HitLogits") as error:
            LOSSES[name](logits, hits, hits)
        assert "it fits: PointSet" in str(error.value)
    with pytest.raises(DataError, match="no truth"):
        LOSSES["bce"](logits, hits.replace(signal=None), hits)
    volume, _ = random_output(Volume, hits)
    with pytest.raises(ConfigError, match="'cells'"):
        LOSSES["acb_mse"](volume, hits, hits, cells=96)
    with pytest.raises(ConfigError, match="gamma"):
        LOSSES["focal"](logits, hits, hits, gamma=0.5)
