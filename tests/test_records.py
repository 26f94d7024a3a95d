"""Files of a run and of shipped weights that are well formed and wrong: one line, exit code 4 (tables: 3)."""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from pointae import shipped
from pointae.config import ScoreSettings
from pointae.config_files import load_config
from pointae.errors import CheckpointError, NonFiniteError, PointaeError
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.record import RECORD
from pointae.results import TABLES, read_evaluated, read_metrics
from pointae.runs import RunDirectory
from pointae.storage import digest
from pointae.trained import Trained, open_trained
from pointae.training.checkpoint import load_checkpoint
from pointae.training.facts import MOMENTS
from pointae.training.session import resume_run, train_run
from pointae.weights import HEADER, load_weights, save_weights, tensor_digest
from visual.plots.training import Course

FLIPS = 400
"""Bits that are flipped in each file."""


@pytest.fixture
def run(calibrated_run, tmp_path) -> RunDirectory:
    """A copy of the small run, to be spoilt."""
    shutil.copytree(calibrated_run.path, tmp_path / "runs" / "copy")
    return RunDirectory(tmp_path / "runs" / "copy")


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory) -> RunDirectory:
    """A run of two epochs, and so with two checkpoints."""
    small = [
        "data.events.train=32", "data.events.validation=20", "train.epochs=2", "train.precision=fp32",
        "evaluate.pictures=2", "model.encoder.channels=8", "model.encoder.layers=1", "model.encoder.heads=2",
        "model.latent.size=8", "train.schedule=constant", "name=two",
    ]  # fmt: skip
    return train_run(load_config("configs/demo.yaml", small), tmp_path_factory.mktemp("two"))


@pytest.fixture
def stopped(two_epochs, tmp_path) -> RunDirectory:
    """A copy of it."""
    shutil.copytree(two_epochs.path, tmp_path / "two")
    return RunDirectory(tmp_path / "two")


def tool(name: str, *words: object) -> None:
    runpy.run_path(f"tools/{name}.py")["main"]([str(word) for word in words])


def refused(action: Callable[[], object], *words: str, code: int = 4) -> str:
    """The one line in which an action is refused, which holds these words."""
    with pytest.raises(PointaeError) as caught:
        action()
    line = str(caught.value)
    assert caught.value.exit_code == code, line
    assert "\n" not in line
    assert len(line) < 800
    for word in words:
        assert word in line
    return line


def edited(run: RunDirectory, **entries: object) -> None:
    """Change entries of ``run.json`` and seal it again, as whoever knows the code could; ``...`` takes one out."""
    told = {**json.loads(run.record_path.read_text()), **entries}
    told = {name: value for name, value in told.items() if value is not ...}
    told["seal"] = RECORD.seal_of(json.loads(json.dumps(told)))
    run.record_path.write_text(json.dumps(told))


# ---- run.json: whatever it is ------------------------------------------------------------------------

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
    refused(lambda: RunDirectory.open(run.path), "run.json: is not the record of a run")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "large", "loop"])
def test_a_record_that_is_no_file_is_refused(run, kind):
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
    refused(lambda: RunDirectory.open(run.path), "run.json")


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
        refused(lambda words=words: tool(*words), "run.json: is not the record of a run: holds a list")
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
    refused(lambda: RunDirectory.open(run.path), "run.json: is not the record of a run", name)


def test_a_number_too_large_to_be_one_is_refused(run):
    run.record_path.write_text(run.record_path.read_text().replace('"threshold": 0', '"threshold": 1e400, "was": 0'))
    refused(lambda: RunDirectory.open(run.path), "1e400, which is too large")


def test_a_record_of_a_later_version_asks_for_an_update(run):
    edited(run, format_version=99)
    refused(lambda: open_trained(run.path), "format_version 99 is later", "update pointae")


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
    refused(lambda: open_trained(run.path), "does not say which grid")


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


def assert_flips_decide_nothing(path: Path, opened: Callable[[], Trained], least: int) -> None:
    """Each flip is refused in a line, or what is opened equals what was; at least so many are refused."""
    whole, before = path.read_bytes(), opened()
    count = 0
    for content in flipped(path):
        path.write_bytes(content)
        try:
            now = opened()
        except CheckpointError as error:
            count += str(path.parent) in str(error)
        else:
            assert now == before
    path.write_bytes(whole)
    assert opened() == before
    assert count >= least


