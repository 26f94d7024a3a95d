"""Degradation against a slow loop over events, and the exactness of its counts."""

from dataclasses import replace

import pytest
import torch

from pointae import draws
from pointae.config import DataSettings, DegradationSettings, PatternSource
from pointae.degrade import add_noise, dead_pixels, degrade, settings_at, smear, thin
from pointae.errors import ConfigError, DataError
from pointae.geometry import GEOMETRIES, deepclean3d_geometry
from pointae.hits import ORIGINS, HitBatch
from pointae.simulate import simulate_events
from pointae.simulate.profiles import PROFILE_ORIGINS, PROFILES

SETTINGS = DegradationSettings(
    thin=(0, 60), smear={"x": 10.0, "y": 12.0, "t": 3.0}, dead_pixels=0.05, noise=(0, 90), noise_profile="clusters"
)


@pytest.fixture(scope="module")
def clean():
    mixture = {"parabola": 2, "folded_v": 1, "blank": 1}
    return simulate_events(PatternSource(mixture=mixture), 1, torch.arange(40))


def _keys(hits, step="step"):
    return draws.event_keys(9, 0, torch.arange(hits.batch_size), step)


def _of_event(hits, event):
    return slice(int(hits.offsets[event]), int(hits.offsets[event + 1]))


# ---- thin ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 30, (5, 400), 10_000])
def test_thin_keeps_exactly_so_many(clean, count):
    thinned = thin(clean, count, _keys(clean))
    low, high = count if isinstance(count, tuple) else (count, count)
    assert bool((thinned.counts >= clean.counts.clamp(max=low)).all())
    assert bool((thinned.counts <= clean.counts.clamp(max=high)).all())
    if isinstance(count, tuple):
        assert len(torch.unique(thinned.counts)) > 10
    # What is left is part of the pattern, in its order.
    for event in range(clean.batch_size):
        before = clean.coords[_of_event(clean, event)].tolist()
        places = [before.index(hit) for hit in thinned.coords[_of_event(thinned, event)].tolist()]
        assert places == sorted(set(places))


def test_thin_leaves_noise_and_chooses_evenly():
    geometry = deepclean3d_geometry()
    coords = torch.arange(20, dtype=torch.int32)[:, None].expand(-1, 3).repeat(2000, 1)
    signal = (torch.arange(20) < 10).repeat(2000)
    hits = HitBatch(geometry, coords, torch.arange(2001) * 20, signal=signal)
    thinned = thin(hits, 3, _keys(hits))
    assert torch.unique(thinned.counts).tolist() == [13]
    chosen = torch.bincount(thinned.coords[thinned.signal, 0], minlength=10)
    assert int((chosen - 600).abs().max()) < 110  # five sigma
    assert int((~thinned.signal).sum()) == 20_000


# ---- smear ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["drop", "clamp"])
def test_smear_agrees_with_a_loop_over_events(clean, edge):
    sigma, keys = {"x": 30.0, "t": 40.0}, _keys(clean)
    moved = smear(clean, sigma, keys, edge)
    for event in range(clean.batch_size):
        expected = []
        for number, hit in enumerate(clean.coords[_of_event(clean, event)].tolist()):
            inside = True
            for column, name in ((0, "x"), (2, "t")):
                axis = clean.geometry.axes[column]
                shift = float(draws.normal(keys[event], torch.tensor(number * 3 + column))) * sigma[name]
                bin_number = (axis.start + (hit[column] + 0.5) * axis.width + shift - axis.start) // axis.width
                inside &= 0 <= bin_number < axis.bins
                hit[column] = int(min(max(bin_number, 0), axis.bins - 1))
            if inside or edge == "clamp":
                expected.append(hit)
        assert moved.coords[_of_event(moved, event)].tolist() == expected


def test_smear_has_its_width_in_millimetres():
    geometry = deepclean3d_geometry()
    middle = torch.tensor([[44, 64, 500]], dtype=torch.int32).repeat(20_000, 1)
    hits = HitBatch(geometry, middle, torch.tensor([0, 20_000]))
    moved = smear(hits, {"x": 40.0, "y": 60.0}, torch.tensor([3]))
    shift = moved.coords.double() - middle
    # A bin adds width^2 / 12: 40 mm are 4.4 px of x, 60 mm are 5.12 px of y.
    assert float(shift[:, 0].std()) == pytest.approx((4.4**2 + 1 / 12) ** 0.5, rel=0.02)
    assert float(shift[:, 1].std()) == pytest.approx((5.12**2 + 1 / 12) ** 0.5, rel=0.02)
    assert not shift[:, 2].any()
    assert moved.num_hits == 20_000  # collisions cost nothing


