"""The bound on denoising: likelihood ratios of hits by someone who knows the particles of a simulated event."""

from pointae.oracle.closed_form import expected_counts
from pointae.oracle.monte_carlo import expected_counts_by_photons, expected_total
from pointae.oracle.scores import log_ratio, oracle_log_ratio, oracle_score

__all__ = [
    "expected_counts",
    "expected_counts_by_photons",
    "expected_total",
    "log_ratio",
    "oracle_log_ratio",
    "oracle_score",
]
