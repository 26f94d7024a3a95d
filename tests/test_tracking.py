"""Tracks from their light: paths against brute force and against the simulator, the fit against finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from pointae.config import TorchSource
from pointae.hits import HitBatch
from pointae.nn.segments import Padding
from pointae.simulate import module as m
from pointae.simulate import simulate_events
from pointae.simulate.torch_detector import torch_truth
from pointae.tracking import fit, hough
from pointae.tracking.fit import COARSE, EXACT, FINE, MIDDLE, apart, best, explained, gauss_newton
from pointae.tracking.hough import starts
from pointae.tracking.hypotheses import CENTRE, SPREAD, from_unit, hypotheses_of, to_unit
from pointae.tracking.loops import loops_for
from pointae.tracking.paths import MEAN_INDEX, LightHits, derivatives, emission, group_index, light_hits, trace
from pointae.tracking.search import fit_weights, reorder, search

SEED, EVENTS = 5, 24
NEAR = torch.tensor([40.0, 40.0, 0.05, 0.005, 0.15])


def events(tracks: int = 1, number: int = EVENTS) -> tuple[HitBatch, torch.Tensor]:
    source, index = TorchSource(tracks=tracks), torch.arange(number)
    true = hypotheses_of(torch_truth(source, SEED, index).tracks)
    return simulate_events(source, SEED, index), true.view(number, tracks, len(SPREAD))


def padded(hits: HitBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells (B, L, 3), and weights (B, L) of 1 for signal, 0 for noise and padding."""
    padding = Padding(hits)
    return padding.pad(hits.coords), padding.pad(hits.signal.float()[:, None])[..., 0]


@pytest.fixture(scope="module")
def one_track():
    hits, true = events()
    return *padded(hits), true


def doubled(hits: LightHits) -> LightHits:
    return LightHits(*(value.double() for value in vars(hits).values()))


def test_scaling_goes_back(one_track):
    *_, true = one_track
    assert torch.allclose(from_unit(to_unit(true)), true, rtol=1e-5)
    assert to_unit(true).abs().max() < 6


def test_the_group_index_is_the_simulators():
    from pointae.oracle.tables import light_table

    table = light_table(torch.device("cpu"))
    index = table.low + table.step * torch.arange(len(table.columns))
    assert (group_index(index - MEAN_INDEX) - table.columns[:, 2]).abs().max() < 1e-3


def test_signal_has_a_path_and_noise_seldom_has(one_track):
    cells, signal, true = one_track
    paths = trace(light_hits(cells), emission(true), wide=True)
    pull = ((paths.late / 0.11).square() + (paths.excess / 0.02).square()).amin(-1)[:, 0]
    assert (pull[signal > 0] < 20).float().mean() > 0.985
    assert (pull[signal == 0] < 20).float().mean() < 0.1


def test_wide_tracing_finds_the_best_of_all_images(one_track):
    """Against the sum over every image within ten reflections, one hit and one image at a time."""
    cells, signal, true = one_track
    hits, source = doubled(light_hits(cells)), emission(true.double())
    wide = explained_by(trace(hits, source, wide=True))
    checked = 0
    for event, hit in torch.nonzero(signal)[::12].tolist():
        x, time, cosine, sine, block = (float(value[event, hit]) for value in vars(hits).values())
        at = {name: float(value[event].flatten()[0]) for name, value in vars(source).items()}
        total = 0.0
        for up, climb in ((1, m.BEVEL_BASE - at["y"]), (-1, m.BEVEL_BASE + m.PLATE_HEIGHT + at["y"])):
            along = climb / cosine + block
            for image in range(-10, 11):
                across = image * m.PLATE_WIDTH + (-1) ** image * x - at["x"]
                length = math.hypot(along, across)
                ahead = up * at["dy"] * cosine + at["dz"] * sine
                cherenkov = max((across * at["dx"] + along * ahead) / length, 0.3)
                excess = at["inverse_beta"] / cherenkov - MEAN_INDEX
                group = float(group_index(torch.tensor(excess, dtype=torch.float64)))
                late = time - at["time"] - group * length / m.SPEED_OF_LIGHT
                total += math.exp(-0.5 * (late / 0.1) ** 2 - 0.5 * (excess / 0.019) ** 2)
        if total > 1e-3:
            checked += 1
            assert float(wide[event, 0, hit]) >= 0.99 * total
    assert checked > 40


def explained_by(paths) -> torch.Tensor:
    return ((paths.late / 0.1).square() * -0.5 + (paths.excess / 0.019).square() * -0.5).exp().sum(-1)


