"""Runs on a real recording with injected noise: several seeds of a config, classical filters, and the limit.

Of a recording whose signal comes in clusters the limit follows from its lone hits alone. Let s be the share of signal
hits without a neighbour. If they are spread as evenly as the noise, nothing in (x, y, t) tells the two apart: to
keep a share r of the signal, r - (1 - s) of it must be lone hits, and as large a part of the noise stays as of
these. So at most min(1, (1 - r) / s) of the noise can be removed, were all else known. A network goes beyond
by what it learns of where on the detector hits are more frequent, and by features.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pointae.analysis.evaluation import RETENTIONS, Judged, evaluate_run
from pointae.attempts import Each, strictly
from pointae.classical import BASELINES
from pointae.classical.lone_hits import time_to_neighbour
from pointae.data.events import EventData
from pointae.errors import UsageError
from pointae.hits import HitBatch
from pointae.metrics import noise_removed_curve, roc_auc
from pointae.runs import RunDirectory

AT = (0.99, 0.97, 0.9, 0.6)
"""Shares of signal kept at which figures are told."""
NEIGHBOUR_NS = 100.0
"""Longest time between neighbouring hits of a cluster."""
LIMIT = "limit if lone hits are even"


def lone_share(signal: HitBatch, within_ns: float = NEIGHBOUR_NS) -> float:
    """Share of hits without another on their pixel or the eight around it within a time; ``nan`` without hits.

    Args:
        signal: N hits.
        within_ns: that time, in ns.
    """
    lone = time_to_neighbour(signal) > within_ns
    return float(lone.mean()) if len(lone) else float("nan")


def limit(lone: float, retention: float) -> float:
    """Share of evenly spread noise that can be removed at most beside lone hits as even, see the head of this module.

    Args:
        lone: share s of signal hits without a neighbour, in [0, 1].
        retention: share r of signal to keep, in [0, 1].
    """
    return min(1.0, (1 - retention) / lone) if lone > 0 else 1.0


def judge_recording(runs: Sequence[RunDirectory], each: Each = strictly) -> list[dict[str, Any]]:
    """Each method on the test part of a recording, noise and training drawn anew with the seed of each run.

    Args:
        runs: finished, of configs whose data are files; those alike in all but seed and name are taken together.
        each: in what each run is judged.

    Returns:
        a row a method and a share of signal kept (:data:`~pointae.analysis.evaluation.RETENTIONS`): ``given``, what
        it was told of a hit; ``name``, ``kind``, ``seeds``, ``signal_kept``, ``noise_removed``, its standard
        deviation over seeds ``noise_removed_error`` (``None`` of one), ``roc_auc``, ``lone_share``. First the limit.

    Raises:
        UsageError: a run of other data.
        CheckpointError: a run without weights.
    """
    alike: dict[str, list[RunDirectory]] = {}
    for run in runs:
        with each(run.path):
            config = run.config()
            if config.data.source.kind != "files":
                raise UsageError(
                    f"was trained on simulated events ({config.data.source.kind})", where=run.path,
                    fix="for those: tools/figures.py or tools/evaluate.py",
                )  # fmt: skip
            recipe = config.model_copy(update={"seed": 0, "name": ""}).model_dump_json()
            alike.setdefault(recipe, []).append(run)
    rows: list[dict[str, Any]] = []
    for group in alike.values():
        judged = _judge_group(group, each)
        # A filter that looks at no feature does on runs that were given other ones what it did before.
        rows += [row for row in judged if row not in rows]
    return rows


def _judge_group(group: Sequence[RunDirectory], each: Each) -> list[dict[str, Any]]:
    evaluated = []
    for run in group:
        with each(run.path):
            evaluated.append(evaluate_run(run).rows)
    if not evaluated:
        return []
    config = group[0].config()
    data = EventData(config.data, config.seed)
    lone = lone_share(data.all_events("test").target)
    bound = {"name": LIMIT, "kind": "bound", "given": "x, y, t", "seeds": 0, "roc_auc": None, "lone_share": lone}
    rows = _rows(bound, np.array([[limit(lone, kept) for kept in RETENTIONS]]))
    for methods in zip(*evaluated, strict=True):
        first = methods[0]
        network = first.kind == "network"
        uses_features = network or BASELINES[first.name].uses_features
        if not network and uses_features and not data.feature_names:
            continue  # it would have nothing to go by
        features = data.feature_names if uses_features else ()
        aucs, curves = zip(*map(_auc_and_curve, methods), strict=True)
        told = {
            "name": group[0].name if network else first.name, "kind": first.kind,
            "given": ", ".join(("x", "y", "t", *features)), "seeds": len(evaluated),
            "roc_auc": statistics.fmean(aucs), "lone_share": lone,
        }  # fmt: skip
        rows += _rows(told, np.stack(curves))
    return rows


def table_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a method: its figures at :data:`AT`, e.g. ``at_97`` and ``at_97_error``, shares in [0, 1]."""
    methods: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in rows:
        same = {name: row[name] for name in ("given", "name", "kind", "seeds", "roc_auc")}
        method = methods.setdefault((row["given"], row["name"], row["seeds"]), same)
        for kept in AT:
            if abs(row["signal_kept"] - kept) < 1e-9:
                name = f"at_{kept * 100:.0f}"
                method |= {name: row["noise_removed"], f"{name}_error": row["noise_removed_error"]}
    return list(methods.values())


def _auc_and_curve(method: Judged) -> tuple[float, np.ndarray]:
    score, signal = method.hits.score, method.hits.signal
    assert score is not None
    assert signal is not None
    return roc_auc(score, signal), noise_removed_curve(score, signal, RETENTIONS)


def _rows(told: Mapping[str, Any], curves: np.ndarray) -> list[dict[str, Any]]:
    """A row for each of :data:`RETENTIONS`, of curves (seeds, R)."""
    errors = curves.std(0, ddof=1).tolist() if len(curves) > 1 else [None] * curves.shape[1]
    return [
        {**told, "signal_kept": kept, "noise_removed": removed, "noise_removed_error": error}
        for kept, removed, error in zip(RETENTIONS, curves.mean(0).tolist(), errors, strict=True)
    ]
