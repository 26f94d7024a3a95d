import numpy as np
import pytest
import torch

from pointae.errors import CheckpointError, DataError, UsageError
from pointae.geometry import deepclean3d_geometry, even_geometry, timepix3_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.runs import RunDirectory
from visual.colours import STYLES, rgb
from visual.controller import Controller
from visual.frame import frame_of
from visual.scene import build_scene
from visual.source import EventSource, open_events

COUNTS = (12, 0, 7)


def some_hits(counts=COUNTS, geometry=None, seed=0, **chosen):
    """Random hits with truth and decision, unless ``chosen`` says otherwise."""
    geometry = geometry or torch_geometry()
    draw, total = torch.Generator().manual_seed(seed), sum(counts)
    coords = torch.stack([torch.randint(bins, (total,), generator=draw) for bins in geometry.spatial_shape], 1)
    score = torch.rand(total, generator=draw)
    fields = {"signal": torch.rand(total, generator=draw) < 0.4, "score": score, "kept": score > 0.5} | chosen
    return HitBatch(geometry, coords.int(), torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64), **fields)


LAYERS = {
    (True, True): ("kept signal", "lost signal", "surviving noise", "removed noise"),
    (True, False): ("signal", "noise"),
    (False, True): ("kept", "removed"),
    (False, False): ("input",),
}


@pytest.mark.parametrize(("truth", "decision"), LAYERS)
def test_every_hit_is_in_exactly_one_layer(truth, decision):
    hits = some_hits(**({} if truth else {"signal": None}), **({} if decision else {"kept": None}))
    for event, count in enumerate(COUNTS):
        scene, alone = build_scene(hits, event), hits.events([event])
        assert tuple(layer.name for layer in scene.layers) == LAYERS[truth, decision]
        drawn = np.concatenate([layer.pos for layer in scene.layers])
        assert len(drawn) == count
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, alone.pos.tolist()))


def test_layers_follow_truth_and_decision():
    scene = build_scene(some_hits(), 0)
    hits = some_hits().events([0])
    lost = next(layer for layer in scene.layers if layer.name == "lost signal")
    mask = hits.signal & ~hits.kept
    assert np.array_equal(lost.pos, hits.pos[mask].numpy())
    assert np.array_equal(lost.values["score"], hits.score[mask].numpy())
    kept, signal = int((hits.kept & hits.signal).sum()), int(hits.signal.sum())
    assert f"{kept} of {signal} signal hits kept" in scene.caption


def test_features_and_full_pattern_are_shown():
    hits = some_hits()
    hits = hits.replace(features=torch.arange(19.0)[:, None], feature_names=("tot",))
    full = some_hits((40, 3, 5), signal=None, score=None, kept=None)
    scene = build_scene(hits, 2, full)
    assert scene.layers[-1].legend == "full pattern (5)"
    assert sorted(np.concatenate([layer.values["tot"] for layer in scene.layers[:-1]])) == list(range(12, 19))
    with pytest.raises(DataError, match="same 3 events"):
        build_scene(hits, 0, full.events([0]))


def test_an_event_out_of_range_is_told_the_range():
    with pytest.raises(UsageError, match=r"event 3 is out of range: the events are 0\.\.2"):
        build_scene(some_hits(), 3)
    with pytest.raises(UsageError, match="there are no events"):
        build_scene(HitBatch.empty(torch_geometry()), 0)


@pytest.mark.parametrize(
    "geometry",
    [
        torch_geometry(),
        deepclean3d_geometry(),
        timepix3_geometry(),
        even_geometry((11, 11, 11)),
        even_geometry((1, 1, 1)),
    ],
)
def test_axes_have_few_round_ticks_and_hits_lie_in_the_box(geometry):
    scene = build_scene(some_hits((50,), geometry), 0)
    for axis in scene.axes:
        ticks = axis.ticks()
        assert 2 <= len(ticks) <= 6
        assert all(axis.low - 1e-6 <= value <= axis.high + 1e-6 and len(text) <= 6 for value, text in ticks)
        assert all(float(text) * axis.factor == pytest.approx(value) for value, text in ticks)
    for layer in scene.layers:
        places = scene.in_box(layer.pos)
        assert (places >= 0).all()
        assert (places <= np.array(scene.box)).all()
    frame = frame_of(scene)
    assert frame.edges.shape == (12, 2, 3)
    assert len(frame.texts) == len(frame.anchors) == 3 + sum(len(axis.ticks()) for axis in scene.axes)


def test_axes_are_named_with_units():
    assert [axis.label for axis in build_scene(some_hits(), 0).axes] == [
        "x [mm]", "y (focal plane) [mm]", "time of flight [ns]",
    ]  # fmt: skip
    t = build_scene(some_hits(geometry=timepix3_geometry()), 0).axes[2]
    assert t.label == "time of arrival [10^6 ns]"
    assert t.ticks()[-1] == (20e6, "20")


def test_controller_steps_through_events_and_switches_layers():
    controller = Controller(EventSource(some_hits()), event=2)
    assert controller.press("n")
    assert controller.event == 0
    assert controller.press("left")
    assert controller.event == 2
    before = {layer.name for layer in controller.shown}
    assert controller.press("4")
    assert {layer.name for layer in controller.shown} == before - {"removed noise"}
    assert controller.legend[3][0].endswith("off")
    assert controller.press("p")
    assert controller.shown == []  # the event without hits; the layer stays off
    assert controller.press("4")
    assert not controller.press("7")
    assert not controller.press("x")


def test_events_of_a_file_a_run_and_the_latest_run(tmp_path):
    hits = some_hits()
    write_hits(tmp_path / "mine.h5", hits)
    source = open_events(tmp_path / "mine.h5")
    assert (len(source), source.title, source.folder) == (3, "mine.h5", tmp_path / "mine_views")
    run = RunDirectory.create(tmp_path, "demo")
    run.write_config("name: demo\n")
    with pytest.raises(CheckpointError, match=r"tools/evaluate\.py"):
        open_events(tmp_path / "latest")
    write_hits(run.predictions_path("events"), hits)
    write_hits(run.predictions_path("full"), some_hits((30, 1, 2), signal=None, score=None, kept=None))
    for path in (run.path, tmp_path / "latest"):
        source = open_events(path)
        assert (source.title, source.folder) == ("demo", run.views)
        assert source.scene(0).layers[-1].legend == "full pattern (30)"
    with pytest.raises(CheckpointError):
        open_events(tmp_path / "nothing")


def test_colours_differ_in_brightness_or_hue_for_colour_blind_readers():
    # Red and green cones confused: what is left of a colour is its yellowness and its blueness.
    seen = {}
    for name in LAYERS[True, True]:
        red, green, blue = rgb(STYLES[name].colour)
        seen[name] = np.array([0.6 * red + 0.4 * green, blue])
    names = list(seen)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert np.linalg.norm(seen[a] - seen[b]) > 0.25, (a, b)
