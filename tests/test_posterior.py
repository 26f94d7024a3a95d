"""What is expected of the light: against the oracle's closed form, and averages over the posterior by plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from pointae.config import TorchSource
from pointae.geometry import torch_geometry
from pointae.nn.segments import Padding
from pointae.oracle.closed_form import expected_counts
from pointae.simulate import simulate_events
from pointae.simulate.torch_detector import torch_truth
from pointae.tracking import density, fit
from pointae.tracking import posterior as module
from pointae.tracking.density import expected_light, time_width
from pointae.tracking.fit import EXACT, PRIOR_SPREAD, curvature, gauss_newton
from pointae.tracking.hypotheses import CENTRE, SPREAD, hypotheses_of, physical
from pointae.tracking.loops import loops_for
from pointae.tracking.paths import derivatives, emission, light_hits, trace
from pointae.tracking.posterior import posterior

SEED, EVENTS, NOISE = 11, 40, 200.0
SOURCE = TorchSource(tracks=1, noise=int(NOISE))


@pytest.fixture(scope="module")
def tracked():
    """Light, presence (B, L), signal (B, L), true hypotheses (B, 1, 5)."""
    index = torch.arange(EVENTS)
    hits = simulate_events(SOURCE, SEED, index)
    padding = Padding(hits)
    present, signal = (padding.pad(of[:, None])[..., 0] for of in (torch.ones(hits.num_hits), hits.signal.float()))
    true = hypotheses_of(torch_truth(SOURCE, SEED, index).tracks)[:, None]
    return light_hits(padding.pad(hits.coords)), present, signal, true


def width(hypotheses: torch.Tensor, resolution: float = 0.07) -> torch.Tensor:
    return time_width(torch.full_like(hypotheses[..., 0], resolution))


def test_the_light_is_that_of_the_oracle(tracked):
    """Which takes 2 x 2 parts of each pixel and all reflections: equal but for the pixel's size."""
    light, _, _, true = tracked
    index = torch.arange(EVENTS)
    hits, truth = simulate_events(SOURCE, SEED, index), torch_truth(SOURCE, SEED, index)
    expected = expected_counts(truth.tracks, truth.sigma_t, hits.batch, hits.coords)
    ours = Padding(hits).unpad(expected_light(light, true, width(true)).transpose(1, 2))[:, 0]
    noise = NOISE / torch_geometry().num_cells
    clear = hits.signal & (expected > noise)
    assert clear.sum() > 20 * EVENTS
    ratio = (ours[clear] / expected[clear]).log()
    assert float(ratio.median().abs()) < 0.03
    assert float((ratio.abs() > 0.5).float().mean()) < 0.06
    assert float((ours[clear] < 0.1 * noise).float().mean()) < 0.006
    assert float(ours[~hits.signal].sum()) == pytest.approx(float(expected[~hits.signal].sum()), rel=0.2)


def test_padding_and_no_hits():
    true = hypotheses_of(torch_truth(SOURCE, SEED, torch.arange(2)).tracks)[:, None]
    none = light_hits(torch.zeros(2, 0, 3, dtype=torch.int32))
    assert expected_light(none, true, width(true)).shape == (2, 1, 0)
    empty = posterior(none, torch.zeros(2, 0), torch.zeros(2), true, 4)
    assert torch.isfinite(empty.spread).all()
    assert empty.evidence.eq(0).all()


def test_curvature_is_the_sum_over_hits_and_paths(tracked):
    """By plain loops over the two paths of each hit that fit best."""
    light, present, _, true = tracked
    hits, at = light.events(slice(0, 1)), true[:1]
    source = emission(at)
    paths = trace(hits, source, wide=True)
    late, index = derivatives(paths, hits, source)
    shares = fit.odds(paths, EXACT)
    matrix = torch.eye(5, dtype=torch.float64)
    for hit in range(present.shape[1]):
        of_hit = shares[0, 0, hit]
        for way in of_hit.topk(2).indices.tolist():
            share = float(of_hit[way] / (1 + of_hit.sum()))
            for slope, scale in ((late, EXACT.time), (index, EXACT.index)):
                scaled = (slope[0, 0, hit, way] * torch.tensor(PRIOR_SPREAD) / scale).double()
                matrix = matrix + share * torch.outer(scaled, scaled)
    found = curvature(hits, present[:1], at, EXACT)[0, 0]
    assert torch.allclose(found, matrix, rtol=1e-3, atol=1e-3 * float(matrix.max()))


