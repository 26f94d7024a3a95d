"""The page that tells all of a run, or of several side by side: figures, curves, events in 3D, config, lineage."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from pointae.attempts import Each, strictly
from pointae.errors import PointaeError
from pointae.io import read_hits
from pointae.results import check_evaluated, read_evaluated
from pointae.runs import RunDirectory
from pointae.storage import checksum
from pointae.terminal import TextTable, command_line, progress
from visual.pages.events import scene_content
from visual.pages.page import write_html
from visual.plots.charts import plot_comparison
from visual.plots.courses import plot_courses
from visual.plots.quality import plot_quality
from visual.plots.theme import LIGHT, THEMES, Theme
from visual.plots.training import Course, plot_training
from visual.scene.layers import build_scene
from visual.scene.source import open_events

Draw = Callable[[Path, Theme], object]

FIRST_EVENTS = 6
"""Events shown of a run whose events were not ranked."""


@dataclass(frozen=True)
class Told:
    """A run as a report tells it.

    Args:
        run: trained, at least for an epoch.
        name: what it is called among the others.
        judged: it beside oracle and baselines; ``None`` if nobody has judged it.
    """

    run: RunDirectory
    name: str
    judged: TextTable | None = None


def write_report(
    told: Sequence[Told],
    folder: Path,
    ranking: TextTable | None = None,
    notes: Sequence[str] = (),
    each: Each = strictly,
) -> Path:
    """Draw and write the report of one run, or of several with their ranking.

    Pictures go to ``folder/plots``, on light and on dark paper, each with its numbers as CSV; the page holds them.

    Args:
        told: the runs, in the order in which they are told.
        folder: where ``report.html`` goes: the run's own, or one for several.
        ranking: of several runs.
        notes: what a reader must know of it, a sentence each.
        each: in what each run's files are read; of one that fails there, the page tells the rest.

    Returns:
        The page.

    Raises:
        DataError: a table of a run is damaged; or no epoch of it has ended, or its predictions cannot be read, which
            ``each`` may keep.
        StorageError: a file cannot be written.
    """
    for one in told:  # one that is damaged is told before anything is drawn
        check_evaluated(one.run)
    plots, pictures = folder / "plots", []
    drawings = _drawings(told, each)
    with progress("drawing", len(drawings) * len(THEMES)) as advance:
        for name, (caption, draw) in drawings.items():
            for theme in THEMES:
                path = plots / theme.file_name(name)
                advance(0, str(path))
                draw(path, theme)
                advance(1, str(path))
            pictures.append(_figure(plots, name, caption))
    title = told[0].name if len(told) == 1 else f"{len(told)} runs"
    scenes: list[dict[str, Any]] = []
    for one in told:
        with each(one.run.path):
            scenes += _events(one, len(told) > 1)
    parts = [_head(title), *(f'<p class="note">{escape(note)}</p>' for note in notes)]
    if ranking is not None:
        parts += ["<h2>Ranking</h2>", _table(ranking, best=True)]
    if len(told) == 1:
        parts.append(_judged(told[0], "The run"))
    parts += ["<h2>Curves</h2>", *pictures, "<h2>Events</h2>", _viewer(scenes, told)]
    for one in told:
        owner = f" of {escape(one.name)}" if len(told) > 1 else ""
        parts += [_judged(one, escape(one.name))] if owner else []
        parts += _lineage(one, owner)
    return write_html(folder / "report.html", f"pointae: {title}", f"<main>{''.join(parts)}</main>", scenes)


# ---- pictures ------------------------------------------------------------------------------------


def _drawings(told: Sequence[Told], each: Each) -> dict[str, tuple[str, Draw]]:
    """By the name of each picture its caption and what draws it."""
    courses = []
    for one in told:
        with each(one.run.path):
            courses.append(replace(Course.of(one.run), name=one.name))
    found: dict[str, tuple[str, Draw]] = {}
    if len(courses) == 1:
        found["training"] = ("The training, epoch by epoch.", lambda out, theme: plot_training(courses[0], out, theme))
    elif courses:
        found["courses"] = ("The trainings.", lambda out, theme: plot_courses(courses, out, theme))
    points, calibrations = _curves(told)
    if points:
        text = "Noise removed against signal kept at every threshold, and what scores are worth; test events."
        found["quality"] = (text, lambda out, theme: plot_quality(points, calibrations, out, theme))
        rows = _bars(told)
        text = "Noise removed by the threshold that keeps 97 % of the signal; test events."
        found["comparison"] = (text, lambda out, theme: plot_comparison(rows, out, theme))
    return found


def _curves(told: Sequence[Told]) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Points of all runs, and the calibration of each; of several runs the oracle once, the baselines not."""
    points: list[dict[str, Any]] = []
    calibrations: dict[str, list[dict[str, Any]]] = {}
    for each in told:
        known = {row["name"] for row in points}
        for row in read_evaluated(each.run, "curves"):
            if row["kind"] == "network":
                points.append({**row, "name": each.name})
            elif len(told) == 1 or (row["kind"] == "bound" and row["name"] not in known):
                points.append(row)
        if calibration := read_evaluated(each.run, "calibration"):
            calibrations[each.name] = calibration
    return points, calibrations


