"""Weights that come with the repository: ``weights/<name>.safetensors`` and, beside it, ``<name>.json``, its card.

The card says what the weights are and carries the SHA-256 of their file; nothing is loaded that does not have it.
No other module knows where they lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pointae.config import Config
from pointae.config.base import Fraction, Natural, Settings, Whole
from pointae.documents import Document
from pointae.errors import CheckpointError, UsageError
from pointae.record import Grid, Sha256
from pointae.storage import JSON_BYTES, digest, read_kept, to_json, write_atomically, write_json

FOLDER = Path(__file__).resolve().parents[1] / "weights"
"""Beside the package: in a clone, and where it was installed."""
SHIPPED_BYTES = 1_000_000_000
"""Weights that are shipped are at most as large."""
NAME = r"^[a-z0-9][a-z0-9_-]*$"
RESTORE = "restore both files: git checkout -- weights; or make them anew: tools/ship.py"


class Card(Settings):
    """What shipped weights are. Every field is required; fields of ``config`` that are newer have their default."""

    format: Literal["pointae-card"]
    format_version: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(pattern=NAME)]
    description: Annotated[str, Field(pattern=r"^[^\n]+$")]
    """One line."""
    licence: str
    sha256: Sha256
    """Of the ``.safetensors`` file."""
    parameters: Natural
    training_command: str
    seeds: Annotated[list[Whole], Field(min_length=1)]
    data: str
    """The events trained on, in words."""
    training_seconds: Annotated[float, Field(ge=0)]
    environment: dict[str, Any]
    figures: dict[str, Any]
    """What was measured with these weights."""
    retention: Annotated[float, Field(gt=0, lt=1)]
    """Share of signal kept by default."""
    thresholds: dict[float, Fraction]
    """Score that keeps a share of signal, by share."""
    geometry: Grid
    feature_names: list[str]
    config: Config
    seal: Sha256 | None = None
    """Of what decides beside the tensors; missing in cards of version 1."""

    @model_validator(mode="after")
    def _has_its_threshold(self) -> Card:
        if self.retention not in self.thresholds:
            raise ValueError(f"thresholds hold none for the retention of {self.retention:g}")
        return self


CARD = Document(
    "a card of weights",
    Card,
    "pointae-card",
    2,
    ("config", "geometry", "feature_names", "retention", "thresholds"),
    RESTORE,
)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of weights.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"'{name}' cannot name weights", fix="lower-case letters, digits, - and _")


def shipped_names() -> list[str]:
    """Names of all shipped weights."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def weights_path(name: str) -> Path:
    """Where the tensors of ``name`` lie."""
    return FOLDER / f"{name}.safetensors"


def card_path(name: str) -> Path:
    """Where the card of ``name`` lies."""
    return FOLDER / f"{name}.json"


def read_shipped(name: str) -> Card:
    """The card of shipped weights, once their file is known to be the one it was written for.

    Raises:
        CheckpointError: a file is missing, the card is not one, or the checksum is another.
    """
    path = card_path(name)
    card = CARD.parse(read_kept(path, JSON_BYTES, RESTORE), path)
    if card.name != name:
        raise CheckpointError(f"is the card of '{card.name}'", where=path, fix=RESTORE)
    found = digest(read_kept(weights_path(name), SHIPPED_BYTES, RESTORE))
    if found != card.sha256:
        raise CheckpointError(
            f"is not the file that its card is of: its SHA-256 is {found[:12]}..., the card says {card.sha256[:12]}...",
            where=weights_path(name),
            fix=RESTORE,
        )
    return card


def write_shipped(facts: Mapping[str, Any], tensors: bytes) -> Card:
    """Ship weights: the file, then its card; a name is known only once both are whole.

    Args:
        facts: the fields of :class:`Card` but for format, checksum and seal, JSON-able.
        tensors: content of the ``.safetensors`` file.

    Raises:
        CheckpointError: the facts make no card; nothing was written.
        StorageError: a file could not be written.
    """
    told = CARD.written({**facts, "sha256": digest(tensors)})
    card = Card.model_validate_json(to_json(told))
    FOLDER.mkdir(exist_ok=True)
    write_atomically(weights_path(card.name), tensors)
    write_json(card_path(card.name), told)
    return card


def shipped_bytes() -> int:
    """Size of all shipped weights and cards together."""
    return sum(path.stat().st_size for path in FOLDER.iterdir()) if FOLDER.is_dir() else 0