def test_no_flipped_bit_of_a_record_or_config_decides(run):
    assert_flips_decide_nothing(run.record_path, lambda: open_trained(run.path), FLIPS // 4)
    assert_flips_decide_nothing(run.config_path, lambda: open_trained(run.path), FLIPS)


@pytest.mark.parametrize("entry", RECORD.deciding)
def test_every_entry_that_decides_is_sealed(run, entry):
    told = json.loads(run.record_path.read_text())
    del told[entry]
    run.record_path.write_text(json.dumps(told))
    refused(lambda: RunDirectory.open(run.path), "was changed after it was written")


def test_a_seal_that_is_gone_is_missed(run):
    told = json.loads(run.record_path.read_text())
    del told["seal"]
    run.record_path.write_text(json.dumps(told))
    refused(lambda: RunDirectory.open(run.path), "seal")


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
    assert_flips_decide_nothing(folder / f"{name}.json", lambda: open_trained(name), FLIPS // 4)


def test_a_card_of_version_1_opens_without_a_seal(folder):
    path = folder / "torch-small.json"
    before = open_trained("torch-small")
    card = json.loads(path.read_text())
    del card["seal"]
    path.write_text(json.dumps({**card, "format_version": 1}))
    assert open_trained("torch-small") == before
    path.write_text(json.dumps({**card, "format_version": 1, "retention": "most"}))
    refused(lambda: open_trained("torch-small"), "torch-small.json: is not a card", "'retention'")


# ---- config.yaml and latest --------------------------------------------------------------------------


def test_a_config_that_was_changed_is_refused_and_overrides_still_go(run):
    text = run.config_path.read_text()
    run.config_path.write_text(text + "# mine\n")
    refused(lambda: open_trained(run.path), "config.yaml: was changed after it was written", "--resume")
    refused(lambda: resume_run(run.path), "config.yaml: was changed")
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
    refused(lambda: open_trained(run.path), told)
    refused(lambda: resume_run(run.path), told)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"..", b"../copy", b"../../etc", b"/etc", b"a\0b", b"copy\ncopy", b"x" * 300, b"y" * 10_000_000,
     b"\xff", b"\x1b[31mcopy", b"C:copy", b"sub/copy", b"sub\\copy", b"other"],
)  # fmt: skip
def test_latest_stays_in_its_folder(run, content):
    latest = run.path.parent / "latest"
    latest.write_text("copy\n")
    assert RunDirectory.open(latest).path == run.path
    latest.write_bytes(content)
    refused(lambda: RunDirectory.open(latest), "runs")


# ---- weights: digests right, content wrong -----------------------------------------------------------


def rewritten(path: Path, change: Callable[[dict, dict], object], about_only: bool = False) -> None:
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

    refused(lambda: Denoiser.open(run.path), "best.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused_wherever_it_is_loaded(run, tmp_path, value):
    def spoil(state, about):
        state[first_float(state)].view(-1)[1] = value

    rewritten(run.weights(), spoil)
    hits = tmp_path / "hits.h5"
    write_hits(hits, HitBatch.empty(open_trained(run.path).geometry, 1))
    told = ("best.safetensors: '", "is not finite")
    for words in (
        ("denoise", run.path, hits, "-o", tmp_path / "out.h5"),
        ("evaluate", run.path),
        ("latent", run.path),
        ("ship", run.path, "never"),
        ("train", "configs/torch/pointnet_point.yaml", f"train.start={{model: {run.path}}}", "--runs", tmp_path,
         "model.encoder.channels=16"),
    ):  # fmt: skip
        refused(lambda words=words: tool(*words), *told)


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
        refused(lambda: load_weights(torch.nn.BatchNorm1d(3), path), "w.safetensors", told)
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
    refused(lambda: load_weights(torch.nn.Linear(1, 1), run.weights()), "best.safetensors")


# ---- checkpoints: digests right, content wrong -------------------------------------------------------


def set_fact(name: str, value: object) -> Callable[[dict, dict], None]:
    def change(state: dict, facts: dict) -> None:
        if value is ...:
            del facts[name]
        else:
            facts[name] = value

    return change


def in_config(change: Callable[[dict], object]) -> Callable[[dict, dict], None]:
    return lambda state, facts: change(facts["config"])


def set_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[dict, dict], None]:
    def spoil(state: dict, facts: dict) -> None:
        for key in [key for key in state if key.startswith(name)]:
            value = change(state.pop(key))
            if value is not None:
                state[key] = value

    return spoil


