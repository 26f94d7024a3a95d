"""Settings of the data: where events come from, what is done to them, how many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pointae.config.base import (
    Count,
    Events,
    FewRange,
    FloatRange,
    Fraction,
    IntRange,
    NonNegative,
    Positive,
    Settings,
    as_tuple,
    ordered,
    some,
)
from pointae.geometry import find_geometry

Momentum = Annotated[float, Field(ge=0.001, le=1e6)]


class TorchSource(Settings):
    """Simulated events of one LHCb TORCH module (docs/detector.md)."""

    kind: Literal["torch"] = "torch"
    tracks: FewRange = 1
    signal: IntRange = 30
    """Signal hits a track; the first accepted of 260 photons, or more for more than 30 hits, so a few give fewer."""
    signal_mode: Literal["fixed", "poisson"] = "fixed"
    """``poisson``: as many photons as the physics yields, ``signal`` is not used."""
    noise: IntRange = 200
    noise_mode: Literal["uniform", "tracks", "crossing", "mixture"] = "uniform"
    mixture: Annotated[dict[Literal["uniform", "tracks", "crossing"], Fraction], AfterValidator(some)] = {
        "uniform": 0.4,
        "tracks": 0.4,
        "crossing": 0.2,
    }
    sigma_t_ps: FloatRange = 70.0
    t0_sigma_ns: NonNegative = 0.0
    momentum_gev: Annotated[tuple[Momentum, Momentum], BeforeValidator(ordered)] = (2.0, 10.0)


class PatternSource(Settings):
    """Simplified full patterns and their mixtures: the whole pattern is signal."""

    kind: Literal["patterns"] = "patterns"
    mixture: Annotated[
        dict[Literal["cross", "hemisphere", "line", "folded_v", "parabola", "blank"], NonNegative],
        AfterValidator(some),
    ]
    """Share of each pattern; normalised, and exact over a data set of any size."""
    points: Positive = 1000
    """Points drawn for a cross, a line or a hemisphere."""
    crosses: FewRange = 1
    spread_px: NonNegative = 0.0
    max_shift: Annotated[tuple[Count, Count, Count], BeforeValidator(as_tuple)] = (40, 60, 400)


def _grid_that_can_be(stated: Any) -> Any:
    if stated is not None:
        if not isinstance(stated, str | dict):
            raise ValueError("must be a known detector's name or a grid, {spatial_shape: [X, Y, T], ...}")
        find_geometry(stated)
    return stated


class FileSource(Settings):
    """Hits from files of any readable format."""

    kind: Literal["files"] = "files"
    paths: list[str] = Field(min_length=1)
    geometry: Annotated[str | dict[str, Any] | None, BeforeValidator(_grid_that_can_be)] = None
    """The detector, where the files do not say: the name of a known one, or its grid as files state it
    (docs/formats.md), e.g. ``{spatial_shape: [64, 48, 500], bin_widths: [0.5, 0.5, 1.0]}``."""
    duplicates: Literal["keep", "merge", "error"] = "keep"
    on_bad: Literal["error", "skip"] = "error"
    """``skip`` leaves bad events out, says how many, and fails above 1 %."""
    columns: dict[str, str] = {}
    """For CSV and Parquet, the file's own column name by ours, e.g. ``{t: tof}``."""
    chip_layout: Literal["single", "2x2"] = "single"
    """Where the chips of a Timepix3 recording are; ``single``: on one another, told apart by a feature."""
    features: list[str] | None = None
    """Columns of the files, or features that they declare, that a network is given, in this order; none else."""
    all_signal: bool = False
    """Take every hit as signal: for recordings without labels, to which noise is then added."""
    window_ns: Annotated[float, Field(gt=0, le=1e12)] | None = None
    gap_ns: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Event building of continuous recordings (Timepix3): a fixed window, or a gap without hits."""
    trigger: Literal["tdc1_rising", "tdc1_falling", "tdc2_rising", "tdc2_falling"] | None = None
    """Build them instead of the hits within ``window_ns`` after each recorded trigger of this kind."""
    trigger_delay_ns: Annotated[float, Field(ge=-1e12, le=1e12)] = 0.0
    """From a trigger to the begin of its window."""
    split: Literal["random", "ordered"] = "random"
    """``ordered`` splits by position in the recording, so neighbours in time do not leak."""


class RobotSource(Settings):
    """Robots of up to eight voxels of four kinds, generated or read; duplicates and empty ones are left out."""

    kind: Literal["robots"] = "robots"
    paths: list[str] = []
    """Files of robots, taken together; none: robots are generated."""
    cache: str | None = None
    """A native file (.h5) to keep the robots of ``paths`` in, as they are after cleaning; read instead as long as the
    files are the same."""
    robots: Positive = 27_017
    """How many different ones are generated; of files all are taken."""
    subset: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training split that is used, e.g. 0.2 for a toy set; validation and test stay whole."""
    turn: bool = False
    """Training robots come mirrored along x, y, z and with y and z exchanged, each in one of 16 ways an epoch: for
    robots that would be as likely so."""
    duplicates: Fraction = 0.0
    empties: Fraction = 0.0
    """Shares of generated robots that repeat an earlier one or are empty, for files to be cleaned
    (tools/simulate.py); training always cleans."""

    @model_validator(mode="after")
    def _leave_some(self) -> RobotSource:
        if self.duplicates + self.empties >= 1:
            raise ValueError("duplicates and empties must leave some robots: their shares must sum to less than 1")
        if self.cache is not None and not (self.paths and self.cache.endswith(".h5")):
            raise ValueError("a cache is a file of the ending .h5 for the robots of paths")
        return self


Source = Annotated[TorchSource | PatternSource | FileSource | RobotSource, Field(discriminator="kind")]


class DegradationSettings(Settings):
    """What happens to a full pattern on its way to the network: thin, smear, dropout, noise."""

    thin: IntRange | None = None
    smear: dict[Literal["x", "y", "t"], NonNegative] = {}
    """Gaussian sigma by axis, in the axis' unit (mm, mm, ns)."""
    edge: Literal["drop", "clamp"] = "drop"
    """What becomes of a hit smeared out of the grid."""
    dead_pixels: Fraction = 0.0
    noise: IntRange | None = None
    noise_profile: Literal["uniform", "hot", "edges", "clusters", "tracks", "crossing"] = "uniform"


class EventCounts(Settings):
    """Events of each split; for files the share of each."""

    train: Events = 7000
    validation: Events = 1000
    test: Events = 2000


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


class TrainingPart(Settings):
    """Other events among those of training."""

    share: Fraction
    source: TorchSource
    from_epoch: Positive = 1
    """Before it the part is left out, and its share falls to the data's own source: a curriculum."""


class DataSettings(Settings):
    """Where events come from and how many."""

    source: Source = TorchSource()
    events: EventCounts = EventCounts()
    shares: SplitShares = SplitShares()
    fresh: bool = True
    """Simulated sources only: new training events every epoch, never seen twice."""
    degradation: DegradationSettings = DegradationSettings()
    schedule: dict[Count, DegradationSettings] = {}
    """Degradation from a given epoch on: a curriculum."""
    variety: list[TrainingPart] = []
    """Simulated TORCH events only: parts of the training events that other settings make. Validation and test
    events are always of ``source``."""
    group_by_size: bool = False
    """Training batches hold events of similar size, so that little is padded."""
    target: Literal["signal", "full"] = "signal"
    """What set and dense decoders learn: the signal hits of the input, or the full pattern."""
