"""The figures of trained denoisers: the table on the benchmark's conditions, and curves over the range."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pointae.analysis.bootstrap import event_weights
from pointae.analysis.conditions import ONE_TRACK, TABLE, Condition, sweeps
from pointae.analysis.judging import Scorer, baseline_scorers, judge, network_scorer, open_denoisers, oracle_scorer
from pointae.attempts import Each, strictly
from pointae.geometry import torch_geometry
from pointae.inference import Denoiser
from pointae.terminal import TextTable
from pointae.trained import Trained

Advance = Callable[[int, str], None]
BASELINE_NAMES = ("dbscan", "knn_density")
BENCHMARK = f"{ONE_TRACK.name} noise hits, 70 ps"
SHARES = ("noise_removed_at_97", "noise_removed_at_99", "signal_retention", "noise_removed")
TABLE_COLUMNS = {
    "name": "",
    "noise_removed_at_97": "97 % kept",
    "noise_removed_at_99": "99 % kept",
    "noise_removed": "own threshold",
    "signal_retention": "signal kept there",
}
"""What the printed table tells of a row, and the heading of its column."""
SPEED_COLUMNS = {
    "name": "",
    "events_per_second": "events/s",
    "events_per_second_p90": "p90",
    "hits_per_second": "hits/s",
    "times_dense2d": "x dense2d",
    "noise_removed_at_97": "97 % kept",
    "noise_removed_at_99": "99 % kept",
}


def open_all(found: Sequence[Trained], device: str = "auto", each: Each = strictly) -> dict[str, Denoiser]:
    """Denoisers by name, once it is known and said how their grids differ from that of the conditions.

    Raises:
        UsageError, CheckpointError: as :func:`~pointae.analysis.judging.open_denoisers`.
    """
    return open_denoisers(found, device, torch_geometry(), each)


def table_steps(denoisers: Mapping[str, Denoiser]) -> int:
    """How often :func:`figures_table` reports."""
    return len(TABLE) * (len(denoisers) + 1 + len(BASELINE_NAMES))


def figures_table(
    denoisers: Mapping[str, Denoiser],
    events: int,
    advance: Advance = lambda steps, note: None,
    each: Each = strictly,
) -> list[dict[str, Any]]:
    """Figures on the conditions of the table: denoisers, the oracle on the same events, classical filters.

    The filters are tuned on other events of the condition. Denoisers that differ in nothing but the seed of
    their training are followed by their mean, its error being the standard deviation over the seeds.

    Args:
        denoisers: by name.
        events: of each condition.
        advance: told of every scorer that is done.
        each: in what each scorer judges.

    Returns:
        rows as of :func:`pointae.analysis.judging.judge`.
    """
    rows = []
    for condition in TABLE:
        filters = baseline_scorers(condition, BASELINE_NAMES)
        judged = _rows(condition, denoisers, events, advance, each, filters)
        rows += judged + _means(denoisers, judged)
    return rows


def benchmark_steps(denoisers: Mapping[str, Denoiser]) -> int:
    """How often :func:`judge_benchmark` reports."""
    return len(denoisers) + 1


def judge_benchmark(
    denoisers: Mapping[str, Denoiser],
    events: int,
    advance: Advance = lambda steps, note: None,
    each: Each = strictly,
) -> list[dict[str, Any]]:
    """As :func:`figures_table`, of denoisers and oracle on the first condition alone."""
    return _rows(ONE_TRACK, denoisers, events, advance, each)


def benchmark_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a table's rows those that :func:`judge_benchmark` would have made; empty of an empty table."""
    return [row for row in rows if row["condition"] == ONE_TRACK.name and row["kind"] in ("network", "bound")]


def tables_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], group: str, title: str) -> list[TextTable]:
    """Rows as they are shown: a table for each value of ``group``, which takes its place in ``title``.

    Args:
        rows: of :func:`figures_table` or of speeds.
        columns: headings by name.
        group: name of a column.
        title: with ``{}``.
    """
    tables = []
    for value in dict.fromkeys(row[group] for row in rows if group in row):
        shown = [tuple(cell(row, name) for name in columns) for row in rows if row.get(group) == value]
        tables.append(TextTable(title.format(value), tuple(columns.values()), tuple(shown)))
    return tables


def cell(row: Mapping[str, Any], name: str) -> str:
    """What a table shows of a row's figure, shares in per cent with their error; empty where there is none."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    if value != value:
        return "undefined"
    if name in SHARES:
        return f"{100 * value:.2f} ± {100 * row[f'{name}_error']:.2f}"
    return f"{value:.2f}" if name == "times_dense2d" else f"{value:,.0f}"


def range_steps(denoisers: Mapping[str, Denoiser]) -> int:
    """How often :func:`range_curves` reports."""
    return len({_key(condition) for condition in sweeps()}) * (len(denoisers) + 1)


def range_curves(
    denoisers: Mapping[str, Denoiser],
    events: int,
    advance: Advance = lambda steps, note: None,
    each: Each = strictly,
) -> list[dict[str, Any]]:
    """Figures of denoisers and oracle at every point of :func:`pointae.analysis.conditions.sweeps`.

    Args:
        denoisers: by name.
        events: of each point.
        advance: told of every scorer that is done.
        each: in what each scorer judges.

    Returns:
        rows as of :func:`pointae.analysis.judging.judge`, with ``sweep`` and ``setting``.
    """
    rows = []
    done: dict[str, list[dict[str, Any]]] = {}
    for condition in sweeps():
        key = _key(condition)
        if key not in done:  # several sweeps pass the benchmark
            done[key] = _rows(condition, denoisers, events, advance, each)
        named = {"condition": condition.name, "sweep": condition.sweep, "setting": condition.setting}
        rows += [{**row, **named} for row in done[key]]
    return rows


def _rows(
    condition: Condition,
    denoisers: Mapping[str, Denoiser],
    events: int,
    advance: Advance,
    each: Each,
    filters: Sequence[Scorer] = (),
) -> list[dict[str, Any]]:
    hits, weights = condition.events(events), event_weights(events)
    scorers = [network_scorer(name, denoiser) for name, denoiser in denoisers.items()]
    rows = []
    for scorer in [oracle_scorer(condition), *scorers, *filters]:
        with each(scorer.name):
            rows.append(judge(scorer, condition, hits, weights))
        advance(1, f"{scorer.name}, {condition.name}")
    return rows


def _key(condition: Condition) -> str:
    return condition.source.model_dump_json()


def _means(denoisers: Mapping[str, Denoiser], judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    alike: dict[str, list[str]] = {}
    for name, denoiser in denoisers.items():
        recipe = denoiser.config.model_copy(update={"seed": 0, "name": ""}).model_dump_json()
        alike.setdefault(recipe, []).append(name)
    groups = ([row for row in judged if row["name"] in names] for names in alike.values())
    return [_mean(group) for group in groups if len(group) > 1]


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    same = {name: rows[0][name] for name in ("condition", "sweep", "setting")}
    mean = {**same, "name": f"mean of {' '.join(str(row['name']) for row in rows)}", "kind": "mean of seeds"}
    for name in SHARES:
        values = [row[name] for row in rows]
        mean |= {name: statistics.fmean(values), f"{name}_error": statistics.stdev(values)}
    return mean
