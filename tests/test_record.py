"""``run.json``, ``config.yaml``, ``latest`` and cards that are well formed and wrong: one line, exit code 4."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from calls import refused, tool
from spoilt_files import edited

from pointae import shipped
from pointae.errors import CheckpointError
from pointae.record import RECORD
from pointae.runs import RunDirectory
from pointae.storage import digest
from pointae.trained import Trained, open_trained
from pointae.training.session import resume_run

FLIPS = 400
"""Bits that are flipped in each file."""


NO_RECORDS = {
    "list": b"[]",
    "number": b"3",
    "null": b"null",
    "text": b'"run"',
    "empty": b"",
    "cut": b'{"format": "pointae-run", "form',
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000,
    "deep entry": b'{"format": "pointae-run", "format_version": 2, "mine": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "name twice": b'{"format": "pointae-run", "format_version": 1, "threshold": 0.5, "threshold": 0.1}',
    "nan": b'{"format": "pointae-run", "format_version": 1, "threshold": NaN}',
    "digits": b'{"format": "pointae-run", "format_version": 1, "parameters": ' + b"1" * 5000 + b"}",
    "foreign": b'{"format": "pointae-card", "format_version": 1}',
    "nothing": b"{}",
}


@pytest.mark.parametrize("content", NO_RECORDS.values(), ids=NO_RECORDS)
def test_what_is_no_record_is_refused_by_whoever_opens_the_run(run, content):
    run.record_path.write_bytes(content)
    assert "run.json: is not the record of a run" in refused(lambda: RunDirectory.open(run.path))


@pytest.mark.parametrize(
    ("kind", "told"),
    [("missing", "is missing"), ("folder", "is a folder"), ("pipe", "is a pipe"), ("loop", "Too many levels"),
     ("large", "holds 200,000,000 bytes")],
)  # fmt: skip
def test_a_record_that_is_no_file_is_refused(run, kind, told):
    run.record_path.unlink()
    if kind == "folder":
        run.record_path.mkdir()
    elif kind == "pipe":
        os.mkfifo(run.record_path)
    elif kind == "loop":
        run.record_path.symlink_to(run.record_path)
    elif kind == "large":
        with run.record_path.open("wb") as file:
            file.truncate(200_000_000)
    line = refused(lambda: RunDirectory.open(run.path))
    assert line.startswith(f"{run.record_path}: ")
    assert told in line


def test_every_tool_says_so(run, tmp_path):
    run.record_path.write_text("[]")
    hits = tmp_path / "hits.csv"
    hits.write_text("event,x,y,t\n0,1,2,3\n")
    for words in (
        ("denoise", run.path, hits, "-o", tmp_path / "out.csv"),
        ("evaluate", run.path),
        ("compare", run.path),
        ("view", run.path, "--engine", "png"),
        ("latent", run.path),
        ("train", "--resume", run.path),
        ("ship", run.path, "never"),
        ("recording", run.path),
        ("compression", run.path),
    ):
        assert "run.json: is not the record of a run: holds a list" in refused(lambda words=words: tool(*words))
    assert not (tmp_path / "out.csv").exists()


WRONG = [
    ("threshold", "0.5"), ("threshold", [0.5]), ("threshold", 1e300), ("threshold", "nan"), ("threshold", True),
    ("threshold", -0.1), ("thresholds", [0.5]), ("thresholds", {"abc": 0.5}), ("thresholds", {"0.9": "x"}),
    ("thresholds", {"1.5": 0.5}), ("thresholds", None), ("geometry", 3), ("geometry", []), ("geometry", {}),
    ("geometry.spatial_shape", "a"), ("geometry.spatial_shape", None), ("geometry.spatial_shape", [88, 128]),
    ("geometry.spatial_shape", [88, 128, -1]), ("geometry.spatial_shape", [88, 128, 1e99]),
    ("geometry.spatial_shape", [88, 128, 2**62]), ("geometry.bin_widths", [1.0, 1.0]),
    ("geometry.bin_widths", [1.0, 1.0, None]), ("geometry.bin_widths", [1.0, 1.0, 0]),
    ("geometry.bin_widths", [1.0, 1.0, -1]), ("geometry.axis_names", ["x", 3, "t"]), ("geometry.detector", 3),
    ("geometry.geometry_version", 99), ("geometry.mine", 1), ("feature_names", 3), ("feature_names", "tot"),
    ("feature_names", [3]), ("resumed", 3), ("resumed", [3]), ("resumed", [{"epoch": "x"}]), ("commands", 3),
    ("commands", [3]), ("environment", "text"), ("environment.packages", []), ("environment.gpus", 3),
    ("seconds", "long"), ("seconds", -1), ("parameters", "many"), ("status", 3), ("best_epoch", 1.5),
    ("precision", 3), ("config_sha256", 3), ("config_sha256", ["abc"]), ("retention", "most"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: str(value)[:30])
def test_an_entry_that_cannot_be_is_refused_by_its_name(run, field, value):
    name, _, inner = field.partition(".")
    if inner:
        value = {**json.loads(run.record_path.read_text())[name], inner: value}
    edited(run, **{name: value})
    line = refused(lambda: RunDirectory.open(run.path))
    assert "run.json: is not the record of a run" in line
    assert name in line


def test_a_number_too_large_to_be_one_is_refused(run):
    run.record_path.write_text(run.record_path.read_text().replace('"threshold": 0', '"threshold": 1e400, "was": 0'))
    assert "1e400, which is too large" in refused(lambda: RunDirectory.open(run.path))


def test_a_record_of_a_later_version_asks_for_an_update(run):
    edited(run, format_version=99)
    line = refused(lambda: open_trained(run.path))
    assert "format_version 99 is later" in line
    assert "update pointae" in line


def test_entries_of_others_are_kept_and_decide_nothing(run):
    before = open_trained(run.path)
    edited(run, mine={"a": [1, None]})
    run.update_record(status="finished")
    assert open_trained(run.path) == before
    assert json.loads(run.record_path.read_text())["mine"] == {"a": [1, None]}


def test_a_run_without_a_threshold_yet_cuts_at_a_half(run):
    edited(run, threshold=..., thresholds=..., retention=..., status="interrupted")
    assert (open_trained(run.path).threshold, open_trained(run.path).thresholds) == (0.5, {})
    edited(run, geometry=...)
    assert "does not say which grid" in refused(lambda: open_trained(run.path))


def test_a_run_of_version_1_opens_without_a_seal_and_gets_one(run):
    now = open_trained(run.path)
    edited(run, format_version=1, config_sha256=...)
    old = json.loads(run.record_path.read_text())
    del old["seal"]
    run.record_path.write_text(json.dumps(old))
    assert open_trained(run.path) == now
    resume_run(run.path)
    assert len(run.record.config_sha256) == 1
    assert (run.record.format_version, len(run.record.seal)) == (2, 64)
    assert open_trained(run.path) == now


# ---- what decides is sealed --------------------------------------------------------------------------


def flipped(path: Path, seed: int = 1) -> list[bytes]:
    """The content of a file with one bit changed, :data:`FLIPS` different ones."""
    whole = path.read_bytes()
    bits = random.Random(seed).sample(range(8 * len(whole)), min(FLIPS, 8 * len(whole)))
    made = []
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        made.append(bytes(content))
    return made


def judged_flips(path: Path, opened: Callable[[], Trained]) -> tuple[int, int]:
    """Flips that are refused in a line that names the folder, and those that change nothing of what is opened."""
    whole, before = path.read_bytes(), opened()
    refusals = same = 0
    for content in flipped(path):
        path.write_bytes(content)
        try:
            now = opened()
        except CheckpointError as error:
            refusals += str(path.parent) in str(error)
        else:
            same += now == before
    path.write_bytes(whole)
    return refusals, same


def test_no_flipped_bit_of_a_record_or_config_decides(run):
    refusals, same = judged_flips(run.record_path, lambda: open_trained(run.path))
    assert refusals + same == FLIPS
    assert refusals > FLIPS // 4
    assert judged_flips(run.config_path, lambda: open_trained(run.path)) == (FLIPS, 0)


@pytest.mark.parametrize("entry", RECORD.deciding)
def test_every_entry_that_decides_is_sealed(run, entry):
    told = json.loads(run.record_path.read_text())
    del told[entry]
    run.record_path.write_text(json.dumps(told))
    assert "was changed after it was written" in refused(lambda: RunDirectory.open(run.path))


def test_a_seal_that_is_gone_is_missed(run):
    told = json.loads(run.record_path.read_text())
    del told["seal"]
    run.record_path.write_text(json.dumps(told))
    assert "run.json: was changed after it was written: its seal is not" in refused(lambda: RunDirectory.open(run.path))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A copy of the shipped weights."""
    copy = tmp_path / "weights"
    shutil.copytree(shipped.FOLDER, copy)
    monkeypatch.setattr(shipped, "FOLDER", copy)
    return copy


