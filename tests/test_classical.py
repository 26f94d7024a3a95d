import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

from pointae.classical import BASELINES, LoneHits
from pointae.classical.lone_hits import time_to_neighbour
from pointae.classical.measures import cluster_radius, neighbour_distance, window_crowding
from pointae.errors import DataError
from pointae.geometry import even_geometry, timepix3_geometry
from pointae.hits import HitBatch
from pointae.metrics import cut_at_retention, noise_removed_at, roc_auc

GRID = even_geometry((20, 30, 100), (1.0, 1.0, 0.1))
SCALE = (1.0, 2.0, 4.0)


def random_hits(seed, counts, grid=GRID):
    draw = torch.Generator().manual_seed(seed)
    total = sum(counts)
    coords = torch.stack([torch.randint(bins, (total,), generator=draw) for bins in grid.spatial_shape], 1).int()
    return HitBatch(grid, coords, torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64))


def clustered_events(seed, events=60, signal=15, noise=40, grid=GRID):
    """Signal within a few bins of a place that differs from event to event, noise anywhere."""
    draw = torch.Generator().manual_seed(seed)
    shape = torch.tensor(grid.spatial_shape)
    place = (torch.rand(events, 1, 3, generator=draw) * (shape - 8)).long() + 4
    near = place + torch.randint(-2, 3, (events, signal, 3), generator=draw)
    far = (torch.rand(events, noise, 3, generator=draw) * shape).long()
    truth = (torch.arange(signal + noise) < signal).expand(events, -1)
    offsets = torch.arange(events + 1) * (signal + noise)
    coords = torch.cat([near, far], 1).reshape(-1, 3).int()
    return HitBatch(grid, coords, offsets, signal=truth.reshape(-1).clone())


def scaled(hits, event):
    return (hits.geometry.unit_positions(hits.events([event]).pos.double()) * torch.tensor(SCALE)).numpy()


# ---- against scikit-learn ----------------------------------------------------------------------------


def test_neighbour_distance_is_that_of_scikit_learn():
    hits = random_hits(1, [50, 0, 3, 1, 200])
    found = neighbour_distance(hits, SCALE, (1, 4))
    for event in (0, 4):
        points = scaled(hits, event)
        expected = NearestNeighbors(n_neighbors=5).fit(points).kneighbors(points)[0][:, [1, 4]]
        rows = slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))
        np.testing.assert_allclose(found[rows], expected, atol=1e-6)
    assert np.isfinite(found[50:53, 0]).all()
    assert np.isinf(found[50:54, 1]).all()


