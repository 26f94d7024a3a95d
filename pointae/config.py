"""Typed settings: strict models, YAML with ``_base_`` inheritance, dotted ``key=value`` overrides.

Knows no torch, so that a wrong setting is told before anything slow is imported. Every default
stands here and nowhere else; a run keeps the resolved whole in its ``config.yaml``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _ordered(value: Any) -> Any:
    value = _as_tuple(value)
    if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
        raise ValueError(f"a range runs from low to high, got {list(value)}")
    return value


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
IntRange = Annotated[Count | tuple[Count, Count], BeforeValidator(_ordered)]
"""A number, or [low, high] drawn uniformly for each event, both ends included."""
FloatRange = Annotated[float | tuple[float, float], BeforeValidator(_ordered)]
"""A number, or [low, high] drawn uniformly for each event."""
Stride = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)]
"""Cells of the grid along (x, y, t) that make one voxel."""


class Settings(BaseModel):
    """Base of all settings: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


# ---- where hits come from --------------------------------------------------------------------------


class TorchSource(Settings):
    """Simulated events of one LHCb TORCH module (docs/detector.md)."""

    kind: Literal["torch"] = "torch"
    tracks: IntRange = 1
    signal: IntRange = 30
    """Signal hits a track; the first accepted of 260 photons, or more for more than 30 hits, so a few give fewer."""
    signal_mode: Literal["fixed", "poisson"] = "fixed"
    """``poisson``: as many photons as the physics yields, ``signal`` is not used."""
    noise: IntRange = 200
    noise_mode: Literal["uniform", "tracks", "crossing", "mixture"] = "uniform"
    mixture: dict[Literal["uniform", "tracks", "crossing"], Fraction] = {"uniform": 0.4, "tracks": 0.4, "crossing": 0.2}
    sigma_t_ps: FloatRange = 70.0
    t0_sigma_ns: Annotated[float, Field(ge=0)] = 0.0
    momentum_gev: Annotated[tuple[float, float], BeforeValidator(_ordered)] = (2.0, 10.0)


class PatternSource(Settings):
    """Simplified full patterns and their mixtures: the whole pattern is signal."""

    kind: Literal["patterns"] = "patterns"
    mixture: dict[
        Literal["cross", "hemisphere", "line", "folded_v", "parabola", "blank"], Annotated[float, Field(ge=0)]
    ]
    """Share of each pattern; normalised, and exact over a data set of any size."""
    points: Positive = 1000
    """Points drawn for a cross, a line or a hemisphere."""
    crosses: IntRange = 1
    spread_px: Annotated[float, Field(ge=0)] = 0.0
    max_shift: Annotated[tuple[Count, Count, Count], BeforeValidator(_as_tuple)] = (40, 60, 400)


class FileSource(Settings):
    """Hits from files of any readable format."""

    kind: Literal["files"] = "files"
    paths: list[str] = Field(min_length=1)
    geometry: str | None = None
    """Name of a known detector, where the files do not say."""
    duplicates: Literal["keep", "merge", "error"] = "keep"
    on_bad: Literal["error", "skip"] = "error"
    """``skip`` leaves bad events out, says how many, and fails above 1 %."""
    columns: dict[str, str] = {}
    """For CSV, the file's own column name by ours, e.g. ``{t: tof}``."""
    chip_layout: Literal["single", "2x2"] = "single"
    """Where the chips of a Timepix3 recording are; ``single``: on one another, told apart by a feature."""
    all_signal: bool = False
    """Take every hit as signal: for recordings without labels, to which noise is then added."""
    window_ns: Annotated[float, Field(gt=0)] | None = None
    gap_ns: Annotated[float, Field(gt=0)] | None = None
    """Event building of continuous recordings (Timepix3): a fixed window, or a gap without hits."""
    split: Literal["random", "ordered"] = "random"
    """``ordered`` splits by position in the recording, so neighbours in time do not leak."""


Source = Annotated[TorchSource | PatternSource | FileSource, Field(discriminator="kind")]


class DegradationSettings(Settings):
    """What happens to a full pattern on its way to the network: thin, smear, dropout, noise."""

    thin: IntRange | None = None
    smear: dict[Literal["x", "y", "t"], Annotated[float, Field(ge=0)]] = {}
    """Gaussian sigma by axis, in the axis' unit (mm, mm, ns)."""
    edge: Literal["drop", "clamp"] = "drop"
    """What becomes of a hit smeared out of the grid."""
    dead_pixels: Fraction = 0.0
    noise: IntRange | None = None
    noise_profile: Literal["uniform", "hot", "edges", "clusters", "tracks", "crossing"] = "uniform"


class EventCounts(Settings):
    """Events of each split; for files the share of each."""

    train: Positive = 7000
    validation: Positive = 1000
    test: Positive = 2000


class SplitShares(Settings):
    """Shares of a file's events."""

    train: Fraction = 0.6
    validation: Fraction = 0.2
    test: Fraction = 0.2

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitShares:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("the shares of train, validation and test must sum to 1")
        return self


class DataSettings(Settings):
    """Where events come from and how many."""

    source: Source = TorchSource()
    events: EventCounts = EventCounts()
    shares: SplitShares = SplitShares()
    fresh: bool = True
    """Simulated sources only: new training events every epoch, never seen twice."""
    degradation: DegradationSettings = DegradationSettings()
    schedule: dict[int, DegradationSettings] = {}
    """Degradation from a given epoch on: a curriculum."""
    target: Literal["signal", "full"] = "signal"
    """What set and dense decoders learn: the signal hits of the input, or the full pattern."""


