"""Voxels against a dictionary of cells, dense volumes and back, and keys up to the last bit."""

from __future__ import annotations

import pytest
import torch
from events import batches, random_hits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pointae.errors import DataError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.voxels import (
    VoxelBatch,
    coarse_shape,
    gather_at,
    pack_keys,
    to_dense,
    unpack_keys,
    voxel_indices,
    voxelize,
)

REDUCE = {"mean": lambda rows: sum(rows) / len(rows), "sum": sum, "amax": max}
STRIDES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))


def cells_of(hits: HitBatch, stride) -> dict[tuple[int, ...], list[int]]:
    """Rows of the hits of each voxel, slowly."""
    cells: dict[tuple[int, ...], list[int]] = {}
    for row, (event, coords) in enumerate(zip(hits.batch.tolist(), hits.coords.tolist(), strict=True)):
        cells.setdefault((event, *(c // s for c, s in zip(coords, stride, strict=True))), []).append(row)
    return cells


@given(batches(), STRIDES, st.sampled_from(list(REDUCE)))
@settings(max_examples=60)
def test_voxelize_is_a_dictionary_of_cells(hits, stride, reduce):
    features = torch.randn(hits.num_hits, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cells = cells_of(hits, stride)
    voxels, voxel_of_hit = voxelize(hits, features, stride, reduce)
    assert voxels.spatial_shape == coarse_shape(hits.geometry.spatial_shape, stride)
    assert voxels.batch_size == hits.batch_size
    assert voxels.num_voxels == len(cells)
    assert [tuple(index) for index in voxels.indices.tolist()] == sorted(cells)
    for voxel, (_, rows) in enumerate(sorted(cells.items())):
        assert (voxel_of_hit[rows] == voxel).all()
        expected = [REDUCE[reduce](column) for column in features[rows].T.tolist()]
        assert voxels.features[voxel].tolist() == pytest.approx(expected)


@given(batches(), STRIDES)
@settings(max_examples=40)
def test_dense_volumes_hold_the_voxels_and_zeros(hits, stride):
    features = torch.rand(hits.num_hits, 2) + 1
    voxels, voxel_of_hit = voxelize(hits, features, stride)
    volume = to_dense(voxels)
    assert volume.shape == (hits.batch_size, 2, *coarse_shape(hits.geometry.spatial_shape, stride))
    assert int((volume != 0).all(1).sum()) == voxels.num_voxels
    assert torch.equal(gather_at(volume, hits, stride), voxels.features[voxel_of_hit])


def test_strides_that_do_not_divide_leave_a_partial_last_voxel():
    hits = HitBatch(even_geometry((5, 4, 7)), torch.tensor([[4, 3, 6]], dtype=torch.int32), torch.tensor([0, 1]))
    assert coarse_shape((5, 4, 7), (2, 3, 4)) == (3, 2, 2)
    assert voxel_indices(hits, (2, 3, 4)).tolist() == [[0, 2, 1, 1]]
    assert coarse_shape((5, 4, 7), (100, 100, 100)) == (1, 1, 1)


@pytest.mark.parametrize("batch_size", [0, 1, 4])
@pytest.mark.parametrize("reduce", REDUCE)
def test_events_without_hits(batch_size, reduce):
    hits = HitBatch.empty(even_geometry((2, 3, 4)), batch_size)
    voxels, voxel_of_hit = voxelize(hits, torch.zeros(0, 3), (1, 2, 3), reduce)
    assert voxels.indices.shape == (0, 4)
    assert voxels.features.shape == (0, 3)
    assert voxel_of_hit.shape == (0,)
    assert to_dense(voxels).shape == (batch_size, 3, 2, 2, 2)
    assert gather_at(torch.zeros(batch_size, 3, 2, 2, 2), hits, (1, 2, 3)).shape == (0, 3)


@pytest.mark.parametrize("reduce", REDUCE)
def test_gradients_reach_every_hit(reduce):
    hits = random_hits([20, 0, 5], geometry=even_geometry((2, 2, 2)))
    features = torch.rand(25, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: voxelize(hits, f, reduce=reduce)[0].features, features)


@given(st.tuples(*[st.integers(1, 2**20)] * 3), st.randoms(use_true_random=False))
@example((1, 1, 2**31 - 1), None)
@example((2**31 - 1, 1, 1), None)
@example((2**20, 2**20, 2**10), None)
def test_keys_come_back_and_keep_the_order(shape, random):
    corner = [[0, 0, 0, 0], [0, *(bins - 1 for bins in shape)], [1, 0, 0, 0], [7, *(bins - 1 for bins in shape)]]
    if random is not None:
        corner += [[random.randrange(8), *(random.randrange(bins) for bins in shape)] for _ in range(5)]
    indices = torch.tensor(sorted(corner), dtype=torch.int32)
    keys = pack_keys(indices, shape)
    assert torch.equal(unpack_keys(keys, shape), indices)
    assert (keys.diff() >= 0).all()


def test_keys_use_63_bits_and_no_more():
    largest = torch.tensor([[7, 2**20 - 1, 2**20 - 1, 2**20 - 1]], dtype=torch.int32)
    assert pack_keys(largest, (2**20,) * 3).tolist() == [2**63 - 1]
    one_more = torch.tensor([[8, 0, 0, 0]], dtype=torch.int32)
    with pytest.raises(DataError, match="9 events of 1048576 x 1048576 x 1048576 cells do not fit 63-bit keys"):
        pack_keys(one_more, (2**20,) * 3)
    assert pack_keys(one_more[:0], (2**31,) * 3).shape == (0,)


def test_impossible_voxels_and_reductions_are_refused():
    with pytest.raises(DataError, match=r"indices must be \(M, 4\) int32 .* got \(2, 3\) torch.int32"):
        VoxelBatch(torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, 1), (1, 1, 1), 1)
    with pytest.raises(DataError, match="2 voxels but 3 rows of features"):
        VoxelBatch(torch.zeros(2, 4, dtype=torch.int32), torch.zeros(3, 1), (1, 1, 1), 1)
    with pytest.raises(DataError, match="reduce must be mean, sum or amax, got 'max'"):
        voxelize(random_hits([3]), torch.zeros(3, 1), reduce="max")
