"""Losses over cells: of measured hits, of a volume, of an image.

p is the prediction, y the truth; "hits" are the cells with y != 0, "rest" those with y = 0,
pooled over the batch. Every mean of nothing is a zero that still has a gradient path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from pointae.errors import ConfigError
from pointae.hits import HitBatch
from pointae.losses.cells import Cells, cells_of
from pointae.nn.outputs import HitLogits, Output

Reduction = Literal["mean", "sum"]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def squared_error(cells: Cells) -> Tensor:
    """(p - y)^2 of each cell."""
    return (cells.p - cells.y).square()


def absolute_error(cells: Cells) -> Tensor:
    """abs(p - y) of each cell."""
    return (cells.p - cells.y).abs()


def cross_entropy(cells: Cells) -> Tensor:
    """- y log p - (1 - y) log(1 - p) of each cell; y between 0 and 1 is legal."""
    # The kernels that take p are refused under autocast; everything here is wide already.
    with torch.autocast(cells.p.device.type, enabled=False):
        if cells.logits is not None:
            return functional.binary_cross_entropy_with_logits(cells.logits, cells.y, reduction="none")
        return functional.binary_cross_entropy(cells.p, cells.y, reduction="none")


ERRORS: dict[str, Callable[[Cells], Tensor]] = {"mse": squared_error, "mae": absolute_error, "bce": cross_entropy}
"""Errors of one cell, by the name of the loss that averages them."""

ErrorName = Literal["mse", "mae", "bce"]


def mse(output: Output, hits: HitBatch, target: HitBatch, *, reduction: Reduction = "mean") -> Tensor:
    """Mean (or sum) of (p - y)^2 over all cells of the batch.

    Args:
        output: HitLogits, Volume or TofImage; what p and y are says :func:`~pointae.losses.cells.cells_of`.
        hits: the network's input.
        target: the hits that it should have produced.
        reduction: ``"mean"`` or ``"sum"``.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output has no cells.
    """
    return _reduce(squared_error(cells_of("mse", output, hits, target)), reduction)


def mae(output: Output, hits: HitBatch, target: HitBatch, *, reduction: Reduction = "mean") -> Tensor:
    """Mean (or sum) of abs(p - y) over all cells of the batch; arguments as of :func:`mse`."""
    return _reduce(absolute_error(cells_of("mae", output, hits, target)), reduction)


def bce(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    balance: bool = False,
    hit_weight: Weight = 1.0,
    rest_weight: Weight = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Binary cross-entropy, - y log p - (1 - y) log(1 - p).

    Args:
        output, hits, target: as of :func:`mse`.
        balance: take the mean over hits and the mean over the rest apart and add them, so that few
            occupied voxels weigh as much as many empty ones.
        hit_weight, rest_weight: of the cells, or with ``balance`` of the two means.
        reduction: ``"mean"`` or ``"sum"``.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output has no cells.
    """
    cells = cells_of("bce", output, hits, target)
    return _by_class(cross_entropy(cells), cells, hit_weight, rest_weight, reduction, balance)


