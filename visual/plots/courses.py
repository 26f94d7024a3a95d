"""The courses of several trainings in one figure; the numbers lie beside it as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pointae.errors import DataError
from pointae.storage import write_table
from visual.pictures.events import save_picture
from visual.pictures.literal import legend_name
from visual.plots.charts import line_look
from visual.plots.theme import LIGHT, Theme
from visual.plots.training import Course

FIGURES = {
    "noise_removed_at_97": "noise removed at 97 % signal kept [%]",
    "exact_accuracy": "exact robots [%]",
}
"""The figure that is drawn beside the loss: the first of which any course has values."""


def plot_courses(courses: Sequence[Course], out: str | Path, theme: Theme = LIGHT) -> Path:
    """Validation loss and the main figure of each training, against epoch and against time.

    Args:
        courses: of the trainings, by different names.
        out: of the PNG; the rows of all are written beside it as CSV.
        theme: of the paper.

    Raises:
        DataError: no course.
        StorageError: the picture cannot be written.
    """
    if not courses:
        raise DataError("there is nothing to draw: no trainings")
    out = Path(out)
    names = [name for name in FIGURES if any(course.has(name) for course in courses)][:1]
    # Losses of different names are not on one scale, and the axis says so.
    losses = ", ".join(dict.fromkeys(course.loss for course in courses))
    panels = [("validation_loss", f"validation loss: {losses}", 1.0), *((n, FIGURES[n], 100.0) for n in names)]
    longest = max(courses, key=lambda course: course.seconds()[-1])
    unit, length = longest.unit()
    with matplotlib.rc_context(theme.style):
        figure = Figure(figsize=(11, 3.9 * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), 2, squeeze=False, sharey="row")
        for (by_epoch, by_time), (column, label, factor) in zip(grid, panels, strict=True):
            for number, course in enumerate(courses):
                values = [factor * value for value in course.column(column)]
                look = {**line_look(number), "marker": "os^vDPX"[number % 7] if len(values) <= 40 else ""}
                by_epoch.plot(course.column("epoch"), values, markersize=4.5, label=legend_name(course.name), **look)
                by_time.plot([second / length for second in course.seconds()], values, markersize=4.5, **look)
            by_epoch.set(xlabel="epoch", ylabel=label)
            by_time.set(xlabel=f"time [{unit}]")
            by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, texts = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=min(len(courses), 5))
    save_picture(figure, out)
    rows = [{"name": course.name, **row} for course in courses for row in course.rows]
    write_table(theme.table_beside(out), rows)
    return out
