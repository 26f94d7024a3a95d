"""What ``run.json`` tells of a run: typed, and sealed where it decides."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pointae.config.base import Fraction, Natural, Settings, Whole
from pointae.documents import Document
from pointae.geometry import DetectorGeometry, geometry_from_dict

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Grid(Settings):
    """The detector's grid, as :func:`~pointae.geometry.geometry_to_dict` tells it, or did in version 1."""

    geometry_version: Natural = 1
    detector: str
    spatial_shape: tuple[Natural, Natural, Natural]
    bin_widths: tuple[float, float, float]
    axis_names: tuple[str, str, str]
    axis_units: tuple[str, str, str]
    axis_starts: tuple[float, float, float] | None = None
    axis_centres: tuple[list[float] | None, list[float] | None, list[float] | None] | None = None

    @model_validator(mode="after")
    def _can_be(self) -> Grid:
        self.geometry()
        return self

    def geometry(self) -> DetectorGeometry:
        """The grid itself."""
        return geometry_from_dict(self.model_dump())


class _Told(BaseModel):
    """What is told for people: entries of other versions, and a user's own, are kept as they are."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class Environment(_Told):
    """Versions and hardware; see :func:`~pointae.environment.gather_environment`."""

    system: str | None = None
    processor: str | None = None
    cores: Whole | None = None
    gpus: list[str] = []
    packages: dict[str, str] = {}


class Arithmetic(_Told):
    """What computed: :class:`~pointae.precision.Precision` in words."""

    device: str = ""
    name: str = ""


class Resumed(_Told):
    """Where the training went on from, and what differed there by force."""

    epoch: Whole
    forced: list[str] = []


class RunRecord(_Told):
    """The entries of ``run.json``; of a run that has not come so far, some are missing."""

    format: Literal["pointae-run"]
    format_version: Annotated[int, Field(ge=1)]
    name: str = ""
    commands: list[str] = []
    """What a user typed, the recipe."""
    started: str | None = None
    status: str = "unknown"
    parameters: Whole | None = None
    environment: Environment = Environment()
    precision: Arithmetic = Arithmetic()
    resumed: list[Resumed] = []
    epochs: Whole | None = None
    best_epoch: Whole | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    non_finite: dict[str, Any] | None = None
    """Events of a batch whose loss or gradient was not finite."""
    geometry: Grid | None = None
    feature_names: list[str] = []
    threshold: Fraction | None = None
    """``None`` before the training ended."""
    retention: Fraction | None = None
    thresholds: dict[Fraction, Fraction] = {}
    """By retention; empty for runs that are older than they are, or had no signal to fix them on."""
    signal_hits: Whole | None = None
    """Of the validation events that the thresholds were fixed on; ``None`` for runs that are older than this entry."""
    config_sha256: list[Sha256] = []
    """Of ``config.yaml``; two while it is replaced, none for runs that are older than this entry."""
    seal: Sha256 | None = None


def standing(status: str, epochs: int) -> str | None:
    """What to know of a run whose training did not end as it should; ``None`` where it did.

    Args:
        status: of :attr:`pointae.runs.RunDirectory.status`.
        epochs: that ended.
    """
    why = {
        "training": "is still going on",
        "stopped": "was killed",
        "interrupted": "was interrupted",
        "diverged": "diverged",
        "failed": "failed",
        "pruned": "was pruned in a sweep",
    }.get(status)
    if why is None:
        return None
    when = f"after {epochs} epoch{'s'[: epochs - 1]}" if epochs else "before the first epoch ended"
    return f"its training {why} {when}"


RECORD = Document(
    "the record of a run",
    RunRecord,
    "pointae-run",
    2,
    ("geometry", "feature_names", "threshold", "retention", "thresholds", "config_sha256"),
    "restore run.json from a copy, or train the run anew; --threshold and --retention cut elsewhere without editing it",
)
