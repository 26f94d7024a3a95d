"""Checkpoints: the whole state of a training at the end of an epoch, and which of them can be trusted.

A checkpoint is one safetensors file: tensors called ``part.name``, and in its header, as JSON, facts
and the SHA-256 of all of it. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pointae.errors import CheckpointError, StorageError
from pointae.runs import RunDirectory
from pointae.terminal import warn
from pointae.training.facts import check_content
from pointae.weights import load_state, save_state

FORMAT = "pointae-checkpoint"
GENERATIONS = 2
"""Checkpoints kept at least. The older goes only after the newer was read back whole."""


@dataclass(frozen=True)
class Checkpoint:
    """A training at the end of an epoch.

    Args:
        epoch: the last one done, counted from 1.
        tensors: by ``part.name``; see :func:`named` and :meth:`part`.
        facts: JSON-able: counters, rows of ``metrics.csv``, config, data fingerprint, versions.
    """

    epoch: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part by their own names."""
        prefix = f"{part}."
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors called ``part.name``."""
    return {f"{part}.{name}": value for name, value in tensors.items()}


def save_checkpoint(run: RunDirectory, checkpoint: Checkpoint, generations: int = GENERATIONS) -> None:
    """Write a checkpoint, read it back, and only then let go of the oldest.

    Args:
        run: whose.
        checkpoint: of the epoch that ended.
        generations: newest ones that are kept.

    Raises:
        StorageError: it could not be written; those before are as they were.
    """
    path = run.checkpoint_path(checkpoint.epoch)
    try:
        save_state(checkpoint.tensors, path, {"epoch": checkpoint.epoch, **checkpoint.facts}, FORMAT)
    except CheckpointError as error:
        raise StorageError(f"does not read back as it was written: {error.what}", where=path) from error
    # Later epochs are of a course that was given up, by falling back past a damaged checkpoint.
    course = [epoch for epoch in run.checkpoints() if epoch <= checkpoint.epoch]
    for epoch, old in run.checkpoints().items():
        if epoch not in course[:generations]:
            old.unlink(missing_ok=True)


def load_checkpoint(run: RunDirectory) -> Checkpoint | None:
    """The newest checkpoint that is whole and can be gone on from; warns of each that is not.

    ``None`` before the first epoch ended.

    Raises:
        CheckpointError: epochs were trained, and no checkpoint of them can be read.
    """
    for path in run.other_checkpoints():
        _warn(run, f"{path}: is not named as a checkpoint is, and is passed over")
    problems = []
    for epoch, path in run.checkpoints().items():
        try:
            checkpoint = _read(path, epoch)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            _warn(run, f"{problem}; falling back to the checkpoint before")
        return checkpoint
    if problems or run.metrics_path.is_file():  # a row is written after its checkpoint
        why = "; ".join(["has no readable checkpoint to resume from", *problems])
        raise CheckpointError(why, where=run.path, fix="train it anew")
    return None


def checkpoint_of(run: RunDirectory, epoch: int) -> Checkpoint:
    """The checkpoint of a given epoch.

    Raises:
        CheckpointError: it is not kept any more, or cannot be read.
    """
    found = run.checkpoints()
    if epoch not in found:
        kept = ", ".join(map(str, sorted(found))) or "none"
        raise CheckpointError(
            f"keeps no checkpoint of epoch {epoch}; it has those of: {kept}",
            where=run.path,
            fix="train.checkpoints says how many of the newest are kept",
        )
    return _read(found[epoch], epoch)


def give_up_after(run: RunDirectory, epoch: int) -> None:
    """Let go of the checkpoints of later epochs: the run goes on from this one."""
    for later in [path for number, path in run.checkpoints().items() if number > epoch]:
        later.unlink(missing_ok=True)


def _read(path: Path, epoch: int) -> Checkpoint:
    """A checkpoint, once it is known to be one to go on from, and of the epoch that its name says."""
    tensors, facts = load_state(path, FORMAT)
    check_content(tensors, facts, path)
    if facts["epoch"] != epoch:
        raise CheckpointError(f"is the checkpoint of epoch {facts['epoch']}, whatever its name says", where=path)
    return Checkpoint(epoch, tensors, facts)


def _warn(run: RunDirectory, text: str) -> None:
    run.log(f"warning: {text}")
    warn(text)
