"""The network that judges hits by fitted tracks: what it promises of its finder, its shapes and its events."""

from __future__ import annotations

import pytest
import torch

from pointae.config import (
    AttentionSettings,
    Config,
    ModelSettings,
    PerceiverSettings,
    PointNetSettings,
    TorchSource,
    TrackFitSettings,
    TrainSettings,
)
from pointae.data.events import Batch
from pointae.errors import CheckpointError, ConfigError, UsageError
from pointae.geometry import geometry_to_dict, timepix3_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.segments import Padding
from pointae.nn.track_mixture import TrackMixture, track_loss
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.simulate.torch_detector import torch_truth
from pointae.tracking.fit import EXACT, explained
from pointae.tracking.hypotheses import from_unit, hypotheses_of, to_unit
from pointae.training.objective import make_loss
from pointae.training.session import start_parts
from pointae.weights import save_weights

FINDERS = [
    AttentionSettings(channels=16, layers=1, heads=2, proposals=3),
    PerceiverSettings(channels=16, rounds=2, tokens=4, token_channels=8, proposals=3),
]
by_name = pytest.mark.parametrize("settings", FINDERS, ids=lambda settings: settings.name)


def model_with(settings: AttentionSettings | PerceiverSettings) -> ModelSettings:
    finder = ModelSettings(encoder=settings)
    return ModelSettings(encoder=TrackFitSettings(finder=finder, tracks=2, guesses=4, passes=2, channels=16))


@pytest.fixture(params=FINDERS, ids=lambda settings: settings.name)
def model(request) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(model_with(request.param), torch_geometry()).eval()


def events(number: int = 5, **settings: object) -> HitBatch:
    return simulate_events(TorchSource(**{"noise": 60, **settings}), 3, torch.arange(number))


def logits(model: Autoencoder, hits: HitBatch) -> torch.Tensor:
    with torch.no_grad():
        return model(hits).output.hit_logits(hits)