@pytest.mark.parametrize("min_samples", [2, 4, 9])
def test_cluster_radius_is_where_dbscan_takes_a_hit_in(min_samples):
    hits = random_hits(2, [150, 0, min_samples - 1, 1, 80])
    duplicated = HitBatch.concat([hits, hits.events([4])])
    crowded = duplicated.replace(coords=duplicated.coords // torch.tensor([4, 4, 20], dtype=torch.int32) * 4)
    for batch in (hits, crowded):
        radius = cluster_radius(batch, SCALE, (min_samples - 1,))[:, 0]
        for event in range(batch.batch_size):
            points = scaled(batch, event)
            mine = radius[int(batch.offsets[event]) : int(batch.offsets[event + 1])]
            for eps in (0.1037, 0.2971, 0.5013, 0.9017, 2.0039) if len(points) else ():  # no distance of the grid
                taken = DBSCAN(eps=eps, min_samples=min_samples).fit(points).labels_ >= 0
                np.testing.assert_array_equal(mine <= eps, taken)


def test_window_crowding_is_the_slow_sum():
    hits = random_hits(3, [40, 0, 1, 2, 300])
    time = GRID.t.centres_of(hits.coords[:, 2])
    for window in (0.1, 0.35, 4.0):
        weight = (1 - (time[:, None] - time).abs() / window).clamp(min=0)
        weight = weight * (hits.batch[:, None] == hits.batch)
        expected = weight.sum(1) - 1
        np.testing.assert_allclose(window_crowding(hits, window), expected, atol=1e-9)


def test_time_to_neighbour_is_that_of_the_slow_search():
    hits = random_hits(4, [300, 0, 40, 1, 2], grid=even_geometry((6, 5, 70), (1.0, 1.0, 0.5)))
    hits = HitBatch.concat([hits, hits.events([2, 3]), hits.events([2])])  # hits in one cell, in other events too
    hits = hits.replace(coords=torch.cat([hits.coords[:-40], hits.coords[-40:-20], hits.coords[-40:-20]]))
    found = time_to_neighbour(hits)
    for i in range(hits.num_hits):
        near = (hits.coords[:, :2] - hits.coords[i, :2]).abs().amax(1) <= 1
        near &= hits.batch == hits.batch[i]
        near[i] = False
        gaps = (hits.coords[near, 2] - hits.coords[i, 2]).abs().double() * 0.5
        assert found[i] == (gaps.min() if len(gaps) else np.inf)
    assert time_to_neighbour(HitBatch.empty(GRID, 2)).shape == (0,)


def test_lone_hits_are_told_apart_by_their_features():
    """Signal: pairs of hits of little energy, and lone ones of much. Noise: lone, of an energy of either kind."""
    place = torch.cat([torch.arange(100), torch.arange(100), torch.arange(100, 600)])  # pixels three apart
    kind = torch.arange(700)
    coords = torch.stack([3 * place + (kind < 100), 5 + (kind < 100), 9 + (kind < 100) * 2], 1).int()
    signal = kind < 400  # 200 in pairs, 200 alone
    energy = torch.where((kind < 200) | (kind % 3 == 0) & ~signal, 1.0, 2.0)
    order = torch.randperm(700, generator=torch.Generator().manual_seed(3))
    hits = HitBatch(
        even_geometry((2_000, 20, 100)), coords, torch.tensor([0, 700]), energy[:, None], ("energy",), signal=signal
    ).reordered(order)
    blind = hits.replace(features=hits.features[:, :0], feature_names=())
    score = LoneHits(0.97).fit(hits).score(hits)
    assert noise_removed_at(score, hits.signal, 0.97) == pytest.approx(1 / 3)
    assert noise_removed_at(LoneHits(0.97).fit(blind).score(blind), hits.signal, 0.97) == 0.0
    assert noise_removed_at(LoneHits(0.5).fit(blind).score(blind), hits.signal, 0.5) == 1.0


# ---- every baseline ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
def test_tuning_finds_the_clusters(name):
    baseline = BASELINES[name](retention=0.9)
    untuned = noise_removed_at(baseline.score(fresh := clustered_events(5)), fresh.signal, 0.9)
    assert baseline.fit(clustered_events(4)) is baseline
    score = baseline.score(fresh)
    assert score.dtype == torch.float32
    assert float(score.min()) >= 0
    assert float(score.max()) <= 1
    assert noise_removed_at(score, fresh.signal, 0.9) >= untuned
    assert roc_auc(score, fresh.signal) > (0.8 if name == "time_window" else 0.95)
    assert cut_at_retention(score, fresh.signal, 0.9) == pytest.approx(0.5, abs=0.06)
    assert baseline.settings
    assert all(np.isfinite(value).all() for value in baseline.settings.values())


@pytest.mark.parametrize("name", BASELINES)
def test_hard_but_legal_events(name):
    baseline = BASELINES[name]()
    assert baseline.score(HitBatch.empty(GRID)).shape == (0,)
    assert baseline.score(HitBatch.empty(GRID, 3)).shape == (0,)
    lonely = baseline.score(random_hits(6, [0, 1, 0, 1]))
    assert lonely.tolist() == [0, 0]
    pile = HitBatch(GRID, torch.full((20_000, 3), 7, dtype=torch.int32), torch.tensor([0, 0, 20_000]))
    assert baseline.score(pile).isfinite().all()
    for truth in (True, False):  # nothing to tune on: every choice is as good, none fails
        labelled = pile.replace(signal=torch.full((20_000,), truth))
        assert BASELINES[name]().fit(labelled).score(labelled).isfinite().all()
    empty = HitBatch.empty(GRID, 2).replace(signal=torch.zeros(0, dtype=torch.bool))
    assert BASELINES[name]().fit(empty).score(pile).isfinite().all()
    with pytest.raises(DataError, match="'signal'"):
        baseline.fit(pile)


@pytest.mark.parametrize("name", BASELINES)
def test_events_do_not_see_each_other_nor_their_order(name):
    hits = clustered_events(8, events=5)
    baseline = BASELINES[name]()
    score = baseline.score(hits)
    alone = torch.cat([baseline.score(hits.events([event])) for event in range(5)])
    torch.testing.assert_close(alone, score)
    order = torch.cat([torch.randperm(55) + 55 * event for event in range(5)])
    torch.testing.assert_close(baseline.score(hits.reordered(order)), score[order])


def test_clusters_in_a_long_time_axis():
    # 12.8 million steps: the tuned scale of time must be far from that of the pixels.
    grid = timepix3_geometry()
    hits = clustered_events(9, events=20, signal=12, noise=60, grid=grid)
    score = BASELINES["knn_density"](retention=0.9).fit(hits).score(hits)
    assert noise_removed_at(score, hits.signal, 0.9) > 0.99
