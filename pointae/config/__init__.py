"""Typed settings: strict models, YAML with ``_base_`` inheritance, dotted ``key=value`` overrides.

Knows no torch, so that a wrong setting is told before anything slow is imported. Every default
stands here and nowhere else; a run keeps the resolved whole in its ``config.yaml``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pointae.config.base import Seed, Settings
from pointae.config.data import (
    DataSettings,
    DegradationSettings,
    EventCounts,
    FileSource,
    PatternSource,
    RobotSource,
    Source,
    SplitShares,
    TorchSource,
    TrainingPart,
)
from pointae.config.model import (
    AttentionSettings,
    AutoregressiveSettings,
    CategoryGridSettings,
    Decoder,
    Dense2dSettings,
    Dense3dSettings,
    DenseSettings,
    EdgeConvSettings,
    Encoder,
    ImageSettings,
    LatentSettings,
    ModelSettings,
    PerceiverSettings,
    PerHitSettings,
    PointNetSettings,
    PointSetSettings,
    SparseSettings,
    TrackFitSettings,
)
from pointae.config.sweep import Parameter, RangeSettings, ScoreSettings, SweepSettings
from pointae.config.training import (
    EvaluateSettings,
    LossSettings,
    LossTerm,
    TrainSettings,
)

__all__ = [
    "AttentionSettings",
    "AutoregressiveSettings",
    "CategoryGridSettings",
    "Config",
    "DataSettings",
    "Decoder",
    "DegradationSettings",
    "Dense2dSettings",
    "Dense3dSettings",
    "DenseSettings",
    "EdgeConvSettings",
    "Encoder",
    "EvaluateSettings",
    "EventCounts",
    "FileSource",
    "ImageSettings",
    "LatentSettings",
    "LossSettings",
    "LossTerm",
    "ModelSettings",
    "Parameter",
    "PatternSource",
    "PerHitSettings",
    "PerceiverSettings",
    "PointNetSettings",
    "PointSetSettings",
    "RangeSettings",
    "RobotSource",
    "ScoreSettings",
    "Settings",
    "Source",
    "SparseSettings",
    "SplitShares",
    "SweepSettings",
    "TorchSource",
    "TrackFitSettings",
    "TrainSettings",
    "TrainingPart",
]


class Config(Settings):
    """Everything that makes a run."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "run"
    seed: Seed = 1
    """Up to 2^63 - 1."""
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
