"""Settings of a search over configs: what is varied, how it is drawn, what is judged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from pointae.config.base import Count, Fraction, Positive, Settings

Number = Annotated[int, Field(ge=-(1 << 53), le=1 << 53)] | Annotated[float, Field(ge=-1e15, le=1e15)]
MOST_VALUES = 1_000_000


class RangeSettings(Settings):
    """Numbers from low to high, both included: integers if both are."""

    low: Number
    high: Number
    log: bool = False
    """Drawn evenly in the logarithm."""
    step: Annotated[Number, Field(gt=0)] | None = None
    """Only low, low + step, ..."""

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeSettings:
        if self.low >= self.high:
            raise ValueError(f"a range runs from low to high, got {self.low} and {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a logarithmic range starts above 0 and has no step")
        step = self.step or (1 if isinstance(self.low, int) and isinstance(self.high, int) else None)
        if step is not None and (self.high - self.low) / step > MOST_VALUES:
            raise ValueError(f"a range has at most {MOST_VALUES:,} values: take a longer step, or numbers with a point")
        return self


def _kind(value: Any) -> str:
    return "choices" if isinstance(value, list) else "range"


Parameter = Annotated[
    Annotated[Annotated[list[Any], Field(min_length=1)], Tag("choices")] | Annotated[RangeSettings, Tag("range")],
    Discriminator(_kind),
]
"""A list of values, or a range of numbers."""


class ScoreSettings(Settings):
    """``a loss + (1 - a) (1 - f1)`` of each epoch, lower is better; a trial's score is that of its best epoch."""

    a: Fraction = 0.7
    """1: the loss alone; 0: F1 alone."""
    loss: str = "validation_loss"
    """Column of ``metrics.csv``."""
    f1: str = "category_f1"
    """Column of ``metrics.csv``, higher is better, in [0, 1]."""


class SweepSettings(Settings):
    """A search: the config that it varies, by which values, and how a trial is judged."""

    config: str
    """The config that is varied: a path, relative to the sweep's own file."""
    fixed: dict[str, Any] = {}
    """Values of every trial that differ from the config, by dotted key, e.g. ``{train.epochs: 10}``."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """What is searched, by dotted key of the config."""
    sampler: Literal["grid", "random", "tpe"] = "tpe"
    """``grid``: every combination once; ``tpe``: Bergstra et al. 2011, what was good so far guides what is tried."""
    trials: Positive | None = None
    """How many are trained in all; ``None``: every combination, where their number is finite."""
    pruner: Literal["none", "median", "halving"] = "median"
    """``median``: a trial is stopped where it is worse than half of the others were; ``halving``: successive
    halving, Jamieson & Talwalkar 2016."""
    warmup_epochs: Count = 3
    """Of a trial that are never pruned."""
    subset: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training events; validation is always whole."""
    score: ScoreSettings = ScoreSettings()
    storage: Literal["sqlite", "journal"] = "sqlite"
    """``journal`` for folders of a network, where sqlite's locks do not hold."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 1
    """Of the sampler; each trial is trained with the config's own."""
