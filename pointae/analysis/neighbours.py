"""How many neighbours a sparse convolution finds at a stride: what strides are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pointae.hits import HitBatch
from pointae.nn.sparse.neighbours import neighbour_pairs
from pointae.voxels import Triple, voxelize


@dataclass(frozen=True)
class NeighbourCount:
    """Occupied voxels of a batch at one stride and their neighbours.

    Args:
        stride: cells along (x, y, t) that make one voxel.
        hits: N.
        voxels: M, occupied.
        pairs: unordered pairs of different voxels that one kernel covers.
    """

    stride: Triple
    hits: int
    voxels: int
    pairs: int

    @property
    def per_voxel(self) -> float:
        """Occupied neighbours of a voxel on average; well below 1 a convolution sees single voxels."""
        return 2 * self.pairs / max(self.voxels, 1)

    def __str__(self) -> str:
        return (
            f"stride {'x'.join(map(str, self.stride))}: {self.voxels} voxels of {self.hits} hits, "
            f"{self.pairs} neighbour pairs, {self.per_voxel:.2f} neighbours each"
        )


def neighbour_counts(
    hits: HitBatch, strides: Sequence[Triple], kernel_size: Triple = (3, 3, 3)
) -> list[NeighbourCount]:
    """Neighbours at each of several strides.

    Args:
        hits: events, best some hundred of those that will be trained on.
        strides: voxel sizes to try.
        kernel_size: of the convolution, odd.
    """
    counts = []
    for stride in strides:
        voxels, _ = voxelize(hits, hits.features[:, :0], stride)
        offsets, _, _ = neighbour_pairs(voxels.indices, voxels.spatial_shape, kernel_size)
        counts.append(NeighbourCount(stride, hits.num_hits, voxels.num_voxels, len(offsets) // 2))
    return counts