def test_smear_by_nothing_changes_nothing_and_wrong_axes_are_named(clean):
    assert torch.equal(smear(clean, {}, _keys(clean)).coords, clean.coords)
    assert torch.equal(smear(clean, {"x": 0.0}, _keys(clean)).coords, clean.coords)
    for wrong, message in (({"z": 1.0}, "unknown axis 'z'"), ({"x": -1.0}, "must not be negative")):
        with pytest.raises(ConfigError, match=message):
            smear(clean, wrong, _keys(clean))
    with pytest.raises(ConfigError, match="unknown edge 'wrap'"):
        smear(clean, {}, _keys(clean), edge="wrap")


# ---- dead pixels ---------------------------------------------------------------------------------------


def test_dead_pixels_lose_all_their_hits(clean):
    left = dead_pixels(clean, 0.2, _keys(clean))
    assert left.num_hits / clean.num_hits == pytest.approx(0.8, abs=0.02)
    pixel = (clean.batch * 88 + clean.coords[:, 0]) * 128 + clean.coords[:, 1]
    kept = torch.isin(pixel, (left.batch * 88 + left.coords[:, 0]) * 128 + left.coords[:, 1])
    assert int(kept.sum()) == left.num_hits
    assert dead_pixels(clean, 1.0, _keys(clean)).num_hits == 0
    # Equal keys are one detector: a pixel is dead in every event or in none.
    same = dead_pixels(clean, 0.5, torch.full((40,), 6))
    alive = torch.unique(same.coords[:, 0] * 128 + same.coords[:, 1])
    everywhere = torch.isin(clean.coords[:, 0] * 128 + clean.coords[:, 1], alive)
    assert int(everywhere.sum()) == same.num_hits


# ---- noise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("detector", GEOMETRIES)
def test_noise_is_exact_labelled_and_inside(detector, profile):
    geometry = GEOMETRIES[detector]()
    coords = torch.zeros((3, 3), dtype=torch.int32)
    hits = HitBatch(geometry, coords, torch.tensor([0, 0, 2, 3]), hit_id=torch.tensor([70, 71, 72]))
    noised = add_noise(hits, (40, 60), _keys(hits), profile)
    replace(noised, trusted=False)  # checks every field and the grid once more
    noise = ~noised.signal
    counts = torch.bincount(noised.batch[noise], minlength=3)
    assert bool(((counts >= 40) & (counts <= 60)).all())
    assert torch.unique(noised.origin[noise]).tolist() == [ORIGINS.index(PROFILE_ORIGINS[profile])]
    assert torch.unique(noised.track[noise]).tolist() == [-1]
    assert torch.unique(noised.hit_id[noise]).tolist() == [-1]
    # The clean hits are all there, in their events.
    assert sorted(noised.hit_id[noised.signal].tolist()) == [70, 71, 72]
    assert torch.bincount(noised.batch[noised.signal], minlength=3).tolist() == [0, 2, 1]
    assert not noised.coords[noised.signal].any()


@pytest.mark.parametrize("profile", ["uniform", "hot", "edges", "clusters", "tracks"])
def test_noise_covers_the_whole_window_and_has_its_shape(profile):
    noised = add_noise(HitBatch.empty(deepclean3d_geometry(), 400), 200, torch.arange(400), profile)
    x, y, t = noised.coords.unbind(1)
    assert int(t.min()) == 0
    assert int(t.max()) == 999
    assert float(t.double().mean()) == pytest.approx(499.5, abs=25)
    pixels = torch.unique((noised.batch * 88 + x) * 128 + y).numel() / 400
    at_edge = float(((x < 9) | (x > 78) | (y < 13) | (y > 114)).double().mean())
    if profile == "hot":
        assert pixels <= 4
    elif profile == "edges":
        assert at_edge == 1
    elif profile == "uniform":
        assert pixels > 190
        assert at_edge == pytest.approx(0.365, abs=0.02)


