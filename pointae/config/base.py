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
    if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
        raise ValueError(f"a range runs from low to high, got {list(value)}")
    return value


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
IntRange = Annotated[Count | tuple[Count, Count], BeforeValidator(ordered)]
"""A number, or [low, high] drawn uniformly for each event, both ends included."""
FloatRange = Annotated[float | tuple[float, float], BeforeValidator(ordered)]
"""A number, or [low, high] drawn uniformly for each event."""
Stride = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(as_tuple)]
"""Cells of the grid along (x, y, t) that make one voxel."""


class Settings(BaseModel):
    """Base of all settings: unknown keys and silent conversions are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)
