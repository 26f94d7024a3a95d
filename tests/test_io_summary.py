"""Summaries of files, simulated data sets and the tools that make them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pointae.config import DataSettings, DegradationSettings, FileSource, PatternSource
from pointae.data import export
from pointae.data.export import write_dataset
from pointae.errors import ConfigError, DataError, UsageError
from pointae.geometry import even_geometry
from pointae.hits import HitBatch
from pointae.io import read_attributes, read_hits, write_hits
from pointae.io.summary import Summary, summarise

TOOLS = Path(__file__).parent.parent / "tools"


def _tool(name: str) -> ModuleType:
    spec = spec_from_file_location(name, TOOLS / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


inspect_data, simulate = _tool("inspect_data"), _tool("simulate")


@settings(max_examples=40, deadline=None)
@given(
    events=st.lists(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.booleans()), max_size=8),
        max_size=6,
    ),
    size=st.sampled_from([3, 1 << 31]),
)
def test_summary_against_counting_by_hand(events, size):
    hits = [hit for event in events for hit in event]
    coords = torch.tensor([hit[:3] for hit in hits], dtype=torch.int32).view(-1, 3)
    offsets = torch.tensor([0, *map(len, events)]).cumsum(0)
    signal = torch.tensor([hit[3] for hit in hits], dtype=torch.bool)
    batch = HitBatch(even_geometry((size, size, size)), coords, offsets, signal=signal)
    told = summarise([batch.events(slice(0, 2)), batch.events(slice(2, None))])
    assert (told["events"], told["hits"]) == (len(events), len(hits))
    assert told["empty_events"] == sum(not event for event in events)
    numbered = [(e, *hit) for e, event in enumerate(events) for hit in event]
    for name, columns in (("cell", 4), ("pixel", 3)):
        shared = sum(count - 1 for count in Counter(hit[:columns] for hit in numbered).values())
        assert told[f"hits_sharing_a_{name}"] == shared
    for i, axis in enumerate("xyt"):
        assert told["ranges"][axis] == ([min(h[i] for h in hits), max(h[i] for h in hits)] if hits else None)
    assert told["signal_hits"] == sum(hit[3] for hit in hits)
    if events:
        lengths = sorted(map(len, events))
        middle = (lengths[len(lengths) // 2] + lengths[(len(lengths) - 1) // 2]) / 2
        assert told["hits_per_event"] == {
            "min": lengths[0], "median": middle, "mean": pytest.approx(len(hits) / len(events)), "max": lengths[-1],
        }  # fmt: skip
    json.dumps(told)


def test_summary_of_nothing():
    assert Summary().as_dict()["hits_per_event"] is None


CROSSES = PatternSource(mixture={"cross": 1.0}, points=60)
DEGRADED = DataSettings(source=CROSSES, degradation=DegradationSettings(thin=20, smear={"t": 2.0}, noise=7))


def test_a_data_set_and_its_manifest(tmp_path, monkeypatch):
    manifest = write_dataset(tmp_path / "a.h5", DEGRADED, 5, seed=3)
    assert json.loads((tmp_path / "a.h5.json").read_text()) == manifest
    assert manifest["sha256"] == hashlib.sha256((tmp_path / "a.h5").read_bytes()).hexdigest()
    hits = read_hits(tmp_path / "a.h5")
    assert (manifest["events"], manifest["hits"], manifest["seed"]) == (5, hits.num_hits, 3)
    assert hits.event_id.tolist() == [0, 1, 2, 3, 4]
    assert (~hits.signal).sum() == 5 * 7
    stated = read_attributes(tmp_path / "a.h5")["generator"]
    assert PatternSource.model_validate_json(json.dumps(stated["source"])) == CROSSES
    # The same events however many are written and in whatever blocks.
    monkeypatch.setattr(export, "BLOCK", 2)
    write_dataset(tmp_path / "b.h5", DEGRADED, 3, seed=3)
    again = read_hits(tmp_path / "b.h5")
    assert torch.equal(again.coords, hits.events(slice(0, 3)).coords)


def test_views_of_a_degradation(tmp_path):
    counts = {}
    for view in export.VIEWS:
        write_dataset(tmp_path / f"{view}.h5", DEGRADED, 4, seed=3, view=view)
        counts[view] = read_hits(tmp_path / f"{view}.h5").counts
    assert (counts["full"] > 20).all()
    assert counts["thinned"].tolist() == [20] * 4
    assert (counts["noised"] == counts["smeared"] + 7).all()
    with pytest.raises(ConfigError, match="no view 'full'"):
        write_dataset(tmp_path / "a.h5", DataSettings(source=CROSSES), 4, 3, "full")
    assert not (tmp_path / "a.h5").exists()


def test_events_of_a_file_are_degraded_with_exact_truth(tmp_path):
    write_dataset(tmp_path / "clean.h5", DataSettings(source=CROSSES), 5, seed=3)
    clean = read_hits(tmp_path / "clean.h5")
    source = FileSource(paths=[str(tmp_path / "clean.h5")], all_signal=True)
    settings = DataSettings(source=source, degradation=DegradationSettings(noise=11))
    assert write_dataset(tmp_path / "noisy.h5", settings, None, seed=3)["events"] == 5
    noisy = read_hits(tmp_path / "noisy.h5")
    assert (noisy.counts == clean.counts + 11).all()
    kept = noisy.select(noisy.signal)
    assert sorted(kept.coords.tolist()) == sorted(clean.coords.tolist())


def test_no_events_are_a_data_set_too(tmp_path):
    assert write_dataset(tmp_path / "a.npz", DEGRADED, 0, seed=3)["events"] == 0
    assert read_hits(tmp_path / "a.npz").batch_size == 0


def test_a_folder_of_images_has_a_checksum_of_its_contents(tmp_path):
    manifest = write_dataset(tmp_path / "a", DEGRADED, 2, seed=3)
    assert "share a pixel" in manifest["not_in_the_file"] or "not kept" in manifest["not_in_the_file"]
    assert write_dataset(tmp_path / "b", DEGRADED, 2, seed=3)["sha256"] == manifest["sha256"]
    (tmp_path / "b" / "Data" / "event_000001.npy").rename(tmp_path / "b" / "Data" / "event_000002.npy")
    assert export.checksum(tmp_path / "b") != manifest["sha256"]


def test_simulate_then_inspect(tmp_path, capsys):
    out = tmp_path / "a.h5"
    simulate.main(["cross", "data.source.points=40", "-o", str(out), "--events", "3", "--seed", "9"])
    assert "3 events" in capsys.readouterr().out
    inspect_data.main([str(out), "--json"])
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["events"], told["grid_is_stated"], told["attributes"]["generator"]["seed"]) == (3, True, 9)
    write_hits(tmp_path / "b.csv", read_hits(out))
    inspect_data.main([str(out), str(tmp_path / "b.csv")])
    table = capsys.readouterr().out
    assert "b.csv" in table
    assert "hits per event" in table
    inspect_data.main([str(tmp_path / "b.csv"), "--geometry", "deepclean3d", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["spatial_shape"] == [88, 128, 1000]


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        (inspect_data, ["none.h5"], DataError),
        (inspect_data, [__file__], DataError),
        (simulate, ["crosses", "-o", "a.h5"], UsageError),
        (simulate, ["cross", "-o", "a.h5", "--events", "-1"], UsageError),
        (simulate, ["cross", "-o", "a.h5", "data.source.pints=3"], UsageError),
        (simulate, ["none.yaml", "-o", "a.h5"], UsageError),
        (simulate, ["cross", "-o", "a.xyz"], UsageError),
    ],
)
def test_wrong_arguments(tmp_path, monkeypatch, tool, arguments, kind):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind):
        tool.main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tool", ["inspect_data", "simulate"])
def test_help_loads_nothing_slow(tool):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", TOOLS / f"{tool}.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "usage" in done.stdout
    assert "argparse" in done.stderr
    assert not {"torch", "numpy", "h5py"} & {line.split("|")[-1].strip() for line in done.stderr.splitlines()}


def test_what_is_told_in_several_lines_is_shown_in_several(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("event,x,y,t,tot [ns]\n0,1,2,3,4\n")
    inspect_data.main([str(path)])
    told = capsys.readouterr().out
    assert "tot [ns]" in told
    assert "\\n" not in told
