"""Shipped weights: found by name, the same network as the run's, and refused unless every byte is as it was written."""

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from calls import tool

from pointae import denoise, shipped
from pointae.config import TorchSource
from pointae.config_files import load_config
from pointae.errors import CheckpointError, UsageError
from pointae.geometry import deepclean3d_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser
from pointae.io import read_attributes, read_hits, write_hits
from pointae.runs import RunDirectory
from pointae.simulate import simulate_events
from pointae.storage import digest
from pointae.trained import open_trained
from pointae.training.shipping import ship_run

ROOT = Path(__file__).parents[1]
MOST_BYTES = 8_000_000


@pytest.fixture(scope="module")
def made(calibrated_run, tmp_path_factory) -> Path:
    """A folder with shipped weights ``tiny``."""
    folder = tmp_path_factory.mktemp("made") / "weights"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "FOLDER", folder)
        ship_run(calibrated_run.path, "tiny", figures={"noise_removed": 0.5})
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch) -> Path:
    """A copy of it, to be spoilt, where shipped weights are looked for."""
    copy = tmp_path / "shipped" / "weights"
    shutil.copytree(made, copy)
    monkeypatch.setattr(shipped, "FOLDER", copy)
    return copy


@pytest.fixture(scope="module")
def hits() -> HitBatch:
    return simulate_events(TorchSource(), seed=5, index=torch.arange(20))


def edit_card(folder: Path, **fields: object) -> None:
    card = json.loads((folder / "tiny.json").read_text())
    card.update(fields)
    (folder / "tiny.json").write_text(json.dumps({key: value for key, value in card.items() if value != "gone"}))


# ---- what the repository ships -----------------------------------------------------------------------


def test_what_is_shipped_is_whole_and_small():
    files = sorted(ROOT.glob("weights/*"))
    names = shipped.shipped_names()
    assert {path.name for path in files} == {f"{name}.{kind}" for name in names for kind in ("json", "safetensors")}
    assert shipped.shipped_bytes() == sum(path.stat().st_size for path in files) <= MOST_BYTES
    event = simulate_events(TorchSource(), seed=5, index=torch.arange(2))
    for name in names:
        denoiser = Denoiser.of(open_trained(name), device="cpu")
        assert sum(p.numel() for p in denoiser.model.parameters()) == shipped.read_shipped(name).parameters
        if denoiser.geometry == event.geometry and not denoiser.feature_names:
            assert bool(torch.isfinite(denoiser(event).score).all())


def test_shipped_weights_lie_beside_the_package():
    assert ROOT / "weights" == shipped.FOLDER


# ---- the same network under both names ---------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_scores_and_decisions_are_those_of_the_run(calibrated_run, hits):
    ours, theirs = denoise(hits, "tiny"), denoise(hits, calibrated_run.path)
    assert torch.equal(ours.score, theirs.score)
    assert torch.equal(ours.kept, theirs.kept)
    assert torch.equal(denoise(hits, Denoiser.open("tiny")).score, ours.score)


@pytest.mark.usefixtures("folder")
def test_the_card_says_what_the_run_says(calibrated_run):
    card, record = shipped.read_shipped("tiny"), calibrated_run.record
    assert card.config == load_config(calibrated_run.config_path)
    assert card.training_command == "python tools/train.py x.yaml"
    assert (card.seeds, card.parameters, card.retention) == ([1], record.parameters, 0.965)
    assert card.thresholds[0.965] == record.threshold
    assert card.geometry == record.geometry
    assert card.data == (
        "32 simulated events, none seen twice: TORCH, tracks 1, signal hits 30 a track, noise hits 200 (uniform), "
        "time resolution 70 ps"
    )
    assert card.figures == {"noise_removed": 0.5}
    assert card.environment["packages"]["torch"] == torch.__version__
    assert card.licence == "MIT"


