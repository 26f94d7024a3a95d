"""Pictures of a latent space: planes coloured by what is known, clusters, and patterns side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pointae.hits import HitBatch
from pointae.robots import KINDS
from visual.colours import BLACK, BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION
from visual.pictures.events import save_picture
from visual.pictures.literal import legend_name
from visual.plots.theme import LIGHT
from visual.scene.colouring import KIND_COLOURS

if TYPE_CHECKING:
    from pointae.analysis.latent.clusters import Clusters
    from pointae.analysis.latent.codes import Meaning
    from pointae.analysis.latent.report import LatentReport, Sheet

LABEL_COLOURS = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY, BLACK, "#8C564B", "#BCBD22", "#17BECF", "#7F3C8D", GREY)
"""Of the values that a meaning can have, in order; the commonest categories come first."""
CUBES_UP_TO = 32
"""Cells of a grid's longest axis up to which hits are drawn as cubes."""
_SCALE = "viridis"


def draw_latent(report: LatentReport, folder: Path) -> list[Path]:
    """Draw all of a report; the numbers lie beside as CSV.

    Args:
        report: of a run.
        folder: of the PNG files.

    Raises:
        StorageError: one cannot be written.
    """
    paths = [
        draw_planes(report, folder / "codes.png"),
        draw_clusters(report.clusters, report.projections[0].method.upper(), folder / "clusters.png"),
    ]
    return paths + [draw_sheet(sheet, folder / f"{sheet.name}.png") for sheet in report.sheets]


def draw_planes(report: LatentReport, out: Path) -> Path:
    """Validation events in each plane, coloured by each meaning and by cluster, over the training events in grey."""
    meanings = report.validation.meanings
    columns = len(meanings) + 1
    with matplotlib.rc_context(LIGHT.style):
        figure = Figure(figsize=(3.9 * columns, 0.9 + 3.6 * len(report.projections)), layout="constrained")
        grid = figure.subplots(len(report.projections), columns, squeeze=False)
        for row, projection in zip(grid, report.projections, strict=True):
            for axes in row:
                axes.scatter(*projection.train.T, s=1.5, c="#D9D9D9", linewidths=0, rasterized=True)
                axes.set_xlabel(projection.axes[0])
                axes.grid(visible=False)
            row[0].set_ylabel(projection.axes[1])
            points = projection.validation
            for axes, meaning in zip(row, meanings, strict=False):
                _scatter(figure, axes, points, meaning)
            axes = row[-1]
            axes.scatter(*points.T, s=5, c=_cluster_colours(report.clusters.labels), linewidths=0)
        for axes, name in zip(grid[0], [*(meaning.name for meaning in meanings), "cluster"], strict=True):
            axes.set_title(name)
        figure.suptitle(
            f"{report.name}: {len(points):,} validation events in {report.validation.codes.shape[1]} dimensions; "
            f"grey: {len(report.train.names):,} training events"
        )
    return save_picture(figure, out)


