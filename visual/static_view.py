"""Pictures of events with matplotlib: always available, no display needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pointae.runs import write_atomically
from visual.colours import INK
from visual.scene import Layer, Scene, SceneAxis

FRAME = "#B8B8B8"
GRID = "#E6E6E6"
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": FRAME,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
_MARKERS = {"dot": "o", "ring": "o", "diamond": "D"}


def draw_event(scene: Scene) -> Figure:
    """One event: the view in space, the bird's-eye view (time, x) and the detector's face (x, y)."""
    with matplotlib.rc_context(_STYLE):
        figure = _figure((13.0, 6.6), scene.title, scene.caption)
        _draw_space(figure, (0.0, 0.07, 0.56, 0.83), scene)
        x, y, t = scene.axes
        birds_eye = figure.add_axes((0.635, 0.56, 0.345, 0.31))
        _draw_plane(birds_eye, scene, (2, 0), (t, x), "bird's-eye view")
        face = figure.add_axes((0.635, 0.14, 0.345, 0.31))
        _draw_plane(face, scene, (0, 1), (x, y), "detector face")
        _legend(figure, scene.layers)
    return figure


def draw_before_after(before: Scene, after: Scene, caption: str) -> Figure:
    """One event as measured and as cleaned, in space and, below, in the bird's-eye view.

    Args:
        before, after: scenes with layers of the same names.
        caption: what happened between them.
    """
    with matplotlib.rc_context(_STYLE):
        figure = _figure((13.0, 8.2), before.title, caption)
        for i, (scene, name) in enumerate(((before, "measured"), (after, "cleaned"))):
            left = 0.5 * i
            _draw_space(figure, (left, 0.35, 0.48, 0.53), scene)
            hits = sum(len(layer.pos) for layer in scene.layers)
            figure.text(left + 0.25, 0.88, f"{name}: {hits:,} hits", ha="center", fontsize=12)
            plane = figure.add_axes((left + 0.075, 0.115, 0.39, 0.235))
            _draw_plane(plane, scene, (2, 0), (scene.axes[2], scene.axes[0]), "")
        _legend(figure, before.layers, counts=False)
    return figure


def save_picture(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """Write a figure as PNG; the folder is made if need be.

    Raises:
        StorageError: it cannot be written.
    """
    content = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", dpi=dpi)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _figure(size: tuple[float, float], title: str, caption: str) -> Figure:
    figure = Figure(figsize=size)
    figure.text(0.5, 0.965, title, ha="center", va="center", fontsize=13, fontweight="bold")
    figure.text(0.5, 0.925, caption, ha="center", va="center", fontsize=10)
    return figure


def _draw_space(figure: Figure, place: tuple[float, float, float, float], scene: Scene) -> None:
    # Time to the right, x into the depth, y up: the order of Scene.drawn_axes.
    axes: Any = figure.add_axes(place, projection="3d", computed_zorder=False)
    axes.set_box_aspect(scene.box, zoom=1.12)
    axes.view_init(elev=22, azim=-58)
    sides = zip("xyz", scene.drawn_axes, (13, 7, 2), strict=True)
    for letter, axis, pad in sides:
        _scale(getattr(axes, f"set_{letter}lim"), getattr(axes, f"set_{letter}ticks"), axis)
        getattr(axes, f"set_{letter}label")(axis.label, labelpad=pad)
        drawn = getattr(axes, f"{letter}axis")
        drawn.set_pane_color((1, 1, 1, 1))
        drawn._axinfo["grid"].update(color=GRID, linewidth=0.7)
        drawn.line.set_color(FRAME)
    axes.tick_params(labelsize=8, pad=2)
    for depth, layer in enumerate(reversed(scene.layers)):
        x, y, t = layer.pos.T
        axes.scatter(t, x, y, zorder=depth, depthshade=False, **_marker(layer))


def _draw_plane(
    axes: Any, scene: Scene, columns: tuple[int, int], sides: tuple[SceneAxis, SceneAxis], title: str
) -> None:
    for depth, layer in enumerate(reversed(scene.layers)):
        axes.scatter(*(layer.pos[:, i] for i in columns), zorder=2 + depth, **_marker(layer))
    _scale(axes.set_xlim, axes.set_xticks, sides[0])
    _scale(axes.set_ylim, axes.set_yticks, sides[1])
    axes.set_xlabel(sides[0].label)
    axes.set_ylabel(sides[1].label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=FRAME)


def _scale(set_limits: Callable, set_ticks: Callable, axis: SceneAxis) -> None:
    set_limits(axis.low, axis.high)
    values, texts = zip(*axis.ticks(), strict=True)
    set_ticks(values, texts)


def _marker(layer: Layer) -> dict[str, Any]:
    style = layer.style
    # Not clipped: a hit in an outermost bin is as good as any other.
    look: dict[str, Any] = {
        "marker": _MARKERS[style.symbol], "s": style.size**2, "alpha": style.opacity, "clip_on": False,
    }  # fmt: skip
    if style.symbol == "ring":
        return look | {"facecolors": "none", "edgecolors": style.colour, "linewidths": 1.6}
    return look | {"c": style.colour, "linewidths": 0}


def _legend(figure: Figure, layers: Sequence[Layer], counts: bool = True) -> None:
    handles = []
    for layer in layers:
        style = layer.style
        ring = style.symbol == "ring"
        look: dict[str, Any] = {"markerfacecolor": "none" if ring else style.colour, "markeredgecolor": style.colour}
        label = layer.legend if counts else layer.name
        handle = Line2D([], [], linestyle="", marker=_MARKERS[style.symbol], label=label, **look)
        handle.set(markersize=max(style.size, 5.0), markeredgewidth=1.6 if ring else 0.0, alpha=style.opacity)
        handles.append(handle)
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, 0.035), ncols=len(handles), frameon=False, fontsize=10,
        handletextpad=0.2, columnspacing=1.6,
    )  # fmt: skip
