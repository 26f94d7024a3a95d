"""Colours that mean something: truth, score, time, track or a feature of each hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visual.colours import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, rgb

TRACKS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
"""Colours of tracks 0, 1, ..., again from the first after the last."""
KIND_COLOURS = (VERMILLION, BLUE, GREEN, PURPLE)
"""Of category 1, 2, 3, 4; further ones begin again."""
STEPS = 5
"""Entries of the key of a colour scale."""
_BRIGHTEST = 0.9
"""Where the colour map, which ends dark for much, begins: the tenth before is too light for white paper."""

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Colouring:
    """What colours mean in a scene.

    Args:
        by: ``"layer"``, ``"truth"``, ``"score"``, ``"time"``, ``"track"``, ``"kind"`` or a feature's name.
        low, high: ends of the scale, where it is one.
        unit: of the scale's numbers.
        factor: what these are divided by, as along an axis.
        kinds: names of category 1, 2, ...
    """

    by: str = "layer"
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    factor: float = 1.0
    kinds: tuple[str, ...] = ()

    def colours(self, pos: NDArray, values: Mapping[str, NDArray]) -> NDArray[np.float32] | None:
        """(N, 3) red, green and blue in [0, 1] of hits; ``None`` where the layer's own colour stays.

        Args:
            pos: (N, 3), positions along (x, y, t).
            values: (N,) each, by name.
        """
        if self.by == "truth" and "signal" in values:
            return _table(VERMILLION, GREY)[np.where(values["signal"], 0, 1)]
        if self.by == "track" and "track" in values:
            track = values["track"].astype(np.int64)
            return _table(*TRACKS, GREY)[np.where(track < 0, len(TRACKS), track % len(TRACKS))]
        if self.by == "kind" and "category" in values:
            kind = values["category"].astype(np.int64)
            return _table(*KIND_COLOURS, GREY)[np.where(kind < 1, len(KIND_COLOURS), (kind - 1) % len(KIND_COLOURS))]
        scaled = pos[:, 2] if self.by == "time" else values.get(self.by)
        if self.by in ("layer", "truth", "track", "kind") or scaled is None:
            return None
        return scale_colours((scaled.astype(np.float64) - self.low) / max(self.high - self.low, 1e-12))

    def key(self, tracks: NDArray | None = None) -> Key:
        """Texts and colours that say what is meant; none for ``"layer"``.

        Args:
            tracks: numbers of the tracks that there are, -1 for noise.
        """
        if self.by == "truth":
            return (("true signal", VERMILLION), ("true noise", GREY))
        if self.by == "track":
            found = sorted({-1, *np.unique(tracks).tolist()} if tracks is not None else {-1})
            named = [(f"track {n}", TRACKS[n % len(TRACKS)]) for n in found if n >= 0]
            return (*named[: 2 * len(TRACKS)], ("no track", GREY))
        if self.by == "kind":
            return tuple((name, KIND_COLOURS[i % len(KIND_COLOURS)]) for i, name in enumerate(self.kinds))
        if self.by == "layer":
            return ()
        marks = np.linspace(self.low, self.high, STEPS)
        colours = [_hex(colour) for colour in scale_colours(np.linspace(0, 1, STEPS))]
        texts = [f"{mark / self.factor:.4g}{self.unit and ' ' + self.unit}" for mark in marks]
        return tuple((f"{self.by} {text}", colour) for text, colour in zip(texts, colours, strict=True))


def scale_colours(share: NDArray) -> NDArray[np.float32]:
    """(N, 3) colours of shares of a scale, clipped to [0, 1]; nan is grey.

    Viridis, which colour-blind readers can order (Smith and van der Walt, https://bids.github.io/colormap/).
    """
    from matplotlib import colormaps

    known = np.isfinite(share)
    drawn = colormaps["viridis"]((1 - np.clip(np.where(known, share, 0), 0, 1)) * _BRIGHTEST)[:, :3]
    return np.where(known[:, None], drawn, rgb(GREY)).astype(np.float32)


def _table(*colours: str) -> NDArray[np.float32]:
    return np.array([rgb(colour) for colour in colours], np.float32)


def _hex(colour: NDArray) -> str:
    return "#" + "".join(f"{round(float(part) * 255):02X}" for part in colour)
