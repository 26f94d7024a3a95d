import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs import (
    CELL_LOSSES,
    GRID,
    SET_LOSSES,
    make_hits,
    number,
    random_output,
    three_events,
    with_leaves,
)
from torch.nn import functional

from pointae.config import LossSettings, LossTerm
from pointae.errors import ConfigError, DataError
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise
from pointae.losses import LOSSES, active_units, build_loss, kl_divergence, kl_per_dimension, log_class_weights
from pointae.losses.elementwise import class_balanced_mse
from pointae.losses.latent import kl_weight_at
from pointae.nn.outputs import CellSequence, HitLogits, PointSet, TofImage, Volume


@pytest.fixture
def hits():
    return three_events()


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