def test_cards_that_are_shipped_are_sealed_and_no_flipped_bit_of_one_decides(folder):
    for name in shipped.shipped_names():
        card = json.loads((folder / f"{name}.json").read_text())
        assert (card["format_version"], card["seal"]) == (2, shipped.CARD.seal_of(card))
        for entry in shipped.CARD.deciding:
            spoilt = {key: value for key, value in card.items() if key != entry}
            assert shipped.CARD.seal_of(spoilt) != card["seal"]
    name = shipped.shipped_names()[-1]
    refusals, same = judged_flips(folder / f"{name}.json", lambda: open_trained(name))
    assert refusals + same == FLIPS
    assert refusals > FLIPS // 4


def test_a_card_of_version_1_opens_without_a_seal(folder):
    path = folder / "torch-small.json"
    before = open_trained("torch-small")
    card = json.loads(path.read_text())
    del card["seal"]
    path.write_text(json.dumps({**card, "format_version": 1}))
    assert open_trained("torch-small") == before
    path.write_text(json.dumps({**card, "format_version": 1, "retention": "most"}))
    line = refused(lambda: open_trained("torch-small"))
    assert "torch-small.json: is not a card" in line
    assert "'retention'" in line


# ---- config.yaml and latest --------------------------------------------------------------------------


