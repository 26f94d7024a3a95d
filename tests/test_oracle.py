"""The two oracles against each other, their symmetries, and the bound that they set."""

from dataclasses import replace

import pytest
import torch

from pointae import oracle
from pointae.config import TorchSource
from pointae.errors import DataError
from pointae.geometry import deepclean3d_geometry
from pointae.hits import HitBatch
from pointae.metrics import cut_at_retention, noise_removed_at
from pointae.oracle.tables import light_table, row_table
from pointae.simulate import simulate_events
from pointae.simulate.quartz import HC, refractive_index
from pointae.simulate.torch_detector import torch_truth

SEED = 7


@pytest.fixture(scope="module")
def truth():
    return torch_truth(TorchSource(), SEED, torch.arange(12))


@pytest.fixture(scope="module")
def hits():
    return simulate_events(TorchSource(), SEED, torch.arange(12))


def counts_of(tracks, number, coords, sigma_t=0.07):
    """Expectations of one track in some cells."""
    row = torch.full((len(coords),), number, dtype=torch.int64)
    return oracle.expected_counts(tracks, torch.full_like(tracks.x, sigma_t), row, coords).double()


def cells_of_pixels(x_step, y_step, t_step):
    """Cells that stand for the grid: times a third of the resolution's width apart lose nothing."""
    steps = (range(0, 88, x_step), range(0, 128, y_step), range(1, 1000, t_step))
    return torch.cartesian_prod(*(torch.tensor(step) for step in steps))


# ---- tables ------------------------------------------------------------------------------------------


def test_rows_see_the_angles_of_the_focusing_block():
    rows = row_table(torch.device("cpu"))
    row = torch.arange(256) / 2 - 0.25
    angle = torch.atan2(rows.sine, rows.cosine)
    assert torch.allclose(angle, 0.85471 - 3.1624e-3 * row - 5.11e-7 * row.square(), atol=1.5e-4)
    assert torch.allclose(rows.width, (3.1624e-3 + 2 * 5.11e-7 * row) / 2, rtol=0.01)
    assert torch.allclose(rows.block, 262.2 + 0.0574 * row, atol=1.2)


def test_light_is_found_by_its_index():
    table = light_table(torch.device("cpu"))
    index = refractive_index(torch.tensor(HC / 4.0, dtype=torch.float64).square())
    entry = table.columns[round(float((index - table.low) / table.step))]
    assert float(entry[1].sqrt()) == pytest.approx(HC / 4.0, rel=2e-4)  # to the table's step
    assert float(entry[2]) == pytest.approx(1.563, abs=1e-3)


# ---- densities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_cells_sum_to_the_expected_number_of_hits(truth, number):
    total = float(oracle.expected_total(truth.tracks, truth.sigma_t, 1 << 14)[number])
    found = float(counts_of(truth.tracks, number, cells_of_pixels(8, 4, 4)).sum()) * 8 * 4 * 4
    assert found == pytest.approx(total, rel=0.1)  # one column of eight, one row of four


@pytest.mark.slow
def test_all_cells_sum_to_the_expected_number_of_hits(truth):
    total = oracle.expected_total(truth.tracks, truth.sigma_t, 1 << 18)
    for number in range(4):
        found = float(counts_of(truth.tracks, number, cells_of_pixels(1, 1, 4)).sum()) * 4
        assert found == pytest.approx(float(total[number]), rel=0.03)


def test_a_mirrored_track_lights_mirrored_columns(truth, hits):
    tracks = truth.tracks
    mirrored = replace(tracks, x=-tracks.x, slope_x=-tracks.slope_x)
    coords = hits.events([3]).coords
    mirror = coords.clone()
    mirror[:, 0] = 87 - coords[:, 0]
    there, back = counts_of(tracks, 3, coords), counts_of(mirrored, 3, mirror)
    assert int((there > 0).sum()) > 20
    # The index is known to its table's step: the times of some ways jump by half a ps.
    assert torch.allclose(there, back, rtol=0.05, atol=1e-9)


def test_densities_do_not_depend_on_order_or_company(truth, hits):
    one = hits.events([2])
    alone = counts_of(truth.tracks.select(torch.tensor([2])), 0, one.coords)
    order = torch.randperm(one.num_hits, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(counts_of(truth.tracks, 2, one.coords[order]), alone[order], rtol=1e-5)
    source, index = TorchSource(), torch.arange(12)
    together = oracle.oracle_log_ratio(hits, source, SEED, index)
    apart = [oracle.oracle_log_ratio(hits.events([i]), source, SEED, index[i : i + 1]) for i in range(12)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-4)


def test_a_better_clock_is_sharper_and_sees_as_much(truth, hits):
    one = hits.events([1])
    coords = one.coords[one.signal].repeat_interleave(1000, 0)
    coords[:, 2] = torch.arange(1000).repeat(30)
    sharp, blunt = (counts_of(truth.tracks, 1, coords, sigma).view(30, 1000) for sigma in (0.05, 0.1))
    assert torch.allclose(sharp.sum(), blunt.sum(), rtol=0.01)  # some light leaves the window
    # A pixel may see several flashes, so the gain is below that of the widths, 105 over 59 ps.
    gain = sharp.amax(1) / blunt.amax(1)
    assert float(gain.min()) > 1
    assert 1.3 < float(gain.median()) < 1.78


def test_no_cells_and_dark_tracks(truth):
    tracks = truth.tracks
    assert counts_of(tracks, 0, torch.zeros((0, 3), dtype=torch.int32)).shape == (0,)
    slow = replace(tracks, inverse_beta=torch.full_like(tracks.x, 1.7))
    assert float(counts_of(slow, 0, cells_of_pixels(8, 8, 40)).sum()) == 0
    assert float(oracle.expected_total(slow, truth.sigma_t).sum()) == 0
    assert oracle.expected_total(tracks.select(torch.zeros(0, dtype=torch.int64)), truth.sigma_t[:0]).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(12))
