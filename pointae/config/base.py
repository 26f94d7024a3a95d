"""What all settings share: strictness, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def as_tuple(value: Any) -> Any:
    """A list, all that YAML has, as the tuple that is meant."""
    return tuple(value) if isinstance(value, list) else value


def ordered(value: Any) -> Any:
    """A pair as a tuple from low to high."""
    value = as_tuple(value)
    numbers = isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value)
    if numbers and value[0] > value[1]:
        raise ValueError(f"a range runs from low to high, got {list(value)}")
    return value


def some(shares: dict[Any, float]) -> dict[Any, float]:
    """Shares by name, not all of them 0."""
    if not any(shares.values()):
        raise ValueError("at least one share must be above 0")
    return shares


Count = Annotated[int, Field(ge=0, le=1_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
Whole = Annotated[int, Field(ge=0)]
Natural = Annotated[int, Field(ge=1)]
"""What was counted, in records and cards: without the bounds of settings."""
Width = Annotated[int, Field(ge=1, le=8192)]
"""Numbers that a layer holds for each hit, event or code."""
Depth = Annotated[int, Field(ge=1, le=64)]
"""Layers, or rounds of them."""
Events = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0, le=1e9)]
IntRange = Annotated[Count | tuple[Count, Count], BeforeValidator(ordered)]
"""A number, or [low, high] drawn uniformly for each event, both ends included."""
FewRange = Annotated[
    Annotated[int, Field(ge=0, le=1000)]
    | tuple[Annotated[int, Field(ge=0, le=1000)], Annotated[int, Field(ge=0, le=1000)]],
    BeforeValidator(ordered),
]
"""The same of what takes a pattern of hits each."""
FloatRange = Annotated[NonNegative | tuple[NonNegative, NonNegative], BeforeValidator(ordered)]
"""A number, or [low, high] drawn uniformly for each event."""
Stride = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(as_tuple)]
"""Cells of the grid along (x, y, t) that make one voxel."""


class Settings(BaseModel):
    """Base of all settings: unknown keys, silent conversions, infinities and nan are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, allow_inf_nan=False)
