"""All of a run's latent space that is told and drawn: what was asked, what was found, and its tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointae.analysis.latent.clusters import Clusters, cluster, distances
from pointae.analysis.latent.codes import Codes, Meaning, decode, event_names, makes_patterns, meanings, posterior_means
from pointae.analysis.latent.projection import METHODS, Projection, fitting, project
from pointae.analysis.latent.walks import Samples, between, judged_samples, nearest, prior_codes
from pointae.data.events import EventData, Split
from pointae.errors import UsageError
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.metrics.robots import exact_robots
from pointae.storage import write_json, write_table
from pointae.terminal import warn

Advance = Callable[[int, str], None]
NEIGHBOURS = 6
"""Neighbours that are listed and drawn."""
SHOWN_SAMPLES = 12
"""Samples of the prior that are drawn."""


@dataclass(frozen=True)
class Questions:
    """What is asked of a latent space.

    Args:
        methods: projections, of :data:`~pointae.analysis.latent.projection.METHODS`; one that needs more events is
            left out.
        clusters: how many are coloured; ``None``: as many as the elbow says.
        neighbours_of: a validation event, by its place from 0.
        between: two validation events; ``None``: the first and the second, of a single one twice that.
        steps: codes from one to the other, ends included.
        samples: drawn from the prior.
        events: drawn beside their reconstructions.
        skip: validation events passed over before the first of them.
        seed: of UMAP, KMeans and the prior.
    """

    methods: tuple[str, ...] = METHODS
    clusters: int | None = None
    neighbours_of: int = 0
    between: tuple[int, int] | None = None
    steps: int = 7
    samples: int = 1000
    events: int = 6
    skip: int = 0
    seed: int = 1


@dataclass(frozen=True)
class Sheet:
    """Patterns drawn side by side: rows of panels, each with one event.

    Args:
        name: of the files.
        title: of the picture.
        rows: what each row is called.
        titles: of the panels, row by row.
        hits: an event a panel, in the same order.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    titles: tuple[str, ...]
    hits: HitBatch

    def table(self) -> list[dict[str, Any]]:
        """A row a hit: number, row and title of its panel, its coordinates by axis, its category."""
        names = [axis.name for axis in self.hits.geometry.axes]
        kinds, columns = self.hits.category, len(self.titles) // len(self.rows)
        return [
            {
                "panel": event, "row": self.rows[event // columns], "title": self.titles[event],
                **dict(zip(names, self.hits.coords[hit].tolist(), strict=True)),
                **({} if kinds is None else {"category": int(kinds[hit])}),
            }
            for hit, event in enumerate(self.hits.batch.tolist())
        ]  # fmt: skip


@dataclass(frozen=True)
class Embedded:
    """Events of a split and where they lie.

    Args:
        split: ``"train"`` or ``"validation"``.
        names: of the E events.
        meanings: what is known of them.
        hits: the events as they should be made again.
        codes: (E, D) posterior means.
    """

    split: str
    names: list[str]
    meanings: list[Meaning]
    hits: HitBatch
    codes: Codes


@dataclass(frozen=True)
class LatentReport:
    """What was found.

    Args:
        name: of the run.
        train, validation: its events.
        projections: of both, in each plane.
        clusters: of the codes.
        reconstructions: of validation events; ``None`` where the decoder makes no patterns.
        sheets: patterns to draw.
        neighbours: a row a neighbour of the event asked for.
        samples: of the prior; ``None`` for a plain latent, a decoder without patterns, and events other than robots.
        summary: figures by name.
    """

    name: str
    train: Embedded
    validation: Embedded
    projections: list[Projection]
    clusters: Clusters
    reconstructions: HitBatch | None
    sheets: list[Sheet]
    neighbours: list[dict[str, Any]]
    samples: Samples | None
    summary: dict[str, float]


def analysis_steps(questions: Questions) -> int:
    """How often :func:`analyse` reports."""
    return 4 + len(questions.methods)


def analyse(denoiser: Denoiser, questions: Questions, advance: Advance = lambda steps, note: None) -> LatentReport:
    """Look at the latent space of a run, on its own training and validation events.

    Args:
        denoiser: of the run.
        questions: what is asked.
        advance: told of every step.

    Raises:
        UsageError: an event that there is not.
        DataError: its events cannot be read, or are too few.
        ComponentError: UMAP is asked for and not installed.
    """
    config = denoiser.config
    data = EventData(config.data, config.seed)
    if note := denoiser.check_grid(data.geometry):
        warn(note)
    _check_events(questions, data.num_events("validation"))
    _check_clusters(questions.clusters, data.num_events("train"))
    train, validation = (_embedded(denoiser, data, split) for split in ("train", "validation"))
    advance(1, "codes")
    projections = []
    for method in fitting(questions.methods, len(train.codes)):
        projections.append(project(method, train.codes, validation.codes, questions.seed))
        advance(1, method)
    plane = (projections[0].train, projections[0].validation)
    clusters = cluster(train.codes, validation.codes, plane, questions.seed, questions.clusters)
    advance(1, "clusters")
    neighbours, sheets = _neighbours(questions, train, validation)
    reconstructions = decode(denoiser, validation.codes) if makes_patterns(denoiser) else None
    if reconstructions is not None:
        sheets += [_beside(questions, validation, reconstructions), _walk(denoiser, questions, validation)]
    advance(1, "patterns")
    samples = None
    if reconstructions is not None and data.robots and config.model.latent.name == "variational" and questions.samples:
        drawn = decode(denoiser, prior_codes(questions.samples, config.model.latent.size, questions.seed))
        samples = judged_samples(drawn, train.hits)
        sheets.append(_drawn(samples))
    advance(1, "samples")
    summary = _summary(train.codes, validation.codes, clusters, samples)
    return LatentReport(
        denoiser.source.name, train, validation, projections, clusters, reconstructions, sheets, neighbours, samples,
        summary,
    )  # fmt: skip


def _embedded(denoiser: Denoiser, data: EventData, split: Split) -> Embedded:
    batch = data.all_events(split)
    target = batch.target
    codes = posterior_means(denoiser, batch.hits)
    return Embedded(split, event_names(target), meanings(target, data.robots), target, codes)


def save_tables(report: LatentReport, folder: Path) -> None:
    """Write ``codes.csv``, ``clusters.csv``, ``neighbours.csv``, ``samples.csv``, one a sheet, and ``summary.json``.

    Raises:
        StorageError: one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "codes.csv", _code_rows(report))
    write_table(folder / "clusters.csv", report.clusters.rows)
    write_table(folder / "neighbours.csv", report.neighbours)
    if report.samples is not None:
        shown = zip(*(getattr(report.samples, name).tolist() for name in ("valid", "novel", "first")), strict=True)
        rows = [{"sample": i, "valid": v, "novel": n, "first": f} for i, (v, n, f) in enumerate(shown)]
        write_table(folder / "samples.csv", rows)
    for sheet in report.sheets:
        write_table(folder / f"{sheet.name}_hits.csv", sheet.table())
    write_json(folder / "summary.json", report.summary)


def _check_events(questions: Questions, events: int) -> None:
    for option, event in (
        ("neighbours-of", questions.neighbours_of),
        *(("between", i) for i in questions.between or ()),
    ):
        if not 0 <= event < events:
            raise UsageError(f"--{option} {event} is out of range: the validation events are 0..{events - 1}")
    if not 0 <= questions.skip < events:
        raise UsageError(f"--skip {questions.skip} leaves no validation event: there are {events}")


def _check_clusters(asked: int | None, events: int) -> None:
    if asked is not None and asked > events:
        raise UsageError(f"--clusters {asked} is more than there are training events: {events}")


def _code_rows(report: LatentReport) -> list[dict[str, Any]]:
    rows = []
    for side in (report.train, report.validation):
        columns: dict[str, Any] = {"split": [side.split] * len(side.names), "event": side.names}
        columns |= {meaning.name: meaning.values.tolist() for meaning in side.meanings}
        columns["cluster"] = (report.clusters.train if side is report.train else report.clusters.labels).tolist()
        for projection in report.projections:
            points = getattr(projection, side.split)
            columns |= {f"{projection.method}_{i + 1}": _short(points[:, i]) for i in range(2)}
        columns |= {f"z{i}": _short(side.codes[:, i]) for i in range(side.codes.shape[1])}
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows


def _short(values: Codes) -> list[float]:
    """Seven digits, all that float32 holds."""
    return [float(f"{value:.7g}") for value in values.tolist()]


def _neighbours(
    questions: Questions, train: Embedded, validation: Embedded
) -> tuple[list[dict[str, Any]], list[Sheet]]:
    own = questions.neighbours_of
    found, distance = nearest(train.codes, validation.codes[own], NEIGHBOURS)
    rows = [
        {"rank": i + 1, "event": train.names[place], "distance": float(d)}
        | {meaning.name: meaning.values[place].item() for meaning in train.meanings}
        for i, (place, d) in enumerate(zip(found.tolist(), distance.tolist(), strict=True))
    ]
    name = validation.names[own]
    titles = (f"validation {name}", *(f"{row['event']}, at {row['distance']:.2f}" for row in rows))
    hits = HitBatch.concat([_bare(validation.hits.events([own])), _bare(train.hits.events(found.tolist()))])
    title = f"The training events nearest to validation event {name} in the latent space"
    return rows, [Sheet("neighbours", title, ("",), titles, hits)]


def _beside(questions: Questions, validation: Embedded, made: HitBatch) -> Sheet:
    places = list(range(questions.skip, min(questions.skip + questions.events, made.batch_size)))
    hits = HitBatch.concat([_bare(validation.hits.events(places)), _bare(made.events(places))])
    names = [f"event {validation.names[place]}" for place in places]
    verdicts = names
    if hits.category is not None:
        exact = exact_robots(made.events(places), validation.hits.events(places)).tolist()
        verdicts = ["exact" if right else "not exact" for right in exact]
    rows = ("original", "reconstruction")
    return Sheet("reconstructions", "Validation events and their reconstructions", rows, (*names, *verdicts), hits)


def _walk(denoiser: Denoiser, questions: Questions, validation: Embedded) -> Sheet:
    first, last = questions.between or (0, min(1, len(validation.codes) - 1))
    steps = decode(denoiser, between(validation.codes[first], validation.codes[last], questions.steps))
    ends = (_bare(validation.hits.events([place])) for place in (first, last))
    hits = HitBatch.concat([next(ends), _bare(steps), next(ends)])
    shares = (f"decoded, {100 * share:.0f} % of the way" for share in np.linspace(0, 1, questions.steps))
    titles = (f"event {validation.names[first]}", *shares, f"event {validation.names[last]}")
    return Sheet("interpolation", "From one validation event to another through the latent space", ("",), titles, hits)


def _drawn(samples: Samples) -> Sheet:
    shown = list(range(min(SHOWN_SAMPLES, len(samples.valid))))
    words = [f"{'valid' if samples.valid[i] else 'not valid'}, {'new' if samples.novel[i] else 'known'}" for i in shown]
    shares = samples.shares()
    title = f"Drawn from the prior: {100 * shares['valid']:.1f} % of {shares['samples']:,} are robots that can be"
    rows = ("", "") if len(shown) == SHOWN_SAMPLES else ("",)
    return Sheet("samples", title, rows, tuple(words), _bare(samples.hits.events(shown)))


def _bare(hits: HitBatch) -> HitBatch:
    """Without what only some batches have, so that they can be joined."""
    kinds = hits.category
    return HitBatch(hits.geometry, hits.coords, hits.offsets, category=kinds, trusted=True)


def _summary(train: Codes, codes: Codes, clusters: Clusters, samples: Samples | None) -> dict[str, float]:
    mean, spread = distances(codes)
    chosen = next((row for row in clusters.rows if row["clusters"] == clusters.chosen), {})
    return {
        "latent_size": codes.shape[1], "train_events": len(train), "validation_events": len(codes),
        "distance_mean": mean, "distance_spread": spread,
        "clusters": clusters.chosen, "elbow": clusters.elbow,
        "silhouette": chosen.get("silhouette", math.nan), "plane_silhouette": clusters.plane_silhouette,
        **({} if samples is None else samples.shares()),
    }  # fmt: skip
