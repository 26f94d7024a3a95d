"""A round of the perceiver as one operation of compiled loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pointae.nn.half.words import event_parts, words_of
from pointae.nn.loops import array_of, arrays_of
from pointae.nn.loops.part_sums import PartSums
from pointae.threads import side_by_side

_OF_HITS = 3
"""Matrices of hits, before the weights of tokens."""


def whole_round(h: Tensor, tokens: Tensor, starts: Any, weights: Sequence[Tensor], loops: Any) -> tuple[Tensor, Tensor]:
    """What :class:`~pointae.nn.perceiver.TokenRound` does with h and tokens: (N, C), (B, K, D) -> (N, C), (B, K, D).

    Where no gradients are wanted the result takes the place of ``h``.

    Args:
        h: (N, C) bf16, hits of B events one after another.
        tokens: (B, K, D) float32.
        starts: (B + 1,) int64 array, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        weights: float32, in the order of the loops' ``HitWeights`` and ``TokenWeights``.
        loops: the compiled ones.
    """
    result: tuple[Tensor, Tensor] = _Round.apply(h, tokens, starts, torch.is_grad_enabled(), loops, *weights)
    return result


class _Round(Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, tokens: Tensor, starts: Any, keeps: bool, loops: Any, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        (events, count, _), (hits, channels) = tokens.shape, h.shape
        flat = tokens.flatten(0, 1).contiguous()
        out, thought = torch.empty_like(h) if keeps else h, torch.empty_like(flat)
        seen, shares = h.new_empty(events * count, channels), h.new_empty(hits, 2 * count)
        hidden = h.new_empty(hits if keeps else 0, channels)
        given = words_of(h), array_of(flat), starts, *_of_loops(loops, arrays_of(*weights))
        filled = words_of(out), array_of(thought), words_of(seen), words_of(shares), words_of(hidden)
        parts = event_parts(starts, _products(weights))
        side_by_side(lambda part: loops.round_events(*given, *parts[part], *filled), len(parts))
        if keeps:
            ctx.save_for_backward(h, flat, seen, shares, hidden, *weights)
        ctx.starts, ctx.loops = starts, loops
        return out, thought.view_as(tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_tokens: Tensor) -> tuple[Tensor | None, ...]:
        h, flat, seen, shares, hidden, *weights = ctx.saved_tensors
        loops, starts = ctx.loops, ctx.starts
        to_h, to_tokens = torch.empty_like(h), grad_tokens.flatten(0, 1).clone(memory_format=torch.contiguous_format)
        given = words_of(h), array_of(flat), starts, *_of_loops(loops, arrays_of(*weights))
        saved = words_of(seen), words_of(shares), words_of(hidden), words_of(grad), words_of(to_h), array_of(to_tokens)
        parts = event_parts(starts, 2 * _products(weights))
        sums = PartSums(weights, len(parts))

        def work(part: int) -> None:
            loops.round_back(*given, *parts[part], *saved, *_of_loops(loops, sums.of(part)))

        side_by_side(work, len(parts))
        return to_h, to_tokens.view_as(grad_tokens), None, None, None, *sums.gradients()


def _of_loops(loops: Any, arrays: Sequence[Any]) -> tuple[Any, Any]:
    return loops.HitWeights(*arrays[:_OF_HITS]), loops.TokenWeights(*arrays[_OF_HITS:])


def _products(weights: Sequence[Tensor]) -> int:
    """Products of numbers for a hit: with the matrices, and twice with what tokens are told or tell."""
    return sum(weight.numel() for weight in weights[:_OF_HITS]) + weights[0].numel()
