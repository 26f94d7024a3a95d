import numpy as np
import pytest
import torch

from pointae.errors import CheckpointError, ConfigError, DataError, UsageError
from pointae.geometry import deepclean3d_geometry, even_geometry, robot_geometry, timepix3_geometry, torch_geometry
from pointae.hits import HitBatch
from pointae.io import write_hits
from pointae.runs import RunDirectory
from visual.colours import GREY, STYLES, VERMILLION, rgb
from visual.scene.drawing import VIEWS
from visual.scene.layers import OVERLAYS, Layer, build_scene
from visual.scene.look import Look
from visual.scene.picking import described
from visual.scene.source import EventSource, open_events
from visual.windows.controller import Controller
from visual.windows.frame import frame_of

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
STAGES = {
    "full pattern": {}, "thinned": {}, "smeared": {}, "reconstructed": {"signal": None, "score": None, "kept": None},
    "oracle": {},
}  # fmt: skip


def some_source(**chosen):
    """Hits with truth and decision, and all their stages; of the oracle those kept are shown."""
    stages = {name: some_hits((5 + i, i, 2 * i), seed=i, **fields) for i, (name, fields) in enumerate(STAGES.items())}
    for name in ("full pattern", "thinned", "smeared"):
        stages[name] = stages[name].replace(kept=None, score=None)
    return EventSource(some_hits(**chosen), "test", stages=stages)


@pytest.mark.parametrize(("truth", "decision"), LAYERS)
def test_every_hit_is_in_exactly_one_layer_and_in_the_input(truth, decision):
    hits = some_hits(**({} if truth else {"signal": None}), **({} if decision else {"kept": None}))
    for event, count in enumerate(COUNTS):
        scene, alone = build_scene(hits, event), hits.events([event])
        parts = [layer for layer in scene.layers if layer.at_first]
        assert tuple(layer.name for layer in parts) == LAYERS[truth, decision]
        drawn = np.concatenate([layer.pos for layer in parts])
        assert len(drawn) == count
        assert sorted(map(tuple, drawn)) == sorted(map(tuple, alone.pos.tolist()))
        everything = next(layer for layer in scene.layers if layer.name == "input")
        assert np.array_equal(everything.pos, alone.pos.numpy())


def test_layers_follow_truth_and_decision():
    scene = build_scene(some_hits(), 0)
    hits = some_hits().events([0])
    lost = next(layer for layer in scene.layers if layer.name == "lost signal")
    mask = hits.signal & ~hits.kept
    assert np.array_equal(lost.pos, hits.pos[mask].numpy())
    assert np.array_equal(lost.values["score"], hits.score[mask].numpy())
    kept, signal = int((hits.kept & hits.signal).sum()), int(hits.signal.sum())
    assert f"{kept} of {signal} signal hits kept" in scene.caption


def test_features_are_told_of_every_hit():
    hits = some_hits().replace(features=torch.arange(19.0)[:, None], feature_names=("tot",))
    parts = build_scene(hits, 2).shown.layers
    assert sorted(np.concatenate([layer.values["tot"] for layer in parts])) == list(range(12, 19))


def test_stages_are_layers_and_of_the_oracle_those_it_keeps():
    source = some_source()
    for event in range(3):
        scene = source.scene(event)
        count = {layer.name: len(layer.pos) for layer in scene.layers}
        assert tuple(count) == (*LAYERS[True, True], "input", *OVERLAYS)
        for name, stage in source.stages.items():
            alone = stage.events([event])
            assert count[name] == (alone.num_hits if alone.kept is None else int(alone.kept.sum()))
    at_first = {layer.name for layer in source.scene(0).shown.layers}
    assert at_first == {*LAYERS[True, True], "reconstructed", "full pattern"}
    with pytest.raises(DataError, match=r"'thinned' must be of the same 3 events .* got 1 on"):
        build_scene(some_hits(), 0, {"thinned": some_hits().events([0])})
    with pytest.raises(DataError, match=r"same 3 events on the grid \(88, 128, 1000\), got 3 on \(4, 4, 4\)"):
        build_scene(some_hits(), 0, {"thinned": some_hits(geometry=even_geometry((4, 4, 4)))})


