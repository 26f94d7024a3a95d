"""The TORCH forward model against published numbers and its own symmetries, and the exactness of its events."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from pointae import draws, metrics
from pointae.config import TorchSource
from pointae.errors import DataError
from pointae.hits import ORIGINS, HitBatch
from pointae.simulate import module, photons, simulate_events
from pointae.simulate.digitise import cells_of_bits, unpack_cells
from pointae.simulate.focusing import focus
from pointae.simulate.quartz import HC, group_index, refractive_index
from pointae.simulate.torch_detector import same_tracks_again, torch_truth

RAW = 170
MODES = {
    "one track": {},
    "several tracks": {"tracks": (1, 5), "signal": (0, 40), "noise": (0, 300), "sigma_t_ps": (55.0, 100.0)},
    "poisson": {"signal_mode": "poisson", "t0_sigma_ns": 0.2},
    "tracks": {"noise_mode": "tracks"},
    "crossing": {"noise_mode": "crossing", "noise": 40},
    "mixture": {"noise_mode": "mixture", "noise": 100},
    "no tracks": {"tracks": 0},
    "nothing": {"tracks": 0, "noise": 0},
}


@pytest.fixture(scope="module")
def truth():
    return torch_truth(TorchSource(), 7, torch.arange(3000))


@pytest.fixture(scope="module")
def light(truth):
    """Detected photons of RAW emitted ones a track: inside the window, and one crossing later."""
    numbers = draws.numbered(torch.full((len(truth.tracks),), RAW))
    sigma = truth.sigma_t[truth.tracks.event]
    late = module.WINDOW_START + module.CROSSING
    return tuple(photons.follow_photons(truth.tracks, numbers, sigma, start) for start in (module.WINDOW_START, late))


# ---- the material and the particles -------------------------------------------------------------------


def test_index_of_fused_silica():
    wavelength2 = (HC / torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)).square()
    index = refractive_index(wavelength2)
    torch.testing.assert_close(index, torch.tensor([1.4687, 1.4852, 1.5086]).double(), atol=1e-4, rtol=0)
    group = group_index(wavelength2, index)
    torch.testing.assert_close(group, torch.tensor([1.5095, 1.5634, 1.6479]).double(), atol=1e-4, rtol=0)


def test_kaon_is_behind_pion_by_35_5_ps_at_10_gev():
    tracks = torch_truth(TorchSource(momentum_gev=(10.0, 10.0)), 1, torch.arange(50)).tracks
    pion, kaon = (tracks.inverse_beta[tracks.species == kind].mean() for kind in (0, 1))
    assert float((kaon - pion) * module.DISTANCE / module.SPEED_OF_LIGHT) == pytest.approx(0.0355, abs=1e-4)


def test_tracks_point_from_the_collision_and_bend(truth):
    tracks = truth.tracks
    assert float(tracks.x.abs().max()) <= module.PLATE_WIDTH / 2
    assert float(tracks.y.abs().max()) <= module.PLATE_HEIGHT / 2
    straight = (truth.module_x[tracks.event] + tracks.x) / module.DISTANCE
    bend = (tracks.slope_x - straight) * tracks.momentum
    torch.testing.assert_close(bend.abs(), torch.full_like(bend, module.BEND))
    assert float((bend > 0).double().mean()) == pytest.approx(0.5, abs=0.04)
    assert torch.unique(truth.module_x / module.PLATE_WIDTH).tolist() == list(range(-4, 5))
    assert (torch.bincount(tracks.species) / len(tracks)).tolist() == pytest.approx([1 / 3] * 3, abs=0.04)
    assert float(tracks.momentum.log().mean()) == pytest.approx((math.log(2) + math.log(10)) / 2, abs=0.04)


# ---- light ---------------------------------------------------------------------------------------------


def _emitted(tracks):
    row, number = draws.numbered(torch.full((len(tracks),), RAW))
    return photons._emit(tracks, row, number, torch.full_like(tracks.x, 0.07), module.WINDOW_START)


def test_light_is_a_unit_vector_on_the_cherenkov_cone_and_trapped(truth):
    tracks, light = truth.tracks, _emitted(truth.tracks)
    norm = light.kx.square() + light.ky.square() + light.kz.square()
    torch.testing.assert_close(norm, torch.ones_like(norm), atol=1e-5, rtol=0)
    ahead = light.kx * tracks.slope_x[light.track] + light.ky * tracks.slope_y[light.track] + light.kz
    cosine = ahead / tracks.slant[light.track]
    torch.testing.assert_close(
        cosine, 1 / (tracks.inverse_beta.reciprocal()[light.track] * light.index), atol=1e-5, rtol=0
    )
    assert bool((1 - light.kz.square() > (module.INDEX_AIR / light.index).square() - 1e-5).all())


def test_focusing_block_measures_the_angle():
    depth = ((torch.arange(200) + 0.5) / 200 * 2 * module.PLATE_DEPTH)[:, None]
    angle = torch.linspace(0.46, 0.84, 100)
    height, path, hit = focus(angle.cos().expand(200, -1), angle.sin().expand(200, -1), depth)
    assert bool(hit.all())
    assert float(height.abs().max()) < module.TUBE_WIDTH / 2
    row = (height + module.TUBE_WIDTH / 2) / module.ROW_HEIGHT - 0.5
    error = angle - (0.85471 - 3.1624e-3 * row - 5.11e-7 * row.square())
    # Light over the whole bevel: 0.1 mrad on average, half a mrad of aberration.
    assert float(error.mean(0).abs().max()) < 1e-4
    assert float(error.std()) < 6e-4
    assert float((path - (262.2 + 0.0574 * row)).mean(0).abs().max()) < 1


def test_mirrored_tracks_give_mirrored_columns(truth):
    tracks = truth.tracks
    sigma = torch.full_like(tracks.x, 0.07)
    mirrored = replace(tracks, x=-tracks.x, slope_x=-tracks.slope_x)
    light = _emitted(tracks)
    one, other = (
        photons._digitise(t, photons._travel(t, k), sigma, module.WINDOW_START)
        for t, k in ((tracks, light), (mirrored, replace(light, kx=-light.kx)))
    )
    coords, mirror = unpack_cells(one.cell), unpack_cells(other.cell)
    assert abs(len(coords) - len(mirror)) < 1e-4 * len(coords)
    # Rounding at the edges of tubes and columns may move single photons.
    columns, rows = (torch.bincount(c[:, 0], minlength=88) for c in (coords, mirror))
    assert int((columns - rows.flip(0)).abs().max()) <= 3
    torch.testing.assert_close(coords[:, 1:].double().mean(0), mirror[:, 1:].double().mean(0), atol=0.05, rtol=0)


def test_acceptance_window_and_reflections(truth, light):
    inside, late = light
    accepted = len(inside.track) + len(late.track)
    assert accepted / len(truth.tracks) / RAW == pytest.approx(0.27, abs=0.01)
    assert len(inside.track) / accepted == pytest.approx(0.91, abs=0.01)
    down, sides, energy, path = (
        torch.cat([getattr(part, name) for part in light]) for name in ("down", "sides", "energy", "path")
    )
    assert float(down.double().mean()) == pytest.approx(0.18, abs=0.02)
    shares = torch.bincount(sides.clamp(max=4)) / accepted
    assert shares.tolist() == pytest.approx([0.33, 0.36, 0.15, 0.07, 0.08], abs=0.02)
    assert torch.quantile(energy, torch.tensor([0.05, 0.5, 0.95])).tolist() == pytest.approx([2.4, 4.1, 5.4], abs=0.1)
    assert float(path.median()) == pytest.approx(2150, abs=150)
    counts = torch.bincount(inside.track, minlength=len(truth.tracks))
    assert float((counts == 0).double().mean()) == pytest.approx(0.005, abs=0.004)
    assert float((counts < 30).double().mean()) == pytest.approx(0.07, abs=0.02)


def test_number_of_detected_photons(truth, light):
    mean = photons.mean_photons(truth.tracks)
    accepted = torch.bincount(torch.cat([part.track for part in light]), minlength=len(mean))
    detected = (mean * accepted / RAW).float()
    assert float(detected.mean()) == pytest.approx(23, abs=0.5)
    assert torch.quantile(detected, torch.tensor([0.05, 0.95])).tolist() == pytest.approx([15, 30], abs=1)
    counts = photons.count_photons(truth.tracks)
    pull = (counts - mean) / mean.sqrt()
    assert float(pull.mean()) == pytest.approx(0, abs=0.08)
    assert float(pull.std()) == pytest.approx(1, abs=0.05)


def test_arrival_time_is_path_over_group_velocity_with_the_resolution(truth, light):
    inside, tracks = light[0], truth.tracks
    wavelength2 = (HC / inside.energy.double()).square()
    flight = group_index(wavelength2, refractive_index(wavelength2)) * inside.path / module.SPEED_OF_LIGHT
    half_way = module.PLATE_DEPTH / 2 * (tracks.slant * tracks.inverse_beta)[inside.track] / module.SPEED_OF_LIGHT
    measured = module.WINDOW_START + (unpack_cells(inside.cell)[:, 2] + 0.5) * module.TIME_BIN
    error = measured - (tracks.time[inside.track] + half_way + flight)
    # 70 ps, the bin's 25 ps / sqrt(12), and the depth of the emission.
    assert float(error.mean()) == pytest.approx(0, abs=0.002)
    assert float(error.std()) == pytest.approx(0.0715, abs=0.002)


# ---- events --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", MODES.values(), ids=MODES.keys())
def test_events_do_not_depend_on_their_batch(settings):
    source, index = TorchSource(**settings), torch.arange(60)
    together = simulate_events(source, 5, index)
    order = torch.cat([index[31:].flip(0), index[:31]])
    parts = [simulate_events(source, 5, part) for part in order.split((1, 2, 3, 54))]
    apart = HitBatch.concat(parts).events(torch.argsort(order))
    for name in ("coords", "offsets", "signal", "track", "origin", "event_id"):
        assert torch.equal(getattr(together, name), getattr(apart, name)), name


@pytest.mark.parametrize("settings", MODES.values(), ids=MODES.keys())
def test_events_are_exact_and_light_each_cell_once(settings):
    source = TorchSource(**settings)
    hits = simulate_events(source, 5, torch.arange(80))
    replace(hits, trusted=False)  # checks every field once more
    assert torch.equal(hits.event_id, torch.arange(80))
    cells = torch.cat([hits.batch[:, None], hits.coords], dim=1)
    assert len(torch.unique(cells, dim=0)) == len(cells)
    assert torch.equal(hits.signal, hits.origin == 0)
    assert torch.equal(hits.signal, hits.track >= 0)
    noise = torch.bincount(hits.batch[~hits.signal], minlength=80)
    low, high = source.noise if isinstance(source.noise, tuple) else (source.noise, source.noise)
    assert low <= int(noise.min())
    assert int(noise.max()) <= high
    assert torch.equal(noise, torch_truth(source, 5, torch.arange(80)).noise)
    # Sorted by cell: the order tells nothing about the origin.
    x, y, t = hits.coords.long().unbind(1)
    place = ((hits.batch * 128 + x) * 128 + y) * 1024 + t
    assert bool((place.diff() > 0).all())


def test_fixed_signal_counts_every_track():
    source = TorchSource(tracks=3, signal=20, noise=0)
    hits = simulate_events(source, 2, torch.arange(200))
    counts = torch.bincount(hits.batch * 3 + hits.track, minlength=600)
    assert int(counts.max()) == 20
    assert float((counts == 20).double().mean()) > 0.9  # the others have no light, or share a cell


@pytest.mark.parametrize(("signal", "followed"), [(30, 260), (31, 269), ((3, 70), None), (500, 4334)])
def test_fixed_signal_is_the_first_accepted_of_the_photons_followed(signal, followed):
    source, index = TorchSource(signal=signal, noise=0), torch.arange(30)
    hits, truth = simulate_events(source, 3, index), torch_truth(source, 3, index)
    for event, wanted in enumerate(truth.signal.tolist()):
        raw = max(260, math.ceil(wanted * 260 / 30))
        assert followed in (raw, None)
        rows = torch.full((raw,), event), torch.arange(raw)
        cells = photons.follow_photons(truth.tracks, rows, truth.sigma_t).cell[:wanted]
        assert hits.events([event]).coords.tolist() == unpack_cells(torch.unique(cells)).tolist()


def test_full_patterns_of_500_photons_are_reached():
    hits = simulate_events(TorchSource(signal=500, noise=0), 4, torch.arange(200))
    lost_to_shared_cells = 500 - hits.counts
    assert int(hits.counts.max()) <= 500
    assert float((lost_to_shared_cells < 25).double().mean()) > 0.97


def test_mixture_of_noise_is_exact():
    source = TorchSource(noise=101, noise_mode="mixture", mixture={"uniform": 0.5, "tracks": 0.5, "crossing": 0.0})
    hits = simulate_events(source, 2, torch.arange(20))
    counts = torch.stack([torch.bincount(hits.batch[hits.origin == i], minlength=20) for i in range(len(ORIGINS))])
    assert counts[1].unique().tolist() == [50]
    assert counts[2].unique().tolist() == [51]
    assert not counts[3:].any()
    with pytest.raises(ValidationError, match="at least one share must be above 0"):
        TorchSource(noise_mode="mixture", mixture={"uniform": 0.0})


def test_uniform_cells_are_uniform():
    cells = unpack_cells(cells_of_bits(draws.bits(torch.arange(400_000), 0)))
    for column, bins in zip(cells.unbind(1), (88, 128, 1000), strict=True):
        counts = torch.bincount(column, minlength=bins).double()
        assert len(counts) == bins
        chi2 = float(((counts - counts.mean()).square() / counts.mean()).sum())
        assert abs(chi2 - bins) < 5 * math.sqrt(2 * bins)


def test_noise_of_other_tracks_looks_like_light_and_late_light_fades():
    index = torch.arange(40)
    near = simulate_events(TorchSource(tracks=0, noise_mode="tracks"), 3, index)
    late = simulate_events(TorchSource(tracks=0, noise_mode="crossing", noise=60), 3, index)
    assert int(near.coords[:, 2].min()) < 100  # the earliest light is at 34.1 ns
    assert float((late.coords[:, 2] < 500).double().mean()) > 0.7


def test_noise_that_cannot_be_lit_is_an_error():
    dark = TorchSource(noise_mode="tracks", momentum_gev=(0.01, 0.02), noise=1)
    with pytest.raises(DataError, match="tracks noise lights too few cells"):
        simulate_events(dark, 1, torch.arange(2))


def test_seed_epoch_and_number_change_events():
    base = simulate_events(TorchSource(), 1, torch.tensor([4])).coords
    for other in ((2, 4, 0), (1, 5, 0), (1, 4, 1)):
        seed, number, epoch = other
        assert not torch.equal(base, simulate_events(TorchSource(), seed, torch.tensor([number]), epoch).coords)


def test_no_events_and_wrong_index():
    none = simulate_events(TorchSource(), 1, torch.zeros(0, dtype=torch.int64))
    assert (none.batch_size, none.num_hits) == (0, 0)
    with pytest.raises(DataError, match=r"index must be \(B,\) int64"):
        simulate_events(TorchSource(), 1, torch.zeros(3))


def test_the_same_tracks_again_are_other_photons_alike():
    source, index = TorchSource(signal=300, noise=5), torch.arange(20)
    first = simulate_events(source, 6, index)
    first, again = first.select(first.signal), same_tracks_again(source, 6, index)
    assert torch.equal(again.event_id, index)
    assert bool((again.counts > 280).all())
    assert float((metrics.false_positives_xyt(again, first) / again.counts).min()) > 0.8  # other photons ...
    reach = [8 * width for width in again.geometry.bin_widths]
    strange = again.events(torch.arange(20).roll(1))
    assert float(metrics.coverage(again, first, reach).min()) > 0.6  # ... of the same patterns
    assert float(metrics.coverage(strange, first, reach).mean()) < 0.1
