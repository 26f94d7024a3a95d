"""JSON documents that decide: typed, versioned, and sealed, so that no number in them changes in silence.

Two are kept: the record of a run (:mod:`pointae.record`) and the card of shipped weights (:mod:`pointae.shipped`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pointae.errors import CheckpointError, ConfigError
from pointae.storage import check_version, digest, parse_json, to_json

SEALED_SINCE = 2
"""Version from which on documents have a seal; those before are read without."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Document(Generic[_Model]):
    """A kind of document.

    Args:
        called: what it is, e.g. ``"a card of weights"``.
        model: its fields, with ``format``, ``format_version`` and ``seal``.
        format: what ``format`` says.
        version: the latest; the one that is written.
        deciding: fields on which decisions depend. ``seal`` is the SHA-256 of these as canonical JSON.
        fix: what to do about one that is refused.
    """

    called: str
    model: type[_Model]
    format: str
    version: int
    deciding: tuple[str, ...]
    fix: str

    def parse(self, content: bytes | str, where: object) -> _Model:
        """A document as it was kept.

        Raises:
            CheckpointError: it is none, is of a later version, or what decides in it was changed; names the first
                field that is missing, unknown or wrong.
        """
        try:
            told = parse_json(content)
        except ValueError as error:
            raise self._refused(f"is not JSON: {error}", where) from None
        if not isinstance(told, dict):
            raise self._refused(f"holds a {type(told).__name__} in place of names and values", where)
        self._check_kind(told, where)
        try:
            document = self.model.model_validate_json(content)
        except ValidationError as error:
            raise self._refused(first_problem(error), where) from None
        if told["format_version"] >= SEALED_SINCE and told.get("seal") != self.seal_of(told):
            raise CheckpointError(
                f"was changed after it was written: its seal is not that of its {', '.join(self.deciding)}",
                where=where,
                fix=self.fix,
            )
        return document

    def written(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields as they are to be written: as plain JSON, of the latest version, and sealed.

        Raises:
            CheckpointError: they make no document.
        """
        told = parse_json(to_json({**content, "format": self.format, "format_version": self.version}))
        told = {"format": self.format, "format_version": self.version, **told}
        told["seal"] = self.seal_of(told)
        self.parse(to_json(told), f"{self.called} to be written")
        return told

    def seal_of(self, told: Mapping[str, Any]) -> str:
        """SHA-256 of what decides, whatever else the fields hold."""
        deciding = {name: told[name] for name in ("format_version", *self.deciding) if name in told}
        return digest(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode())

    def _check_kind(self, told: Mapping[str, Any], where: object) -> None:
        if told.get("format") != self.format:
            raise self._refused(f"'format' must be '{self.format}'", where)
        try:
            check_version(told.get("format_version"), self.version)
        except ConfigError as error:
            raise self._refused(error.what, where, error.fix) from None

    def _refused(self, what: str, where: object, fix: str | None = None) -> CheckpointError:
        return CheckpointError(f"is not {self.called}: {what}"[:400], where=where, fix=fix or self.fix)


def first_problem(error: ValidationError) -> str:
    """The first thing that a model found wrong, in words: the field, and what was found in it."""
    problem = error.errors()[0]
    field = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"lacks the field '{field}'"
    if problem["type"] == "extra_forbidden":
        return f"has an unknown field '{field}'"
    message = problem["msg"].removeprefix("Value error, ")
    return message if not field else f"'{field}': {message}, got {_short(problem['input'])}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
