"""The loops of the track fit on a CPU, compiled by numba when first called and kept in its cache.

Each follows a function of :mod:`pointae.tracking.fit` or :mod:`pointae.tracking.hough`, where its terms are explained.
The way over hits is laid out for vectors: first how far each is off, without a branch, then the few that are near.
"""

from pointae.tracking.compiled.density import expected_light
from pointae.tracking.compiled.light import apart, explained
from pointae.tracking.compiled.steps import curvature, gauss_newton
from pointae.tracking.compiled.votes import votes

__all__ = ["apart", "curvature", "expected_light", "explained", "gauss_newton", "votes"]