def focal(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    gamma: Weight = 2.0,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.25,
    balance: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal loss: cross-entropy times ``abs(y - p) ** gamma``, so that easy cells count less.

    From Lin et al., `Focal Loss for Dense Object Detection <https://arxiv.org/abs/1708.02002>`_;
    for y between 0 and 1 as in `Generalized Focal Loss <https://arxiv.org/abs/2006.04388>`_.

    Args:
        output, hits, target: as of :func:`mse`.
        gamma: 0, or at least 1 (between them the gradient of a perfect cell is infinite).
        alpha: weight of hits; the rest weighs 1 - alpha.
        balance: as of :func:`bce`.
        reduction: ``"mean"`` or ``"sum"``.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output has no cells, or ``gamma`` between 0 and 1.
    """
    if 0 < gamma < 1:
        raise ConfigError(f"gamma of loss 'focal' must be 0 or at least 1, got {gamma}")
    cells = cells_of("focal", output, hits, target)
    error = (cells.y - cells.p).abs() ** gamma * cross_entropy(cells)
    return _by_class(error, cells, alpha, 1 - alpha, reduction, balance)


def acb_mse(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    hit_weight: Weight = 1.0,
    rest_weight: Weight = 1.0,
    cells: Annotated[int, Field(ge=1)] | None = None,
) -> Tensor:
    """Automatically class-balanced MSE: ``w_h mean((p - y)^2 over hits) + w_z mean((p - y)^2 over the rest)``.

    Args:
        output, hits, target: as of :func:`mse`.
        hit_weight: w_h.
        rest_weight: w_z.
        cells: HitLogits only: cells that an event has on the detector (its pixels, or all of its
            grid). Those without a hit count as p = y = 0, which makes the loss that of the dense
            prediction masked to the hits' cells. ``None``: the measured hits are all there is.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output has no cells, or ``cells`` for an output that knows its own.
    """
    if cells is not None and not isinstance(output, HitLogits):
        raise ConfigError(f"option 'cells' of loss 'acb_mse' is for HitLogits; a {type(output).__name__} has its own")
    compared = cells_of("acb_mse", output, hits, target)
    num_cells = None if cells is None else cells * hits.batch_size
    return class_balanced_mse(compared.p, compared.y, hit_weight, rest_weight, num_cells)


def class_balanced_mse(
    p: Tensor, y: Tensor, hit_weight: float = 1.0, rest_weight: float = 1.0, num_cells: int | None = None
) -> Tensor:
    """The formula of :func:`acb_mse`.

    Args:
        p, y: prediction and truth of the listed cells, equal shapes.
        hit_weight, rest_weight: w_h and w_z.
        num_cells: cells of the whole batch; those not listed count as p = y = 0. ``None``: all are listed.

    Returns:
        0-d.
    """
    error = (p - y).square()
    is_hit = y != 0
    num_hits = is_hit.sum()
    # Several hits may share a cell: there can be more of them than cells.
    num_rest = torch.clamp((is_hit.numel() if num_cells is None else num_cells) - num_hits, min=0)
    num_rest = torch.maximum(num_rest, is_hit.numel() - num_hits)
    hit_mean = (error * is_hit).sum() / num_hits.clamp(min=1)
    rest_mean = (error * ~is_hit).sum() / num_rest.clamp(min=1)
    return hit_weight * hit_mean + rest_weight * rest_mean


def split(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    on_hits: ErrorName = "mse",
    on_rest: ErrorName = "bce",
    hit_weight: Weight = 1.0,
    rest_weight: Weight = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """One loss for hits and one for the rest: ``w_h L_h + w_z L_z``.

    Args:
        output, hits, target: as of :func:`mse`.
        on_hits: error of the cells with y != 0: ``"mse"``, ``"mae"`` or ``"bce"``.
        on_rest: error of the cells with y = 0.
        hit_weight, rest_weight: w_h and w_z.
        reduction: of each class, ``"mean"`` or ``"sum"``.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output has no cells.
    """
    cells = cells_of("split", output, hits, target)
    error = torch.where(cells.y != 0, ERRORS[on_hits](cells), ERRORS[on_rest](cells))
    return _by_class(error, cells, hit_weight, rest_weight, reduction, balance=True)


def _by_class(
    error: Tensor, cells: Cells, hit_weight: float, rest_weight: float, reduction: Reduction, balance: bool
) -> Tensor:
    is_hit = cells.y != 0
    if balance and reduction == "mean":
        on_hits = (error * is_hit).sum() / is_hit.sum().clamp(min=1)
        on_rest = (error * ~is_hit).sum() / (~is_hit).sum().clamp(min=1)
        return hit_weight * on_hits + rest_weight * on_rest
    return _reduce(torch.where(is_hit, hit_weight * error, rest_weight * error), reduction)


def _reduce(error: Tensor, reduction: Reduction) -> Tensor:
    return error.sum() if reduction == "sum" else error.sum() / max(error.numel(), 1)