def test_another_threshold_cuts_kept_and_lost_again():
    hits = some_hits()
    for threshold in (0.0, 0.3, 0.8, 1.1):
        count = {x.name: len(x.pos) for x in build_scene(hits, 0, look=Look(threshold=threshold)).layers}
        pairs = list(zip(hits.signal[:12].tolist(), hits.score[:12].tolist(), strict=True))
        assert count["kept signal"] == sum(signal and score >= threshold for signal, score in pairs)
        assert count["surviving noise"] == sum(not signal and score >= threshold for signal, score in pairs)
        assert count["kept signal"] + count["lost signal"] == sum(hits.signal[:12].tolist())
    with pytest.raises(DataError, match=r"no score.*tools/denoise\.py"):
        build_scene(some_hits(score=None), 0, look=Look(threshold=0.5))


def test_a_window_of_times_and_pixels_instead_of_units():
    source, event = some_source(), 0
    for pixels, low, high in ((False, 40.0, 52.5), (True, 240, 740)):
        scene = source.scene(event, Look(window=(low, high), pixels=pixels))
        hits = source.hits.events([event])
        times = (hits.coords if pixels else hits.pos)[:, 2].tolist()
        inside = sum(low <= t <= high for t in times)
        assert 0 < inside < len(times)
        assert sum(len(layer.pos) for layer in scene.layers[:4]) == inside
        assert all(low <= t <= high for layer in scene.layers for t in layer.pos[:, 2])
    pixels = source.scene(event, Look(pixels=True))
    assert [axis.label for axis in pixels.axes] == ["x [pixel]", "y (focal plane) [pixel]", "time of flight [bin]"]
    everything = next(layer for layer in pixels.layers if layer.name == "input")
    assert np.array_equal(everything.pos, source.hits.events([event]).coords.numpy())
    with pytest.raises(UsageError, match="upwards, got 50 to 40"):
        source.scene(event, Look(window=(50, 40)))


def test_colours_mean_truth_score_time_track_or_a_feature():
    hits = some_hits(track=torch.arange(19).int() % 4 - 1)
    hits = hits.replace(features=torch.arange(19.0)[:, None], feature_names=("tot",))

    def layer(by):
        scene = build_scene(hits, 0, look=Look(colour_by=by))
        return next(layer for layer in scene.layers if layer.name == "input"), scene.key

    assert layer("layer") == (layer("layer")[0], ()) or layer("layer")[0].colours is None
    drawn, key = layer("truth")
    assert [text for text, _ in key] == ["true signal", "true noise"]
    for row, signal in enumerate(hits.signal[:12].tolist()):
        assert drawn.colours[row] == pytest.approx(rgb(VERMILLION if signal else GREY))
    drawn, key = layer("track")
    assert [text for text, _ in key] == ["track 0", "track 1", "track 2", "no track"]
    assert len(np.unique(drawn.colours, axis=0)) == 4
    for by, values in (("score", hits.score), ("tot", hits.features[:, 0]), ("time", hits.pos[:, 2])):
        drawn, key = layer(by)
        order = np.argsort(values[:12].numpy())
        brightness = drawn.colours[order].sum(1)
        assert (np.diff(brightness) < 1e-6).all()  # the more, the darker
        assert len(key) == 5
        assert key[0][0].startswith(by)
    assert layer("score")[1][-1][0] == "score 1"
    assert build_scene(hits, 1, look=Look(colour_by="tot")).layers[0].colours.shape == (0, 3)
    with pytest.raises(ConfigError, match=r"unknown colour for these hits 'energy' \(known: layer, score, time"):
        build_scene(some_hits(signal=None), 0, look=Look(colour_by="energy"))


def test_an_event_out_of_range_is_told_the_range():
    with pytest.raises(UsageError, match=r"event 3 is out of range: the events are 0\.\.2"):
        build_scene(some_hits(), 3)
    with pytest.raises(DataError, match="there are no events"):
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
        assert places.dtype == np.float64
        assert (places >= 0).all()
        assert (places <= np.array(scene.box)).all()
    frame = frame_of(scene)
    assert frame.edges.shape == (12, 2, 3)
    assert len(frame.texts) == len(frame.anchors) == 3 + sum(len(axis.ticks()) for axis in scene.axes)


def test_robots_are_coloured_by_kind_unless_told_otherwise():
    hits = some_hits(geometry=robot_geometry(), category=(torch.arange(sum(COUNTS)) % 4 + 1).to(torch.int8))
    scene = build_scene(hits, 0)
    assert [text for text, _ in scene.key] == ["wheel", "sensor", "joint", "caster"]
    drawn = next(layer for layer in scene.layers if layer.name == "input")
    for row, kind in enumerate(hits.category[: COUNTS[0]].tolist()):
        assert drawn.colours[row] == pytest.approx(rgb(scene.key[kind - 1][1]))
    assert build_scene(hits, 0, look=Look(colour_by="layer")).key == ()
    assert len(build_scene(hits, 1).key) == 4  # an empty event
    controller = Controller(EventSource(hits))
    assert controller.press("c")
    assert controller.look.colour_by == "layer"
    with pytest.raises(ConfigError, match="unknown colour for these hits 'kind'"):
        build_scene(some_hits(), 0, look=Look(colour_by="kind"))