def test_a_config_that_was_changed_is_refused_and_overrides_still_go(run):
    text = run.config_path.read_text()
    run.config_path.write_text(text + "# mine\n")
    line = refused(lambda: open_trained(run.path))
    assert "config.yaml: was changed after it was written" in line
    assert "--resume" in line
    assert "config.yaml: was changed" in refused(lambda: resume_run(run.path))
    run.config_path.write_text(text)
    resume_run(run.path, ["evaluate.retention=0.9"])
    assert open_trained(run.path).config.evaluate.retention == 0.9


def test_a_kill_between_config_and_record_leaves_a_run_that_opens(run, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    text = run.config_path.read_text()
    for spoilt in ("write_atomically", "write_json"):
        real = getattr(__import__("pointae.runs", fromlist=[spoilt]), spoilt)
        calls = iter([real, kill] if spoilt == "write_json" else [kill])
        with monkeypatch.context() as patch:
            patch.setattr(f"pointae.runs.{spoilt}", lambda *words, calls=calls: next(calls)(*words))
            with pytest.raises(Killed):
                run.write_config(text.replace("patience: null", "patience: 3"))
        assert run.config().train.patience == (None if spoilt == "write_atomically" else 3)
    run.write_config(text)
    assert run.record.config_sha256 == [digest(text.encode())]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "no config.yaml"),
        (lambda path: path.write_text("train: {epoch: 3}"), "unknown key 'train.epoch'"),
        (lambda path: path.write_text("- a"), "must hold keys and values"),
        (lambda path: path.write_text("a: [" * 3), "is not"),
        (lambda path: path.write_bytes(b"\xff\xfe\0"), "cannot be read"),
        (lambda path: path.write_bytes(b"# " * 600_000), "1,000,000 are read"),
    ],
    ids=["missing", "later", "list", "cut", "binary", "large"],
)
def test_a_config_that_is_none_is_the_runs_fault(run, spoil, told):
    edited(run, format_version=1, config_sha256=...)
    spoil(run.config_path)
    assert told in refused(lambda: open_trained(run.path))
    assert told in refused(lambda: resume_run(run.path))


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"..", b"../copy", b"../../etc", b"/etc", b"a\0b", b"copy\ncopy", b"x" * 300, b"y" * 10_000_000,
     b"\xff", b"\x1b[31mcopy", b"C:copy", b"sub/copy", b"sub\\copy"],
)  # fmt: skip
def test_latest_stays_in_its_folder(run, content):
    latest = run.path.parent / "latest"
    latest.write_text("copy\n")
    assert RunDirectory.open(latest).path == run.path
    latest.write_bytes(content)
    assert "latest: does not name a run of its folder" in refused(lambda: RunDirectory.open(latest))
    latest.write_text("other")
    assert "other: is not a run directory" in refused(lambda: RunDirectory.open(latest))
