import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from pointae import metrics
from pointae.errors import DataError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.metrics.pattern import nearest_in_pixel

GRID = even_geometry((6, 5, 20), (2.0, 1.0, 0.5))


def scored_hits(seed, counts, grid=GRID):
    """Random hits with truth and score; many scores are equal."""
    draw = torch.Generator().manual_seed(seed)
    total = sum(counts)
    coords = torch.stack([torch.randint(bins, (total,), generator=draw) for bins in grid.spatial_shape], 1).int()
    score = (torch.rand(total, generator=draw) * 8).round() / 8
    signal = torch.rand(total, generator=draw) < 0.3 + 0.3 * score
    offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
    return HitBatch(grid, coords, offsets, signal=signal, score=score)


def positions(*coords, batch=None, batch_size=1):
    batch = [0] * len(coords) if batch is None else batch
    return HitBatch.from_batch_index(
        GRID,
        torch.tensor(coords, dtype=torch.int32).reshape(-1, 3),
        torch.tensor(batch, dtype=torch.int64),
        batch_size,
    )


# ---- per hit -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), threshold=st.sampled_from([0.25, 0.3, 0.5]))
def test_scikit_learn_agrees(seed, count, threshold):
    hits = scored_hits(seed, [count])
    result = metrics.DenoiseMetrics(threshold)
    result.update(hits)
    found = result.compute()
    truth, score = hits.signal.numpy(), hits.score.numpy()
    kept = score >= threshold

    def expect(name, function, defined, *args, **options):
        value = function(*args, **options) if defined else math.nan
        assert found[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name

    some_signal, some_noise = bool(truth.any()), bool((~truth).any())
    expect("signal_retention", reference.recall_score, some_signal, truth, kept)
    expect("noise_removed", reference.recall_score, some_noise, ~truth, ~kept)
    expect("purity", reference.precision_score, kept.any(), truth, kept)
    expect("f1", reference.f1_score, some_signal or kept.any(), truth, kept)
    expect("iou", reference.jaccard_score, some_signal or kept.any(), truth, kept)
    expect("roc_auc", reference.roc_auc_score, some_signal and some_noise, truth, score)
    if some_signal:
        cut = np.quantile(score[truth].astype(float), 1 - 0.95)
        expect("purity_at_95", reference.precision_score, True, truth, score >= np.float32(cut))
        cut = np.float32(np.quantile(score[truth].astype(float), 1 - 0.97))
        expect("noise_removed_at_97", lambda: (score[~truth] < cut).mean(), some_noise)
    if some_signal and some_noise:
        curve = metrics.roc_curve(hits.score, hits.signal)
        for ours, theirs in zip(curve, reference.roc_curve(truth, score, drop_intermediate=False), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_per_event_ratios_and_their_undefined_ones():
    kept = torch.tensor([True, False, True, True])
    signal = torch.tensor([True, True, False, True])
    batch = torch.tensor([0, 0, 1, 3])
    torch.testing.assert_close(
        metrics.signal_retention(kept, signal, batch, 4), torch.tensor([0.5, math.nan, math.nan, 1.0]), equal_nan=True
    )
    torch.testing.assert_close(
        metrics.noise_removed(kept, signal, batch, 4), torch.tensor([math.nan, 0.0, math.nan, math.nan]), equal_nan=True
    )
    assert metrics.signal_retention(kept[:0], signal[:0], batch[:0], 0).shape == (0,)
    with pytest.raises(TypeError, match="kept must be bool"):
        metrics.signal_retention(torch.randn(4), signal, batch, 4)
    with pytest.raises(ValueError, match="length"):
        metrics.noise_removed(kept[:3], signal, batch, 4)


def test_cut_keeps_ties_and_the_asked_share():
    score = torch.tensor([0.2, 0.2, 0.2, 0.9, 0.2, 0.1])
    signal = torch.tensor([True, True, True, True, False, False])
    assert metrics.cut_at_retention(score, signal, 0.9) == pytest.approx(0.2)
    assert metrics.noise_removed_at(score, signal, 0.9) == 0.5  # the noise hit at the cut is kept
    draw = torch.Generator().manual_seed(3)
    score, signal = torch.rand(5000, generator=draw), torch.rand(5000, generator=draw) < 0.2
    for retention in (0.5, 0.95, 0.97, 0.99):
        cut = metrics.cut_at_retention(score, signal, retention)
        assert cut == np.float32(np.quantile(score[signal].double().numpy(), 1 - retention))
        assert abs(float((score[signal] >= cut).float().mean()) - retention) <= 1 / int(signal.sum())
    with pytest.raises(ValueError, match="retention"):
        metrics.cut_at_retention(score, signal, 97.0)
    with pytest.raises(TypeError, match="bool"):
        metrics.cut_at_retention(score, signal.float(), 0.97)


def test_snr_has_no_sentinel():
    assert float(metrics.snr_db(torch.tensor(30), torch.tensor(200))) == pytest.approx(10 * math.log10(30.5 / 200.5))
    assert float(metrics.snr_db(torch.tensor(0), torch.tensor(0))) == 0
    assert metrics.snr_db(torch.tensor([0, 5]), torch.tensor([7, 0])).isfinite().all()


# ---- counting ----------------------------------------------------------------------------------------


def test_uneven_batches_give_what_one_batch_gives():
    hits = scored_hits(1, [5, 0, 40, 1, 17, 230, 0, 3])
    whole, parts = metrics.DenoiseMetrics(0.4), metrics.DenoiseMetrics(0.4)
    whole.update(hits)
    for part in (slice(0, 1), slice(1, 2), slice(2, 7), slice(7, 8), slice(8, 8)):
        parts.update(hits.events(part))
    assert parts.compute() == pytest.approx(whole.compute(), nan_ok=True)
    found = whole.compute()
    assert found["events"] == 8
    assert found["events_without_signal"] >= 2
    assert found["signal_hits"] + found["noise_hits"] == 296
    assert found["noise_kept_per_event"] == pytest.approx(found["noise_kept"] / 8)
    table = metrics.per_event_table(hits, 0.4)
    for name in ("signal_retention", "noise_removed", "purity", "f1", "iou"):
        assert found[f"{name}_macro"] == pytest.approx(float(table[name].nanmean()))
    assert table["noise_kept"].tolist() == (
        torch.bincount(hits.batch[(hits.score >= 0.4) & ~hits.signal], minlength=8).tolist()
    )


def test_decisions_of_a_tool_are_taken_as_they_are():
    hits = scored_hits(2, [30])
    decided = hits.replace(kept=hits.score >= 0.4)
    of_kept, of_threshold = metrics.DenoiseMetrics(), metrics.DenoiseMetrics(0.4)
    of_kept.update(decided)
    of_threshold.update(hits)
    assert of_kept.compute() == of_threshold.compute()
    with pytest.raises(DataError, match="'kept'"):
        metrics.DenoiseMetrics().update(hits)
    with pytest.raises(DataError, match="'signal'"):
        metrics.per_event_table(hits.replace(signal=None), 0.5)


@pytest.mark.parametrize("batch_size", [0, 3])
def test_nothing_to_measure_is_nan_not_a_crash(batch_size):
    nothing = HitBatch.empty(GRID, batch_size)
    empty = nothing.replace(signal=torch.zeros(0, dtype=torch.bool), score=torch.zeros(0))
    denoise, pattern = metrics.DenoiseMetrics(0.5), metrics.PatternMetrics()
    denoise.update(empty)
    pattern.update(empty, empty)
    assert denoise.compute()["events_without_signal"] == batch_size
    assert math.isnan(denoise.compute()["noise_removed_at_97"])
    assert math.isnan(pattern.compute()["temporal_retention"])
    assert metrics.per_event_table(empty, 0.5)["hits"].shape == (batch_size,)


def _count_in_process(rank, folder):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    hits = scored_hits(4, [9, 0, 30, 4])
    mine = metrics.DenoiseMetrics(0.5)
    mine.update(hits.events([0] if rank == 0 else [1, 2, 3]))
    alone = metrics.DenoiseMetrics(0.5, sync_on_compute=False)
    alone.update(hits)
    assert mine.compute() == pytest.approx(alone.compute())
    idle = metrics.DenoiseMetrics(0.5)
    if rank == 1:
        idle.update(hits)
    assert idle.compute() == pytest.approx(alone.compute())
    torch.distributed.destroy_process_group()
    (folder / f"agrees-{rank}").touch()


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    torch.multiprocessing.spawn(_count_in_process, (tmp_path,), nprocs=2)
    assert {path.name for path in tmp_path.glob("agrees-*")} == {"agrees-0", "agrees-1"}


# ---- generated hits ----------------------------------------------------------------------------------


def slow_nearest_in_pixel(query, other):
    rows = []
    for event, cell in zip(query.batch.tolist(), query.coords.tolist(), strict=True):
        away = [
            (abs(c[2] - cell[2]), row)
            for row, (e, c) in enumerate(zip(other.batch.tolist(), other.coords.tolist(), strict=True))
            if e == event and c[:2] == cell[:2]
        ]
        rows.append(min(away)[0] if away else None)
    return rows


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), made=st.integers(0, 40), true=st.integers(0, 40))
def test_nearest_in_pixel_is_the_slow_search(seed, made, true):
    generated = scored_hits(seed, [made, 3, 0])
    truth = scored_hits(seed + 1, [true, 0, 3])
    row = nearest_in_pixel(generated, truth).tolist()
    for index, (found, away) in enumerate(zip(row, slow_nearest_in_pixel(generated, truth), strict=True)):
        assert (found < 0) == (away is None)
        if found >= 0:
            assert int((truth.coords[found] - generated.coords[index]).abs().sum()) == away