def test_noise_is_mixed_in_so_that_order_tells_nothing():
    geometry = deepclean3d_geometry()
    coords = torch.zeros((100 * 400, 3), dtype=torch.int32)
    noised = add_noise(HitBatch(geometry, coords, torch.arange(401) * 100), 100, torch.arange(400))
    place = noised.local_index()[noised.signal].double()
    assert float(place.mean()) == pytest.approx(99.5, abs=1.5)
    assert float(place.std()) == pytest.approx(200 / 12**0.5, abs=1)


def test_noise_borrows_the_features_of_its_event():
    geometry = deepclean3d_geometry()
    features = torch.tensor([[1.0], [2.0], [5.0]])
    coords = torch.zeros((3, 3), dtype=torch.int32)
    hits = HitBatch(geometry, coords, torch.tensor([0, 2, 2, 3]), features, ("energy",))
    noised = add_noise(hits, 50, torch.arange(3))
    values = [set(noised.features[_of_event(noised, event), 0].tolist()) for event in range(3)]
    assert values == [{1.0, 2.0}, {0.0}, {5.0}]


def test_unknown_profile_is_named(clean):
    with pytest.raises(ConfigError, match=r"unknown noise profile 'unifrom' .*did you mean 'uniform'"):
        add_noise(clean, 3, _keys(clean), "unifrom")


# ---- all together --------------------------------------------------------------------------------------


def test_views_follow_one_event_through_all_steps(clean):
    views = degrade(clean, SETTINGS, 3, 2)
    for view in (views.full, views.thinned, views.smeared, views.noised):
        replace(view, trusted=False)
        assert view.batch_size == 40
    assert torch.equal(views.full.coords, clean.coords)
    assert torch.equal(views.smeared.counts, views.thinned.counts - views.dropped - views.dead)
    assert torch.equal(torch.bincount(views.noised.batch[views.noised.signal], minlength=40), views.smeared.counts)
    assert int(views.dropped.sum()) > 0
    assert int(views.dead.sum()) > 0
    # Every hit knows its place in the clean event, through thinning, smearing and shuffling.
    for view in (views.thinned, views.smeared, views.noised):
        signal = view.signal
        rows = clean.offsets[view.batch[signal]] + view.hit_id[signal]
        shift = view.coords[signal] - clean.coords[rows]
        assert float(shift.double().std(0).max()) < 5
    rows = clean.offsets[views.thinned.batch] + views.thinned.hit_id
    assert torch.equal(views.thinned.coords, clean.coords[rows])


def test_degradation_does_not_depend_on_the_batch(clean):
    together = degrade(clean, SETTINGS, 3, 2)
    for part in (torch.tensor([5]), torch.arange(39, -1, -1), torch.arange(0)):
        apart = degrade(clean.events(part), SETTINGS, 3, 2)
        for name in ("thinned", "smeared", "noised"):
            one, other = getattr(apart, name), getattr(together, name).events(part)
            for field in ("coords", "offsets", "signal", "origin", "hit_id"):
                assert torch.equal(getattr(one, field), getattr(other, field)), (name, field)
    assert not torch.equal(degrade(clean, SETTINGS, 3, 3).noised.coords, together.noised.coords)


def test_nothing_set_leaves_hits_as_they_are(clean):
    views = degrade(clean, DegradationSettings(), 3, 0)
    assert torch.equal(views.noised.coords, clean.coords)
    assert int(views.dropped.sum() + views.dead.sum()) == 0


@pytest.mark.parametrize("events", [0, 3])
def test_empty_events_are_degraded_too(events):
    views = degrade(HitBatch.empty(deepclean3d_geometry(), events), SETTINGS, 1, 0, torch.arange(events))
    assert (views.smeared.num_hits, views.noised.batch_size) == (0, events)


def test_keys_and_numbers_are_asked_for(clean):
    with pytest.raises(DataError, match=r"keys must be \(40,\) int64"):
        thin(clean, 3, torch.arange(39))
    with pytest.raises(DataError, match="events need numbers"):
        degrade(clean.replace(event_id=None), SETTINGS, 1, 0)


def test_schedule_takes_the_latest_entry_begun():
    early, late = DegradationSettings(noise=10), DegradationSettings(noise=200)
    data = DataSettings(schedule={2: early, 5: late}, degradation=DegradationSettings(noise=1))
    assert [settings_at(epoch, data).noise for epoch in (0, 1, 2, 4, 5, 99)] == [1, 1, 10, 10, 200, 200]
