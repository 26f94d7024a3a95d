"""How codes group, in the whole space and in a plane, and how far apart they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pointae.analysis.latent.codes import Codes

COUNTS = tuple(range(2, 13))
"""Numbers of clusters that are tried."""
STARTS = 10
SILHOUETTE_EVENTS = 3000
"""Most events of a silhouette or of distances, whose cost is quadratic: the first ones."""


@dataclass(frozen=True)
class Clusters:
    """KMeans, fitted on training codes, judged on validation codes.

    Args:
        rows: a row a number of clusters: ``clusters``; for the whole space and for the plane ``inertia`` (of
            training, a code), ``silhouette`` (of validation codes, in the space that was clustered).
        elbow: the number of clusters at the bend of the inertia in the whole space.
        chosen: how many clusters ``labels`` has.
        train, labels: (E,) cluster of each training and each validation event, in the whole space.
        plane_silhouette: of ``labels`` in the plane: do clusters of the space stay apart there?
    """

    rows: list[dict[str, Any]]
    elbow: int
    chosen: int
    train: NDArray[np.int64]
    labels: NDArray[np.int64]
    plane_silhouette: float


def cluster(
    train: Codes, validation: Codes, plane: tuple[Codes, Codes], seed: int, chosen: int | None = None
) -> Clusters:
    """Group codes into 2, 3, ... clusters.

    Args:
        train, validation: (E, D) codes.
        plane: the same events in a plane, (E, 2) each.
        seed: of the starts.
        chosen: number of clusters whose labels are wanted; ``None``: that of the elbow.
    """
    different = min(len(np.unique(train, axis=0)), len(np.unique(plane[0], axis=0)))
    counts = [count for count in COUNTS if count < len(train) and count <= different]
    rows = []
    for count in counts:
        whole, flat = _kmeans(train, validation, count, seed), _kmeans(*plane, count, seed)
        rows.append({
            "clusters": count, "inertia": whole.inertia, "silhouette": silhouette(validation, whole.labels),
            "plane_inertia": flat.inertia, "plane_silhouette": silhouette(plane[1], flat.labels),
        })  # fmt: skip
    bend = elbow(counts, [row["inertia"] for row in rows])
    # More clusters than different codes there cannot be.
    most = len(np.unique(train, axis=0))
    own = _kmeans(train, validation, min(bend if chosen is None else chosen, most), seed)
    return Clusters(rows, bend, len(np.unique(own.train)), own.train, own.labels, silhouette(plane[1], own.labels))


def elbow(counts: list[int], inertias: list[float]) -> int:
    """Where a falling curve bends most: the point farthest below the line between its ends; of equal ones the first.

    1 of no counts. Both axes are scaled to their range (Satopaa et al. 2011, "Finding a kneedle in a haystack").
    """
    x, y = np.asarray(counts, float), np.asarray(inertias, float)
    if len(x) < 3 or y[0] == y[-1]:
        return int(counts[0]) if counts else 1
    below = 1 - (x - x[0]) / (x[-1] - x[0]) - (y - y[-1]) / (y[0] - y[-1])
    return int(counts[int(below.argmax())])


def silhouette(codes: Codes, labels: NDArray) -> float:
    """Mean silhouette (Rousseeuw 1987) of the first events; ``nan`` where they are not in at least two clusters."""
    from sklearn.metrics import silhouette_score

    codes, labels = codes[:SILHOUETTE_EVENTS], labels[:SILHOUETTE_EVENTS]
    if not 2 <= len(np.unique(labels)) < len(codes):
        return float("nan")
    return float(silhouette_score(codes, labels))


def distances(codes: Codes) -> tuple[float, float]:
    """Mean and standard deviation of the distance between two different events; ``nan`` with fewer than two."""
    from scipy.spatial.distance import pdist

    found = pdist(codes[:SILHOUETTE_EVENTS])  # each pair once, none with itself
    return (float(found.mean()), float(found.std())) if len(found) else (float("nan"), float("nan"))


class _Grouped(NamedTuple):
    inertia: float
    train: NDArray[np.int64]
    labels: NDArray[np.int64]


def _kmeans(train: Codes, validation: Codes, count: int, seed: int) -> _Grouped:
    from sklearn.cluster import KMeans

    model = KMeans(count, n_init=STARTS, random_state=seed).fit(train)
    labels = model.predict(validation) if len(validation) else np.zeros(0)
    return _Grouped(float(model.inertia_ / len(train)), model.labels_.astype(np.int64), labels.astype(np.int64))