def draw_clusters(clusters: Clusters, plane: str, out: Path) -> Path:
    """Inertia with its elbow, and silhouettes, against the number of clusters; ``plane`` is the projection's name."""
    counts = [row["clusters"] for row in clusters.rows]
    with matplotlib.rc_context(LIGHT.style):
        figure = Figure(figsize=(10, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, name, label in ((left, "inertia", "inertia per training code"), (right, "silhouette", "silhouette")):
            for key, words, colour, marker in (
                (name, "whole space", BLUE, "o"), (f"plane_{name}", f"{plane} plane", ORANGE, "s"),
            ):  # fmt: skip
                axes.plot(counts, [row[key] for row in clusters.rows], color=colour, marker=marker, label=words)
            axes.set_xlabel("clusters")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_ylim(bottom=0)
        left.axvline(clusters.elbow, color=INK, linestyle="--", linewidth=1, label=f"elbow: {clusters.elbow}")
        left.legend()
        right.legend()
    return save_picture(figure, out)


def draw_sheet(sheet: Sheet, out: Path) -> Path:
    """Patterns side by side in 3D, a colour a category."""
    rows = len(sheet.rows)
    columns = len(sheet.titles) // rows
    with matplotlib.rc_context(LIGHT.style):
        figure = Figure(figsize=(0.5 + 2.3 * columns, 1.05 + 2.3 * rows))
        top = 1 - 0.34 / figure.get_figheight()
        figure.text(0.5, top, sheet.title, ha="center", fontsize=12, fontweight="bold")
        bottom, height = 0.56 / figure.get_figheight(), 2.3 / figure.get_figheight()
        left, width = 0.3 / figure.get_figwidth(), 2.3 / figure.get_figwidth()
        for panel, title in enumerate(sheet.titles):
            row, column = divmod(panel, columns)
            low = bottom + (rows - 1 - row) * height
            axes: Any = figure.add_axes((left + column * width, low, width, 0.9 * height), projection="3d")
            _draw_hits(axes, sheet.hits.events([panel]))
            axes.set_title(title, fontsize=9, y=0.97)
            if column == 0 and sheet.rows[row]:
                middle = low + 0.43 * height
                figure.text(
                    0.12 / figure.get_figwidth(), middle, sheet.rows[row], rotation=90, va="center", ha="center"
                )
        kinds = _kinds_of(sheet.hits)
        if kinds:
            handles = [Patch(color=_kind_colour(kind), label=_kind_name(kind)) for kind in kinds]
            figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=10)
    return save_picture(figure, out)


def _scatter(figure: Figure, axes: Any, points: NDArray, meaning: Meaning) -> None:
    if not meaning.labels:
        drawn = axes.scatter(*points.T, s=5, c=meaning.values, cmap=_SCALE, linewidths=0)
        figure.colorbar(drawn, ax=axes, shrink=0.8)
        return
    present = [label for label in meaning.labels if (meaning.values == label).any()]
    colours = {label: LABEL_COLOURS[meaning.labels.index(label) % len(LABEL_COLOURS)] for label in present}
    axes.scatter(*points.T, s=5, c=[colours[label] for label in meaning.values], linewidths=0)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=colours[label], label=legend_name(label)) for label in present
    ]
    # White behind it: points may lie below.
    axes.legend(handles=handles, fontsize=8, handletextpad=0.1, borderpad=0.2, frameon=True, edgecolor="none")


def _cluster_colours(labels: NDArray) -> list[str]:
    return [LABEL_COLOURS[label % len(LABEL_COLOURS)] for label in labels.tolist()]


def _draw_hits(axes: Any, hits: HitBatch) -> None:
    """One event in its grid: cubes where cells can be seen, points where they cannot."""
    shape = hits.geometry.spatial_shape
    coords = hits.coords.numpy()
    colours = [_kind_colour(kind) for kind in _categories(hits)]
    if max(shape) <= CUBES_UP_TO and len(coords):
        axes.bar3d(*coords.T, 1, 1, 1, color=colours, edgecolor="white", linewidth=0.3, shade=True)
    elif len(coords):
        axes.scatter(*(coords.T + 0.5), s=4, c=colours, linewidths=0)
    ends = zip("xyz", shape, hits.geometry.axes, strict=True)
    for letter, cells, axis in ends:
        getattr(axes, f"set_{letter}lim")(0, cells)
        getattr(axes, f"set_{letter}ticks")([0.5, cells / 2, cells - 0.5], ["0", "", str(cells - 1)])
        getattr(axes, f"set_{letter}label")(axis.name, labelpad=-12, fontsize=8)
        drawn = getattr(axes, f"{letter}axis")
        drawn.set_pane_color((1, 1, 1, 1))
        drawn._axinfo["grid"].update(color="#E6E6E6", linewidth=0.6)
    axes.tick_params(labelsize=7, pad=-4)
    axes.view_init(elev=22, azim=-58)
    axes.set_box_aspect((1, 1, 1), zoom=1.15)


def _categories(hits: HitBatch) -> Sequence[int]:
    return [0] * hits.num_hits if hits.category is None else hits.category.tolist()


def _kinds_of(hits: HitBatch) -> list[int]:
    """Categories for the legend: all of robots, else those that there are."""
    if hits.category is None:
        return []
    found = np.unique(hits.category.numpy()).tolist()
    return list(range(1, len(KINDS) + 1)) if hits.geometry.name == "robots" else found


def _kind_colour(kind: int) -> str:
    return VERMILLION if kind < 1 else KIND_COLOURS[(kind - 1) % len(KIND_COLOURS)]


def _kind_name(kind: int) -> str:
    return KINDS[kind - 1] if 1 <= kind <= len(KINDS) else f"category {kind}"
