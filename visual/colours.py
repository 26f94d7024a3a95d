"""Colours that colour-blind readers can tell apart (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""

from __future__ import annotations

from dataclasses import dataclass

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#9A9A9A"
INK = "#333333"
"""Text and frames."""


@dataclass(frozen=True)
class Style:
    """How a layer is drawn.

    Args:
        colour: ``"#RRGGBB"``.
        size: diameter of a hit in points.
        symbol: ``"dot"``, ``"ring"`` or ``"diamond"``, so that colour is never the only difference;
            renderers without symbols draw dots.
        opacity: in (0, 1].
    """

    colour: str
    size: float
    symbol: str = "dot"
    opacity: float = 1.0


STYLES = {
    "input": Style(BLUE, 4.5, opacity=0.85),
    "signal": Style(VERMILLION, 6.5),
    "noise": Style(GREY, 3.5, opacity=0.75),
    "kept": Style(VERMILLION, 6.5),
    "removed": Style(GREY, 3.5, opacity=0.75),
    "kept signal": Style(VERMILLION, 6.5),
    "lost signal": Style(BLUE, 7.5, "ring"),
    "surviving noise": Style(BLACK, 5.0, "diamond"),
    "removed noise": Style(GREY, 3.5, opacity=0.6),
    "reconstructed": Style(PURPLE, 3.0, "diamond", opacity=0.5),
    "oracle": Style(GREEN, 8.5, "ring"),
    "smeared": Style(ORANGE, 5.0, opacity=0.85),
    "thinned": Style(GREEN, 5.0, opacity=0.85),
    "full pattern": Style(SKY, 3.0, opacity=0.7),
}
"""The style of every layer, by its name. Signal is warm, noise without colour, mistakes stand out."""


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue in [0, 1] of a ``"#RRGGBB"``."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return (red, green, blue)