def test_the_posterior_by_plain_loops(tracked):
    """Two tracks, an event and a track at a time, hit by hit."""
    light, present, _, true = tracked
    hypotheses = torch.cat([true, true.roll(1, 0)], 1)[:2]
    number, prior, centre = 6, torch.tensor(PRIOR_SPREAD).double(), torch.tensor(CENTRE).double()
    found = posterior(light.events(slice(0, 2)), present[:2], torch.full((2,), NOISE), hypotheses, number)
    normal, resolution = (values.double() for values in module._draws(number))
    for event in range(2):
        hits, here = light.events(slice(event, event + 1)), present[event]

        def odds(at, ns, hits=hits):
            one = at.float()[None, None]
            return expected_light(hits, one, width(one, ns))[0, 0].double() * torch_geometry().num_cells / NOISE

        matrices = torch.linalg.inv(curvature(hits, here[None], hypotheses[event : event + 1], module._SHARP)[0])
        middles = list(hypotheses[event].double())
        roots = [module._WIDENED * torch.linalg.cholesky(matrix) for matrix in matrices]
        known = [odds(middle, 0.07) for middle in middles]
        for _ in range(module._ROUNDS):
            before, known, evidence, spread = known, list(known), [], []
            for track in range(2):
                drawn = [physical(middles[track] + prior * (roots[track] @ normal[s])) for s in range(number)]
                lights = [odds(at, float(ns)) for at, ns in zip(drawn, resolution, strict=True)]
                likelihoods = []
                for lit in lights:
                    total = 0.0
                    for hit in range(len(here)):
                        others = 1 + (float(before[0][hit]) if track == 1 else 0.0)
                        total += math.log(1 + float(lit[hit]) / others) * float(here[hit])
                    likelihoods.append(total)
                pulls = [
                    (((at - centre) / prior).square().sum() - normal[s].square().sum()) / 2
                    for s, at in enumerate(drawn)
                ]
                share = (torch.tensor(likelihoods) - torch.stack(pulls)).softmax(0)
                middles[track] = sum(part * at for part, at in zip(share, drawn, strict=True))
                known[track] = sum(part * lit for part, lit in zip(share, lights, strict=True))
                off = [(at - middles[track]) / prior for at in drawn]
                scatter = sum(part * torch.outer(d, d) for part, d in zip(share, off, strict=True))
                wider = scatter * module._WIDENED_AGAIN**2 + matrices[track] * module._LEAST_SHARE
                roots[track] = torch.linalg.cholesky(wider)
                evidence.append(float((share * torch.tensor(likelihoods)).sum()))
                spread.append(scatter.diagonal().sqrt())
        for track in range(2):
            assert torch.allclose(found.light[event, track].double(), known[track], rtol=0.05, atol=0.05)
            assert torch.allclose(found.spread[event, track].double(), spread[track], rtol=0.05, atol=1e-3)
            assert float(found.evidence[event, track]) == pytest.approx(evidence[track], rel=0.01, abs=0.05)


def test_true_tracks_have_evidence_and_others_have_not(tracked):
    light, present, _, true = tracked
    fitted = torch.cat([true, true, true.roll(1, 0)], 1)
    own, again, other = posterior(light, present, torch.full((EVENTS,), NOISE), fitted, 16).evidence.unbind(1)
    assert float(own.median()) > 50
    assert float(again.median()) < 25
    assert float(other.median()) < 15


def test_the_truth_lies_within_the_spread(tracked):
    """Fitted to the signal alone, from the truth: pulls of order one, so the covariance is right."""
    light, present, signal, true = tracked
    fitted = true
    for _ in range(40):
        fitted = gauss_newton(light, signal, fitted, EXACT)
    spread = posterior(light, present, torch.full((EVENTS,), NOISE), fitted, 128).spread[:, 0]
    spread = spread * torch.tensor(PRIOR_SPREAD)
    lit = signal.sum(1) > 20
    pulls = ((fitted - true)[:, 0] / spread.clamp(min=1e-9))[lit]
    typical = pulls.abs().median(0).values / 0.6745
    assert (typical > 0.4).all()
    assert (typical < 2.5).all()


def test_averaging_tells_light_from_noise_better(tracked):
    """Hypotheses somewhat off: of the signal less is lost by averages than at the fit itself."""
    light, present, signal, true = tracked
    torch.manual_seed(3)
    covariance = torch.linalg.inv(curvature(light, present, true, EXACT))
    steps = (torch.linalg.cholesky(covariance) @ torch.randn(EVENTS, 1, 5, 1).double())[..., 0]
    off = true + steps.float() * torch.tensor(PRIOR_SPREAD)
    scale = torch_geometry().num_cells / NOISE
    alone = expected_light(light, off, width(off))[:, 0] * scale
    averaged = posterior(light, present, torch.full((EVENTS,), NOISE), off, 64).light[:, 0]
    lost = [float((of[signal > 0] < 0.1).float().mean()) for of in (alone, averaged)]
    assert lost[1] < 0.6 * lost[0]


@pytest.mark.skipif(loops_for(torch.zeros(1)) is None, reason="needs numba")
class TestCompiledLoops:
    """They do what torch does."""

    @pytest.fixture
    def pool(self, tracked):
        *_, true = tracked
        torch.manual_seed(2)
        far = true + torch.randn(EVENTS, 6, 5) * torch.tensor(SPREAD)
        return torch.cat([true, far], 1)

    def test_expected_light(self, tracked, pool, monkeypatch):
        light, *_ = tracked
        done = expected_light(light, pool, width(pool))
        monkeypatch.setattr(density, "loops_for", lambda values: None)
        wanted = expected_light(light, pool, width(pool))
        assert done.shape == wanted.shape
        assert wanted.gt(0).any()
        # Rounding may take the next entry of the light's table, or fall on the other side of a bound: seldom.
        assert ((done - wanted).abs() > 1e-3 * wanted.abs() + 1e-9).float().mean() < 1e-3

    def test_curvature(self, tracked, pool, monkeypatch):
        light, present, *_ = tracked
        done = curvature(light, present, pool, EXACT)
        monkeypatch.setattr(fit, "loops_for", lambda values: None)
        wanted = curvature(light, present, pool, EXACT)
        scale = wanted.diagonal(dim1=-2, dim2=-1).amax(-1)[..., None, None]
        assert ((done - wanted).abs() / scale > 1e-3).float().mean() < 0.01
