"""Convolution over pairs of rows, with gradients of the same kind."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Route(Protocol):
    """The pairs (source, target, offset) of a convolution, laid out to be multiplied."""

    @property
    def reversed(self) -> Route:
        """The way from the targets to the sources, under the same offsets."""

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(sources, C_in), (K, C_in, C_out) -> (targets, C_out): of each target, the sum of its pairs' products, and
        ``bias`` (C_out,)."""

    def backward(self, grad: Tensor, weight: Tensor) -> Tensor:
        """(targets, C_out), (K, C_in, C_out) -> (sources, C_in): the same the other way."""

    def outer(self, features: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
        """(K, C_in, C_out), as ``weight``: of each offset, the sum of its pairs' outer products."""


def convolve(features: Tensor, weight: Tensor, route: Route, bias: Tensor | None = None) -> Tensor:
    """``out[target] += features[source] @ weight[offset]`` over all pairs, from ``bias`` on.

    Args:
        features: (sources, C_in).
        weight: (K, C_in, C_out).
        route: the pairs.
        bias: (C_out,).

    Returns:
        (targets, C_out), in the type of autocast where that is on, plus the bias in its own.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, weight = features.to(dtype), weight.to(dtype)
    if bias is None or bias.dtype == features.dtype:
        return _Convolve.apply(features, weight, bias, route)
    return _Convolve.apply(features, weight, None, route) + bias


class _Convolve(Function):
    """What is gathered is gathered again for the gradients: only the features are kept, not their pairs."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, route: Route) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.route = route
        return route.forward(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (features, weight), route = ctx.saved_tensors, ctx.route
        grad = grad.contiguous()
        with torch.autocast(grad.device.type, enabled=False):
            to_features = route.backward(grad, weight) if ctx.needs_input_grad[0] else None
            to_weight = route.outer(features, grad, weight) if ctx.needs_input_grad[1] else None
        to_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return to_features, to_weight, to_bias, None
