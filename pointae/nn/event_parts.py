"""A network on the events of a batch in parts, each on a thread of its own.

Many small operations share two threads badly: each waits for both to wake and to end. Events have
nothing to do with one another, so a thread can go through all operations with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pointae.hits import HitBatch
from pointae.threads import each_alone

Work = Callable[[HitBatch], tuple[Tensor, ...]]


def parts_of_events(hits: HitBatch, least: int) -> int:
    """In how many parts to cut a batch: as many as torch has threads, of at least so many hits each; on a GPU one."""
    if hits.device.type != "cpu" or hits.features.requires_grad:
        return 1
    return max(1, min(torch.get_num_threads(), hits.num_hits // least, hits.batch_size))


def in_parts(work: Work, hits: HitBatch, parameters: Iterable[Tensor], parts: int) -> tuple[Tensor, ...]:
    """``work(hits)``, done on parts of consecutive events side by side.

    A parameter's gradient is the sum of those of the parts in their order, so results repeat with
    the same number of parts.

    Args:
        work: tensors from a batch, the rows of each in the order of the events that they belong to.
        hits: N hits of B events.
        parameters: what ``work`` computes with.
        parts: into how many to cut, 1 to B.
    """
    edges = [round(part / parts * hits.batch_size) for part in range(parts + 1)]
    pieces = [hits.events(slice(first, last)) for first, last in pairwise(edges)]
    trained = [parameter for parameter in parameters if parameter.requires_grad] if torch.is_grad_enabled() else []
    if trained:
        return _InParts.apply(work, pieces, *trained)
    return _joined(_made(work, pieces, grad=False))


class _InParts(Function):
    """Each part has a graph of its own, that its thread goes back through."""

    @staticmethod
    def forward(ctx: Any, work: Work, pieces: Sequence[HitBatch], *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.made, ctx.parameters = _made(work, pieces, grad=True), parameters
        return _joined([tuple(tensor.detach() for tensor in tensors) for tensors in ctx.made])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        made, ctx.made = ctx.made, None  # goes as it is used
        sizes = [[len(tensor) for tensor in same] for same in zip(*made, strict=True)]
        given = list(zip(*(grad.split(size) for grad, size in zip(grads, sizes, strict=True)), strict=True))
        own: list[Any] = [()] * len(made)

        def differentiate(part: int) -> None:
            own[part] = torch.autograd.grad(made[part], ctx.parameters, given[part], allow_unused=True)

        each_alone(differentiate, len(made))
        return None, None, *(_summed(same) for same in zip(*own, strict=True))


def _made(work: Work, pieces: Sequence[HitBatch], grad: bool) -> list[tuple[Tensor, ...]]:
    """Of each part what ``work`` makes, under this thread's autocast."""
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    made: list[tuple[Tensor, ...]] = [()] * len(pieces)

    def make(part: int) -> None:
        with torch.set_grad_enabled(grad), torch.autocast("cpu", autocast[1], enabled=autocast[0]):
            made[part] = work(pieces[part])

    each_alone(make, len(pieces))
    return made


def _joined(made: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(same) for same in zip(*made, strict=True))


def _summed(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of those of the parts; ``None``: no part used the parameter."""
    told = [gradient for gradient in gradients if gradient is not None]
    return reduce(torch.add, told) if told else None
