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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pointae.errors import CheckpointError
from pointae.storage import digest, write_atomically

WEIGHTS = "pointae-weights"
"""Format of a file of one model's weights."""
HEADER = "pointae"
"""Entry of the safetensors metadata that holds format, digest and facts, as JSON."""


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
        StorageError: the file could not be written.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
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
        CheckpointError: missing, not ours, truncated or with any changed bit.
    """
    if not path.is_file():
        raise CheckpointError("no such weights", where=path)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            # Cloned: what is read is a map of the file, which may be replaced or removed.
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"is not a readable safetensors file: {error}", where=path) from None
    if header.get("format") != kind:
        raise CheckpointError("was not written by pointae: its header lacks the format", where=path)
    if header.get("sha256") != _seal(state, header.get("about")):
        raise CheckpointError("is damaged: the SHA-256 of its content is not the one kept with it", where=path)
    return state, header["about"]


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
