"""Every encoder with its decoders: invariances, hard events, gradients, and one step of training."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from events import random_hits, shuffled_inside
from torch import Tensor

from pointae import config
from pointae.config import LatentSettings, LossSettings, ModelSettings
from pointae.errors import ConfigError, DataError
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.losses import build_loss
from pointae.nn.autoencoder import DECODERS, ENCODERS, Autoencoder
from pointae.nn.embedding import MAX_TABLE, HitEmbedding, summed_rows
from pointae.nn.segments import Padding, segment_max, segment_mean, similar_sizes
from pointae.optional import is_installed

STRIDES = [(8, 8, 64), (16, 16, 128)]
ENCODER = {
    "pointnet": config.PointNetSettings(channels=8, rounds=2),
    "attention": config.AttentionSettings(channels=8, layers=2, heads=2),
    "perceiver": config.PerceiverSettings(channels=8, rounds=2, tokens=4, token_channels=8),
    "edgeconv": config.EdgeConvSettings(channels=8, neighbours=4),
    "sparse_torch": config.SparseSettings(channels=8, strides=STRIDES, engine="torch"),
    "sparse_spconv": config.SparseSettings(channels=8, strides=STRIDES, engine="spconv"),
    "dense2d": config.Dense2dSettings(channels=(2, 3, 4), hidden=16),
    "dense3d": config.Dense3dSettings(channels=4, stride=(16, 16, 125)),
}
DECODER = {
    "per_hit": config.PerHitSettings(hidden=8),
    "point_set": config.PointSetSettings(slots=6, hidden=8),
    "dense": config.DenseSettings(stride=(22, 32, 125), channels=4),
    "image": config.ImageSettings(channels=(4, 3, 2), hidden=16),
}
LOSS = {
    "per_hit": LossSettings(name="bce"),
    "point_set": LossSettings(name="set"),
    "dense": LossSettings(name="bce", options={"balance": True}),
    "image": LossSettings(name="acb_mse"),
}
CODE_ONLY = [e for e in ENCODER if e == "pointnet" or e.startswith("sparse")]
NATURAL = [
    *((encoder, "per_hit") for encoder in ENCODER),
    *product(CODE_ONLY, ["point_set", "dense"]),
    ("dense2d", "image"),
]
OTHER = [pair for pair in product(ENCODER, DECODER) if pair not in NATURAL]
NO_SPCONV = pytest.mark.skipif(not is_installed("spconv"), reason="spconv is not installed")


def pairs(chosen: list[tuple[str, str]]) -> pytest.MarkDecorator:
    rows = [pytest.param(*pair, marks=NO_SPCONV if "spconv" in pair[0] else ()) for pair in chosen]
    return pytest.mark.parametrize(("encoder", "decoder"), rows)


natural = pairs(NATURAL)
precise = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])


def network(encoder="pointnet", decoder="per_hit", dtype=torch.float32, latent="plain", features=0) -> Autoencoder:
    torch.manual_seed(0)
    settings = ModelSettings(
        encoder=ENCODER[encoder], latent=LatentSettings(name=latent, size=5), decoder=DECODER[decoder]
    )
    return Autoencoder(settings, torch_geometry(), features).to(dtype)


def logits_of(model: Autoencoder, hits: HitBatch) -> Tensor:
    with torch.no_grad():
        return model(hits).output.hit_logits(hits)


def loss_of(model: Autoencoder, hits: HitBatch, decoder: str) -> Tensor:
    return build_loss(LOSS[decoder])(model(hits).output, hits, hits.select(hits.signal))


def assert_close(found: Tensor, expected: Tensor, tolerance: float, largest: Tensor | None = None) -> None:
    """Within ``tolerance`` in float64, of the largest logit in float32."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    scale = 1.0 if found.dtype == torch.float64 else float((expected if largest is None else largest).abs().max())
    if found.numel():
        assert float((found - expected).abs().max()) <= tolerance * scale


def modes_of(encoder: str, decoder: str) -> list[bool]:
    """Batch normalisation feels its batch in training: there, events are alone in evaluation only."""
    return [False] if "dense2d" in encoder or decoder == "image" else [False, True]


BATCH_OF_64 = random_hits([0, 40, 1, 17, 0, 63, 5, 30] * 8, seed=3, features=2)


