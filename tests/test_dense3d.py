"""The dense 3D encoder and the volume decoder: shapes from the grid, invariances, hard batches."""

from __future__ import annotations

import pytest
import torch

from pointae.config import Dense3dSettings, DenseSettings
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.nn.dense3d import Dense3dEncoder, DenseDecoder
from pointae.voxels import coarse_shape

ROBOT = even_geometry((11, 11, 11))


def random_hits(sizes, geometry=ROBOT, features=0) -> HitBatch:
    coords = torch.stack([torch.randint(bins, (sum(sizes),)) for bins in geometry.spatial_shape], 1).int()
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    return HitBatch(geometry, coords, offsets, torch.randn(sum(sizes), features), ("f",) * features)


def encoder(dtype=torch.float32, features=0, stride=(2, 2, 3)) -> Dense3dEncoder:
    torch.manual_seed(0)
    return Dense3dEncoder(Dense3dSettings(channels=4, stride=stride), ROBOT, 6, features).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("train", [True, False])
def test_an_event_alone_equals_the_event_in_any_batch(dtype, tolerance, train):
    model = encoder(dtype).train(train)
    hits = random_hits([0, 40, 1, 90] * 100)
    whole = model(hits)
    assert whole.code.shape == (400, 6)
    assert whole.hit_features.shape == (hits.num_hits, model.hit_channels)
    for first, last in ((1, 2), (0, 64)):
        part = model(hits.events(slice(first, last)))
        rows = slice(hits.offsets[first], hits.offsets[last])
        assert (part.code - whole.code[first:last]).abs().max() <= tolerance * whole.code.abs().max()
        largest = whole.hit_features.abs().max()
        assert (part.hit_features - whole.hit_features[rows]).abs().max() <= tolerance * largest


def test_permuting_hits_permutes_their_features():
    model = encoder(torch.float64, features=2)
    hits = random_hits([90], features=2)
    rows = torch.randperm(90)
    ordered, shuffled = model(hits), model(hits.reordered(rows))
    torch.testing.assert_close(shuffled.hit_features, ordered.hit_features[rows], rtol=0, atol=1e-9)
    torch.testing.assert_close(shuffled.code, ordered.code, rtol=0, atol=1e-9)


def test_the_code_sees_counts_places_and_features():
    model = encoder(features=1)
    one = HitBatch(ROBOT, torch.tensor([[4, 4, 4]], dtype=torch.int32), torch.tensor([0, 1]), torch.ones(1, 1), ("f",))
    codes = [
        model(hits).code
        for hits in (
            one,
            HitBatch.concat([one]).replace(coords=one.coords + torch.tensor([1, 0, 0]).int()),  # the same cell
            one.replace(coords=one.coords - 2),
            one.replace(features=one.features * 3),
            one.replace(coords=one.coords.repeat(2, 1), features=one.features.repeat(2, 1), offsets=one.offsets * 2),
        )
    ]
    assert all((code - codes[0]).abs().max() > 1e-6 for code in codes[1:])


@pytest.mark.parametrize("sizes", [[], [0, 0], [1], [0, 8]])
@pytest.mark.parametrize("train", [True, False])
def test_hardly_any_events_or_hits(sizes, train):
    torch.manual_seed(0)
    modules = torch.nn.ModuleList([encoder(), DenseDecoder(DenseSettings(stride=(1, 1, 1)), ROBOT, 6)]).train(train)
    hits = random_hits(sizes)
    encoding = modules[0](hits)
    output = modules[1](encoding.code, encoding.hit_features, hits)
    (output.logits.sum() + output.hit_logits(hits).sum() + encoding.hit_features.sum()).backward()
    assert torch.isfinite(encoding.code).all()
    assert output.logits.shape == (len(sizes), 1, 11, 11, 11)
    assert all(torch.isfinite(p.grad).all() for p in modules.parameters())


@pytest.mark.parametrize(
    ("shape", "stride"),
    [((88, 128, 1000), (8, 8, 50)), ((11, 11, 11), (1, 1, 1)), ((5, 3, 1), (2, 1, 1)), ((90, 17, 333), (7, 5, 64))],
)
def test_volumes_cover_the_grid(shape, stride):
    geometry = even_geometry(shape)
    decoder = DenseDecoder(DenseSettings(stride=stride, channels=4), geometry, 6)
    hits = random_hits([9, 0, 4], geometry)
    volume = decoder(torch.randn(3, 6), None, hits)
    assert volume.logits.shape == (3, 1, *coarse_shape(shape, stride))
    assert volume.hit_logits(hits).shape == (13,)


def test_parameters_stay_moderate_on_the_torch_grid():
    for module in (
        DenseDecoder(DenseSettings(), torch_geometry(), 64),
        Dense3dEncoder(Dense3dSettings(), torch_geometry(), 64),
    ):
        assert sum(p.numel() for p in module.parameters()) < 1_000_000


def test_logits_are_float32_under_autocast():
    decoder = DenseDecoder(DenseSettings(stride=(1, 1, 1)), ROBOT, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert decoder(torch.randn(2, 6), None, random_hits([1, 1])).logits.dtype == torch.float32