@pytest.mark.parametrize("parameter", range(5))
def test_derivatives_are_those_of_differences(one_track, parameter):
    cells, _, true = one_track
    hits, hypotheses = doubled(light_hits(cells[:4])), true[:4].double()
    source = emission(hypotheses)
    late, index = derivatives(trace(hits, source, wide=True), hits, source)
    step = torch.zeros(5, dtype=torch.float64)
    step[parameter] = 1e-6 * SPREAD[parameter]
    ahead, behind = (trace(hits, emission(hypotheses + sign * step), wide=True) for sign in (1, -1))
    for name, slopes in (("late", late), ("excess", index)):
        difference = (getattr(ahead, name) - getattr(behind, name)) / (2 * float(step[parameter]))
        # The slope across the plate follows y, which the derivatives leave out where it is small; images may flip.
        scale = slopes[..., parameter].abs().median() + 1e-12
        assert ((difference - slopes[..., parameter]).abs() / scale).median() < 2e-3


def test_a_step_raises_the_support_and_comes_nearer(one_track):
    cells, signal, true = one_track
    hits = light_hits(cells)
    torch.manual_seed(0)
    begun = true + torch.randn(true.shape) * NEAR / 4
    moved = begun
    for _ in range(5):
        moved = gauss_newton(hits, signal, moved, FINE)

    def support(hypotheses):
        return (explained(hits, hypotheses, FINE).log1p() * signal[:, None]).sum(-1)[:, 0]

    assert (support(moved) > support(begun) - 0.5).float().mean() > 0.95
    assert support(moved).mean() > support(true).mean() - 1


def test_hits_without_weight_do_not_matter(one_track):
    cells, signal, true = one_track
    hits = light_hits(cells)
    other = light_hits(torch.where(signal[..., None] > 0, cells, torch.zeros_like(cells)))
    for found, again in ((gauss_newton(hits, signal, true, COARSE), gauss_newton(other, signal, true, COARSE)),):
        assert torch.allclose(found, again, rtol=1e-4, atol=1e-4)


def test_best_and_apart_by_brute_force(one_track):
    cells, signal, true = one_track
    hits = light_hits(cells)
    pool = torch.cat([true.roll(shift, 0) for shift in range(6)], 1)  # others' tracks beside the own
    odds = explained(hits, pool, EXACT)
    support = (odds.log1p() * signal[:, None]).sum(-1)
    lit = support.amax(1) > 0  # few tracks leave no light at all
    most = pool[torch.arange(EVENTS), support.argmax(1)]
    assert torch.equal(best(hits, signal, pool, EXACT, 1)[lit, 0], most[lit])
    chosen, gains = apart(hits, signal, pool, EXACT, 3)
    for event in lit.nonzero()[:, 0].tolist():
        taken = torch.zeros(cells.shape[1])
        for rank in range(3):
            gain = ((((1 + taken + odds[event]) / (1 + taken)).log()) * signal[event]).sum(-1)
            assert torch.equal(chosen[event, rank], pool[event, gain.argmax()])
            assert float(gains[event, rank]) == pytest.approx(float(gain.max()), rel=1e-4)
            taken = taken + odds[event, gain.argmax()]


def test_votes_point_to_where_the_track_was(one_track):
    cells, signal, true = one_track
    likely, weights = reorder(light_hits(cells), signal)
    found = starts(likely.columns(32), weights[:, :32], true, 16)
    near = ((found - true)[..., [0, 2]] / torch.tensor([60.0, 0.08])).square().sum(-1).amin(1) < 2
    assert near.float().mean() > 0.85