def _bars(told: Sequence[Told]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for each in told:
        for row in read_evaluated(each.run, "table"):
            name = each.name if row["name"] == "network" else str(row["name"])
            rows.setdefault(name, {**row, "name": name})
    return list(rows.values())


def _figure(plots: Path, name: str, caption: str) -> str:
    images = []
    for theme in THEMES:
        content = b64encode((plots / theme.file_name(name)).read_bytes()).decode()
        css = "on-light" if theme == LIGHT else "on-dark"
        images.append(f'<img class="{css}" alt="{escape(caption)}" src="data:image/png;base64,{content}">')
    return f"<figure>{''.join(images)}<figcaption>{escape(caption)}</figcaption></figure>"


# ---- events --------------------------------------------------------------------------------------


def _events(each: Told, several: bool) -> Iterator[dict[str, Any]]:
    """The best, the median and the worst events of a run, or the first, as the page's script reads them."""
    prefix = f"{each.name}: " if several else ""
    ranked = read_evaluated(each.run, "ranked")
    if ranked and each.run.predictions_path("ranked").is_file():
        hits = read_hits(each.run.predictions("ranked"))
        for place, row in enumerate(ranked[: hits.batch_size]):
            title = f"{prefix}{row['rank']}, event {row['event']:.0f}, F1 {row['f1']:.2f}"
            yield scene_content(replace(build_scene(hits, place), title=title))
    elif each.run.predictions_path("events").is_file():
        source = open_events(each.run.path)
        for event in range(min(len(source), FIRST_EVENTS)):
            yield scene_content(replace(source.scene(event), title=f"{prefix}event {event}"))


def _viewer(scenes: Sequence[Any], told: Sequence[Told]) -> str:
    texts = []
    if scenes:
        ranked = any(read_evaluated(each.run, "ranked") for each in told)
        what = "The best, the median and the worst test events, by the F1 of what is kept." if ranked else "The first."
        texts.append(f'<p>{what}</p><div id="viewer"></div>')
    for each in told:
        if not each.run.predictions_path("events").is_file():
            command = f"<code>{escape(_evaluate(each.run))}</code>"
            texts.append(f"<p>{escape(each.name)} has no predictions: {command} makes them.</p>")
    return "".join(texts)


# ---- texts ---------------------------------------------------------------------------------------


def _head(title: str) -> str:
    button = "<script>document.currentScript.replaceWith(themeButton());</script>"
    return f'<div class="head"><div><h1>{escape(title)}</h1><p class="lead">pointae report</p></div>{button}</div>'


def _judged(each: Told, called: str) -> str:
    heading = f"<h2>{called} beside oracle and baselines</h2>"
    if each.judged is None:
        return f"{heading}<p>Not judged on test events yet: <code>{escape(_evaluate(each.run))}</code></p>"
    return f"{heading}<p>{escape(each.judged.title)}</p>{_table(each.judged)}"


def _evaluate(run: RunDirectory) -> str:
    return command_line("evaluate", run.path)


def _table(table: TextTable, best: bool = False) -> str:
    named = [table.names(place) for place in range(len(table.headings))]
    head = "".join(_cell("th", text, name) for text, name in zip(table.headings, named, strict=True))
    rows = [
        f"<tr{' class=best' if best and place == 0 else ''}>"
        f"{''.join(_cell('td', text, name) for text, name in zip(row, named, strict=True))}</tr>"
        for place, row in enumerate(table.rows)
    ]
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _cell(tag: str, text: str, name: bool) -> str:
    return f"<{tag}{' class=name' if name else ''}>{escape(text)}</{tag}>"


def _lineage(each: Told, owner: str) -> Iterator[str]:
    """Where a run comes from, and its config."""
    yield f"<h2>Lineage{owner}</h2>"
    yield f'<div class="facts">{_table(TextTable("", ("", ""), tuple(_facts(each.run))))}</div>'
    packages = each.run.record.environment.packages
    listed = "\n".join(f"{name} {version}" for name, version in packages.items())
    yield f"<details><summary>Packages</summary><pre>{escape(listed)}</pre></details>"
    config = each.run.config_path.read_text(encoding="utf-8")
    yield f"<h2>Config{owner}</h2><pre>{escape(config)}</pre>"


def _facts(run: RunDirectory) -> Iterator[tuple[str, str]]:
    record = run.record
    for command in record.commands:
        yield "made by", command
    for name in ("status", "started", "epochs", "best_epoch", "parameters", "retention", "threshold"):
        value = getattr(record, name)
        if value is not None:
            yield name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
    if record.seconds is not None:
        yield "training", f"{record.seconds / 60:.1f} min"
    for resumed in record.resumed:
        yield "resumed after epoch", f"{resumed.epoch}" + ("; forced" if resumed.forced else "")
    precision, machine = record.precision, record.environment
    yield "arithmetic", f"{precision.name} on {precision.device}"
    parts = [machine.processor, f"{machine.cores} cores", *machine.gpus, machine.system]
    yield "machine", ", ".join(str(part) for part in parts if part)
    yield from _weights(run)


def _weights(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """Which weights these are: their checksum."""
    try:
        yield "weights, SHA-256", checksum(run.weights())
    except PointaeError:
        return