def test_closed_form_and_photons_agree(truth, hits, number):
    one = hits.events([number])
    coords = one.coords[one.signal]
    track = truth.tracks.select(torch.tensor([number]))
    photons = oracle.expected_counts_by_photons(track, truth.sigma_t[:1], coords, 1 << 22)
    difference = (counts_of(truth.tracks, number, coords) / photons).log10()
    assert abs(float(difference.median())) < 0.035
    assert float((difference.abs() < 0.15).double().mean()) > 0.8


# ---- scores ------------------------------------------------------------------------------------------


def test_scores_are_probabilities_in_the_order_of_the_ratios():
    source, index = TorchSource(tracks=3), torch.arange(20)
    hits = simulate_events(source, SEED, index)
    ratio, score = (f(hits, source, SEED, index) for f in (oracle.oracle_log_ratio, oracle.oracle_score))
    assert (ratio.dtype, score.dtype) == (torch.float64, torch.float32)
    assert bool(ratio.isfinite().all())
    assert 0 <= float(score.min()) < float(score.max()) < 1
    assert bool((score[ratio.argsort()].diff() >= 0).all())
    # Calibrated: the mean score of the hits is their share of signal.
    assert float(score.mean()) == pytest.approx(float(hits.signal.double().mean()), abs=0.01)


def test_light_of_other_tracks_is_told_from_the_target():
    source, index = TorchSource(tracks=3), torch.arange(60)
    hits = simulate_events(source, SEED, index)
    score = oracle.oracle_score(hits, source, SEED, index, target=0)
    of_target = hits.track == 0
    others, noise = hits.track > 0, hits.track < 0
    assert noise_removed_at(score[of_target | others], of_target[of_target | others], 0.97) > 0.99
    assert noise_removed_at(score[of_target | noise], of_target[of_target | noise], 0.97) > 0.98
    single = TorchSource()
    alone = simulate_events(single, SEED, index)
    both = [oracle.oracle_log_ratio(alone, single, SEED, index, target) for target in (None, 0)]
    assert torch.equal(*both)


@pytest.mark.parametrize("settings", [{"tracks": 0}, {"noise": 0}, {"tracks": 0, "noise": 0}, {"tracks": (0, 2)}])
def test_events_without_tracks_or_noise_have_finite_scores(settings):
    source, index = TorchSource(**settings), torch.arange(6)
    hits = simulate_events(source, SEED, index)
    ratio = oracle.oracle_log_ratio(hits, source, SEED, index)
    assert ratio.shape == (hits.num_hits,)
    assert bool(ratio.isfinite().all())


def test_no_events_other_grids_and_other_numbers(hits):
    none = torch.zeros(0, dtype=torch.int64)
    assert oracle.oracle_score(hits.events(none), TorchSource(), SEED, none).shape == (0,)
    with pytest.raises(DataError, match="each of 12 events, got 3"):
        oracle.oracle_score(hits, TorchSource(), SEED, torch.arange(3))
    with pytest.raises(DataError, match="TORCH grid only"):
        oracle.oracle_score(HitBatch.empty(deepclean3d_geometry()), TorchSource(), SEED, none)


def test_one_known_track_leaves_a_hundredth_of_the_noise():
    source, index = TorchSource(), torch.arange(500)
    hits = simulate_events(source, SEED, index)
    ratio = oracle.oracle_log_ratio(hits, source, SEED, index)
    assert noise_removed_at(ratio, hits.signal, 0.97) == pytest.approx(0.990, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "at_97", "at_99", "error"),
    [
        ({}, 0.990, 0.988, 0.001),
        ({"sigma_t_ps": 55.0}, 0.992, 0.990, 0.001),
        ({"sigma_t_ps": 100.0}, 0.989, 0.986, 0.001),
        ({"tracks": 3}, 0.974, 0.966, 0.001),
    ],
    ids=["70 ps", "55 ps", "100 ps", "three tracks"],
)
def test_bounds_of_5000_events(settings, at_97, at_99, error):
    """The published figures of one track with their error; for three tracks those of docs/detector.md."""
    source, removed = TorchSource(**settings), []
    for seed in range(5):
        index = torch.arange(1000)
        hits = simulate_events(source, 100 + seed, index)
        ratio = oracle.oracle_log_ratio(hits, source, 100 + seed, index)
        removed.append([noise_removed_at(ratio, hits.signal, kept) for kept in (0.97, 0.99)])
    mean = torch.tensor(removed).mean(0)
    assert mean.tolist() == pytest.approx([at_97, at_99], abs=error)


@pytest.mark.slow
def test_bounds_of_a_target_among_others_in_2000_events():
    """The published figures with their error: noise, and noise with the light of two other known tracks."""
    source, removed = TorchSource(tracks=3), []
    for seed in range(100, 104):
        index = torch.arange(500)
        hits = simulate_events(source, seed, index)
        ratio, target = oracle.oracle_log_ratio(hits, source, seed, index, target=0), hits.track == 0
        cuts = [cut_at_retention(ratio, target, kept) for kept in (0.97, 0.99)]
        removed.append([float((ratio[of] < cut).double().mean()) for of in (hits.track < 0, ~target) for cut in cuts])
    assert torch.tensor(removed).mean(0).tolist() == pytest.approx([0.990, 0.987, 0.991, 0.988], abs=0.001)
