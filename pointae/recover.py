"""From what a network says to what is kept: the measured hits with a score and a decision."""

from __future__ import annotations

from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch


def recover(hits: HitBatch, logits: Tensor, threshold: float) -> HitBatch:
    """Score every hit and decide which are kept; ``hits.select(hits.kept)`` then cuts.

    Args:
        hits: N measured hits; x, y and time stay exactly as they are.
        logits: (N,), above 0 means signal.
        threshold: a hit is kept where its score is at least this.

    Returns:
        The hits with ``score`` (sigmoid in float32) and ``kept``.

    Raises:
        DataError: ``logits`` do not match the hits, or are not finite.
    """
    if logits.shape != (hits.num_hits,):
        raise DataError(f"logits must be ({hits.num_hits},), one a hit, got {tuple(logits.shape)}")
    score = logits.detach().float().sigmoid()
    if not bool(score.isfinite().all()):
        raise DataError("the network gave scores that are not finite")
    return hits.replace(score=score, kept=score >= threshold)
