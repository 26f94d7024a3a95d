"""What is kept: whole files or none, weights of which no bit may change, and the directory of a run."""

from __future__ import annotations

import errno
import json
import os
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pointae.errors import CheckpointError, StorageError
from pointae.runs import RunDirectory
from pointae.storage import (
    JSON_DEPTH,
    JSON_VALUES,
    digest,
    parse_json,
    read_json,
    write_atomically,
    write_json,
    write_table,
)
from pointae.weights import load_state, load_weights, save_weights, tensor_digest

FAILURES = [(errno.ENOSPC, "No space left on device"), (errno.EACCES, "Permission denied"), (errno.EIO, "error")]


def model(hidden=5) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 2))


# ---- whole files or none -------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(("number", "reason"), FAILURES)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, number, reason):
    path = tmp_path / "weights.bin"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(StorageError, match=f"weights.bin: cannot be written: .*{reason}") as caught:
        write_atomically(path, b"new")
    assert caught.value.exit_code == 5
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_into_a_missing_folder_or_onto_a_folder_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "a.txt", tmp_path / "folder"):
        with pytest.raises(StorageError, match="cannot be written"):
            write_atomically(path, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_comes_back_and_what_is_no_number_becomes_null(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 0.1, "b": [float("nan"), (1, float("-inf"))], 3: {"c": None}})
    assert read_json(path) == {"a": 0.1, "b": [None, [1, None]], "3": {"c": None}}
    for content in (b'{"a": 1', b"", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.json: is damaged"):
            read_json(path)


DEEPEST = b"[" * JSON_DEPTH + b"]" * JSON_DEPTH


@pytest.mark.parametrize(
    "content", [b"3", b'{"a": [1, 2.5, null, true, "\\ud83d\\ude00"]}', b"\xef\xbb\xbf{}", DEEPEST, b"9" * 40]
)
def test_what_is_json_is_read_as_python_reads_it(content):
    assert parse_json(content) == json.loads(content.decode("utf-8-sig")) == parse_json(content.decode("utf-8-sig"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[%s]" % DEEPEST, "nested deeper than 64 levels"),
        (b"[" * 200_000, "nested deeper"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper"),
        (b" " * 32_000_001, "holds 32 MB of JSON, at most 32 are read"),
        (b"[" + b"1," * JSON_VALUES + b"1]", "values of JSON, at most 1,000,000"),
        (b'{"a": 1, "b": 2, "a": 3}', "names 'a' twice"),
        (b"[NaN]", "holds NaN"),
        (b"-Infinity", "holds -Infinity"),
        (b"[1e400]", "1e400, which is too large"),
        (b"1" * 5000, "a whole number of 5,000 digits"),
        (b'"\\ud800"', "surrogates not allowed"),
        (b'{"a\\uDfff": 1}', "surrogates not allowed"),
        (b"\xff", "invalid start byte"),
        ('{"a": 1}'.encode("utf-16"), "decode"),
        (b"", "Expecting value"),
    ],
    ids=lambda value: str(value[:20]),
)
def test_json_beyond_bounds_is_refused_in_a_line(content, told):
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 150


def test_undefined_figures_are_taken_on_request():
    assert str(parse_json("[NaN, Infinity, 1]", undefined=True)) == "[nan, inf, 1]"
    with pytest.raises(ValueError, match="1e999"):
        parse_json("1e999", undefined=True)


def test_only_regular_files_of_their_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with open(tmp_path / "large", "wb") as file:
        file.truncate(200_000_000)
    told = {
        "pipe": "regular file",
        "folder": "regular file",
        "large": "holds 200,000,000 bytes",
        "none": "No such file",
    }
    for name, words in told.items():
        with pytest.raises(CheckpointError, match=f"{name}: is damaged: .*{words}"):
            read_json(tmp_path / name)


def test_a_table_has_the_columns_of_all_its_rows(tmp_path):
    write_table(tmp_path / "a.csv", [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "note": "a,b"}])
    assert (tmp_path / "a.csv").read_text() == 'epoch,loss,note\n1,0.5,\n2,,"a,b"\n'


def test_digest_is_sha256():
    assert digest(b"abc").startswith("ba7816bf8f01cfea")


# ---- weights -------------------------------------------------------------------------------------------


def test_weights_come_back_bit_for_bit(tmp_path):
    ours, theirs = model(), model()
    for value in theirs.state_dict().values():
        value.zero_()
    save_weights(ours, tmp_path / "w.safetensors", {"epoch": 3})
    assert load_weights(theirs, tmp_path / "w.safetensors") == {"epoch": 3}
    assert tensor_digest(theirs.state_dict()) == tensor_digest(ours.state_dict())
    assert list(tmp_path.iterdir()) == [tmp_path / "w.safetensors"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool])
def test_weights_of_any_type_and_shape_are_digested(tmp_path, dtype):
    module = nn.Module()
    for name, shape in (("scalar", ()), ("none", (0, 3)), ("matrix", (2, 3))):
        module.register_buffer(name, torch.ones(shape).to(dtype))
    module.register_buffer("turned", torch.arange(6).reshape(2, 3).to(dtype).T)
    save_weights(module, tmp_path / "w.safetensors", {})
    state, _ = load_state(tmp_path / "w.safetensors")
    assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())


