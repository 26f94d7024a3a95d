"""A page of events that any browser can turn around: self-contained, no network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from visual.pages.page import write_html
from visual.scene.layers import Scene


def write_page(scenes: Iterable[Scene], path: Path) -> Path:
    """Write the page of some events, to be stepped through.

    The threshold of hits that were decided by their score can be moved in the page; what is kept and lost, and
    the figures of it, follow.

    Raises:
        StorageError: it cannot be written.
    """
    contents = [scene_content(scene) for scene in scenes]
    body = '<div id="viewer"></div>' if contents else "<p>There are no events.</p>"
    return write_html(path, "pointae events", body, contents, css_class="events")


def scene_content(scene: Scene) -> dict[str, Any]:
    """A scene as JSON, as the page's script reads it: ``x``, ``y``, ``t`` and ``values`` are lists of N."""
    axes = [
        {
            "name": axis.name, "unit": axis.unit, "label": axis.label, "factor": axis.factor,
            "low": axis.low, "high": axis.high, "edge": axis.edge, "ticks": axis.ticks(),
        }
        for axis in scene.axes
    ]  # fmt: skip
    layers = [
        {
            "name": layer.name,
            "legend": layer.legend,
            "shown": layer.at_first,
            "colour": layer.style.colour,
            "size": layer.style.size,
            "symbol": layer.style.symbol,
            "opacity": layer.style.opacity,
            **{name: _numbers(layer.pos[:, i]) for i, name in enumerate("xyt")},
            "colours": None if layer.colours is None else [to_hex(colour) for colour in layer.colours],
            "values": {name: _numbers(value) for name, value in layer.values.items()},
        }
        for layer in scene.layers
    ]
    return {"title": scene.title, "caption": scene.caption, "axes": axes, "layers": layers, "key": scene.key}


def _numbers(values: NDArray) -> list[float | int | None]:
    if not np.issubdtype(values.dtype, np.floating):
        return values.tolist()
    # Seven digits are all that float32 holds; JSON has no nan.
    return [float(f"{value:.7g}") if np.isfinite(value) else None for value in values.tolist()]
