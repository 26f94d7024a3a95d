"""Convolution by torch alone: gather, one batched product of blocks, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pointae.nn.sparse.kernel_maps import KernelMap


class Blocks(NamedTuple):
    """A :class:`~pointae.nn.sparse.convolve.Route` of kernel maps.

    Args:
        to_targets: maps of consecutive ranges of targets.
        to_sources: maps of consecutive ranges of sources, of the same pairs the other way round.
        centre: an offset that joins every row to itself: a plain product, with nothing to gather,
            its pairs are in no map.
    """

    to_targets: Sequence[KernelMap]
    to_sources: Sequence[KernelMap]
    centre: int | None = None

    @property
    def reversed(self) -> Blocks:
        return Blocks(self.to_sources, self.to_targets, self.centre)

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = _sums(features, weight, self.to_targets, self.centre)
        return out if bias is None else out.add_(bias)

    def backward(self, grad: Tensor, weight: Tensor) -> Tensor:
        return _sums(grad, weight.transpose(1, 2), self.to_sources, self.centre)

    def outer(self, features: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
        out, first = torch.zeros_like(weight), 0
        for pairs in self.to_targets:
            last = first + pairs.outputs.num_rows
            read = pairs.blocks(pairs.inputs.take(features))  # (G, L, C_in)
            written = pairs.outputs.take(grad[first:last]).index_fill_(0, pairs.empty, 0)  # (S, C_out)
            by_block = torch.bmm(read.transpose(1, 2), pairs.blocks(written))
            out += pairs.sum_by_offset(by_block.flatten(1)).view_as(out)
            first = last
        if self.centre is not None:
            out[self.centre] = features.T @ grad
        return out


def _sums(features: Tensor, weight: Tensor, maps: Sequence[KernelMap], centre: int | None) -> Tensor:
    """(targets, C_out): of each target, the sum of its pairs' products."""
    pieces = []
    for pairs in maps:
        read = pairs.blocks(pairs.inputs.take(features))  # (G, L, C_in)
        products = torch.bmm(read, weight.index_select(0, pairs.offsets))
        pieces.append(pairs.outputs.collect(products.flatten(0, 1)))
    out = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    return out if centre is None else out.addmm_(features, weight[centre])