def test_hallucinations_and_timing():
    truth = positions((0, 0, 5), (1, 1, 10), (5, 4, 19))
    generated = positions((0, 0, 5), (1, 1, 12), (1, 1, 13), (3, 3, 3))
    assert metrics.false_positives_xy(generated, truth).tolist() == [1]
    assert metrics.false_positives_xyt(generated, truth).tolist() == [3]
    assert metrics.false_positives_xyt(generated, truth, tolerance_bins=2).tolist() == [2]
    assert metrics.false_positives_xy(truth, generated).tolist() == [1]  # missed
    timing = metrics.temporal_retention(generated, truth)
    assert timing == pytest.approx((0.5, 0.5, math.sqrt(0.5), 2))  # dt = 0 and 2 steps of 0.5
    assert metrics.temporal_retention(generated, truth, 2).share == 1
    assert metrics.temporal_retention(truth, truth) == (1.0, 0.0, 0.0, 3)


def test_coverage_and_chamfer_are_the_slow_sums():
    fine = even_geometry((601, 503, 2003), (0.02, 0.01, 0.005))  # so fine that no two are equally near
    truth = scored_hits(5, [12, 4, 0, 6], fine)
    generated = scored_hits(6, [9, 0, 5, 20], fine)
    reach = (4.0, 2.0, 2.0)
    covered = metrics.coverage(generated, truth, reach)
    apart = metrics.chamfer_distance(generated, truth)
    half = torch.tensor([6.01, 2.515, 5.0075])
    for event in (0, 3):
        made, true = generated.events([event]).pos, truth.events([event]).pos
        near = (((true[:, None] - made) / torch.tensor(reach)).norm(dim=-1) <= 1).any(1)
        assert float(covered[event]) == pytest.approx(float(near.float().mean()))
        unit = ((made[:, None] - true) / half).norm(dim=-1)
        gaps = torch.cat([(made - true[unit.argmin(1)]).abs(), (made[unit.argmin(0)] - true).abs()])
        weight = torch.cat([torch.full((len(made),), 0.5 / len(made)), torch.full((len(true),), 0.5 / len(true))])
        time = float((gaps[:, 2] * weight).sum())
        space = float((gaps[:, :2].norm(dim=1) * weight).sum())
        assert apart[event].tolist() == pytest.approx([space, time], rel=1e-5)
    assert covered[1] == 0
    assert covered[2].isnan()
    assert apart[1:3].isnan().all()
    assert metrics.chamfer_distance(truth, truth)[0].tolist() == [0, 0]


