"""How a run reads the files of its training is how every tool reads files for it, unless it is told otherwise."""

from __future__ import annotations

import json

import pytest
import torch
from calls import tool

from pointae import shipped
from pointae.analysis.comparison import grid_notes
from pointae.analysis.judging import open_denoisers
from pointae.config import FileSource
from pointae.config_files import load_config
from pointae.data.events import EventData, read_source_files
from pointae.errors import CheckpointError, ConfigError, PointaeError, UsageError
from pointae.geometry import even_geometry, geometry_from_dict, geometry_to_dict, torch_geometry
from pointae.hits import HitBatch
from pointae.inference import Denoiser, denoise_file
from pointae.io import read_hits, write_hits
from pointae.io.arguments import ARGUMENTS
from pointae.io.options import ReadOptions
from pointae.precision import choose_precision
from pointae.runs import RunDirectory
from pointae.trained import open_trained
from pointae.training.agreement import check_agreement, origin_of
from pointae.training.checkpoint import Checkpoint
from pointae.training.session import train_run
from pointae.training.shipping import ship_run

CASES = "tests/data/cases"
RECORDING = "tests/data/timepix3/serval_4chips.tpx3"
SHORT = [
    "train.epochs=1", "train.precision=fp32", "evaluate.precision=fp32", "evaluate.baselines=[]",
    "evaluate.pictures=0", "model.encoder={name: pointnet, channels: 8}", "data.degradation={_delete_: true}",
]  # fmt: skip
COLUMNS = {"event": "event_id", "x": "col", "y": "row", "t": "toa"}


def trained_on(folder, *settings: str):
    return train_run(load_config("configs/timepix3/point.yaml", [*SHORT, *settings]), folder).path


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run on a table whose columns have other names."""
    columns = ", ".join(f"{ours}: {theirs}" for ours, theirs in COLUMNS.items())
    source = f"{{_delete_: true, kind: files, paths: [{CASES}/named.csv], columns: {{{columns}}}, features: []}}"
    return trained_on(tmp_path_factory.mktemp("named"), f"data.source={source}")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run on a recording whose events are built from pauses, on four chips beside one another."""
    settings = "features: [], all_signal: true, gap_ns: 1e6, chip_layout: 2x2"
    source = f"data.source={{_delete_: true, kind: files, paths: [{RECORDING}], {settings}}}"
    noise = "data.degradation={noise: 20, noise_profile: uniform}"
    return trained_on(tmp_path_factory.mktemp("recorded"), source, noise)


def test_a_table_is_read_by_the_runs_names_in_every_tool(named, tmp_path, capsys):
    table, own = f"{CASES}/named.csv", read_hits(f"{CASES}/named.csv", columns=COLUMNS)
    told = "was trained: columns event=event_id,x=col,y=row,t=toa"

    tool("denoise", named, table, "-o", tmp_path / "clean.h5")
    assert told in capsys.readouterr().err
    clean = read_hits(tmp_path / "clean.h5")
    assert torch.equal(clean.coords, own.coords)
    assert torch.equal(clean.score, Denoiser.open(named)(own.replace(geometry=clean.geometry)).score)

    tool("evaluate", named, table, "--json", "--no-baselines")
    shown = capsys.readouterr()
    assert json.loads(shown.out)["events"] == own.batch_size
    assert told in shown.err

    tool("inspect_data", table, "--run", named, "--json")
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["hits"] == own.num_hits
    assert json.loads(shown.out)[0]["spatial_shape"] == list(clean.geometry.spatial_shape)
    assert told in shown.err

    tool("view", table, "--run", named, "--engine", "png", "--events", 1, "--out", tmp_path / "look")
    shown = capsys.readouterr()
    assert told in shown.err
    assert list((tmp_path / "look").glob("*.png"))

    with pytest.raises(PointaeError, match="has no column x, y, t"):  # nothing is guessed without the run
        tool("inspect_data", table)


def test_names_on_the_command_line_add_to_those_of_the_run(named, tmp_path, capsys):
    table = tmp_path / "other.csv"
    table.write_text("event_id,col,row,tof\n0,1,2,3\n")
    tool("inspect_data", table, "--run", named, "--json", "--columns", "t=tof")
    assert json.loads(capsys.readouterr().out)[0]["ranges"] == {"x": [1, 1], "y": [2, 2], "t": [3, 3]}
    tool("inspect_data", table, "--json", "--columns", "event=event_id,x=col", "--columns", "y=row,t=tof")
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["hits"] == 1
    assert shown.err == ""
    for wrong in ("tof", "=tof", "t="):
        with pytest.raises(UsageError, match="--columns takes OUR=THEIRS"):
            tool("inspect_data", table, "--columns", wrong)