# ---- the model --------------------------------------------------------------------------------------


class PointNetSettings(Settings):
    """PointNet with repeated global context."""

    name: Literal["pointnet"] = "pointnet"
    channels: Positive = 64
    rounds: Positive = 4


class AttentionSettings(Settings):
    """Set attention over an event's hits."""

    name: Literal["attention"] = "attention"
    channels: Positive = 64
    layers: Positive = 3
    heads: Positive = 4
    max_hits: Positive = 20_000
    """Events above this are refused: the cost is quadratic in the hits of an event."""


class EdgeConvSettings(Settings):
    """Edge convolution over the nearest hits in physical distance."""

    name: Literal["edgeconv"] = "edgeconv"
    channels: Positive = 32
    layers: Positive = 2
    neighbours: Positive = 16
    max_hits: Positive = 20_000


class SparseSettings(Settings):
    """Sparse convolutional U-Net on occupied voxels."""

    name: Literal["sparse"] = "sparse"
    channels: Positive = 32
    strides: Annotated[list[Stride], Field(min_length=1)] = [(4, 4, 32), (8, 8, 64), (16, 16, 128)]
    """Voxel size of each level, finest first; each a multiple of the one before."""
    engine: Literal["auto", "torch", "spconv"] = "auto"


class Dense2dSettings(Settings):
    """The predecessor's convolutional encoder on the image with embedded time of flight."""

    name: Literal["dense2d"] = "dense2d"
    channels: Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)] = (8, 16, 32)
    hidden: Positive = 128
    gap: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """r of the gapped normalisation."""


class Dense3dSettings(Settings):
    """Dense 3D convolutions on a coarse grid."""

    name: Literal["dense3d"] = "dense3d"
    channels: Positive = 16
    stride: Stride = (8, 8, 64)


Encoder = Annotated[
    PointNetSettings | AttentionSettings | EdgeConvSettings | SparseSettings | Dense2dSettings | Dense3dSettings,
    Field(discriminator="name"),
]


class LatentSettings(Settings):
    """The code between encoder and decoder."""

    name: Literal["plain", "variational"] = "plain"
    size: Positive = 64


class PerHitSettings(Settings):
    """A logit for every measured hit: is it signal?"""

    name: Literal["per_hit"] = "per_hit"
    hidden: Positive = 64


class PointSetSettings(Settings):
    """A set of points from the code alone."""

    name: Literal["point_set"] = "point_set"
    slots: Positive = 64
    hidden: Positive = 256
    categories: Count = 0


class DenseSettings(Settings):
    """A volume of logits at a declared stride, from the code alone."""

    name: Literal["dense"] = "dense"
    stride: Stride = (8, 8, 50)
    channels: Positive = 16


class ImageSettings(Settings):
    """The predecessor's decoder: an image with embedded time of flight, from the code alone."""

    name: Literal["image"] = "image"
    channels: Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_as_tuple)] = (32, 16, 8)
    hidden: Positive = 128
    gap: Annotated[float, Field(gt=0, lt=1)] = 0.25


Decoder = Annotated[PerHitSettings | PointSetSettings | DenseSettings | ImageSettings, Field(discriminator="name")]


class ModelSettings(Settings):
    """encoder -> latent -> decoder."""

    encoder: Encoder = PointNetSettings()
    latent: LatentSettings = LatentSettings()
    decoder: Decoder = PerHitSettings()


# ---- losses, training, evaluation --------------------------------------------------------------------


class LossSettings(Settings):
    """A named loss with its options, or a weighted sum of several."""

    name: str = "bce"
    options: dict[str, Any] = {}
    terms: list[LossTerm] = []
    """For ``weighted_sum``."""


class LossTerm(Settings):
    """One term of a weighted sum."""

    name: str
    weight: float = 1.0
    options: dict[str, Any] = {}


class TrainSettings(Settings):
    """The optimisation."""

    epochs: Positive = 8
    batch_size: Positive = 64
    loss: LossSettings = LossSettings()
    validation_loss: LossSettings | None = None
    """``None``: the training loss."""
    kl_weight: Annotated[float, Field(ge=0)] = 1e-3
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "one_cycle"
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay a step of an exponential moving average of the weights, e.g. 0.999; validated and kept instead of
    the last step's. ``None``: off."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    patience: Positive | None = None
    """Epochs without a better validation loss before stopping; ``None``: never."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Count = 0
    """CPU threads; 0: as many as there are cores."""


class EvaluateSettings(Settings):
    """How a run is judged."""

    retention: Annotated[float, Field(gt=0, lt=1)] = 0.97
    """Signal retention on validation events that fixes the run's threshold."""
    batch_size: Positive = 250
    pictures: Count = 8
    """Events kept with their predictions for the viewer."""
    baselines: list[Literal["knn_density", "dbscan", "time_window"]] = ["knn_density", "dbscan"]
    tolerance_bins: Annotated[float, Field(gt=0)] = 0.5
    """Of generated hits: largest abs(dt) of a right time."""
    reach_bins: Annotated[float, Field(gt=0)] = 2.0
    """Of generated hits: semi-axes within which a hit is near a true one, in bins of each axis."""


class Config(Settings):
    """Everything that makes a run."""

    name: str = "run"
    seed: Count = 1
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