def test_a_directory_comes_before_a_shipped_name(folder, calibrated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_trained("tiny").source == folder / "tiny"
    shutil.copytree(calibrated_run.path, tmp_path / "tiny")
    assert open_trained("tiny").source == Path("tiny")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tinny", r"tinny: is not a run directory, nor .*did you mean 'tiny'\? known: tiny; or train"),
        ("../weights/tiny", r"nor the name of shipped weights .*known: tiny"),
        ("", "not a run directory"),
    ],
)
def test_an_unknown_name_lists_the_known(name, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=told) as caught:
        Denoiser.open(name)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_a_clone_finds_them_from_any_directory(made, tmp_path):
    clone, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree("pointae", clone / "pointae", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(made, clone / "weights")
    code = (
        "import sys; from pointae.trained import open_trained; print(open_trained('tiny').weights)\n"
        "assert 'torch' not in sys.modules  # a wrong name is told at once"
    )
    environment = {**os.environ, "PYTHONPATH": str(clone)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == (clone / "weights" / "tiny.safetensors").resolve()


# ---- damage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 300, -1])
def test_a_changed_byte_is_refused(folder, place):
    path = folder / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tiny.safetensors: is not the file .*SHA-256.*git checkout") as caught:
        Denoiser.open("tiny")
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_the_digest_in_the_file_holds_where_the_checksum_was_made_to_agree(folder):
    path = folder / "tiny.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    edit_card(folder, sha256=digest(bytes(content)))
    with pytest.raises(CheckpointError, match="is damaged"):
        Denoiser.open("tiny")


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_is_not_opened(folder, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = folder / "tiny.safetensors"
    save({"weight": _Bomb()}, path)
    edit_card(folder, sha256=digest(path.read_bytes()))
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        Denoiser.open("tiny")
    assert not Path("it-ran").exists()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sha256": "0" * 64}, "the card says 000000000000"),
        ({"sha256": "gone"}, "lacks the field 'sha256'"),
        ({"config": "gone"}, "lacks the field 'config'"),
        ({"authors": []}, "unknown field 'authors'"),
        ({"parameters": "many"}, "'parameters': Input should be a valid integer, got 'many'"),
        ({"format_version": 3}, r"format_version 3 is later than 2.*\(update pointae\)"),
        ({"description": "two\nlines"}, "'description'"),
        ({"thresholds": {"0.9": 0.5}}, r"thresholds hold none for the retention of 0.965"),
        ({"thresholds": {"0.965": 2.0}}, "'thresholds.0.965'"),
        ({"thresholds": {"most": 0.5}}, "thresholds.most"),
        ({"config": {"train": {"epoch": 3}}}, "unknown field 'config.train.epoch'"),
        ({"name": "other"}, "is the card of 'other'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_card_is_told_in_one_line(folder, fields, told):
    edit_card(folder, **fields)
    with pytest.raises(CheckpointError, match=told) as caught:
        Denoiser.open("tiny")
    assert "tiny." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '{"format": "pointae-card"}'])
def test_what_is_no_card_is_refused(folder, content):
    (folder / "tiny.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"tiny\.json: is not a card of weights"):
        open_trained("tiny")


def test_a_card_without_its_file_says_so(folder):
    (folder / "tiny.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors: is missing"):
        open_trained("tiny")
    assert shipped.shipped_names() == ["tiny"]
    (folder / "tiny.json").rename(folder / "tiny.safetensors")
    assert shipped.shipped_names() == []


# ---- shipping ------------------------------------------------------------------------------------------


def test_the_tool_ships_and_tells_sizes(folder, calibrated_run, tmp_path, capsys):
    (tmp_path / "figures.json").write_text('{"table": [1, 2.5]}')
    tool("ship", calibrated_run.path, "second", "--figures", tmp_path / "figures.json", "--description", "a second one")
    said = capsys.readouterr().out
    card = json.loads((folder / "second.json").read_text())
    assert (card["figures"], card["description"]) == ({"table": [1, 2.5]}, "a second one")
    assert card["sha256"] == digest((folder / "second.safetensors").read_bytes())
    assert f"{(folder / 'second.safetensors').stat().st_size:,} bytes" in said
    assert f"{sum(path.stat().st_size for path in folder.iterdir()):,} bytes  in all of" in said
    assert "saved: second" in said
    assert shipped.shipped_names() == ["second", "tiny"]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"status": "interrupted"}, "is not finished: its status is 'interrupted'"),
        ({"thresholds": {}}, "keeps no thresholds by retention"),
    ],
)
def test_what_cannot_be_shipped_leaves_nothing(folder, calibrated_run, tmp_path, record, told):
    shutil.copytree(calibrated_run.path, tmp_path / "copy")
    RunDirectory(tmp_path / "copy").update_record(**record)
    with pytest.raises(CheckpointError, match=told):
        ship_run(tmp_path / "copy", "second")
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.json", "tiny.safetensors"]


@pytest.mark.parametrize("name", ["../up", "Capital", "a.b", "", "two words", "line\n", "-x"])
def test_a_name_stays_in_its_folder(folder, calibrated_run, name):
    with pytest.raises(UsageError, match="cannot name weights"):
        ship_run(calibrated_run.path, name)
    assert shipped.shipped_names() == ["tiny"]


def test_the_card_comes_last(folder, calibrated_run, monkeypatch):
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shipped, "write_json", full)
    with pytest.raises(OSError):
        ship_run(calibrated_run.path, "second")
    assert shipped.shipped_names() == ["tiny"]


# ---- retentions ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("folder")
def test_retention_chooses_the_cut_of_a_file(calibrated_run, hits, tmp_path):
    write_hits(tmp_path / "hits.h5", hits)
    kept = {}
    for words in ([], ["--retention", "0.99"], ["--threshold", "0.25"]):
        out = tmp_path / "clean.h5"
        tool("denoise", "tiny", tmp_path / "hits.h5", "-o", out, *words)
        kept["".join(words)] = (read_attributes(out)["threshold"], int(read_hits(out).kept.sum()))
    thresholds = calibrated_run.record.thresholds
    assert [cut for cut, _ in kept.values()] == [thresholds[0.965], thresholds[0.99], 0.25]
    assert kept["--retention0.99"][1] > kept[""][1]
    assert torch.equal(denoise(hits, "tiny", retention=0.99).kept, denoise(hits, "tiny").score >= thresholds[0.99])


@pytest.mark.usefixtures("folder")
def test_retention_and_threshold_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match="not allowed with"):
        tool("denoise", "tiny", "x.h5", "-o", tmp_path / "y.h5", "--retention", "0.99", "--threshold", "0.5")


@pytest.mark.usefixtures("folder")
def test_a_retention_that_is_not_kept_is_told(tmp_path):
    hits = tmp_path / "hits.h5"
    write_hits(hits, HitBatch.empty(torch_geometry(), 1))
    with pytest.raises(UsageError, match=r"tiny: a retention of 0.5 is not between 0.9 and 0.995") as caught:
        tool("denoise", "tiny", hits, "-o", tmp_path / "y.h5", "--retention", "0.5")
    assert caught.value.exit_code == 2


def test_hits_of_another_grid_are_refused_by_the_shipped_name(folder):
    other = dataclasses.replace(deepclean3d_geometry(), x=dataclasses.replace(deepclean3d_geometry().x, bins=80))
    with pytest.raises(CheckpointError, match=r"weights/tiny: was trained on a grid"):
        denoise(HitBatch.empty(other, 1), "tiny")
    assert folder.is_dir()