def test_only_what_is_not_the_finder_learns(model):
    hits = events(2)
    model.train()
    assert not model.encoder.finder.training
    before = {name: value.clone() for name, value in model.encoder.finder.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    first = None
    for _ in range(5):
        prediction = model(hits)
        all_of_them = torch.cat([prediction.output.logits[:, None], prediction.judged], 1)
        signal = hits.signal.float()[:, None].expand_as(all_of_them)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(all_of_them, signal)
        first = first or float(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < first
    after = model.encoder.finder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    learning = [name for name, value in model.named_parameters() if value.requires_grad]
    assert all(dict(model.named_parameters())[name].grad is not None for name in learning)


def test_the_objective_has_the_encoders_own_judgement(model):
    hits = events(2)
    prediction = model.train()(hits)
    part = make_loss(TrainSettings(), validation=False).parts(prediction, Batch(hits, hits))["judged"]
    signal = hits.signal.float()[:, None]
    scores = prediction.judged.sigmoid()
    assert scores.shape == (hits.num_hits, 2)  # of each pass
    wanted = -(signal * scores.log() + (1 - signal) * (1 - scores).log()).mean()
    assert torch.allclose(part.raw, wanted, atol=1e-5)


def test_a_second_pass_fits_with_better_scores_and_new_guesses(model, monkeypatch):
    hits = events(3)
    encoder = model.encoder
    passes = []

    def fit(light, padding, scores, guesses, known, draws):
        passes.append((light, scores, guesses, known, original(light, padding, scores, guesses, known, draws)))
        return passes[-1][-1]

    original = encoder._fit
    monkeypatch.setattr(encoder, "_fit", fit)
    with torch.no_grad():
        twice = encoder(hits)
        found, scores = encoder._find(hits)
        (light, first_scores, first_guesses, nothing, first), (_, second_scores, second_guesses, known, second) = passes
        # The features that the reader sees stay the finder's, its score among them.
        features = torch.cat([found.hit_features, scores[:, None]], 1)
        padding = Padding(hits)
        h = encoder.norm(padding.unpad(encoder.reader(padding.pad(features), *second[1:])))
        expected, guesses = twice.judged[:, 0].clone(), []
        for strongest in (1, 2):
            odds = padding.unpad(explained(light, first[0], EXACT)[:, :strongest].sum(1)[..., None])[:, 0]
            beside, again = encoder._find(hits.select(odds < 1))
            expected[odds < 1] = expected[odds < 1].maximum(again)
            guesses.append(from_unit(beside.tracks.sample(encoder.guesses // 2).float()))
    assert torch.allclose(first_scores, scores)
    assert nothing is None
    assert torch.equal(first_guesses, from_unit(found.tracks.sample(encoder.guesses).float()))
    assert torch.equal(known, first[0])
    assert torch.allclose(second_scores, expected)
    assert not torch.allclose(second_scores, twice.judged[:, 0])
    assert torch.allclose(second_guesses, torch.stack(guesses, 2).flatten(1, 2))
    assert torch.allclose(twice.hit_features, h, atol=1e-4)
    assert torch.allclose(twice.judged[:, 1], encoder.judge(h)[:, 0], atol=1e-4)


def test_the_order_of_hits_does_not_matter(model):
    hits = events(3)
    order = torch.cat([hits.offsets[b] + torch.randperm(int(hits.counts[b])) for b in range(3)])
    assert torch.allclose(logits(model, hits)[order], logits(model, hits.reordered(order)), atol=1e-3)


def test_an_event_among_others_is_as_alone(model):
    hits = events(4, noise=(20, 120))
    alone = torch.cat([logits(model, hits.events([b])) for b in range(4)])
    assert torch.allclose(logits(model, hits), alone, atol=1e-3)


def test_events_without_hits(model):
    hits = events(3)
    none = hits.select(torch.zeros(hits.num_hits, dtype=torch.bool))
    assert logits(model, none).shape == (0,)
    gap = hits.select(hits.batch != 1)
    assert torch.isfinite(logits(model, gap)).all()
    assert torch.allclose(
        logits(model, gap)[hits.batch[hits.batch != 1] == 0], logits(model, hits.events([0])), atol=1e-3
    )


def test_events_that_no_track_makes(model):
    """One hit, all in one cell, a column, a line in time, the first and the last bin: nothing that is not finite."""
    events_of = [
        [[3, 4, 5]],
        [[40, 60, 500]] * 50,
        [[10, row, 300] for row in range(128)],
        [[number % 88, number % 128, 3 * number] for number in range(300)],
        [[column, 10, 0] for column in range(80)],
        [[column, 10, 999] for column in range(80)],
    ]
    coords = torch.tensor([cell for event in events_of for cell in event], dtype=torch.int32)
    offsets = torch.tensor([0, *map(len, events_of)]).cumsum(0)
    assert torch.isfinite(logits(model, HitBatch(torch_geometry(), coords, offsets))).all()


def test_what_it_is_not_for():
    with pytest.raises(UsageError, match="TORCH grid only"):
        Autoencoder(model_with(FINDERS[0]), timepix3_geometry())
    without = ModelSettings(encoder=TrackFitSettings(finder=ModelSettings(encoder=PointNetSettings())))
    with pytest.raises(UsageError, match="must guess tracks"):
        Autoencoder(without, torch_geometry())


def test_parts_start_as_trained(tmp_path):
    model = Autoencoder(model_with(FINDERS[0]), torch_geometry())
    torch.manual_seed(9)
    finder = Autoencoder(ModelSettings(encoder=FINDERS[0]), torch_geometry())
    run = RunDirectory.create(tmp_path, "finder")
    run.write_config("name: finder\nmodel:\n  encoder: {name: attention}\n")
    run.update_record(geometry=geometry_to_dict(torch_geometry()))
    save_weights(finder, run.weights_path("best"), {})
    start_parts(model, {"encoder.finder": str(run.path)})
    wanted = finder.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.encoder.finder.state_dict().items())
    with pytest.raises(ConfigError, match="no part"):
        start_parts(model, {"encoder.seeker": str(run.path)})
    with pytest.raises(CheckpointError, match="does not fit"):
        start_parts(model, {"decoder": str(run.path)})
    assert Config().train.start == {}


def test_a_whole_model_starts_as_trained_but_for_what_is_new(tmp_path):
    plain = Autoencoder(ModelSettings(encoder=PerceiverSettings()), torch_geometry())
    run = RunDirectory.create(tmp_path, "plain")
    run.write_config("name: plain\n")
    run.update_record(geometry=geometry_to_dict(torch_geometry()))
    save_weights(plain, run.weights_path("best"), {})
    torch.manual_seed(9)
    guesses = Autoencoder(ModelSettings(encoder=PerceiverSettings(proposals=4)), torch_geometry())
    before = {name: value.clone() for name, value in guesses.state_dict().items()}
    start_parts(guesses, {"model": str(run.path)})
    trained = plain.state_dict()
    assert any(not torch.equal(trained[name], before[name]) for name in trained)
    for name, value in guesses.state_dict().items():
        assert torch.equal(value, trained.get(name, before[name])), name
    save_weights(guesses, run.weights_path("best"), {})
    with pytest.raises(CheckpointError, match="to_tracks"):  # the other way round: nothing trained is left out
        start_parts(plain, {"model": str(run.path)})


@by_name
def test_guesses_are_of_the_event_alone_and_learn(settings):
    torch.manual_seed(2)
    finder = Autoencoder(ModelSettings(encoder=settings), torch_geometry()).double().eval()
    hits = events(6, noise=(0, 900))
    with torch.no_grad():
        together = finder(hits).tracks
        alone = [finder(hits.events([b])).tracks for b in range(6)]
    assert together.mean.shape == (6, 3, 5)
    for name in ("log_weights", "mean", "root"):
        parts = torch.cat([getattr(part, name) for part in alone])
        assert torch.allclose(getattr(together, name), parts, rtol=1e-6, atol=1e-8)
    true = to_unit(hypotheses_of(torch_truth(TorchSource(noise=(0, 900)), 3, torch.arange(6)).tracks)).double()
    optimiser = torch.optim.AdamW(finder.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = track_loss(finder(hits).tracks, torch.arange(6), true)
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 1


def mixture() -> TrackMixture:
    torch.manual_seed(4)
    root = torch.randn(2, 3, 5, 5).tril() * 0.3 + torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.5, 2.5]))
    return TrackMixture(torch.randn(2, 3).log_softmax(-1), torch.randn(2, 3, 5), root)


def test_the_density_is_that_of_normal_distributions():
    guess = mixture()
    unit = torch.randn(4, 5)
    event = torch.tensor([0, 1, 1, 0])
    covariance = torch.linalg.inv(guess.root.transpose(-1, -2) @ guess.root)
    for row, where in enumerate(event.tolist()):
        parts = [
            guess.log_weights[where, k]
            + torch.distributions.MultivariateNormal(guess.mean[where, k], covariance[where, k]).log_prob(unit[row])
            for k in range(3)
        ]
        expected = -torch.logsumexp(torch.stack(parts), 0)
        assert float(guess.negative_log_density(event, unit)[row]) == pytest.approx(float(expected), rel=1e-3)
    assert float(track_loss(guess, event[:0], unit[:0])) == 0


def test_draws_have_the_moments_of_the_mixture():
    guess = mixture()
    drawn = guess.sample(20_000)
    mean = (guess.log_weights.exp()[..., None] * guess.mean).sum(1)
    assert torch.allclose(drawn.mean(1), mean, atol=0.03)
    assert torch.equal(drawn, guess.sample(20_000))