@natural
@precise
def test_an_event_alone_equals_the_event_in_a_batch_of_64(encoder, decoder, dtype, tolerance):
    model = network(encoder, decoder, dtype, features=2)
    model.train()(BATCH_OF_64.events(slice(0, 8)))  # batch normalisation: statistics that are not 0 and 1
    for train in modes_of(encoder, decoder):
        model.train(train)
        whole = logits_of(model, BATCH_OF_64)
        assert whole.shape == (BATCH_OF_64.num_hits,)
        for event in (0, 1, 2, 29, 63):
            rows = slice(int(BATCH_OF_64.offsets[event]), int(BATCH_OF_64.offsets[event + 1]))
            assert_close(logits_of(model, BATCH_OF_64.events([event])), whole[rows], tolerance, largest=whole)


@natural
@precise
def test_permuting_hits_permutes_logits_and_an_empty_neighbour_changes_nothing(encoder, decoder, dtype, tolerance):
    model = network(encoder, decoder, dtype, features=2).eval()
    hits = BATCH_OF_64.events([1, 3, 5])
    expected = logits_of(model, hits)
    rows = shuffled_inside(hits)
    assert not torch.equal(rows, torch.arange(hits.num_hits))
    assert_close(logits_of(model, hits.reordered(rows)), expected[rows], tolerance)
    beside_empty = BATCH_OF_64.events([0, 1, 4, 3, 5, 8])
    assert beside_empty.counts.tolist() == [0, 40, 0, 17, 63, 0]
    assert_close(logits_of(model, beside_empty), expected, tolerance)


ONE_CELL = HitBatch(
    torch_geometry(),
    torch.tensor([[87, 127, 999]] * 12, dtype=torch.int32),
    torch.tensor([0, 12]),
    signal=torch.arange(12) < 4,
)
HARD = {
    "no events": random_hits([]),
    "an empty event": random_hits([0]),
    "empty events": random_hits([0, 0, 0]),
    "one hit": random_hits([1]),
    "one hit among empty events": random_hits([0, 1, 0]),
    "all hits in one cell": ONE_CELL,
    "no signal": random_hits([9, 4]).replace(signal=torch.zeros(13, dtype=torch.bool)),
    "all signal": random_hits([9, 4]).replace(signal=torch.ones(13, dtype=torch.bool)),
}


@natural
def test_hard_events_pass_forward_and_backward(encoder, decoder):
    model = network(encoder, decoder).train()
    for name, hits in HARD.items():
        model.zero_grad()
        prediction = model(hits)
        assert prediction.latent.z.shape == (hits.batch_size, 5), name
        logits = prediction.output.hit_logits(hits)
        assert logits.shape == (hits.num_hits,), name
        assert torch.isfinite(logits).all(), name
        loss = loss_of(model, hits, decoder)
        assert torch.isfinite(loss), name
        loss.backward()
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters()), name


@natural
def test_every_parameter_learns_and_the_loss_falls(encoder, decoder):
    model = network(encoder, decoder, features=2).train()
    hits = BATCH_OF_64.events(slice(0, 8))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = loss_of(model, hits, decoder)
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert bool(parameter.grad.any()), name
        optimiser.step()
    assert losses[-1] < losses[0], losses


@pairs(OTHER)
def test_any_encoder_takes_one_step_with_any_decoder(encoder, decoder):
    model = network(encoder, decoder).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    hits = random_hits([12, 0, 7])
    loss_of(model, hits, decoder).backward()
    optimiser.step()
    assert torch.isfinite(loss_of(model, hits, decoder))


def test_the_pairs_are_all_there_are():
    others = {"track_fit", "category_grid", "autoregressive"}  # have their own tests
    assert {settings.name for settings in ENCODER.values()} == set(ENCODERS) - others
    assert {settings.name for settings in DECODER.values()} == set(DECODERS) - others


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_variational_code_is_its_mean_in_evaluation_and_a_reproducible_draw_in_training(dtype):
    model = network(latent="variational", dtype=dtype)
    hits = random_hits([20, 0, 6])
    latent = model.eval()(hits).latent
    assert torch.equal(latent.z, latent.mean)
    assert latent.z.shape == latent.log_var.shape == (3, 5)
    assert latent.z.dtype == dtype
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(model.train()(hits).latent)
    first, same, other = (draw.z for draw in draws)
    assert torch.equal(first, same)
    assert not (first == other).any()
    torch.manual_seed(1)
    noise = torch.randn(3, 5, dtype=dtype)
    torch.testing.assert_close(first, draws[0].mean + noise * (draws[0].log_var / 2).exp())