def found_share(tracks: int, spread: float, number: int = 16) -> tuple[float, torch.Tensor]:
    """Share of tracks whose hits are explained, searching with the signal known and guesses about the truth."""
    hits, true = events(tracks, number)
    cells, signal = padded(hits)
    torch.manual_seed(1)
    guesses = true.repeat(1, 16 // tracks + 1, 1)
    guesses = guesses + torch.randn(guesses.shape) * torch.tensor(SPREAD) * spread
    likely, weights = reorder(light_hits(cells), torch.where(signal > 0, 0.9, 0.05))
    fitted, gains = search(likely, weights, guesses, 6)
    track_of_hit = Padding(hits).pad(hits.track.float()[:, None] + 1)[..., 0] - 1
    every = light_hits(cells)
    ours, truth = (explained(every, hypotheses, EXACT).log1p() for hypotheses in (fitted, true))
    shares = []
    for track in range(tracks):
        of_track = (track_of_hit == track).float()
        wanted = (truth[:, track] * of_track).sum(-1)
        shares.append(((ours * of_track[:, None]).sum(-1).amax(1) > 0.85 * wanted).float())
    return float(torch.stack(shares).mean()), gains


def test_a_track_is_found():
    share, gains = found_share(tracks=1, spread=0.05)
    assert share > 0.9
    assert (gains[:, :-1] >= gains[:, 1:] - 1e-3).all()


def test_three_tracks_are_found():
    assert found_share(tracks=3, spread=0.05)[0] > 0.6


def test_an_event_is_searched_as_if_it_were_alone(one_track):
    cells, signal, true = one_track
    weights = fit_weights(torch.where(signal > 0, 3.0, -3.0))
    likely, ordered = reorder(light_hits(cells), weights)
    guesses = true.repeat(1, 8, 1) + torch.linspace(-0.1, 0.1, 8)[:, None] * torch.tensor(SPREAD)
    together, _ = search(likely.events(slice(0, 6)), ordered[:6], guesses[:6], 2)
    alone = torch.cat(
        [search(likely.events(slice(i, i + 1)), ordered[i : i + 1], guesses[i : i + 1], 2)[0] for i in range(6)]
    )
    near = (to_unit(together) - to_unit(alone)).abs().amax((1, 2)) < 1e-3
    assert near.float().mean() > 0.8  # rounding may tip a tie


def test_the_prior_is_where_tracks_are():
    _, true = events(number=200)
    offset = (true[:, 0] - torch.tensor(CENTRE)) / torch.tensor(SPREAD)
    assert offset.mean(0).abs().max() < 1.0
    assert offset.std(0).max() < 2.0


@pytest.mark.skipif(loops_for(torch.zeros(1)) is None, reason="needs numba")
class TestCompiledLoops:
    """They do what torch does."""

    @pytest.fixture
    def torch_alone(self, monkeypatch):
        def switch():
            for module in (fit, hough):
                monkeypatch.setattr(module, "loops_for", lambda values: None)

        return switch

    @pytest.fixture(scope="class")
    def likely(self, one_track):
        cells, signal, true = one_track
        hits, weights = reorder(light_hits(cells), torch.where(signal > 0, 0.9, 0.1))
        torch.manual_seed(2)
        near = true + torch.randn(EVENTS, 12, len(SPREAD)) * NEAR
        far = true + torch.randn(EVENTS, 12, len(SPREAD)) * torch.tensor(SPREAD)
        return hits, weights, torch.cat([true, near, far], 1)

    @pytest.mark.parametrize("scale", [COARSE, MIDDLE, FINE, EXACT], ids=["coarse", "middle", "fine", "exact"])
    def test_what_light_explains_and_steps(self, likely, scale, torch_alone):
        hits, weights, pool = likely
        done = [explained(hits, pool, scale), *(gauss_newton(hits, weights, pool, scale, way) for way in (False, True))]
        torch_alone()
        light, alone, together = (
            explained(hits, pool, scale),
            *(gauss_newton(hits, weights, pool, scale, way) for way in (False, True)),
        )
        # Rounding may choose another mirror image, which is as far: seldom.
        assert ((done[0] - light).abs() > 1e-3 * (1 + light)).float().mean() < 1e-3
        for moved, wanted in zip(done[1:], (alone, together), strict=True):
            assert ((to_unit(moved) - to_unit(wanted)).abs().amax(-1) > 1e-3).float().mean() < 0.01

    def test_the_choice_of_tracks(self, likely, torch_alone):
        hits, weights, pool = likely
        chosen, gains = apart(hits, weights, pool, EXACT, 5)
        torch_alone()
        wanted, added = apart(hits, weights, pool, EXACT, 5)
        assert torch.allclose(gains, added, rtol=1e-3, atol=1e-3)
        clear = (added > 0.1).all(1)
        assert clear.sum() > EVENTS / 2
        assert (chosen == wanted).all(-1)[clear].float().mean() > 0.98

    def test_votes(self, likely, torch_alone):
        hits, weights, pool = likely
        counted = hough.votes(hits, weights, pool)
        torch_alone()
        wanted = hough.votes(hits, weights, pool)
        assert counted.sum().item() == pytest.approx(wanted.sum().item(), rel=1e-3)
        assert ((counted - wanted).abs() > 1e-2).float().mean() < 1e-3  # a hit may fall on the other side of an edge

    def test_no_hits_and_no_events(self):
        none = light_hits(torch.zeros(2, 0, 3, dtype=torch.int32))
        pool = from_unit(torch.zeros(2, 3, len(SPREAD)))
        weights = torch.zeros(2, 0)
        assert explained(none, pool, EXACT).shape == (2, 3, 0)
        assert torch.isfinite(gauss_newton(none, weights, pool, EXACT)).all()
        assert apart(none, weights, pool, EXACT, 2)[1].eq(0).all()
        assert hough.votes(none, weights, pool).eq(0).all()
        nobody = light_hits(torch.zeros(0, 4, 3, dtype=torch.int32))
        assert gauss_newton(nobody, torch.zeros(0, 4), pool[:0], EXACT).shape == (0, 3, len(SPREAD))