def test_pattern_metrics_pool_uneven_batches():
    truth, generated = scored_hits(7, [12, 4, 0, 6]), scored_hits(8, [9, 0, 5, 20])
    whole, parts = metrics.PatternMetrics(), metrics.PatternMetrics()
    whole.update(generated, truth)
    for part in ([0], [1, 2], [3]):
        parts.update(generated.events(part), truth.events(part))
    assert parts.compute() == pytest.approx(whole.compute())
    perfect = metrics.PatternMetrics()
    perfect.update(truth, truth)
    found = perfect.compute()
    assert (found["coverage"], found["temporal_retention"], found["hallucinated_xyt_per_event"]) == (1, 1, 0)
    assert (found["chamfer_space_macro"], found["chamfer_time_macro"]) == (0, 0)


@pytest.mark.parametrize("bins", [1.0, 2.5])
def test_pattern_metrics_are_the_slow_shares(bins):
    truth, generated = scored_hits(9, [25, 4, 0, 6]), scored_hits(10, [30, 0, 5, 9])
    counted = metrics.PatternMetrics(1.0, bins)
    counted.update(generated, truth)
    found = counted.compute()
    rows = [(e, *c) for e, c in zip(truth.batch.tolist(), truth.coords.tolist(), strict=True)]
    made = [(e, *c) for e, c in zip(generated.batch.tolist(), generated.coords.tolist(), strict=True)]

    def share(hits, others, near):
        return sum(any(a[0] == b[0] and near(a, b) for b in others) for a in hits) / len(hits)

    def within(a, b):
        return math.dist(a[1:], b[1:]) <= bins

    assert found["coverage"] == pytest.approx(share(rows, made, within))
    assert found["purity"] == pytest.approx(share(made, rows, within))
    assert found["hallucinated_xy"] == pytest.approx(1 - share(made, rows, lambda a, b: a[1:3] == b[1:3]))
    same = share(made, rows, lambda a, b: a[1:3] == b[1:3] and abs(a[3] - b[3]) <= 1)
    assert found["hallucinated_xyt"] == pytest.approx(1 - same)
    assert found["hallucinated_xyt_per_event"] == pytest.approx(found["hallucinated_xyt"] * len(made) / 4)


def test_long_time_axis_is_resolved():
    grid = even_geometry((4, 4, 12_800_000), (0.055, 0.055, 25 / 16))
    coords = torch.tensor([[1, 1, 12_799_998]], dtype=torch.int32)
    one = HitBatch(grid, coords, torch.tensor([0, 1]))
    other = one.replace(coords=coords + torch.tensor([0, 0, 1], dtype=torch.int32))
    assert metrics.temporal_retention(other, one).median == pytest.approx(25 / 16)
    assert metrics.coverage(other, one, (1, 1, 1.6)).tolist() == [1]
    assert metrics.coverage(other, one, (1, 1, 1.5)).tolist() == [0]