def test_events_of_a_recording_are_built_as_those_trained_on(recorded, tmp_path, capsys):
    tool("denoise", recorded, RECORDING, "-o", tmp_path / "clean.h5")
    assert "was trained: gap_ns 1e+06, chip_layout 2x2" in capsys.readouterr().err
    clean, denoiser = read_hits(tmp_path / "clean.h5"), Denoiser.open(recorded)
    as_trained = read_hits(RECORDING, gap_ns=1e6, chip_layout="2x2", geometry=denoiser.geometry)
    assert clean.geometry == as_trained.geometry == denoiser.geometry
    assert torch.equal(clean.offsets, as_trained.offsets)
    assert torch.equal(clean.kept, denoiser(as_trained).kept)
    assert clean.batch_size != read_hits(RECORDING).batch_size


def test_a_window_typed_takes_the_place_of_the_runs_gap(recorded, tmp_path, capsys):
    window = Denoiser.open(recorded).geometry.t.bins * 1.5625
    tool("denoise", recorded, RECORDING, "-o", tmp_path / "clean.h5", "--window-ns", window)
    told = capsys.readouterr().err
    assert "was trained: chip_layout 2x2" in told
    assert "gap_ns" not in told
    expected = read_hits(RECORDING, window_ns=window, chip_layout="2x2")
    assert torch.equal(read_hits(tmp_path / "clean.h5").offsets, expected.offsets)
    with pytest.raises(CheckpointError, match="trained on a grid of 512 x 512"):
        tool("denoise", recorded, RECORDING, "-o", tmp_path / "other.h5", "--chip-layout", "single")


def test_in_python_a_run_reads_as_it_was_trained_too(recorded, tmp_path):
    denoiser = Denoiser.open(recorded)
    denoise_file(denoiser, RECORDING, tmp_path / "a.h5")
    as_trained = read_hits(RECORDING, gap_ns=1e6, chip_layout="2x2", geometry=denoiser.geometry)
    assert torch.equal(read_hits(tmp_path / "a.h5").offsets, as_trained.offsets)
    denoise_file(denoiser, RECORDING, tmp_path / "b.h5", options={"gap_ns": 1e5})
    assert read_hits(tmp_path / "b.h5").batch_size > as_trained.batch_size


