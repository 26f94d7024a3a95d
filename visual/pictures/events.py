"""Pictures of events with matplotlib: always available, no display needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pointae.storage import write_atomically
from visual.colours import INK
from visual.pictures.literal import legend_name, literal_text
from visual.scene.colouring import Key
from visual.scene.layers import Layer, Scene, SceneAxis

FRAME = "#B8B8B8"
GRID = "#E6E6E6"
ELEVATION, AZIMUTH = 22.0, -58.0
"""Where one looks from at first, in degrees."""
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
    scene = scene.shown
    with matplotlib.rc_context(_STYLE):
        figure = _figure((13.0, 6.6), scene.title, scene.caption)
        draw_space(figure, (0.0, 0.09, 0.56, 0.81), scene)
        x, y, t = scene.axes
        birds_eye = figure.add_axes((0.635, 0.575, 0.345, 0.295))
        draw_plane(birds_eye, scene, (2, 0), (t, x), "bird's-eye view")
        face = figure.add_axes((0.635, 0.165, 0.345, 0.295))
        draw_plane(face, scene, (0, 1), (x, y), "detector face")
        draw_legend(figure, scene.layers, scene.key)
    return figure


def draw_panels(panels: Sequence[tuple[str, Scene]], title: str, caption: str) -> Figure:
    """Scenes side by side in space, each with its bird's-eye view (time, x) below.

    Args:
        panels: name and scene of each; the axes are those of the first.
        title: over all.
        caption: below the title.
    """
    count = len(panels)
    width = max(13.0, 4.8 * count)
    zoom = min(1.12, width / count / 4.8)
    with matplotlib.rc_context(_STYLE):
        figure = _figure((width, 8.2), title, caption)
        for i, (name, scene) in enumerate(panels):
            left, share = i / count, 1 / count
            # To the left of the middle: the upright axis is named on the right.
            draw_space(figure, (left - 0.02 * share, 0.375, 0.91 * share, 0.51), scene.shown, zoom)
            hits = sum(len(layer.pos) for layer in scene.shown.layers)
            figure.text(left + share / 2, 0.875, f"{name}: {hits:,} hits", ha="center", fontsize=12)
            plane = figure.add_axes((left + 0.16 * share, 0.135, 0.79 * share, 0.225))
            draw_plane(plane, scene.shown, (2, 0), (scene.axes[2], scene.axes[0]), "")
        layers = {x.name: x for _, scene in panels for x in scene.shown.layers if x.colours is None}
        keys = dict(entry for _, scene in panels for entry in scene.key)
        draw_legend(figure, tuple(layers.values()), tuple(keys.items()), counts=False)
    return figure


def frames(scene: Scene, turns: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
    """The event in space from one side after another, without a display.

    Args:
        scene: what is drawn.
        turns: degrees about the upright axis, from the first view.

    Yields:
        (H, W, 3) pixels.
    """
    scene = scene.shown
    with matplotlib.rc_context(_STYLE):
        figure = _figure((8.4, 6.0), scene.title, scene.caption)
        # Smaller than in a still: seen from some sides the axes' names hang lower.
        axes = draw_space(figure, (0.0, 0.16 if scene.key else 0.13, 1.0, 0.77), scene, zoom=1.0)
        draw_legend(figure, scene.layers, scene.key)
        canvas = FigureCanvasAgg(figure)
        for turn in turns:
            axes.view_init(elev=ELEVATION, azim=AZIMUTH + turn)
            with literal_text(figure):
                canvas.draw()
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_picture(figure: Figure, path: Path, dpi: int = 130) -> Path:
    """Write a figure as PNG; the folder is made if need be.

    Raises:
        StorageError: it cannot be written.
    """
    content = BytesIO()
    FigureCanvasAgg(figure)
    with literal_text(figure):
        figure.savefig(content, format="png", dpi=dpi)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _figure(size: tuple[float, float], title: str, caption: str) -> Figure:
    figure = Figure(figsize=size)
    figure.text(0.5, 0.965, title, ha="center", va="center", fontsize=13, fontweight="bold")
    figure.text(0.5, 0.925, caption, ha="center", va="center", fontsize=10)
    return figure


def draw_space(figure: Figure, place: tuple[float, float, float, float], scene: Scene, zoom: float = 1.12) -> Any:
    """A scene in space, in new axes at ``place`` (left, bottom, width, height in shares of the figure)."""
    # Time to the right, x into the depth, y up: the order of Scene.drawn_axes.
    axes: Any = figure.add_axes(place, projection="3d", computed_zorder=False)
    axes.set_box_aspect(scene.box, zoom=zoom)
    axes.view_init(elev=ELEVATION, azim=AZIMUTH)
    sides = zip("xyz", scene.drawn_axes, (13, 7, 2), strict=True)
    for letter, axis, pad in sides:
        _scale(getattr(axes, f"set_{letter}lim"), getattr(axes, f"set_{letter}ticks"), axis)
        getattr(axes, f"set_{letter}label")(axis.label, labelpad=pad)
        drawn = getattr(axes, f"{letter}axis")
        drawn.set_pane_color((1, 1, 1, 1))
        drawn.pane.set(edgecolor=FRAME, closed=True)
        drawn._axinfo["grid"].update(color=GRID, linewidth=0.7)
        drawn.line.set_color(FRAME)
    axes.tick_params(labelsize=8, pad=2)
    for depth, layer in enumerate(reversed(scene.layers)):
        x, y, t = layer.pos.T
        axes.scatter(t, x, y, zorder=depth, depthshade=False, **_marker(layer))
    return axes


def draw_plane(
    axes: Any, scene: Scene, columns: tuple[int, int], sides: tuple[SceneAxis, SceneAxis], title: str
) -> None:
    """A scene seen along one axis: ``columns`` of its positions over each other, with these ``sides``."""
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
    colour = style.colour if layer.colours is None else layer.colours
    if style.symbol == "ring":
        return look | {"facecolors": "none", "edgecolors": colour, "linewidths": 1.6}
    return look | {"c": colour, "linewidths": 0}


def draw_legend(figure: Figure, layers: Sequence[Layer], key: Key = (), counts: bool = True) -> None:
    """Layers at the figure's foot and, above them, what colours mean."""
    handles = []
    for layer in layers:
        style = layer.style
        # Where colours mean something of their own, a layer is known by its symbol.
        colour = style.colour if layer.colours is None else INK
        handles.append(_handle(layer.legend if counts else layer.name, style.symbol, colour, style.size, style.opacity))
    place = 0.024 if key else 0.035
    _row(figure, handles, place)
    if key:
        _row(figure, [_handle(text, "dot", colour, 6.0) for text, colour in key], place + 0.04)


def _handle(label: str, symbol: str, colour: str, size: float, opacity: float = 1.0) -> Line2D:
    ring = symbol == "ring"
    look: dict[str, Any] = {"markerfacecolor": "none" if ring else colour, "markeredgecolor": colour}
    handle = Line2D([], [], linestyle="", marker=_MARKERS[symbol], label=legend_name(label), **look)
    handle.set(markersize=max(size, 5.0), markeredgewidth=1.6 if ring else 0.0, alpha=opacity)
    return handle


def _row(figure: Figure, handles: list[Line2D], height: float) -> None:
    room = figure.get_size_inches()[0] * 11  # letters of this size, with the gaps between entries
    letters = sum(len(str(handle.get_label())) + 5 for handle in handles)
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(0.5, height), ncols=len(handles), frameon=False,
        fontsize=min(10.0, 10.0 * room / max(letters, 1)), handletextpad=0.2, columnspacing=1.6,
    )  # fmt: skip
