"""Convolution over the pairs of a kernel map: gather, matrix products, scatter, with gradients of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from pointae.nn.sparse.kernel_maps import KernelMap


class Route(NamedTuple):
    """The pairs of a convolution, and those of its gradient.

    Args:
        forward: maps of consecutive ranges of output rows.
        backward: maps of consecutive ranges of input rows, of the same pairs the other way round.
        centre: an offset that joins every row to itself: a plain product, with nothing to gather,
            its pairs are in no map.
    """

    forward: Sequence[KernelMap]
    backward: Sequence[KernelMap]
    centre: int | None = None


def convolve(features: Tensor, weight: Tensor, route: Route) -> Tensor:
    """``out[target] += features[source] @ weight[offset]`` over all pairs.

    Args:
        features: (sources, C_in).
        weight: (K, C_in, C_out).
        route: the pairs.

    Returns:
        (targets, C_out), in the type of autocast where that is on.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    return _Convolve.apply(features, weight, route)


class _Convolve(Function):
    """What is gathered is gathered again for the gradients: only the features are kept, not their pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, route: Route) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.route = route
        return _sums(features, weight, route.forward, route.centre)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (features, weight), route = ctx.saved_tensors, ctx.route
        grad = grad.contiguous()
        with torch.autocast(grad.device.type, enabled=False):
            to_features = to_weight = None
            if ctx.needs_input_grad[0]:
                to_features = _sums(grad, weight.transpose(1, 2), route.backward, route.centre)
            if ctx.needs_input_grad[1]:
                to_weight = _products(features, grad, weight, route)
        return to_features, to_weight, None


def _sums(features: Tensor, weight: Tensor, maps: Sequence[KernelMap], centre: int | None) -> Tensor:
    """(targets, C_out): of each target, the sum of its pairs' products."""
    pieces = []
    for pairs in maps:
        read = pairs.blocks(pairs.inputs.take(features))  # (G, L, C_in)
        products = torch.bmm(read, weight.index_select(0, pairs.offsets))
        pieces.append(pairs.outputs.collect(products.flatten(0, 1)))
    out = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    return out if centre is None else out.addmm_(features, weight[centre])


def _products(features: Tensor, grad: Tensor, weight: Tensor, route: Route) -> Tensor:
    """(K, C_in, C_out): of each offset, the sum of its pairs' outer products."""
    out, first = torch.zeros_like(weight), 0
    for pairs in route.forward:
        last = first + pairs.outputs.num_rows
        read = pairs.blocks(pairs.inputs.take(features))  # (G, L, C_in)
        written = pairs.outputs.take(grad[first:last]).index_fill_(0, pairs.empty, 0)  # (S, C_out)
        by_block = torch.bmm(read.transpose(1, 2), pairs.blocks(written))
        out += pairs.sum_by_offset(by_block.flatten(1)).view_as(out)
        first = last
    if route.centre is not None:
        out[route.centre] = features.T @ grad
    return out
