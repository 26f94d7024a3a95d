"""Losses by name: ``loss(output, hits, target, **options) -> 0-d``, for whatever a decoder gives.

==================================== ========================= =============================
name                                 fits                      compares
==================================== ========================= =============================
mse, mae, bce, focal, acb_mse, split HitLogits                 each measured hit, signal?
mse, mae, bce, focal, acb_mse, split Volume, TofImage          each voxel or pixel, target?
set, hungarian, chamfer, sliced      PointSet                  points, hits of the target
overlap                              PointSet                  points with each other
sequence                             CellSequence              each hit, given those before
category_mse                         CategoryGrid              the kind in each cell
weighted_sum                         as its terms
==================================== ========================= =============================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from pointae.config import LossSettings
from pointae.errors import ConfigError, unknown_name
from pointae.hits import HitBatch
from pointae.losses.categories import log_class_weights
from pointae.losses.category_grid import category_mse
from pointae.losses.elementwise import acb_mse, bce, focal, mae, mse, split
from pointae.losses.latent import active_units, kl_divergence, kl_per_dimension
from pointae.losses.parts import Part, Parts, total
from pointae.losses.sequence import sequence
from pointae.losses.sets import chamfer, hungarian, matched_set, overlap
from pointae.losses.sliced import sliced
from pointae.nn.outputs import Output

__all__ = [
    "LOSSES",
    "Loss",
    "Part",
    "Parts",
    "active_units",
    "build_loss",
    "kl_divergence",
    "kl_per_dimension",
    "log_class_weights",
    "total",
]


@dataclass(frozen=True)
class Loss:
    """A weighted sum of losses with their options: (output, hits that went in, hits that should come out) -> 0-d.

    Args:
        terms: (name, weight, options) of each loss.
    """

    terms: tuple[tuple[str, float, Mapping[str, Any]], ...]

    def __call__(self, output: Output, hits: HitBatch, target: HitBatch) -> Tensor:
        return total(self.parts(output, hits, target))

    def parts(self, output: Output, hits: HitBatch, target: HitBatch) -> Parts:
        """The parts by name: those of a loss that has some, else the loss itself.

        Of several terms that have a part of the same name each is called ``term_part``.
        """
        found = [(name, weight, _parts(name, output, hits, target, options)) for name, weight, options in self.terms]
        names = [part for _, _, parts in found for part in parts]
        return {
            part if names.count(part) == 1 else f"{name}_{part}": Part(value.raw, weight * value.weight)
            for name, weight, parts in found
            for part, value in parts.items()
        }


def _parts(name: str, output: Output, hits: HitBatch, target: HitBatch, options: Mapping[str, Any]) -> Parts:
    loss = LOSSES[name]
    if hasattr(loss, "parts"):
        parts: Parts = loss.parts(output, hits, target, **options)
        return parts
    return {name: Part(loss(output, hits, target, **options))}


FINITE = ConfigDict(allow_inf_nan=False)
LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "mae": mae,
    "bce": bce,
    "focal": focal,
    "acb_mse": acb_mse,
    "split": split,
    "set": matched_set,
    "hungarian": hungarian,
    "chamfer": chamfer,
    "sliced": sliced,
    "overlap": overlap,
    "sequence": sequence,
    "category_mse": category_mse,
}
"""Every loss, by the name that settings use; those made of parts give them as ``.parts``."""


def build_loss(settings: LossSettings, category_counts: Tensor | None = None) -> Loss:
    """The loss that settings describe, its options checked.

    Args:
        settings: the loss section of a config.
        category_counts: (1 + Q,) empty cells and hits of each category 1..Q in the training events, for
            ``category_weights: log``; only a loss over cells weighs the empty ones.

    Raises:
        ConfigError: an unknown loss or option, an option of the wrong type, ``terms`` without
            ``weighted_sum`` or the reverse.
    """
    if settings.name != "weighted_sum":
        if settings.terms:
            raise ConfigError(f"loss '{settings.name}' has no terms", fix="name it weighted_sum")
        return Loss(((settings.name, 1.0, _checked(settings.name, settings.options, category_counts)),))
    if settings.options or not settings.terms:
        raise ConfigError("loss 'weighted_sum' takes terms, at least one, and no options of its own")
    if any(term.name == "weighted_sum" for term in settings.terms):
        raise ConfigError("a term of loss 'weighted_sum' cannot be a weighted_sum itself")
    names = [term.name for term in settings.terms]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"loss 'weighted_sum' has the term '{name}' twice")
    return Loss(
        tuple((term.name, term.weight, _checked(term.name, term.options, category_counts)) for term in settings.terms)
    )


def _checked(name: str, options: Mapping[str, Any], category_counts: Tensor | None) -> dict[str, Any]:
    """The options of a loss with the types that it asks for, weights by rarity as numbers."""
    if name not in LOSSES:
        raise unknown_name("loss", name, [*LOSSES, "weighted_sum"])
    loss: Callable[..., Any] = inspect.unwrap(LOSSES[name])
    hints = get_type_hints(loss, include_extras=True)
    known = [key for key, spec in inspect.signature(loss).parameters.items() if spec.kind is spec.KEYWORD_ONLY]
    checked = {}
    for key, value in options.items():
        if key not in known:
            raise unknown_name(f"option of loss '{name}'", key, known)
        value = tuple(value) if isinstance(value, list) else value  # YAML knows no tuples
        try:
            checked[key] = TypeAdapter(hints[key], config=FINITE).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"option '{key}' of loss '{name}': {reason}, got {value!r:.200}") from None
    if checked.get("category_weights") == "log":
        checked["category_weights"] = None
        if category_counts is not None:
            counts = category_counts if name == "category_mse" else category_counts[1:]
            checked["category_weights"] = tuple(log_class_weights(counts).tolist())
    return checked
