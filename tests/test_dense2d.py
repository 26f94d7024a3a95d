"""The predecessor's autoencoder: its parameters to the last one, any image size, any batch."""

from __future__ import annotations

import pytest
import torch

from pointae.config import Dense2dSettings, ImageSettings
from pointae.errors import ConfigError
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.images import gapped_normalise
from pointae.nn.dense2d import Dense2dEncoder, ImageDecoder


def network(geometry=None, code_size=24) -> tuple[Dense2dEncoder, ImageDecoder]:
    torch.manual_seed(0)
    geometry = geometry or torch_geometry()
    return (
        Dense2dEncoder(Dense2dSettings(), geometry, code_size),
        ImageDecoder(ImageSettings(), geometry, code_size),
    )


def random_hits(sizes, geometry=None) -> HitBatch:
    geometry = geometry or torch_geometry()
    coords = torch.stack([torch.randint(bins, (sum(sizes),)) for bins in geometry.spatial_shape], 1).int()
    return HitBatch(geometry, coords, torch.tensor([0, *sizes]).cumsum(0))


def test_parameters_are_the_predecessors():
    encoder, decoder = (sum(p.numel() for p in module.parameters()) for module in network())
    assert (encoder, decoder, encoder + decoder) == (747_088, 763_897, 1_510_985)


@pytest.mark.parametrize("rows", [16, 17, 21, 22, 23, 24, 37, 128])
@pytest.mark.parametrize("columns", [16, 29, 88])
def test_any_image_comes_back_in_its_size(rows, columns):
    geometry = even_geometry((columns, rows, 50))
    encoder, decoder = network(geometry)
    hits = random_hits([5, 0], geometry)
    image = decoder(encoder(hits).code, None, hits).image
    assert image.shape == (2, 1, rows, columns)


def test_an_image_too_small_is_refused():
    network(even_geometry((7, 7, 4)))
    with pytest.raises(ConfigError, match="6 x 7 pixels is too small"):
        network(even_geometry((7, 6, 4)))


@pytest.mark.parametrize("sizes", [[], [0], [0, 0], [1], [30, 0, 7]])
@pytest.mark.parametrize("train", [True, False])
def test_hardly_any_events_or_hits(sizes, train):
    modules = torch.nn.ModuleList(network()).train(train)
    hits = random_hits(sizes)
    encoding = modules[0](hits)
    output = modules[1](encoding.code, encoding.hit_features, hits)
    (output.image.sum() + output.hit_logits(hits).sum()).backward()
    assert encoding.hit_features is None
    assert modules[0].hit_channels == 0
    assert torch.isfinite(output.image).all()
    assert all(torch.isfinite(p.grad).all() for p in modules.parameters())
    assert all(torch.isfinite(buffer).all() for buffer in modules.buffers())


def test_one_event_in_training_leaves_the_hidden_statistics_alone():
    encoder, _ = network()
    norm = encoder.to_code[0][1]
    encoder(random_hits([30]))
    assert not norm.running_mean.any()
    encoder(random_hits([30, 40]))
    assert norm.running_mean.any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_in_evaluation_an_event_alone_equals_the_event_in_any_batch(dtype, tolerance):
    encoder = network()[0].to(dtype)
    hits = random_hits([0, 230, 1, 90] * 100)
    encoder.train()(hits.events(slice(0, 64)))  # running statistics that are not 0 and 1
    whole = encoder.eval()(hits).code
    for part in (slice(1, 2), slice(0, 64)):
        assert (encoder(hits.events(part)).code - whole[part]).abs().max() <= tolerance * whole.abs().max()


def test_order_of_hits_does_not_matter():
    encoder = network()[0].eval()
    hits = random_hits([200])
    assert torch.equal(encoder(hits).code, encoder(hits.reordered(torch.randperm(200))).code)


def test_times_stay_exact_under_autocast():
    encoder, decoder = (module.eval() for module in network())
    hits = random_hits([300, 300])
    seen = []
    encoder.convolutions.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.autocast("cpu", torch.bfloat16):
        image = decoder(encoder(hits).code, None, hits).image
    assert image.dtype == seen[0].dtype == torch.float32
    rows, columns = hits.coords[:, 1].long() + 4, hits.coords[:, 0].long() + 4
    expected = gapped_normalise(hits.coords[:, 2] + 1, 1000, 0.25)
    alone = torch.unique(torch.stack([hits.batch, rows, columns]), dim=1, return_inverse=True, return_counts=True)
    single = alone[2][alone[1]] == 1  # pixels that hold one hit
    assert torch.equal(seen[0][hits.batch, 0, rows, columns][single], expected[single])
