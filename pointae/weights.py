"""Tensors on disk: safetensors, whose header carries the SHA-256 of every tensor byte and of the facts kept with them.

safetensors runs no code and checks sizes, but loads a flipped byte silently; the digest does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pointae.documents import first_problem
from pointae.errors import CheckpointError, NonFiniteError
from pointae.storage import JSON_BYTES, digest, open_regular, parse_json, write_atomically

WEIGHTS = "pointae-weights"
"""Format of a file of one model's weights."""
HEADER = "pointae"
"""Entry of the safetensors metadata that holds format, digest and facts, as JSON."""
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
KINDS = {**dict.fromkeys(FLOATS, "a number"), **dict.fromkeys(WHOLE, "a whole number"), torch.bool: "a truth value"}
"""What numbers of each type are; no others are kept."""
MOST_TENSORS = 100_000
"""Tensors in a file."""


class _Header(BaseModel):
    """What the entry :data:`HEADER` holds."""

    model_config = ConfigDict(strict=True)
    format: str
    sha256: str
    about: dict[str, Any]


def save_weights(model: nn.Module, path: Path, about: Mapping[str, Any]) -> str:
    """Write a model's parameters and buffers atomically, and check what was written.

    Args:
        model: its ``state_dict`` is kept.
        path: of the ``.safetensors`` file.
        about: JSON-able facts kept in the header, e.g. the epoch.

    Returns:
        The digest.

    Raises:
        StorageError: the file could not be written.
    """
    return save_state(model.state_dict(), path, about)


def save_state(state: Mapping[str, Tensor], path: Path, about: Mapping[str, Any], kind: str = WEIGHTS) -> str:
    """Write tensors by name as :func:`save_weights` does those of a model.

    Args:
        state: no two may share memory.
        path: of the ``.safetensors`` file.
        about: JSON-able facts kept in the header.
        kind: format that the header names.

    Returns:
        The digest.

    Raises:
        NonFiniteError: a number among them is infinite or nan; nothing was written.
        StorageError: the file could not be written.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if bad := _not_finite(state):
        raise NonFiniteError(
            f"'{bad}' is not finite, so that nothing is saved",
            where=path,
            fix="go on from the weights before with a lower train.learning_rate",
        )
    about = json.loads(json.dumps(about))  # as they will be read: keys are strings, tuples are lists
    fingerprint = _seal(state, about)
    # One entry: safetensors writes several in no fixed order, and equal runs should give equal bytes.
    header = json.dumps({"format": kind, "sha256": fingerprint, "about": about})
    write_atomically(path, save(state, metadata={HEADER: header}))
    load_state(path, kind)
    return fingerprint


def load_state(path: Path, kind: str = WEIGHTS) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the facts kept with them.

    Args:
        path: of the ``.safetensors`` file.
        kind: format that its header must name.

    Raises:
        CheckpointError: missing, not ours, truncated, with any changed bit, or with a number that is not finite.
    """
    if not path.exists():
        raise CheckpointError("no such weights", where=path)
    try:
        _check_header_size(path)
        with safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get(HEADER)
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise ValueError(f"it holds {len(names):,} tensors, at most {MOST_TENSORS:,} are read")
            # Cloned: what is read is a map of the file, which may be replaced or removed.
            state = {name: file.get_tensor(name).clone() for name in names}
    # AttributeError, KeyError, TypeError, RuntimeError: types of numbers that this torch does not have.
    except (SafetensorError, OSError, ValueError, AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"is not a readable safetensors file: {error}"[:300], where=path) from None
    if entry is None:
        raise CheckpointError("was not written by pointae: its header lacks the format", where=path)
    header = _parsed(entry, path)
    if header.format != kind:
        raise CheckpointError(f"is not of the format {kind}: its header names {header.format[:40]!r}", where=path)
    if odd := next((name for name, value in state.items() if value.dtype not in KINDS), None):
        raise CheckpointError(f"'{odd}' holds numbers of the type {state[odd].dtype}, which no model has", where=path)
    if header.sha256 != _seal(state, header.about):
        raise CheckpointError("is damaged: the SHA-256 of its content is not the one kept with it", where=path)
    if bad := _not_finite(state):
        raise CheckpointError(f"'{bad}' is not finite", where=path, fix="use weights of an earlier epoch")
    return state, header.about


def _check_header_size(path: Path) -> None:
    """Refuse a header that takes long to read; its length is what a safetensors file begins with."""
    with open_regular(path) as file:
        size = int.from_bytes(file.read(8), "little")
    if size > JSON_BYTES:
        raise ValueError(f"its header is to hold {size:,} bytes, at most {JSON_BYTES:,} are read")


def _parsed(entry: str, path: Path) -> _Header:
    try:
        return _Header.model_validate(parse_json(entry, undefined=True))
    except ValidationError as error:
        problem = first_problem(error)
    except ValueError as error:
        problem = str(error)
    raise CheckpointError(f"its entry '{HEADER}' is not as pointae writes it: {problem}"[:400], where=path)


def _not_finite(state: Mapping[str, Tensor]) -> str | None:
    """The first tensor that holds an infinite or undefined number."""
    return next((name for name, value in state.items() if not bool(torch.isfinite(value).all())), None)


def load_weights(model: nn.Module, path: Path) -> dict[str, Any]:
    """Fill ``model`` from a file; returns the facts kept with the weights.

    Raises:
        CheckpointError: as :func:`load_state`, or the tensors do not fit this model.
    """
    state, about = load_state(path)
    fill_model(model, state, path)
    return about


def fill_model(model: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    """Fill ``model`` with tensors read from ``where``.

    Raises:
        CheckpointError: they do not fit this model; names the first that differs.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if own != found:
        name = next(name for name in {**own, **found} if own.get(name) != found.get(name))
        raise CheckpointError(
            f"does not fit the model: '{name}' is {found.get(name, 'absent')}, expected {own.get(name, 'absent')}",
            where=where,
            fix="use the config that the weights were trained with",
        )
    for name, value in model.state_dict().items():
        if KINDS.get(state[name].dtype) != KINDS.get(value.dtype):
            raise CheckpointError(
                f"does not fit the model: '{name}' is {state[name].dtype}, expected {value.dtype}", where=where
            )
        if not bool(torch.isfinite(state[name].to(value.dtype)).all()):
            raise CheckpointError(f"does not fit the model: '{name}' is too large for {value.dtype}", where=where)
    model.load_state_dict(state)


def _seal(state: Mapping[str, Tensor], about: Any) -> str:
    return digest(f"{tensor_digest(state)} {json.dumps(about, sort_keys=True)}".encode())


def tensor_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in order of names."""
    total = hashlib.sha256()
    for name in sorted(state):
        value = state[name].contiguous()
        total.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return total.hexdigest()
