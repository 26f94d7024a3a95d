"""Convolution over the pairs of a kernel map: gather, matrix products, scatter, with gradients of the same kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from pointae.nn.sparse.kernel_maps import KernelMap


def convolve(features: Tensor, weight: Tensor, kernel_map: KernelMap, centre: int | None = None) -> Tensor:
    """``out[target] += features[source] @ weight[offset]`` over all pairs.

    Args:
        features: (sources, C_in).
        weight: (K, C_in, C_out).
        kernel_map: the pairs.
        centre: an offset that joins every row to itself: a plain product, with nothing to gather,
            its pairs are not in the map.

    Returns:
        (targets, C_out), in the type of autocast where that is on.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    return _Convolve.apply(features, weight, kernel_map, centre)


class _Convolve(Function):
    """What is gathered is gathered again for the gradients: only the features are kept, not their pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, pairs: KernelMap, centre: int | None) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.pairs, ctx.centre = pairs, centre
        read = pairs.blocks(pairs.inputs.take(features))  # (G, L, C_in)
        out = pairs.outputs.collect(torch.bmm(read, weight.index_select(0, pairs.offsets)).flatten(0, 1))
        return out if centre is None else out.addmm_(features, weight[centre])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (features, weight), pairs, centre = ctx.saved_tensors, ctx.pairs, ctx.centre
        grad = grad.contiguous()
        written = pairs.blocks(pairs.outputs.take(grad).index_fill_(0, pairs.empty, 0))  # (G, L, C_out)
        to_features = to_weight = None
        if ctx.needs_input_grad[0]:
            transposed = weight.index_select(0, pairs.offsets).transpose(1, 2)
            to_features = pairs.inputs.collect(torch.bmm(written, transposed).flatten(0, 1))
            if centre is not None:
                to_features.addmm_(grad, weight[centre].T)
        if ctx.needs_input_grad[1]:
            read = pairs.blocks(pairs.inputs.take(features))
            by_block = torch.bmm(read.transpose(1, 2), written)  # (G, C_in, C_out)
            to_weight = pairs.sum_by_offset(by_block.flatten(1)).view_as(weight)
            if centre is not None:
                to_weight[centre] = features.T @ grad
        return to_features, to_weight, None, None
