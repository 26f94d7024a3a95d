"""Losses by name: ``loss(output, hits, target, **options) -> 0-d``, for whatever a decoder gives.

==================================== ========================= =============================
name                                 fits                      compares
==================================== ========================= =============================
mse, mae, bce, focal, acb_mse, split HitLogits                 each measured hit, signal?
mse, mae, bce, focal, acb_mse, split Volume, TofImage          each voxel or pixel, target?
set, hungarian, chamfer, sliced      PointSet                  points, hits of the target
weighted_sum                         as its terms
==================================== ========================= =============================
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from pointae.config import LossSettings
from pointae.errors import ConfigError, unknown_name
from pointae.hits import HitBatch
from pointae.losses.elementwise import acb_mse, bce, focal, mae, mse, split
from pointae.losses.latent import kl_divergence
from pointae.losses.sets import chamfer, hungarian, matched_set
from pointae.losses.sliced import sliced
from pointae.nn.outputs import Output

__all__ = ["LOSSES", "Loss", "build_loss", "kl_divergence", "weighted_sum"]

Loss = Callable[[Output, HitBatch, HitBatch], Tensor]
"""(output, hits that went in, hits that should come out) -> 0-d."""


def weighted_sum(output: Output, hits: HitBatch, target: HitBatch, *, terms: Sequence[tuple[float, Loss]]) -> Tensor:
    """Sum of weight times loss over ``terms``, each (weight, loss)."""
    return sum(weight * loss(output, hits, target) for weight, loss in terms)  # type: ignore[return-value]


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
    "weighted_sum": weighted_sum,
}
"""Every loss, by the name that settings use."""


def build_loss(settings: LossSettings) -> Loss:
    """The loss that settings describe, its options checked.

    Raises:
        ConfigError: an unknown loss or option, an option of the wrong type, ``terms`` without
            ``weighted_sum`` or the reverse.
    """
    if settings.name != "weighted_sum":
        if settings.terms:
            raise ConfigError(f"loss '{settings.name}' has no terms", fix="name it weighted_sum")
        return _with_options(settings.name, settings.options)
    if settings.options or not settings.terms:
        raise ConfigError("loss 'weighted_sum' takes terms, at least one, and no options of its own")
    if any(term.name == "weighted_sum" for term in settings.terms):
        raise ConfigError("a term of loss 'weighted_sum' cannot be a weighted_sum itself")
    terms = [(term.weight, _with_options(term.name, term.options)) for term in settings.terms]
    return partial(weighted_sum, terms=terms)


def _with_options(name: str, options: Mapping[str, Any]) -> Loss:
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    loss = LOSSES[name]
    hints = get_type_hints(loss, include_extras=True)
    known = [key for key, spec in inspect.signature(loss).parameters.items() if spec.kind is spec.KEYWORD_ONLY]
    checked = {}
    for key, value in options.items():
        if key not in known:
            raise unknown_name(f"option of loss '{name}'", key, known)
        value = tuple(value) if isinstance(value, list) else value  # YAML knows no tuples
        try:
            checked[key] = TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(f"option '{key}' of loss '{name}': {reason}, got {value!r}") from None
    return partial(loss, **checked)
