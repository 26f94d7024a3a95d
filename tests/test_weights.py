"""Weights whose digests are right and whose content is wrong: one line, exit code 4."""

from __future__ import annotations

import json

import pytest
import torch
from calls import refused, tool
from safetensors import safe_open
from safetensors.torch import save
from spoilt_files import rewritten

from pointae.errors import NonFiniteError
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.trained import open_trained
from pointae.weights import HEADER, load_weights, save_weights


def first_float(state: dict[str, torch.Tensor]) -> str:
    return next(name for name, value in state.items() if value.is_floating_point() and value.numel() > 1)


@pytest.mark.parametrize(
    "entry", ["[]", "3", "null", '"x"', "[" * 100_000, "{}", '{"format": "pointae-weights"}', "{", '{"format": 1}',
              '{"format": "pointae-weights", "sha256": 3, "about": {}}', None, '{"a": 1, "a": 2}',
              '{"format": "pointae-weights", "sha256": "x", "about": []}'],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_metadata_of_another_kind_is_refused(run, entry):
    with safe_open(run.weights(), "pt") as file:
        state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    run.weights().write_bytes(save(state, None if entry is None else {HEADER: entry}))
    from pointae.inference import Denoiser

    told = "was not written by pointae" if entry is None else f"its entry '{HEADER}' is not as pointae writes it: "
    assert f"best.safetensors: {told}" in refused(lambda: Denoiser.open(run.path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused_wherever_it_is_loaded(run, tmp_path, value):
    def spoil(state, about):
        state[first_float(state)].view(-1)[1] = value

    rewritten(run.weights(), spoil)
    hits = tmp_path / "hits.h5"
    write_hits(hits, HitBatch.empty(open_trained(run.path).geometry, 1))
    for words in (
        ("denoise", run.path, hits, "-o", tmp_path / "out.h5"),
        ("evaluate", run.path),
        ("latent", run.path),
        ("ship", run.path, "never"),
        ("train", "configs/torch/pointnet_point.yaml", f"train.start={{model: {run.path}}}", "--runs", tmp_path,
         "model.encoder.channels=16"),
    ):  # fmt: skip
        line = refused(lambda words=words: tool(*words))
        assert line.startswith(f"{run.weights()}: '")
        assert "is not finite" in line


def test_numbers_of_another_kind_or_too_large_do_not_fit(run):
    model = torch.nn.BatchNorm1d(3)
    path = run.path / "w.safetensors"
    for name, value, told in (
        ("weight", torch.ones(3, dtype=torch.int64), "torch.int64, expected torch.float32"),
        ("weight", torch.ones(3, dtype=torch.bool), "torch.bool, expected torch.float32"),
        ("num_batches_tracked", torch.tensor(1.0), "torch.float32, expected torch.int64"),
        ("weight", torch.full((3,), 1e300, dtype=torch.float64), "too large for torch.float32"),
        ("weight", torch.ones(3, dtype=torch.complex64), "torch.complex64, which no model has"),
        ("weight", torch.ones(3).to(torch.float8_e5m2), "torch.float8_e5m2, which no model has"),
    ):
        save_weights(model, path, {})
        rewritten(path, lambda state, about, name=name, value=value: state.update({name: value}))
        line = refused(lambda: load_weights(torch.nn.BatchNorm1d(3), path))
        assert line.startswith(f"{path}: ")
        assert told in line
    save_weights(model.double(), path, {})
    load_weights(torch.nn.BatchNorm1d(3), path)  # of a training in double precision


def test_what_is_not_finite_is_not_saved(tmp_path):
    model = torch.nn.Linear(2, 2)
    path = tmp_path / "w.safetensors"
    save_weights(model, path, {})
    before = path.read_bytes()
    model.weight.data[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="'weight' is not finite") as caught:
        save_weights(model, path, {})
    assert caught.value.exit_code == 6
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def header_of(told: object, size: int | None = None, data: bytes = b"") -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def tensor(start: int, end: int, shape: list[int] | None = None, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": [1] if shape is None else shape, "data_offsets": [start, end]}


BOMBS = {
    "header of 2^60": header_of({}, 2**60),
    "header of 90 MB": header_of(b" " * 90_000_000),
    "offsets that overlap": header_of({"a": tensor(0, 4), "b": tensor(2, 6)}, data=bytes(6)),
    "offsets outside": header_of({"a": tensor(0, 2**40, [2**38])}, data=bytes(8)),
    "offsets backwards": header_of({"a": tensor(4, 0)}, data=bytes(4)),
    "shape that overflows": header_of({"a": tensor(0, 4, [2**62, 2**62])}, data=bytes(4)),
    "deep header": header_of(b"[" * 100_000),
    "many tensors": header_of({str(i): tensor(0, 0, [0]) for i in range(150_000)}),
    "type of another library": header_of({"a": tensor(0, 1, [2], "F4")}, data=bytes(1)),
    "empty": b"",
    "short": b"\1",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_header_that_asks_for_much_is_refused(run, content):
    run.weights().write_bytes(content)
    line = refused(lambda: load_weights(torch.nn.Linear(1, 1), run.weights()))
    assert line.startswith(
        (f"{run.weights()}: is not a readable safetensors file: ", f"{run.weights()}: was not written")
    )