def test_a_card_reads_as_its_run(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    ship_run(recorded, "pauses")
    assert open_trained("pauses").reading(RECORDING) == open_trained(recorded).reading(RECORDING)
    assert open_trained("pauses").reading(RECORDING).gap_ns == 1e6


def test_options_give_way_to_those_that_take_their_place():
    kept = ReadOptions(gap_ns=5.0, columns={"t": "tof"}, duplicates="merge")
    assert kept.but({}) == kept.but({"window_ns": None}) == kept
    assert kept.but({"window_ns": 7.0}) == ReadOptions(window_ns=7.0, columns={"t": "tof"}, duplicates="merge")
    assert kept.but({"columns": {"x": "col"}}).columns == {"t": "tof", "x": "col"}
    assert kept.but({"columns": {"t": "toa"}, "duplicates": "keep"}) == ReadOptions(gap_ns=5.0, columns={"t": "toa"})
    assert kept.but({"trigger": "tdc1_rising"}).gap_ns is None
    triggered = ReadOptions(trigger="tdc1_rising", trigger_delay_ns=-5.0, window_ns=9.0)
    assert triggered.but({"gap_ns": 5.0}) == ReadOptions(gap_ns=5.0, window_ns=9.0)
    assert triggered.but({"window_ns": 7.0}).trigger == "tdc1_rising"
    with pytest.raises(ConfigError, match="unknown reading option 'gap' "):
        kept.but({"gap": 1})


def test_every_option_that_a_run_keeps_can_be_typed():
    own = {name for name in vars(ReadOptions()) if name in FileSource.model_fields}
    assert set(ARGUMENTS) == own
    stated = {"geometry": {"spatial_shape": [4, 3, 2]}, "columns": {"t": "tof"}, "window_ns": 7.0, "on_bad": "skip"}
    read = ReadOptions.of_source(FileSource(paths=["a.csv"], **stated))
    assert read == ReadOptions(geometry=even_geometry((4, 3, 2)), columns={"t": "tof"}, window_ns=7.0, on_bad="skip")


GRID = """{detector: own, spatial_shape: [64, 48, 500], bin_widths: [0.5, 0.5, 2], axis_units: [mm, mm, ns],
    axis_starts: [-16, -12, 0]}"""


def own_config(*files: str, geometry: str = GRID):
    paths = ", ".join(f"{CASES}/{name}.csv" for name in files)
    source = f"{{_delete_: true, kind: files, paths: [{paths}], geometry: {geometry}}}"
    return load_config("configs/timepix3/point.yaml", [*SHORT, f"data.source={source}"])


def test_files_of_a_stated_detector_are_joined_and_denoised(tmp_path):
    config = own_config("own_a", "own_b")
    grid = EventData(config.data, config.seed).geometry
    assert [(axis.low, axis.high, axis.unit) for axis in grid.axes] == [
        (-16, 16, "mm"),
        (-12, 12, "mm"),
        (0, 1000, "ns"),
    ]
    run = train_run(own_config("own_a"), tmp_path)
    assert Denoiser.open(run.path).geometry == grid
    denoise_file(Denoiser.open(run.path), f"{CASES}/own_b.csv", tmp_path / "b.h5")
    assert read_hits(tmp_path / "b.h5").geometry == grid


def test_a_detector_is_stated_on_the_command_line_too(tmp_path, capsys):
    stated = '{"spatial_shape": [64, 48, 500], "axis_starts": [-32, 0, 0]}'
    tool("inspect_data", f"{CASES}/own_b.csv", "--json", "--geometry", stated)
    assert json.loads(capsys.readouterr().out)[0]["spatial_shape"] == [64, 48, 500]
    for wrong, told in (
        ("torhc", "did you mean 'torch'"),
        ("{spatial_shape: 3}", "--geometry is not JSON"),
        ('{"spatial_shape": [64, 48]}', "spatial_shape must be three"),
        ('{"shape": [64, 48, 500]}', "unknown field of a geometry 'shape'"),
    ):
        with pytest.raises(UsageError, match=told):
            tool("inspect_data", f"{CASES}/own_b.csv", "--geometry", wrong)


@pytest.mark.parametrize(
    ("geometry", "told"),
    [
        ("torhc", "did you mean 'torch'"),
        ("{spatial_shape: [64, 48]}", "spatial_shape must be three positive numbers"),
        ("{spatial_shape: [64, 48, 500], bin_width: [1, 1, 1]}", "did you mean 'bin_widths'"),
        ("{spatial_shape: [64, 48, 500], bin_widths: [1, .inf, 1]}", "bin_widths must be three"),
        ("[64, 48, 500]", "must be a known detector's name or a grid"),
    ],
)
def test_a_detector_that_cannot_be_is_refused_with_its_key(geometry, told):
    with pytest.raises(ConfigError, match=rf"'data.source.geometry.*{told}"):
        own_config("own_a", geometry=geometry)


def test_bins_that_lie_elsewhere_are_said(calibrated_run, tmp_path, capsys):
    moved = geometry_from_dict({**geometry_to_dict(torch_geometry()), "axis_starts": [0.0, -26.5, 30.0]})
    hits = (
        EventData(load_config(calibrated_run.config_path).data, 1).all_events("validation").hits.replace(geometry=moved)
    )
    write_hits(tmp_path / "moved.h5", hits)
    report = denoise_file(Denoiser.open(calibrated_run.path), tmp_path / "moved.h5", tmp_path / "clean.h5")
    assert report.notes == [
        "the axes begin at -326.5, -26.5, 30 here and -326.5, -26.5, 34 in the run: it may not know such patterns"
    ]
    open_denoisers([open_trained(calibrated_run.path)], "cpu", moved)
    assert "begin at -326.5, -26.5, 30 here" in capsys.readouterr().err
    open_denoisers([open_trained(calibrated_run.path)], "cpu", torch_geometry())
    assert capsys.readouterr().err == ""
    with pytest.raises(CheckpointError, match="trained on a grid of 88 x 128 x 1000, the hits are on one of 8 x 8 x 8"):
        open_denoisers([open_trained(calibrated_run.path)], "cpu", even_geometry((8, 8, 8)))


def test_a_checkpoint_without_positions_goes_on_and_one_of_others_does_not(calibrated_run):
    config = load_config(calibrated_run.config_path)
    origin = origin_of(config, EventData(config.data, config.seed), choose_precision("cpu", "fp32"))
    grid = origin["data"]["grid"]
    older = {
        name: value for name, value in grid.items() if name not in ("geometry_version", "axis_starts", "axis_centres")
    }

    def agreement(then) -> list[str]:
        checkpoint = Checkpoint(1, {}, {**origin, "data": {**origin["data"], "grid": then}})
        return check_agreement(checkpoint, origin, calibrated_run, force=False)

    assert agreement(grid) == agreement(older) == []
    with pytest.raises(
        CheckpointError, match=r"data: grid.axis_starts was \[0.0, -26.5, 0.0\], is \[0.0, -26.5, 34.0\]"
    ):
        agreement({**grid, "axis_starts": [0.0, -26.5, 0.0]})


def test_runs_of_different_grids_are_told_apart(named, recorded):
    runs = [RunDirectory.open(path) for path in (recorded, named, recorded)]
    notes = grid_notes(runs)
    assert len(notes) == 1
    assert "were trained on different grids: the grid is 88 x 128 x 999 and 512 x 512 x 12800000" in notes[0]


def test_files_whose_bins_lie_elsewhere_are_not_joined(tmp_path):
    for name, start in (("a", 0.0), ("b", 34.0)):
        grid = geometry_from_dict({**geometry_to_dict(even_geometry((4, 3, 2))), "axis_starts": [0.0, 0.0, start]})
        write_hits(tmp_path / f"{name}.h5", HitBatch.empty(grid, 3))
    source = FileSource(paths=[str(tmp_path / "a.h5"), str(tmp_path / "b.h5")], all_signal=True)
    with pytest.raises(ConfigError, match=r"b\.h5: .*the axes begin at 0, 0, 34, not 0, 0, 0"):
        read_source_files(source)