def test_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(nn.Linear(2, 3), path, {"epoch": 3})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(CheckpointError) as caught:
            load_state(path)
        assert caught.value.exit_code == 4
        assert str(caught.value).startswith(f"{path}: ")


def test_a_truncated_or_lengthened_file_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(model(), path, {})
    whole = path.read_bytes()
    for end in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
            load_state(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
        load_state(path)


def test_missing_and_foreign_weights_are_told_apart(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CheckpointError, match="no such weights"):
        load_state(path)
    for metadata in (None, {"format": "pt"}):
        save_file({"0.weight": torch.zeros(5, 4)}, path, metadata)
        with pytest.raises(CheckpointError, match="was not written by pointae"):
            load_state(path)
    torch.save({"0.weight": torch.zeros(5, 4)}, path)
    with pytest.raises(CheckpointError, match="is not a readable safetensors file"):
        load_state(path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (model(hidden=6), r"'0.weight' is \(5, 4\), expected \(6, 4\)"),
        (nn.Sequential(*model(), nn.Linear(2, 1)), r"'3.weight' is absent, expected \(1, 2\)"),
        (model()[:2], r"'2.bias' is \(2,\), expected absent"),
    ],
)
def test_weights_of_another_model_are_refused_by_the_tensor_that_differs(tmp_path, other, message):
    save_weights(model(), tmp_path / "w.safetensors", {})
    before = tensor_digest(other.state_dict())
    with pytest.raises(CheckpointError, match=f"does not fit the model: {message}"):
        load_weights(other, tmp_path / "w.safetensors")
    assert tensor_digest(other.state_dict()) == before


def test_a_failed_save_keeps_the_weights_before(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    save_weights(model(), path, {"epoch": 1})
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save_weights(model(hidden=9), path, {"epoch": 2})
    assert path.read_bytes() == before
    assert load_state(path)[1] == {"epoch": 1}


# ---- runs ----------------------------------------------------------------------------------------------


def test_runs_of_one_name_are_numbered_and_the_newest_is_noted(tmp_path):
    runs = [RunDirectory.create(tmp_path / "runs", "dense 2d/x") for _ in range(3)]
    assert [run.name for run in runs] == ["dense-2d-x", "dense-2d-x-2", "dense-2d-x-3"]
    assert (tmp_path / "runs" / "latest").read_text() == "dense-2d-x-3\n"
    assert all((runs[0].path / folder).is_dir() for folder in ("weights", "predictions", "evaluation", "plots"))


@pytest.mark.parametrize(("name", "made"), [("../../up", "up"), ("..", "run"), ("", "run"), ("latest", "run-latest")])
def test_a_run_stays_inside_its_parent_and_leaves_latest_alone(tmp_path, name, made):
    run = RunDirectory.create(tmp_path / "runs", name)
    assert run.path == tmp_path / "runs" / made
    assert (tmp_path / "runs" / "latest").read_text() == f"{made}\n"


def test_latest_opens_the_newest_run(tmp_path):
    for name in ("a", "b"):
        RunDirectory.create(tmp_path, name).write_config("name: x\n")
    assert RunDirectory.open(tmp_path / "latest").name == "b"
    assert RunDirectory.open(str(tmp_path / "a")).config_path.read_text() == "name: x\n"


def test_what_is_no_run_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "missing", tmp_path / "latest"):
        with pytest.raises(CheckpointError, match=r"is not a run directory.*train one with tools/train.py") as caught:
            RunDirectory.open(path)
        assert caught.value.where == path
    RunDirectory.create(tmp_path, "unfinished")
    with pytest.raises(CheckpointError, match=r"unfinished: is not a run directory: it holds no config\.yaml"):
        RunDirectory.open(tmp_path / "latest")


def test_a_run_without_weights_or_predictions_says_what_makes_them(tmp_path):
    run = RunDirectory.create(tmp_path, "a")
    with pytest.raises(CheckpointError, match="has no weights"):
        run.weights("best")
    with pytest.raises(CheckpointError, match=r"has no predictions 'events' \(make them: python tools/evaluate.py"):
        run.predictions()
    run.weights_path("last").write_bytes(b"")
    assert run.weights("last") == run.path / "weights" / "last.safetensors"


def test_the_record_grows_and_metrics_are_rewritten_whole(tmp_path):
    run = RunDirectory.create(tmp_path, "a")
    with pytest.raises(CheckpointError, match=r"run\.json: is missing"):
        _ = run.record
    run.update_record(epochs=1, threshold=0.5, mine={"a": [1]})
    run.update_record(epochs=2)
    told = read_json(run.record_path)
    assert (told.pop("format"), told.pop("format_version"), len(told.pop("seal"))) == ("pointae-run", 2, 64)
    assert told == {"epochs": 2, "threshold": 0.5, "mine": {"a": [1]}}
    assert (run.record.epochs, run.record.threshold, run.record.geometry) == (2, 0.5, None)
    for rows in ([{"epoch": 1}], [{"epoch": 1}, {"epoch": 2}]):
        run.write_metrics(rows)
    assert run.metrics_path.read_text() == "epoch\n1\n2\n"
    run.log("one")
    run.log("two")
    assert (run.path / "log.txt").read_text() == "one\ntwo\n"
