"""Files of a run, changed as by somebody who knows the code: seal and digests agree with what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save

from pointae.record import RECORD
from pointae.runs import RunDirectory
from pointae.storage import digest
from pointae.weights import HEADER, tensor_digest


def edited(run: RunDirectory, **entries: object) -> None:
    """Change entries of ``run.json`` and seal it again, as whoever knows the code could; ``...`` takes one out."""
    told = {**json.loads(run.record_path.read_text()), **entries}
    told = {name: value for name, value in told.items() if value is not ...}
    told["seal"] = RECORD.seal_of(json.loads(json.dumps(told)))
    run.record_path.write_text(json.dumps(told))


def rewritten(path: Path, change: Callable[[dict, dict], object]) -> None:
    """Change tensors and the header of a file of ours, and make its digest agree again."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()[HEADER])
        state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    replaced = change(state, header["about"])
    if replaced is not None:
        header["about"] = replaced
    told = json.dumps(header["about"], sort_keys=True)
    header["sha256"] = digest(f"{tensor_digest(state)} {told}".encode())
    path.write_bytes(save(state, {HEADER: json.dumps(header)}))
