"""How events are looked at: where the score is cut, which times are shown, what colours mean, in which units."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from pointae.errors import DataError, UsageError, unknown_name
from pointae.hits import HitBatch

COLOURS = ("layer", "truth", "score", "time", "track", "kind")
"""What colours can mean, beside any feature of the hits by its name."""


@dataclass(frozen=True)
class Look:
    """A way to look at events; the default is as they are.

    Args:
        threshold: a hit is kept where its score is at least this; ``None``: as was decided.
        window: (from, to) along the time axis, in its drawn unit, both ends included; ``None``: all.
        colour_by: one of :data:`COLOURS`, or the name of a feature; ``None``: the kind of hits that have
            one, else the layer.
        pixels: axes in bin numbers instead of mm and ns.
    """

    threshold: float | None = None
    window: tuple[float, float] | None = None
    colour_by: str | None = None
    pixels: bool = False

    def with_(self, **changes: object) -> Look:
        """The same look with some of it changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def decided(hits: HitBatch, threshold: float | None) -> HitBatch:
    """The hits with ``kept`` where their score reaches ``threshold``; as they are without one.

    Raises:
        DataError: the hits carry no score.
    """
    if threshold is None:
        return hits
    if hits.score is None:
        raise DataError(
            "the hits carry no score to cut at", fix="make one: python tools/denoise.py RUN FILE -o scored.h5"
        )
    return hits.replace(kept=hits.score >= threshold)


def inside(t: Tensor, window: tuple[float, float] | None) -> Tensor:
    """(N,) bool, which of the times ``t`` (N,) are shown.

    Raises:
        UsageError: the window ends before it begins.
    """
    if window is None:
        return t == t
    low, high = window
    if not low <= high:
        raise UsageError(f"the window of times must run upwards, got {low:g} to {high:g}")
    return (t >= low) & (t <= high)


def colours_for(hits: HitBatch) -> tuple[str, ...]:
    """What colours can mean for hits with these fields."""
    needs = {"truth": hits.signal, "score": hits.score, "track": hits.track, "kind": hits.category}
    known = [name for name in COLOURS if name not in needs or needs[name] is not None]
    return (*known, *hits.feature_names)


def colour_of(hits: HitBatch, colour_by: str | None) -> str:
    """What colours mean for these hits.

    Raises:
        ConfigError: the hits have no values for what is asked for; lists what they have.
    """
    if colour_by is None:
        return "layer" if hits.category is None else "kind"
    if colour_by not in colours_for(hits):
        raise unknown_name("colour for these hits", colour_by, colours_for(hits))
    return colour_by


def threshold_of(hits: HitBatch) -> float | None:
    """The score at which the decision of ``hits`` cuts; ``None`` without scores."""
    if hits.score is None:
        return None
    if hits.kept is None or not bool(hits.kept.any()):
        return 0.5
    return float(hits.score[hits.kept].min())
