"""Metrics: pure functions that define them, and classes that count over batches.

All ratios are in [0, 1], SNR in dB; what is undefined is ``nan``, never a sentinel.
"""

from pointae.metrics.counting import DenoiseMetrics, PatternMetrics, per_event_table
from pointae.metrics.curves import calibration, noise_removed_curve, output_histogram
from pointae.metrics.pattern import (
    chamfer_distance,
    coverage,
    false_positives_xy,
    false_positives_xyt,
    temporal_retention,
)
from pointae.metrics.per_hit import count_hits, f1, iou, noise_removed, purity, signal_retention, snr_db
from pointae.metrics.robots import RobotMetrics, count_voxels, exact_robots, position_errors, weighted_f1
from pointae.metrics.scores import cut_at_retention, noise_removed_at, purity_at_efficiency, roc_auc, roc_curve

__all__ = [
    "DenoiseMetrics",
    "PatternMetrics",
    "RobotMetrics",
    "calibration",
    "chamfer_distance",
    "count_hits",
    "count_voxels",
    "coverage",
    "cut_at_retention",
    "exact_robots",
    "f1",
    "false_positives_xy",
    "false_positives_xyt",
    "iou",
    "noise_removed",
    "noise_removed_at",
    "noise_removed_curve",
    "output_histogram",
    "per_event_table",
    "position_errors",
    "purity",
    "purity_at_efficiency",
    "roc_auc",
    "roc_curve",
    "signal_retention",
    "snr_db",
    "temporal_retention",
    "weighted_f1",
]
