"""Whether a checkpoint and what it would go on with belong together, and what differs if not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from pointae import __version__
from pointae.config import Config
from pointae.data.events import SPLITS, EventData, StoredEvents
from pointae.errors import CheckpointError
from pointae.geometry import geometry_from_dict, geometry_to_dict
from pointae.precision import Precision
from pointae.runs import RunDirectory
from pointae.terminal import warn
from pointae.training.checkpoint import Checkpoint
from pointae.weights import tensor_digest

SAMPLE = 16
"""Simulated events that are compared: a changed simulator changes all of them."""

LATER = ("name", "train.patience", "train.best", "train.checkpoints", "evaluate.")
"""Settings that leave the epochs so far as they are, by how they begin; they may change freely."""


def origin_of(config: Config, data: EventData, precision: Precision) -> dict[str, Any]:
    """What a training comes from, JSON-able, kept in each of its checkpoints.

    ``config`` whole rather than as a hash, so that a difference can be named; ``data``: grid,
    features, counts and SHA-256 of the events; ``versions`` of what computes.
    """
    return {
        "config": config.model_dump(mode="json"),
        "data": {
            "grid": geometry_to_dict(data.geometry),
            "features": list(data.feature_names),
            "events": {split: data.num_events(split) for split in SPLITS},
            "sha256": _events_digest(data),
        },
        "versions": {
            "pointae": __version__,
            "torch": torch.__version__,
            "device": precision.device.type,
            "precision": precision.name,
            "threads": torch.get_num_threads(),
        },
    }


def check_agreement(checkpoint: Checkpoint, origin: Mapping[str, Any], run: RunDirectory, force: bool) -> list[str]:
    """Refuse to go on with other settings or events than before; warn of other versions.

    Settings under which the epochs so far would have been the same may change: :data:`LATER`, and
    ``train.epochs`` where the schedule does not depend on it.

    Args:
        checkpoint: where the run would go on from.
        origin: of now, from :func:`origin_of`.
        run: for messages.
        force: warn instead of refusing.

    Returns:
        What differs and was forced, a line each.

    Raises:
        CheckpointError: names what differs.
    """
    then, now = checkpoint.facts, origin
    # Through Config, so that a setting that did not exist yet has its default.
    before = Config.model_validate_json(json.dumps(then["config"])).model_dump(mode="json")
    settings = _differences(before, now["config"])
    schedule = now["config"]["train"]["schedule"]
    free = LATER if schedule in ("cosine", "one_cycle") else (*LATER, "train.epochs")
    refused = [
        f"{line} (the schedule {schedule} runs over all epochs)" if key == "train.epochs" else line
        for key, line in settings.items()
        if not key.startswith(free)
    ]
    # The same of grids: a checkpoint that is older than a field of theirs does not differ by it.
    grid = geometry_to_dict(geometry_from_dict(then["data"]["grid"]))
    refused += [f"data: {line}" for line in _differences({**then["data"], "grid": grid}, now["data"]).values()]
    if refused and not force:
        raise CheckpointError(
            f"was trained with other settings or data: {'; '.join(refused)}",
            where=run.path,
            fix="resume it as it was, or with --force to go on all the same",
        )
    versions = [
        f"{line}: the last digits may differ" for line in _differences(then["versions"], now["versions"]).values()
    ]
    for line in [*(f"forced: {line}" for line in refused), *versions]:
        run.log(f"warning: {line}")
        warn(line)
    return refused


def _events_digest(data: EventData) -> str:
    """SHA-256 of all hits of files, or of the first events of a simulation."""
    if isinstance(data.source, StoredEvents):
        hits = data.source.hits
    else:
        hits = data.source.events("train", torch.arange(min(SAMPLE, data.num_events("train"))), epoch=1)
    arrays = {"coords": hits.coords, "offsets": hits.offsets, "features": hits.features, **hits.present}
    return tensor_digest({name: value.contiguous() for name, value in arrays.items()})


def _differences(then: Any, now: Any, key: str = "") -> dict[str, str]:
    """What differs between two trees, by dotted key: ``"train.epochs was 4, is 6"``."""
    if isinstance(then, dict) and isinstance(now, dict):
        lines: dict[str, str] = {}
        for name in dict.fromkeys([*then, *now]):
            place = f"{key}.{name}" if key else str(name)
            lines.update(_differences(then.get(name, "absent"), now.get(name, "absent"), place))
        return lines
    if json.dumps(then) == json.dumps(now):
        return {}
    return {key: f"{key} was {_short(then)}, is {_short(now)}"}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
