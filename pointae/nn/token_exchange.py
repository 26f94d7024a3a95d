"""What hits and tokens tell each other in a round of the perceiver, with gradients in as few passes as there can be.

A round is bound by passes over arrays of all hits. Written as single operations its backward pass makes many
that are not needed: four gradients of the hits are added up, and every half-precision copy has one of its own. Here
each is one function, and the gradients of the hits join inside the matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def read_hits(h: Tensor, weight: Tensor, absent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every token takes a weighted mean of the hits of its event.

    Args:
        h: (B, L, C), hits.
        weight: (2 K, C), from a hit to its logits: K for what tokens take of it, K for what it takes of tokens.
        absent: (M,) int64, slots b L + l that are no hit: no token takes of them, and in an event without hits none
            takes of anything.

    Returns:
        the hits again, through which their gradients join; what the tokens read (B, K, C); and the shares
        (B, L, K) of the tokens in what a hit will be told.
    """
    result: tuple[Tensor, Tensor, Tensor] = _Read.apply(h, weight, absent)
    return result


def tell_hits(h: Tensor, shares: Tensor, told: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """Every hit hears a weighted mean of the tokens, inside the hidden layer of its MLP.

    ``h + outer relu(inner h + shares told)``.

    Where no gradients are wanted the result takes the place of ``h``: a copy would be a tenth of the network's time.

    Args:
        h: (B, L, C), hits; contiguous.
        shares: (B, L, K), of the tokens, as of :func:`read_hits`.
        told: (B, K, C), what the tokens say.
        inner, outer: (C, C), the layers of the MLP.

    Returns:
        (B, L, C).
    """
    if torch.is_grad_enabled():
        result: Tensor = _Tell.apply(h, shares, told, inner, outer)
        return result
    hidden = _hidden(h, shares, told, inner.to(h.dtype))
    h.view(-1, h.shape[2]).addmm_(hidden.flatten(0, 1), outer.to(h.dtype).T)
    return h


def _hidden(h: Tensor, shares: Tensor, told: Tensor, inner: Tensor) -> Tensor:
    """``relu(inner h + shares told)``, (B, L, C)."""
    return torch.matmul(h, inner.T).baddbmm_(shares, told).relu_()


class _Read(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, absent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight = weight.to(h.dtype)
        logits = widened(torch.matmul(h, weight.T))  # (B, L, 2 K)
        count = logits.shape[-1] // 2
        if len(absent):
            logits.flatten(0, 1)[:, :count].index_fill_(0, absent, -torch.inf)
        of_hits, of_tokens = logits[..., :count], logits[..., count:]
        taken, shares = of_hits.softmax(1), of_tokens.softmax(2)
        if len(absent):
            taken.flatten(0, 1).index_fill_(0, absent, 0)  # of an event without hits nothing is taken
        seen = torch.bmm(taken.to(h.dtype).transpose(1, 2), h)
        ctx.save_for_backward(h, weight, taken, shares)
        return h.view_as(h), seen, shares.to(h.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_h: Tensor, grad_seen: Tensor, grad_shares: Tensor) -> tuple[Tensor, Tensor, None]:
        h, weight, taken, shares = ctx.saved_tensors
        of_hits = softmax_gradient(torch.bmm(h, grad_seen.transpose(1, 2)), taken, 1)
        of_tokens = softmax_gradient(grad_shares, shares, 2)
        logits = torch.cat([of_hits, of_tokens], -1).to(h.dtype).flatten(0, 1)  # (B L, 2 K)
        grad_weight = torch.mm(logits.T, h.flatten(0, 1))
        joined = torch.baddbmm(grad_h, taken.to(h.dtype), grad_seen)
        joined.flatten(0, 1).addmm_(logits, weight)
        return joined, grad_weight, None


class _Tell(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, shares: Tensor, told: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        inner, outer = inner.to(h.dtype), outer.to(h.dtype)
        hidden = _hidden(h, shares, told, inner)
        ctx.save_for_backward(h, shares, told, inner, outer, hidden)
        return torch.addmm(h.flatten(0, 1), hidden.flatten(0, 1), outer.T).view_as(h)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        h, shares, told, inner, outer, hidden = ctx.saved_tensors
        flat = grad.flatten(0, 1)
        grad_hidden = torch.ops.aten.threshold_backward(torch.matmul(grad, outer), hidden, 0)
        flat_hidden = grad_hidden.flatten(0, 1)
        return (
            torch.addmm(flat, flat_hidden, inner).view_as(h),
            torch.bmm(grad_hidden, told.transpose(1, 2)),
            torch.bmm(shares.transpose(1, 2), grad_hidden),
            torch.mm(flat_hidden.T, h.flatten(0, 1)),
            torch.mm(flat.T, hidden.flatten(0, 1)),
        )


def widened(logits: Tensor) -> Tensor:
    """In float32 where they are in half precision, whose softmax is many times slower on a CPU."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def softmax_gradient(grad: Tensor, shares: Tensor, dim: int) -> Tensor:
    """Gradient of the logits of ``shares = logits.softmax(dim)``, in the precision of the shares."""
    result: Tensor = torch.ops.aten._softmax_backward_data(grad.to(shares.dtype), shares, dim, shares.dtype)
    return result