@pytest.mark.parametrize("encoder", ["attention", "edgeconv"])
def test_events_with_too_many_pairs_are_refused_with_the_networks_that_can(encoder):
    settings = ModelSettings(encoder=ENCODER[encoder].model_copy(update={"max_hits": 30}))
    model = Autoencoder(settings, torch_geometry())
    assert model(random_hits([5, 30])).output.logits.shape == (35,)
    with pytest.raises(DataError, match=rf"event 1 has 31 hits, {encoder} takes at most 30 .*sparse or pointnet") as e:
        model(random_hits([5, 31, 2]))
    assert e.value.exit_code == 3


@pytest.mark.parametrize(("part", "known"), [("encoder", ENCODERS), ("decoder", DECODERS)])
def test_a_wrong_name_lists_the_known_ones(part, known):
    wrong = getattr(ModelSettings(), part).model_copy(update={"name": "pointnot"})
    settings = ModelSettings().model_copy(update={part: wrong})
    with pytest.raises(ConfigError, match=f"unknown {part} 'pointnot' .*known: {', '.join(sorted(known))}"):
        Autoencoder(settings, torch_geometry())


@pytest.mark.parametrize(("features", "octaves"), [(0, 10), (1, 10), (2, 10), (0, 0), (2, 3)])
@pytest.mark.parametrize("geometry", [torch_geometry(), even_geometry((5, 1, 700))], ids=["torch", "even"])
def test_a_hit_looked_up_by_its_bins_is_embedded_as_one_computed(geometry, features, octaves):
    torch.manual_seed(1)
    hits = random_hits([40, 0, 9], geometry=geometry, features=features)
    embedding = HitEmbedding(geometry, features, 6, most_octaves=octaves)
    gradients = []
    for way in (embedding, embedding.computed):
        embedding.zero_grad()
        result = way(hits)
        (result * torch.arange(6)).square().sum().backward()
        gradients.append([result.detach()] + [parameter.grad for parameter in embedding.parameters()])
    for looked_up, computed in zip(*gradients, strict=True):
        torch.testing.assert_close(looked_up, computed, rtol=2e-4, atol=2e-4 * float(computed.abs().max()))


