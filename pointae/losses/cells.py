"""What a loss over cells compares: for each kind of output its natural truth, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pointae.errors import ConfigError, DataError
from pointae.hits import HitBatch
from pointae.images import embed_tof, gapped_normalise
from pointae.nn.outputs import HitLogits, Output, TofImage, Volume
from pointae.voxels import Triple, coarse_shape, voxel_indices


@dataclass(frozen=True)
class Cells:
    """A prediction beside its truth.

    Args:
        p: prediction in [0, 1], any shape; float32, or float64 where the network is.
        y: truth in [0, 1], the same shape and dtype; 0 = no hit here.
        logits: where p = sigmoid(logits); ``None`` where the network gives p itself.
    """

    p: Tensor
    y: Tensor
    logits: Tensor | None = None


def widen(value: Tensor) -> Tensor:
    """At least float32: sums over a batch are wrong in half precision."""
    return value if value.dtype == torch.float64 else value.float()


def cells_of(loss: str, output: Output, hits: HitBatch, target: HitBatch) -> Cells:
    """The cells of an output and what should be in them.

    ========= ================================== =========================================
    output    prediction                         truth
    ========= ================================== =========================================
    HitLogits sigmoid(logits), (N,)              ``hits.signal``
    Volume    sigmoid(logits), (B, 1, X, Y, T)   whether ``target`` has a hit in the voxel
    TofImage  image, (B, 1, Y, X)                ``target`` with embedded ToF, gapped
    ========= ================================== =========================================

    Args:
        loss: name of the loss that asks, for the message.
        output: what the network gave.
        hits: what it was given.
        target: what it should have produced.

    Raises:
        ConfigError: points have no cells.
        DataError: a per-hit output, but ``hits`` carry no truth.
    """
    if isinstance(output, HitLogits):
        logits = widen(output.logits)
        return Cells(logits.sigmoid(), truth_of(hits).to(logits), logits)
    if isinstance(output, Volume):
        logits = widen(output.logits)
        return Cells(logits.sigmoid(), occupancy(target, output.stride).to(logits), logits)
    if isinstance(output, TofImage):
        image = widen(output.image)
        steps = target.geometry.spatial_shape[2]
        return Cells(image, gapped_normalise(embed_tof(target)[0], steps, output.gap).to(image))
    raise misfit(loss, output, (HitLogits, Volume, TofImage))


def truth_of(hits: HitBatch) -> Tensor:
    """(N,) bool, which hits are signal.

    Raises:
        DataError: the hits carry no truth.
    """
    if hits.signal is None:
        raise DataError("hits carry no truth ('signal')", fix="train and evaluate on labelled hits")
    return hits.signal


def occupancy(hits: HitBatch, stride: Triple) -> Tensor:
    """(B, 1, X, Y, T) bool, the voxels of ``stride`` cells that hold a hit; nothing finer is allocated."""
    volume = torch.zeros(
        hits.batch_size, 1, *coarse_shape(hits.geometry.spatial_shape, stride), dtype=torch.bool, device=hits.device
    )
    batch, x, y, t = voxel_indices(hits, stride).long().unbind(1)
    volume[batch, 0, x, y, t] = True
    return volume


def misfit(loss: str, output: object, fitting: tuple[type, ...]) -> ConfigError:
    """The error for a loss that cannot judge an output of this type; names those that it can."""
    names = ", ".join(kind.__name__ for kind in fitting)
    return ConfigError(f"loss '{loss}' does not fit a {type(output).__name__}", fix=f"it fits: {names}")
