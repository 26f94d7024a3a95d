"""All rounds of the perceiver as one operation of compiled loops: a thread takes its events through all of them."""

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


def whole_rounds(
    h: Tensor, tokens: Tensor, starts: Any, weights: Sequence[Sequence[Tensor]], loops: Any
) -> tuple[Tensor, Tensor]:
    """What several :class:`~pointae.nn.perceiver.TokenRound` do: (N, C), (B, K, D) -> (N, C), (B, K, D).

    Where no gradients are wanted the result takes the place of ``h``.

    Args:
        h: (N, C) bf16, hits of B events one after another.
        tokens: (B, K, D) float32.
        starts: (B + 1,) int64 array, hits of event b are ``starts[b]`` to ``starts[b + 1] - 1``.
        weights: of each round, float32, in the order of the loops' ``HitWeights`` and ``TokenWeights``.
        loops: the compiled ones.
    """
    flat = [weight for of_round in weights for weight in of_round]
    result: tuple[Tensor, Tensor] = _Rounds.apply(
        h, tokens, starts, torch.is_grad_enabled(), len(weights), loops, *flat
    )
    return result


class _Rounds(Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, tokens: Tensor, starts: Any, keeps: bool, rounds: int, loops: Any, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        (events, count, _), (hits, channels) = tokens.shape, h.shape
        hs, thoughts, kept, calls = [h.contiguous()], [tokens.flatten(0, 1).contiguous()], [], []
        own = _each(arrays_of(*weights), rounds)
        for of_round in own:
            seen, shares = h.new_empty(events * count, channels), h.new_empty(hits, 2 * count)
            hidden = h.new_empty(hits if keeps else 0, channels)
            given = words_of(hs[-1]), array_of(thoughts[-1]), starts, *_of_loops(loops, of_round)
            hs.append(torch.empty_like(hs[0]) if keeps else hs[0])
            thoughts.append(torch.empty_like(thoughts[0]))
            kept += [seen, shares, hidden]
            calls.append((given, (words_of(hs[-1]), array_of(thoughts[-1]), *map(words_of, kept[-3:]))))
        parts = event_parts(starts, rounds * _products(weights))

        def work(part: int) -> None:
            for given, filled in calls:
                loops.round_events(*given, *parts[part], *filled)

        side_by_side(work, len(parts))
        if keeps:
            ctx.save_for_backward(*hs[:-1], *thoughts[:-1], *kept, *weights)
        ctx.starts, ctx.own, ctx.loops = starts, own, loops
        return hs[-1], thoughts[-1].view_as(tokens)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_tokens: Tensor) -> tuple[Tensor | None, ...]:
        starts, own, loops, saved = ctx.starts, ctx.own, ctx.loops, ctx.saved_tensors
        rounds = len(own)
        hs, thoughts, weights = saved[:rounds], saved[rounds : 2 * rounds], saved[5 * rounds :]
        grads = [*(torch.empty_like(h) for h in hs), grad]
        to_tokens = grad_tokens.flatten(0, 1).clone(memory_format=torch.contiguous_format)
        kept = _each(saved[2 * rounds : 5 * rounds], rounds)
        calls = []
        for i, (h, thought) in enumerate(zip(hs, thoughts, strict=True)):
            given = words_of(h), array_of(thought), starts, *_of_loops(loops, own[i])
            of_grads = words_of(grads[i + 1]), words_of(grads[i]), array_of(to_tokens)
            calls.append((given, (*map(words_of, kept[i]), *of_grads)))
        parts = event_parts(starts, 2 * rounds * _products(weights))
        sums = PartSums(weights, len(parts))

        def work(part: int) -> None:
            of_part = _each(sums.of(part), rounds)
            for (given, others), of_round in zip(reversed(calls), reversed(of_part), strict=True):
                loops.round_back(*given, *parts[part], *others, *_of_loops(loops, of_round))

        side_by_side(work, len(parts))
        return grads[0], to_tokens.view_as(grad_tokens), None, None, None, None, *sums.gradients()


def _each(values: Sequence[Any], rounds: int) -> list[Sequence[Any]]:
    """What belongs to each round, of values of one after another."""
    count = len(values) // rounds
    return [values[i * count : (i + 1) * count] for i in range(rounds)]


def _of_loops(loops: Any, arrays: Sequence[Any]) -> tuple[Any, Any]:
    return loops.HitWeights(*arrays[:_OF_HITS]), loops.TokenWeights(*arrays[_OF_HITS:])


def _products(weights: Sequence[Tensor]) -> int:
    """Products of numbers for a hit in a round: with the matrices, and twice with what tokens are told or tell."""
    return sum(weight.numel() for weight in weights[:_OF_HITS]) + weights[0].numel()