@pytest.mark.parametrize("loops", ["compiled", "torch alone"])
@pytest.mark.parametrize(("dtype", "largest"), [(torch.float64, 1e-14), (torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_gradients_of_summed_rows(dtype, largest, loops, monkeypatch):
    if loops == "torch alone":
        monkeypatch.setattr("pointae.nn.embedding.loops_for", lambda *_: None)
    draw = torch.Generator().manual_seed(1)
    rows = torch.randint(9, (300, 3), generator=draw).int()
    rows[:, 1] += 5  # the last is no hit's
    table = torch.randn(15, 6, generator=draw).to(dtype).requires_grad_()
    grad = torch.randn(300, 6, generator=draw).to(dtype)
    told = summed_rows(table, rows)
    wanted = table.detach().double()[rows.long()].sum(1)
    assert (told.double() - wanted).abs().max() <= largest * wanted.abs().max()
    (own,) = torch.autograd.grad(told, table, grad)
    truth = torch.zeros(15, 6, dtype=torch.float64).index_add(0, rows.T.flatten().long(), grad.double().repeat(3, 1))
    assert own.dtype == dtype
    assert (own.double() - truth).abs().max() <= largest * truth.abs().max()
    assert not own[14].any()


@torch.no_grad()
def test_what_bins_are_embedded_as_is_kept_until_a_weight_changes():
    hits = random_hits([40, 0, 9], geometry=torch_geometry())
    embedding = HitEmbedding(torch_geometry(), 0, 6)
    first = embedding(hits)
    kept = embedding._kept
    assert torch.equal(embedding(hits), first)
    assert embedding._kept is kept
    for weight in embedding.linear.parameters():
        weight.data[0] += 1  # no version counter tells of it
        changed = embedding(hits)
        torch.testing.assert_close(changed, embedding.computed(hits), rtol=2e-4, atol=2e-4)
        assert not torch.equal(changed, first)
        first = changed
    assert embedding(hits, torch.bfloat16).dtype == torch.bfloat16


def test_in_half_precision_only_the_rows_of_bins_are_rounded():
    hits = random_hits([40, 0, 9], geometry=torch_geometry())
    embedding = HitEmbedding(torch_geometry(), 0, 6)
    wide, half = embedding(hits), embedding(hits, torch.bfloat16)
    assert (wide.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    rounding = 2**-8  # three rows and their sum, each by half of it at most
    assert float((half.float() - wide).abs().max()) < 3 * rounding * float(wide.abs().max())
    elsewhere = hits.replace(geometry=even_geometry(torch_geometry().spatial_shape))
    assert embedding(elsewhere, torch.bfloat16).dtype == torch.bfloat16
    half.float().square().sum().backward()
    assert embedding.linear.weight.grad.dtype == torch.float32


def test_without_octaves_a_hit_is_embedded_by_its_position_alone():
    hits = random_hits([30], geometry=even_geometry((20, 20, 500)))
    embedding = HitEmbedding(hits.geometry, 0, 6, most_octaves=0)
    unit = hits.geometry.unit_positions(hits.pos).to(torch.float32)
    torch.testing.assert_close(embedding(hits), unit @ embedding.linear.weight.T + embedding.linear.bias)


def test_hits_of_another_grid_or_a_grid_of_many_bins_are_embedded_one_by_one():
    geometry = even_geometry((4, 4, 8))
    embedding = HitEmbedding(geometry, 0, 6)
    other = even_geometry((4, 4, 8), bin_widths=(1.0, 1.0, 0.5))
    hits = random_hits([20], geometry=other)
    assert torch.equal(embedding(hits), embedding.computed(hits))
    assert not torch.allclose(embedding(hits), embedding(hits.replace(geometry=geometry)))
    wide = HitEmbedding(even_geometry((4, 4, MAX_TABLE)), 0, 6)
    assert not wide.has_table
    assert wide(random_hits([3], geometry=wide.geometry)).shape == (3, 6)


@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [5, 0, 5, 6], [5, 0, 1, 60], [0, 0], [], [4]])
def test_pooling_is_that_of_each_event_by_itself(sizes):
    hits = random_hits(sizes)
    values = torch.randn(hits.num_hits, 2, generator=torch.Generator().manual_seed(3))
    pieces = values.split(sizes) if sizes else []
    means = [piece.mean(0) if len(piece) else torch.zeros(2) for piece in pieces]
    largest = [piece.amax(0) if len(piece) else torch.zeros(2) for piece in pieces]
    torch.testing.assert_close(segment_mean(values, hits), torch.stack([*means, torch.zeros(2)])[:-1])
    torch.testing.assert_close(segment_max(values, hits), torch.stack([*largest, torch.zeros(2)])[:-1])


@pytest.mark.parametrize(
    ("sizes", "number"), [([7, 7, 7], 1), ([1, 500, 3, 260, 0, 2], 4), ([0, 0], 1), ([], 1), ([30, 31, 29], 1)]
)
def test_events_padded_together_fill_half_their_slots(sizes, number):
    hits = random_hits(sizes)
    groups = similar_sizes(hits)
    assert sorted(torch.cat([*groups, torch.zeros(0, dtype=torch.int64)]).tolist()) == list(range(len(sizes)))
    for group in groups:
        counts = hits.counts[group].clamp(min=1)
        assert len(group) * int(counts.max() if len(group) else 0) <= 2 * int(counts.sum())
    assert len(groups) == number


def test_filled_slots_hold_the_hits_where_they_are_padded():
    hits = random_hits([2, 0, 4], features=2)
    padding = Padding(hits)
    filled = padding.filled(hits)
    assert filled.counts.tolist() == [4, 4, 4]
    assert torch.equal(filled.coords[padding.slot], hits.coords)
    assert torch.equal(filled.features[padding.slot], hits.features)
    assert not filled.coords[~padding.mask.flatten()].any()
