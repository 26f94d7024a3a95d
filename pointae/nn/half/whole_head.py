"""The decoder of hits as one operation of compiled loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pointae.nn.half.words import event_parts, words_of
from pointae.nn.loops import array_of, arrays_of
from pointae.nn.loops.part_sums import PartSums
from pointae.threads import side_by_side


def whole_head(h: Tensor, messages: Tensor, starts: Any, weights: Sequence[Tensor], loops: Any) -> Tensor:
    """What :class:`~pointae.nn.decoders.PerHitDecoder` does with hits: (N, C) -> (N,) logits in float32.

    Args:
        h: (N, C) bf16, hits of B events one after another.
        messages: (B, H) float32, what the first layer adds in each event.
        starts: (B + 1,) int64 array, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        weights: float32, in the order of the loops' ``HeadWeights``.
        loops: the compiled ones.
    """
    result: Tensor = _Head.apply(h, messages, starts, loops, *weights)
    return result


class _Head(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, messages: Tensor, starts: Any, loops: Any, *weights: Tensor) -> Tensor:
        logits = messages.new_empty(len(h))
        given, filled = _given(h, messages, starts, weights, loops), array_of(logits)
        parts = event_parts(starts, _products(weights))
        side_by_side(lambda part: loops.head_events(*given, *parts[part], filled), len(parts))
        ctx.save_for_backward(h, messages, *weights)
        ctx.starts, ctx.loops = starts, loops
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, messages, *weights = ctx.saved_tensors
        loops, starts = ctx.loops, ctx.starts
        to_h, to_messages = h.new_empty(h.shape), messages.new_empty(messages.shape)  # in C order, whatever theirs is
        given, saved = (
            _given(h, messages, starts, weights, loops),
            (array_of(grad), words_of(to_h), array_of(to_messages)),
        )
        parts = event_parts(starts, 3 * _products(weights))
        sums = PartSums(weights, len(parts))

        def work(part: int) -> None:
            loops.head_back(*given, *parts[part], *saved, loops.HeadWeights(*sums.of(part)))

        side_by_side(work, len(parts))
        return to_h, to_messages, None, None, *sums.gradients()


def _given(h: Tensor, messages: Tensor, starts: Any, weights: Sequence[Tensor], loops: Any) -> tuple[Any, ...]:
    return words_of(h), array_of(messages), starts, loops.HeadWeights(*arrays_of(*weights))


def _products(weights: Sequence[Tensor]) -> int:
    """Products of numbers for a hit."""
    return sum(weight.numel() for weight in weights)
