"""Two dimensions that show many: PCA, and UMAP where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pointae.analysis.latent.codes import Codes
from pointae.errors import DataError
from pointae.optional import require
from pointae.terminal import note

METHODS = ("pca", "umap")
FEWEST = {"pca": 1, "umap": 5}
"""Training events that a method needs: with fewer UMAP cannot place what it starts from."""


@dataclass(frozen=True)
class Projection:
    """Points of a plane, fitted on training codes alone.

    Args:
        method: ``"pca"`` or ``"umap"``.
        axes: what the two axes are called.
        train, validation: (E, 2).
    """

    method: str
    axes: tuple[str, str]
    train: NDArray[np.float64]
    validation: NDArray[np.float64]


def fitting(methods: Sequence[str], events: int) -> list[str]:
    """The methods that so few training events allow, and what is left out said; PCA, if none of them do."""
    for method in methods:
        if events < FEWEST[method]:
            told = f"{method} is left out: it needs at least {FEWEST[method]} training events, there are {events}"
            note(told)
    return [method for method in methods if events >= FEWEST[method]] or ["pca"]


def project(method: str, train: Codes, validation: Codes, seed: int) -> Projection:
    """Fit on the training codes, and place both.

    Args:
        method: of :data:`METHODS`. UMAP: McInnes et al. 2018, arXiv:1802.03426.
        train, validation: (E, D).
        seed: of UMAP's start and steps.

    Raises:
        DataError: too few training events.
        ComponentError: umap-learn is not installed.
    """
    if len(train) < FEWEST[method]:
        raise DataError(f"{method} needs at least {FEWEST[method]} training events, got {len(train)}")
    return {"pca": _pca, "umap": _umap}[method](train, validation, seed)


def _pca(train: Codes, validation: Codes, seed: int) -> Projection:
    from sklearn.decomposition import PCA

    dimensions = min(2, *train.shape)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # of one event, or of equal codes, which have no variance
        model = PCA(dimensions, svd_solver="full").fit(train)
    shares = [*np.nan_to_num(model.explained_variance_ratio_).tolist(), 0.0][:2]
    names = (f"component 1 ({100 * shares[0]:.0f} % of variance)", f"component 2 ({100 * shares[1]:.0f} % of variance)")
    return Projection("pca", names, _two(model.transform(train)), _two(_placed(model, validation)))


def _umap(train: Codes, validation: Codes, seed: int) -> Projection:
    umap = require("umap", extra="latent")
    neighbours = min(15, len(train) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba and of few events; nothing that a user can act on
        model = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1).fit(train.astype(np.float32))
        placed = _placed(model, validation.astype(np.float32))
    return Projection("umap", ("UMAP 1", "UMAP 2"), _two(model.embedding_), _two(placed))


def _placed(model: object, codes: NDArray) -> NDArray:
    return model.transform(codes) if len(codes) else np.zeros((0, 2))  # type: ignore[attr-defined]


def _two(points: NDArray) -> NDArray[np.float64]:
    """A second axis of zeros where the codes have one number."""
    points = np.asarray(points, np.float64)
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