def test_axes_are_named_with_units():
    assert [axis.label for axis in build_scene(some_hits(), 0).axes] == [
        "x [mm]", "y (focal plane) [mm]", "time of flight [ns]",
    ]  # fmt: skip
    t = build_scene(some_hits(geometry=timepix3_geometry()), 0).axes[2]
    assert t.label == "time of arrival [ms]"
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
    assert controller.texts[5][0] == "4  removed noise (1)  off"
    assert controller.press("p")
    assert controller.shown == []  # the event without hits; the layer stays off
    assert controller.press("4")
    assert not controller.press("7")
    assert not controller.press("z")


def test_controller_cuts_again_colours_and_turns_by_keys_and_sliders():
    controller = Controller(some_source(), event=0)
    assert [slider.name for slider in controller.sliders] == ["threshold", "from", "to"]
    cut = controller.sliders[0].value
    assert cut == pytest.approx(float(controller.source.hits.score[controller.source.hits.kept].min()))
    assert controller.press("up")
    assert controller.look.threshold == pytest.approx(cut + 0.01)
    assert controller.slide("threshold", 7.0)
    assert controller.look.threshold == 1.0
    assert {layer.name for layer in controller.shown} & {"kept signal", "surviving noise"} == set()
    assert controller.slide("to", 40.0)
    assert controller.slide("from", 45.0)  # not beyond its other end
    assert controller.look.window == (40.0, 40.0)
    assert controller.press("u")
    assert controller.look.window is None
    assert controller.scene.axes[2].unit == "bin"
    before = controller.look.colour_by
    assert controller.press("c")
    assert controller.look.colour_by != before
    for key, view in VIEWS.items():
        assert controller.press(key)
        assert controller.drawing.view == view
        front, up = view.directions(turn=30.0)
        assert np.linalg.norm(front) == pytest.approx(1)
        assert np.dot(front, up) == pytest.approx(0)
    plain = Controller(EventSource(some_hits(score=None)))
    assert [slider.name for slider in plain.sliders] == ["from", "to"]
    assert not plain.press("up")


def test_a_click_tells_of_the_hit_under_it(capsys):
    controller = Controller(EventSource(some_hits(), "test"))
    hits, layer = some_hits().events([0]), controller.shown[0]

    def project(places):  # seen from the front: t to the right, y up
        return np.column_stack([places[:, 0] * 500, 400 - places[:, 2] * 400, np.ones(len(places))])

    x, y, _ = project(controller.scene.in_box(layer.pos[:1]))[0]
    assert controller.pick(project, x + 1, y - 1)
    row = int((hits.pos == torch.from_numpy(layer.pos[0])).all(1).nonzero()[0, 0])
    told = capsys.readouterr().out
    assert told.startswith(f"test, event 0: {layer.name}: x {hits.pos[row, 0]:.7g} mm, y")
    assert f"score {hits.score[row]:.5g}" in told
    assert controller.message in told
    assert not controller.pick(project, 5000, 5000)
    assert not controller.pick(lambda places: project(places) * (1, 1, -1), x, y)  # behind the viewer


def test_a_picked_time_is_told_to_the_last_digit_that_is_known():
    layer = Layer("input", STYLES["input"], np.array([[7.8925, -0.5, 9_859_023]], np.float32))
    axes = build_scene(some_hits(geometry=timepix3_geometry()), 0).axes
    assert described(layer, 0, axes) == "input: x 7.8925 mm, y -0.5 mm, time of arrival 9859023 ns"


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
    write_hits(run.predictions_path("oracle"), hits)
    for path in (run.path, tmp_path / "latest"):
        source = open_events(path)
        assert (source.title, source.folder) == ("demo", run.views)
        assert source.scene(0).layers[-1].legend == "full pattern (30)"
        assert source.scene(0).layers[-2].legend == f"oracle ({int(hits.kept[:12].sum())})"
    source.save(tmp_path / "look_hits", [2, 0])
    again = open_events(tmp_path / "look_hits")
    assert again.hits.counts.tolist() == [7, 12]
    for event, was in enumerate((2, 0)):
        a, b = again.scene(event), source.scene(was)
        assert [(x.name, x.pos.tolist()) for x in a.layers] == [(x.name, x.pos.tolist()) for x in b.layers]
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
