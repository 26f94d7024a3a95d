"""The sparse U-Net: invariances, hard events, engines, and the neighbour counts its strides come from."""

from __future__ import annotations

import pytest
import torch

from pointae.analysis.neighbours import neighbour_counts
from pointae.config import SparseSettings
from pointae.errors import ConfigError
from pointae.geometry import even_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.nn.cells import cell_centres, cell_offsets
from pointae.nn.sparse_encoder import SparseEncoder
from pointae.optional import is_installed
from pointae.voxels import voxel_indices


def random_hits(sizes, seed=0, geometry=None, features=0) -> HitBatch:
    geometry = geometry or torch_geometry()
    draw = torch.Generator().manual_seed(seed)
    coords = [torch.randint(bins, (sum(sizes),), generator=draw) for bins in geometry.spatial_shape]
    return HitBatch(
        geometry,
        torch.stack(coords, 1).int(),
        torch.tensor([0, *sizes]).cumsum(0),
        torch.randn(sum(sizes), features, generator=draw),
        tuple(f"f{i}" for i in range(features)),
    )


def encoder(dtype=torch.float32, features=0, **settings) -> SparseEncoder:
    torch.manual_seed(0)
    chosen = SparseSettings(**{"channels": 8, "engine": "torch", **settings})
    return SparseEncoder(chosen, torch_geometry(), code_size=6, in_features=features).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("train", [True, False])
def test_an_event_alone_equals_the_event_in_any_batch(dtype, tolerance, train):
    model = encoder(dtype).train(train)
    hits = random_hits([0, 230, 1, 700, 0, 40] * 66 + [0, 5, 3, 0])
    whole = model(hits)
    assert whole.code.shape == (400, 6)
    assert whole.hit_features.shape == (hits.num_hits, model.hit_channels)
    for first, last in ((3, 4), (0, 1), (0, 64)):
        part = model(hits.events(slice(first, last)))
        rows = slice(hits.offsets[first], hits.offsets[last])
        largest = whole.hit_features.abs().max()
        assert (part.code - whole.code[first:last]).abs().max() <= tolerance * whole.code.abs().max()
        if part.hit_features.numel():
            assert (part.hit_features - whole.hit_features[rows]).abs().max() <= tolerance * largest


def test_permuting_hits_permutes_their_features():
    model = encoder(torch.float64, features=2)
    hits = random_hits([300, 0, 50], features=2)
    rows = torch.cat([torch.randperm(300), 300 + torch.randperm(50)])
    ordered, shuffled = model(hits), model(hits.reordered(rows))
    torch.testing.assert_close(shuffled.hit_features, ordered.hit_features[rows], rtol=0, atol=1e-9)
    torch.testing.assert_close(shuffled.code, ordered.code, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sizes", [[], [0, 0], [1], [0, 3, 0]])
@pytest.mark.parametrize("train", [True, False])
def test_hardly_any_hits(sizes, train):
    model = encoder().train(train)
    encoding = model(random_hits(sizes))
    (encoding.code.sum() + encoding.hit_features.sum()).backward()
    assert encoding.code.shape == (len(sizes), 6)
    assert torch.isfinite(encoding.code).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_hits_that_share_a_cell_stay_hits():
    geometry = torch_geometry()
    twice = HitBatch(geometry, torch.tensor([[3, 4, 5]] * 4, dtype=torch.int32), torch.tensor([0, 4]))
    features = encoder()(twice).hit_features
    assert len(features) == 4
    torch.testing.assert_close(features, features[:1].expand(4, -1))


@pytest.mark.parametrize(
    "engine",
    ["dense", pytest.param("spconv", marks=pytest.mark.skipif(not is_installed("spconv"), reason="not installed"))],
)
@pytest.mark.parametrize("chosen", [{}, {"kernel_size": (3, 1, 5), "dilation": (1, 2, 2)}])
def test_weights_move_between_engines(engine, chosen):
    ours, theirs = encoder(**chosen), encoder(engine=engine, **chosen)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    hits = random_hits([230, 0, 400])
    a, b = ours(hits), theirs(hits)
    assert (ours.engine, theirs.engine) == ("torch", engine)
    assert (a.code - b.code).abs().max() <= 1e-5 * a.code.abs().max()
    assert (a.hit_features - b.hit_features).abs().max() <= 1e-5 * a.hit_features.abs().max()


@pytest.mark.parametrize("down", ["max", "mean"])
def test_pooling_instead_of_strided_convolutions(down):
    model, convolving = encoder(down=down), encoder()
    encoding = model(random_hits([230, 0, 1]))
    encoding.hit_features.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.unet.parameters())
    assert set(convolving.state_dict()) - set(model.state_dict()) == {
        f"unet.{inner}down.{name}" for inner in ("", "inner.") for name in ("weight", "bias")
    }


def test_an_even_kernel_is_refused():
    with pytest.raises(ConfigError, match="odd sizes"):
        encoder(kernel_size=(2, 3, 3))(random_hits([5]))


def test_strides_need_not_be_three_nor_divide_the_grid():
    for strides in ([(4, 4, 32)], [(3, 5, 7), (3, 10, 7), (9, 10, 70), (90, 130, 1400)]):
        model = encoder(strides=strides)
        assert torch.isfinite(model(random_hits([60, 0])).code).all()
    for strides in ([(4, 4, 32), (6, 8, 64)], [(4, 4, 32), (4, 4, 32)]):
        with pytest.raises(ConfigError, match="multiple of the one before"):
            encoder(strides=strides)


def test_neighbour_counts_equal_a_search_of_all_pairs():
    hits = random_hits([80, 0, 30], geometry=even_geometry((9, 8, 20)))
    for count in neighbour_counts(hits, [(1, 1, 1), (2, 2, 5)]):
        cells = torch.unique(voxel_indices(hits, count.stride), dim=0)
        step = (cells[None] - cells[:, None]).abs()
        near = (step[..., 0] == 0) & (step[..., 1:] <= 1).all(-1)
        assert count.voxels == len(cells)
        assert count.pairs == (int(near.sum()) - len(cells)) // 2
        assert count.per_voxel == pytest.approx(2 * count.pairs / len(cells))
    assert neighbour_counts(random_hits([0, 0]), [(1, 1, 1)])[0].per_voxel == 0


def test_places_inside_cells_and_volumes():
    geometry = even_geometry((4, 4, 8))
    hits = HitBatch(geometry, torch.tensor([[0, 1, 3], [3, 2, 4]], dtype=torch.int32), torch.tensor([0, 2]))
    assert cell_offsets(hits, (2, 1, 4)).tolist() == [[-0.5, 0, 0.75], [0.5, 0, -0.75]]
    centres = cell_centres((2, 1, 4), torch.device("cpu"))
    assert centres.shape == (3, 2, 1, 4)
    assert centres[:, 1, 0, 3].tolist() == [0.5, 0, 0.75]