def renamed(old: str, new: str) -> Callable[[dict, dict], None]:
    def spoil(state: dict, facts: dict) -> None:
        for key in [key for key in state if key.startswith("optimiser.") and key.endswith(f".{old}")]:
            state[key.removesuffix(old) + new] = state.pop(key)

    return spoil


def spoilt_value(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: tensor.float().fill_(value)


SPOILT = {
    "no facts": lambda state, facts: {},
    "facts a list": lambda state, facts: [],
    "no epoch": set_fact("epoch", ...),
    "epoch text": set_fact("epoch", "2"),
    "epoch huge": set_fact("epoch", 10**9),
    "epoch 0": set_fact("epoch", 0),
    "epoch of another": set_fact("epoch", 1),
    "rows text": set_fact("rows", "rows"),
    "rows none": set_fact("rows", []),
    "rows null": set_fact("rows", None),
    "a row of text": lambda state, facts: facts["rows"][0].update(validation_loss="low"),
    "a row short": lambda state, facts: facts["rows"][1].pop("validation_loss") and None,
    "rows twice": lambda state, facts: facts["rows"].reverse(),
    "no config": set_fact("config", ...),
    "config null": set_fact("config", None),
    "config of another version": in_config(lambda config: config.update(later=1)),
    "config text": in_config(lambda config: config.update(train="x")),
    "no versions": set_fact("versions", ...),
    "no data": set_fact("data", ...),
    "data text": set_fact("data", "x"),
    "grid wrong": lambda state, facts: facts["data"].update(grid={"spatial_shape": [0, 1, 2]}),
    "steps -1": set_fact("steps", -1),
    "steps 10^12": set_fact("steps", 10**12),
    "steps text": set_fact("steps", "4"),
    "no steps": set_fact("steps", ...),
    "skipped text": set_fact("skipped", "x"),
    "averaged -1": set_fact("averaged", -1),
    "scaler text": set_fact("scaler", "x"),
    "scaler of others": set_fact("scaler", {"scale": 1.0}),
    "bests text": set_fact("bests", "x"),
    "bests none": set_fact("bests", {}),
    "best later": set_fact("bests", {"loss": {"epoch": 9, "value": 0.1}}),
    "best without loss": set_fact("bests", {"f1": {"epoch": 1, "value": 0.1}}),
    "outputs text": set_fact("outputs", [{"low": "x"}]),
    "no rng": set_tensor("rng.", lambda value: None),
    "rng short": set_tensor("rng.cpu", lambda value: value[:100].clone()),
    "rng of floats": set_tensor("rng.cpu", lambda value: value.float()),
    "rng of zeros": set_tensor("rng.cpu", torch.zeros_like),
    "another optimiser's names": renamed("exp_avg_sq", "square_avg"),
    "momenta of another": renamed("exp_avg", "momentum_buffer"),
    "a parameter of another": lambda state, facts: state.update({"optimiser.other.step": torch.zeros(())}),
    "a moment less": lambda state, facts: state.pop(next(key for key in state if key.endswith(".exp_avg"))) is None,
    "moments short": set_tensor("optimiser.", lambda value: value.reshape(-1)[:1].clone()),
    "moments nan": set_tensor("optimiser.", spoilt_value(float("nan"))),
    "moments below 0": set_tensor("optimiser.", spoilt_value(-1.0)),
    "model nan": set_tensor("model.", spoilt_value(float("nan"))),
    "model inf": set_tensor("model.", spoilt_value(float("inf"))),
    "no model": set_tensor("model.", lambda value: None),
    "no best": set_tensor("best_loss.", lambda value: None),
    "best of another": set_tensor("best_loss.", lambda value: value.reshape(-1).clone()),
    "average of another": lambda state, facts: state.update({"average.other": torch.zeros(1)}),
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_a_wrong_checkpoint_is_passed_over_for_the_one_before(stopped, capsys, change):
    path = stopped.checkpoint_path(2)

    def spoil(state, facts):
        made = change(state, facts)
        return made if isinstance(made, dict | list) else None

    rewritten(path, spoil)
    assert load_checkpoint(stopped).epoch == 1
    told = capsys.readouterr().err
    assert "warning: " in told
    assert "epoch-0002.safetensors: " in told
    assert "falling back to the checkpoint before" in told
    assert told.count("\n") == 1
    stopped.checkpoint_path(1).unlink()
    told_again = refused(lambda: load_checkpoint(stopped), "no readable checkpoint to resume from")
    assert "epoch-0002.safetensors: " in told_again  # the one line says which and why
    assert capsys.readouterr().err == ""


def test_the_training_goes_on_from_it_to_the_same_bits(stopped, two_epochs):
    def spoil(state, facts):
        state[next(key for key in state if key.startswith("model."))].view(-1)[0] = float("nan")

    rewritten(stopped.checkpoint_path(2), spoil)
    resume_run(stopped.path)
    assert stopped.weights("last").read_bytes() == two_epochs.weights("last").read_bytes()
    assert stopped.predictions().read_bytes() == two_epochs.predictions().read_bytes()
    refused(lambda: resume_run(stopped.path, epoch=9), "no checkpoint of epoch 9")


def test_a_name_decides_no_more_than_the_content(stopped, capsys):
    first, second = stopped.checkpoint_path(1), stopped.checkpoint_path(2)
    for name in (
        "epoch-foo1",
        "epoch-0003-2",
        "epoch-²5",
        "epoch-3",
        "epoch-00004",
        "epoch--005",
        "epoch-" + "9" * 200,
    ):
        shutil.copy(first, first.with_name(f"{name}.safetensors"))
    assert list(stopped.checkpoints()) == [2, 1]
    assert load_checkpoint(stopped).epoch == 2
    told = capsys.readouterr().err
    assert told.count("is not named as a checkpoint is, and is passed over\n") == 7
    for path in stopped.other_checkpoints():
        path.unlink()
    shutil.copy(first, stopped.checkpoint_path(7))
    shutil.copy(first, second)
    os.mkfifo(stopped.checkpoint_path(9))
    stopped.checkpoint_path(8).mkdir()
    assert load_checkpoint(stopped).epoch == 1
    told = capsys.readouterr().err
    assert "epoch-0007.safetensors: is the checkpoint of epoch 1, whatever its name says" in told
    assert "epoch-0002.safetensors: is the checkpoint of epoch 1" in told
    refused(lambda: resume_run(stopped.path, epoch=2), "is the checkpoint of epoch 1")


def test_the_best_by_a_criterion_that_was_not_kept_is_refused(stopped):
    refused(lambda: resume_run(stopped.path, ["train.best=f1"]), "train.best", code=2)


def test_the_optimiser_changed_by_force_begins_anew(stopped):
    for optimiser in MOMENTS:
        resume_run(stopped.path, ["train.epochs=3", f"train.optimiser={optimiser}"], force=True, epoch=2)
        assert load_checkpoint(stopped).facts["config"]["train"]["optimiser"] == optimiser
        assert load_checkpoint(stopped).epoch == 3


def test_more_steps_than_a_schedule_has_are_refused(stopped):
    words = ["train.schedule=one_cycle", "train.batch_size=32"]
    refused(lambda: resume_run(stopped.path, [*words, "train.epochs=1"], force=True), "more than the 1 of its schedule")


# ---- tables ------------------------------------------------------------------------------------------

EPOCH = "epoch,seconds,train_loss,validation_loss\n"
METRICS = {
    "words": (EPOCH + "1,2.0,0.5,low\n", "line 2, column 'validation_loss': 'low' is not a number"),
    "a row of words": (EPOCH + "1,2,3,4\nepoch,seconds,a,b\n", "line 3, column 'epoch': 'epoch' is not a number"),
    "ragged": (EPOCH + "1,2.0,0.5\n", "line 2 has 3 cells, the header 4"),
    "too many": (EPOCH + "1,2,3,4,5\n", "line 2 has 5 cells, the header 4"),
    "NUL": (EPOCH + "1,2.0,\0,0.5\n", r"'\x00' is not a number"),
    "a formula": (EPOCH + "1,2.0,=1+1,0.5\n", "column 'train_loss': '=1+1' is not a number"),
    "underscores": (EPOCH + "1,2.0,1_0,0.5\n", "'1_0' is not a number"),
    "other digits": (EPOCH + "1,2.0,１２,0.5\n", "is not a number"),
    "escapes": (EPOCH + "1,2.0,\x1b[31m,0.5\n", r"'\x1b[31m' is not a number"),
    "a quote that stays open": (EPOCH + '1,"2.0,3,4\n', "cannot be read"),
    "no epoch": ("a,b\n1,2\n", "lacks the column 'epoch'"),
    "twice": ("epoch,a,a\n1,2,3\n", "names a column twice"),
    "epochs that jump": (EPOCH + "1,1,1,1\n3,1,1,1\n", "row 2 is of epoch 3"),
    "epoch nan": (EPOCH + ",1,1,1\n", "row 1 is of epoch nan"),
    "epoch huge": (EPOCH + "1e300,1,1,1\n", "row 1 is of epoch 1e+300"),
    "huge": (EPOCH + "1,1,1,1\n" * 3_000_000, "at most 16,000,000 are read"),
}


@pytest.mark.parametrize(("content", "told"), METRICS.values(), ids=METRICS)
def test_metrics_that_are_none_are_refused_by_line_and_column(run, tmp_path, content, told):
    run.metrics_path.write_text(content)
    refused(lambda: tool("compare", run.path, "--out", tmp_path / "page"), "metrics.csv", told, code=3)
    refused(lambda: Course.of(run), "metrics.csv", told, code=3)
    refused(lambda: run_metrics_of_a_trial(run), "metrics.csv", told, code=3)


def run_metrics_of_a_trial(run: RunDirectory) -> object:
    from pointae.analysis.sweep.trials import _best

    return _best(run, ScoreSettings(a=1.0))


def test_a_byte_order_mark_and_an_empty_table_are_no_damage(run):
    rows = read_metrics(run)
    run.metrics_path.write_bytes(b"\xef\xbb\xbf" + run.metrics_path.read_bytes())
    assert read_metrics(run) == rows
    run.metrics_path.write_text("")
    assert read_metrics(run) == []
    refused(lambda: Course.of(run), "holds no epochs", code=3)
    run.metrics_path.unlink()
    run.metrics_path.mkdir()
    refused(lambda: read_metrics(run), "is a folder", code=3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("low,high,signal\n1,2,3\n", "lacks the column 'noise'"),
        ("low,high,signal,noise\n1,2,many,4\n", "line 2, column 'signal'"),
        ("low,high,signal,noise\n1,,3,4\n", "row 1 is no bin"),
        ("low,high,signal,noise\n2,1,3,4\n", "row 1 is no bin"),
        ("low,high,signal,noise\n1,inf,3,4\n", "row 1 is no bin"),
    ],
)
def test_outputs_that_are_none_are_refused(run, content, told):
    run.outputs_path.write_text(content)
    refused(lambda: Course.of(run), "outputs.csv", told, code=3)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_an_evaluation_are_refused_by_line_and_column(run, tmp_path, name):
    run.evaluation.mkdir(exist_ok=True)
    path = run.evaluation_table(name)
    texts, numbers = TABLES[name]
    header, words = [*texts, *numbers], ["a" for _ in texts]
    for column in header:
        left = [other for other in header if other != column]
        path.write_text(f"{','.join(left)}\n")
        refused(lambda: read_evaluated(run, name), f"{name}.csv", f"lacks the column '{column}'", code=3)
    for place, column in enumerate(numbers):
        cells = [*words, *("word" if i == place else "1" for i in range(len(numbers)))]
        path.write_text(f"{','.join(header)}\n{','.join(cells)}\n")
        told = (f"{name}.csv", f"line 2, column '{column}': 'word' is not a number")
        refused(lambda told=told: tool("compare", run.path, "--out", tmp_path / "page"), *told, code=3)
        assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "null", "[" * 100_000, '{"network": 3}', '{"network": []}', '{"network": {"events": "many"}}', "{",
     '{"network": {"purity": [1]}}', '{"pattern": "x"}', '{"network": {"events": 1' + "0" * 5000 + "}}"],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_figures_of_an_evaluation_that_are_none_are_refused(run, tmp_path, content):
    run.evaluation.mkdir(exist_ok=True)
    run.judged_path.write_text(content)
    refused(lambda: tool("compare", run.path, "--out", tmp_path / "page"), "metrics.json", "evaluate.py", code=3)
