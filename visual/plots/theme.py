"""Light and dark paper for curves and charts; the colours of data are the same on both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visual.colours import INK


@dataclass(frozen=True)
class Theme:
    """What lies around the data.

    Args:
        name: ``"light"`` or ``"dark"``.
        paper, ink, frame, grid: colours, ``"#RRGGBB"``; ink is text, and the colour of the oracle.
    """

    name: str
    paper: str
    ink: str
    frame: str
    grid: str

    @property
    def style(self) -> Any:
        """matplotlib settings of every curve and chart."""
        return {
            "font.family": "DejaVu Sans", "font.size": 10, "text.color": self.ink, "axes.labelcolor": self.ink,
            "axes.edgecolor": self.frame, "xtick.color": self.ink, "ytick.color": self.ink, "axes.grid": True,
            "axes.axisbelow": True, "grid.color": self.grid, "axes.spines.top": False, "axes.spines.right": False,
            "legend.frameon": False, "figure.facecolor": self.paper, "axes.facecolor": self.paper,
        }  # fmt: skip

    def file_name(self, name: str) -> str:
        """``curves.png`` on light paper, ``curves_dark.png`` on dark."""
        return f"{name}.png" if self == LIGHT else f"{name}_{self.name}.png"

    @staticmethod
    def table_beside(picture: Path, part: str = "") -> Path:
        """The CSV of a picture's numbers, or of a part of them: the same one for both papers."""
        name = picture.stem.removesuffix(f"_{DARK.name}")
        return picture.with_name(f"{name}_{part}.csv" if part else f"{name}.csv")


LIGHT = Theme("light", "#FFFFFF", INK, "#B8B8B8", "#E6E6E6")
DARK = Theme("dark", "#16191D", "#E3E3E3", "#6B7178", "#2B3138")
THEMES = (LIGHT, DARK)
