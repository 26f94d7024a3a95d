"""The page of a latent space: a plane of events to point at, and beside it the event and its reconstruction in 3D."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pointae.hits import HitBatch
from pointae.robots import KINDS
from visual.pages.page import fill_page
from visual.plots.latent import KIND_COLOURS, LABEL_COLOURS

if TYPE_CHECKING:
    from pointae.analysis.latent.report import LatentReport

MOST_HITS = 200_000
"""Hits on a page, so that a browser can hold it: events beyond are left out."""


def write_latent_page(report: LatentReport, path: Path) -> Path:
    """Write the page of a report; self-contained.

    Raises:
        StorageError: it cannot be written.
    """
    from plotly.offline import get_plotlyjs

    title = f"Latent space of {report.name}"
    return fill_page("latent.html", path, title=title, plotly=Markup(get_plotlyjs()), data=page_content(report))


def page_content(report: LatentReport) -> dict[str, Any]:
    """What the page's script reads: planes, colourings, and the hits ``[x, y, z, category]`` of each event."""
    side = report.validation
    shown = _shown(side.hits, report.reconstructions)
    meanings = [
        {"name": meaning.name, "values": meaning.values[:shown].tolist(), "labels": list(meaning.labels),
         "colours": [LABEL_COLOURS[i % len(LABEL_COLOURS)] for i in range(len(meaning.labels))]}
        for meaning in side.meanings
    ]  # fmt: skip
    clusters = [str(label) for label in range(report.clusters.chosen)]
    meanings.append({
        "name": "cluster", "values": [str(label) for label in report.clusters.labels[:shown].tolist()],
        "labels": clusters, "colours": [LABEL_COLOURS[i % len(LABEL_COLOURS)] for i in range(len(clusters))],
    })  # fmt: skip
    return {
        "names": side.names[:shown],
        "left_out": len(side.names) - shown,
        "planes": [
            {"name": projection.method.upper(), "axes": list(projection.axes),
             "x": _short(projection.validation[:shown, 0]), "y": _short(projection.validation[:shown, 1])}
            for projection in report.projections
        ],
        "meanings": meanings,
        "shape": list(side.hits.geometry.spatial_shape),
        "axes": [axis.name for axis in side.hits.geometry.axes],
        "kinds": ["hit", *KINDS],
        "colours": [KIND_COLOURS[0], *KIND_COLOURS],
        "originals": _hits(side.hits, shown),
        "reconstructions": None if report.reconstructions is None else _hits(report.reconstructions, shown),
    }  # fmt: skip


def _shown(*batches: HitBatch | None) -> int:
    """How many of the first events have at most :data:`MOST_HITS` hits together."""
    ends = sum(hits.offsets.numpy() for hits in batches if hits is not None)
    return int(np.searchsorted(ends, MOST_HITS, side="right")) - 1


def _hits(hits: HitBatch, shown: int) -> list[list[list[int]]]:
    kinds = np.zeros(hits.num_hits, np.int64) if hits.category is None else hits.category.numpy()
    rows = np.column_stack([hits.coords.numpy(), kinds]).tolist()
    offsets = hits.offsets.tolist()
    return [rows[offsets[event] : offsets[event + 1]] for event in range(shown)]


def _short(values: Any) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
