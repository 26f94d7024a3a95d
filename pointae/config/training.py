"""Settings of losses, of the optimisation and of how a run is judged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pointae.config.base import NonNegative, Positive, Settings


class LossSettings(Settings):
    """A named loss with its options, or a weighted sum of several."""

    name: str = "bce"
    options: dict[str, Any] = {}
    terms: list[LossTerm] = []
    """For ``weighted_sum``."""


class LossTerm(Settings):
    """One term of a weighted sum."""

    name: str
    weight: Annotated[float, Field(ge=-1e9, le=1e9)] = 1.0
    options: dict[str, Any] = {}


class TrainSettings(Settings):
    """The optimisation."""

    start: dict[str, str] = {}
    """Parts of the model that begin as trained, by their name in it: a run directory or the name of shipped weights,
    e.g. ``{encoder.finder: runs/finder}``."""
    epochs: Positive = 8
    batch_size: Positive = 64
    loss: LossSettings = LossSettings()
    validation_loss: LossSettings | None = None
    """``None``: the training loss."""
    kl_weight: NonNegative = 1e-3
    """Beta, of the Kullback-Leibler divergence of a variational latent."""
    kl_schedule: Literal["constant", "warm_up", "cyclical"] = "constant"
    """``warm_up``: beta rises over ``kl_period`` epochs; ``cyclical``: over the first half of each such period."""
    kl_period: Positive = 10
    free_bits: NonNegative = 0.0
    """Nats of each latent dimension that cost nothing."""
    track_weight: NonNegative = 0.03
    """Of the guessed tracks' negative log density in the loss, where the encoder guesses and the truth is known."""
    alignment_weight: NonNegative = 1e-3
    """Of what keeps a PointNet's alignment near a rotation."""
    optimiser: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: NonNegative = 1e-2
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "one_cycle"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay a step of an exponential moving average of the weights, e.g. 0.999; validated and kept instead of
    the last step's. ``None``: off."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    patience: Positive | None = None
    """Epochs without a better validation loss, nor category F1 where there is one, before stopping; ``None``: never."""
    best: Literal["loss", "f1"] = "loss"
    """Which epoch's weights are the run's; those of the other, where there is one, are kept beside them."""
    checkpoints: Annotated[int, Field(ge=2, le=1_000_000)] = 2
    """Newest epochs that a run can be taken back to."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0: as many as there are cores."""


class EvaluateSettings(Settings):
    """How a run is judged."""

    retention: Annotated[float, Field(gt=0, lt=1)] = 0.97
    """Signal retention on validation events that fixes the run's threshold."""
    batch_size: Positive = 250
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the arithmetic that scores hits; fp64 where that was trained in."""
    pictures: Annotated[int, Field(ge=0, le=10_000)] = 8
    """Events kept with their predictions for the viewer."""
    baselines: list[Literal["knn_density", "dbscan", "time_window", "lone_hits"]] = ["knn_density", "dbscan"]
    tolerance_bins: Annotated[float, Field(gt=0, le=1e9)] = 0.5
    """Of generated hits: largest abs(dt) of a right time."""
    reach_bins: Annotated[float, Field(gt=0, le=1e9)] = 2.0
    """Of generated hits: semi-axes within which a hit is near a true one, in bins of each axis."""
