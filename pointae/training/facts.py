"""What a checkpoint must hold for a training to go on from it: typed facts, and tensors that belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from pointae.config import Config
from pointae.config.base import Natural, Whole
from pointae.documents import first_problem
from pointae.errors import CheckpointError
from pointae.geometry import geometry_from_dict
from pointae.record import Sha256

MOMENTS = {
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "sgd": {"momentum_buffer"},
    "rmsprop": {"step", "square_avg"},
}
"""What an optimiser keeps of a parameter; ``step`` is one number, the others have the parameter's shape."""
SIGNED = ("exp_avg", "momentum_buffer")
"""Those that may be below zero."""
MOST_STEPS = 2**31


def _config(value: dict[str, Any]) -> dict[str, Any]:
    try:
        Config.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise ValueError(f"is not a config of this version of pointae: {first_problem(error)}") from None
    return value


def _grid(value: dict[str, Any]) -> dict[str, Any]:
    geometry_from_dict(value)
    return value


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True)


class _Best(_Facts):
    epoch: Natural
    value: float


class _Output(_Facts):
    low: float
    high: float
    signal: Whole
    noise: Whole


class _Data(_Facts):
    grid: Annotated[dict[str, Any], AfterValidator(_grid)]
    features: list[str]
    events: dict[str, Whole]
    sha256: Sha256


class _Scaler(_Facts):
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Natural
    growth_tracker: Annotated[Whole, Field(alias="_growth_tracker")]


class Facts(_Facts):
    """Facts of a checkpoint; what later versions add is passed over."""

    epoch: Natural
    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    skipped: Whole = 0
    averaged: Whole = 0
    scaler: _Scaler | Annotated[dict[str, Any], Field(max_length=0)] = {}
    rows: list[dict[str, int | float]]
    bests: dict[Literal["loss", "f1"], _Best] | None = None
    best_epoch: Natural | None = None
    best_loss: float | None = None
    """These two in checkpoints from before there were several criteria, in place of ``bests``."""
    outputs: list[_Output] = []
    config: Annotated[dict[str, Any], AfterValidator(_config)]
    data: _Data
    versions: dict[str, str | int]

    @model_validator(mode="after")
    def _belong_together(self) -> Facts:
        numbers = [row.get("epoch") for row in self.rows]
        if len(numbers) != self.epoch or numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"rows must be those of the epochs 1 to {self.epoch}, one each")
        for row in self.rows:
            for name in ("validation_loss", "train_loss", "seconds", "learning_rate"):
                if name not in row:
                    raise ValueError(f"the row of epoch {row['epoch']} lacks '{name}'")
        epochs = [self.best_epoch] if self.bests is None else [best.epoch for best in self.bests.values()]
        if not epochs or any(epoch is None or epoch > self.epoch for epoch in epochs):
            raise ValueError(f"the best epoch must be one of 1 to {self.epoch}")
        if self.best_loss is None if self.bests is None else "loss" not in self.bests:
            raise ValueError("lacks what the best validation loss was")
        return self


def check_content(tensors: Mapping[str, Tensor], facts: Mapping[str, Any], where: object) -> None:
    """Refuse a checkpoint that a training cannot go on from, whatever its digest.

    Args:
        tensors: by ``part.name``.
        facts: as they were kept.
        where: the file, for errors.

    Raises:
        CheckpointError: names the first entry or tensor that is missing or wrong.
    """
    try:
        told = Facts.model_validate(facts)
    except ValidationError as error:
        problem: str | None = first_problem(error)
    else:
        problem = _odd_tensor(tensors, told)
    if problem is not None:
        raise CheckpointError(f"is no checkpoint to go on from: {problem}"[:400], where=where)


def _odd_tensor(tensors: Mapping[str, Tensor], facts: Facts) -> str | None:
    """What is wrong with the first tensor that does not belong; ``None`` where all do."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = value
    model = parts.get("model", {})
    if not model:
        return "it holds no model"
    copies = ["best"] if facts.bests is None else [f"best_{name}" for name in facts.bests]
    for part in [*copies, *(["average"] if "average" in parts else [])]:
        if _shapes(parts.get(part, {})) != _shapes(model):
            return f"its part '{part}' is not of the same model as its part 'model'"
    optimiser = facts.config.get("train", {}).get("optimiser", Config().train.optimiser)
    return _odd_moment(parts.get("optimiser", {}), model, optimiser) or _odd_generator(parts.get("rng", {}))


def _odd_moment(tensors: Mapping[str, Tensor], model: Mapping[str, Tensor], optimiser: str) -> str | None:
    kept: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, _, moment = name.rpartition(".")
        kept.setdefault(parameter, {})[moment] = value
    for parameter, moments in kept.items():
        place = f"'optimiser.{parameter}'"
        if parameter not in model or moments.keys() != MOMENTS[optimiser]:
            return f"{place} is not what {optimiser} keeps of a parameter of this model"
        for moment, value in moments.items():
            if value.shape != (torch.Size() if moment == "step" else model[parameter].shape):
                return f"{place} has a '{moment}' of another shape than its parameter"
            if not value.is_floating_point() or bool((value < 0).any() and moment not in SIGNED):
                return f"{place} has a '{moment}' that cannot be"
    return None


def _odd_generator(states: Mapping[str, Tensor]) -> str | None:
    if "cpu" not in states:
        return "it lacks 'rng.cpu', the state of the generator"
    try:
        torch.Generator().set_state(states["cpu"])
    except (RuntimeError, TypeError) as error:
        return f"'rng.cpu' is no state of a generator: {str(error).splitlines()[0]}"
    if "cuda" in states and (states["cuda"].dtype != torch.uint8 or states["cuda"].numel() != _CUDA_STATE):
        return "'rng.cuda' is no state of a generator"
    return None


_CUDA_STATE = 16
"""Bytes of a generator's state on a GPU: its seed and its offset."""


def _shapes(part: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in part.items()}
