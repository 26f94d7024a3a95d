"""The loss of a dense grid of kinds."""

from __future__ import annotations

from torch import Tensor

from pointae.errors import DataError
from pointae.hits import HitBatch
from pointae.losses.categories import CategoryWeights
from pointae.losses.cells import misfit, widen
from pointae.nn.category_grid import kind_grid
from pointae.nn.outputs import CategoryGrid, Output


def category_mse(
    output: Output, hits: HitBatch, target: HitBatch, *, category_weights: CategoryWeights = None
) -> Tensor:
    """Squared error of kind / Q, weighted by the true kind: the sum over an event's cells, mean over events.

    Args:
        output: CategoryGrid of B events.
        hits: the network's input; not used.
        target: robots, with ``category``.
        category_weights: of an empty cell and of the kinds 1..Q; ``"log"``: by their rarity in all cells of the
            training events.

    Returns:
        0-d, at least float32.

    Raises:
        ConfigError: the output is not a CategoryGrid.
        DataError: weights that are not 1 + Q.
    """
    if not isinstance(output, CategoryGrid):
        raise misfit("category_mse", output, (CategoryGrid,))
    values = widen(output.values)
    truth = kind_grid(target)[:, 0].to(values)
    error = (values - truth).square()
    if category_weights is not None:
        assert category_weights != "log", "build_loss puts numbers in its place"
        if len(category_weights) != output.kinds + 1:
            raise DataError(f"category_weights are {len(category_weights)}, the cells have {output.kinds + 1} classes")
        error = error * error.new_tensor(category_weights)[(truth * output.kinds).round().long()]
    return error.sum() / max(len(values), 1)
